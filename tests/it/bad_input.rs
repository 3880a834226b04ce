//! Bad input gets one clear line and exit code 2.

use std::process::Command;

use crate::harness::Site;

/// A way to call a program wrongly.
struct Case {
    /// What is changed in a command line that is right: a flag and its value, the value left out to leave
    /// out the flag.
    change: (&'static str, Option<&'static str>),
    /// What the error line has to contain.
    says: &'static str,
}

const fn case(flag: &'static str, value: &'static str, says: &'static str) -> Case {
    Case {
        change: (flag, Some(value)),
        says,
    }
}

const fn without(flag: &'static str, says: &'static str) -> Case {
    Case {
        change: (flag, None),
        says,
    }
}

const SERVER: &[(&str, &str)] = &[
    ("--addr", "127.0.0.1:0"),
    ("--downstream", "8800"),
    ("--password", "123456"),
    ("--cert", "certificate.der"),
    ("--key", "priv_key.der"),
];

const CLIENT: &[(&str, &str)] = &[
    ("--server-addr", "127.0.0.1:9"),
    ("--password", "123456"),
    ("--cert", "certificate.der"),
    ("--mode", "TunnelOut"),
    ("--addr-mapping", "127.0.0.1:0^8800"),
];

const SERVER_CASES: &[Case] = &[
    case("--addr", "127.0.0.1:70000", "70000"),
    case("--addr", "127.0.0.1", "127.0.0.1"),
    case("--addr", "no address", "no address"),
    case("--addr", "", "--addr"),
    case("--downstream", "70000", "70000"),
    case("--downstream", "127.0.0.1:70000", "70000"),
    case("--downstream", "0", "--downstream"),
    case("--downstream", "8800^8800", "8800^8800"),
    case("--downstream", "[::1:8800", "[::1:8800"),
    without("--password", "password"),
    case("--password", "", "password"),
    case("--password-file", "nowhere", "nowhere"),
    case("--cert", "nowhere.der", "--cert: cannot read nowhere.der"),
    case("--cert", "directory", "directory"),
    case("--cert", "empty", "empty"),
    case("--cert", "noise", "noise"),
    case("--cert", "broken.pem", "broken.pem"),
    case("--cert", "priv_key.der", "priv_key.der"),
    case("--key", "nowhere.der", "--key: cannot read nowhere.der"),
    case("--key", "directory", "directory"),
    case("--key", "empty", "empty"),
    case("--key", "noise", "noise"),
    case("--key", "certificate.der", "are --cert and --key swapped?"),
    case("--key", "other/priv_key.der", "other/priv_key.der"),
    case("--cert", "other/certificate.der", "other/certificate.der"),
    case("--downstream", "10.1.2.3/8:80", "10.0.0.0/8"),
    case("--downstream", "10.0.0.0/8", "no ports"),
    case("--downstream", "ftp://1", "'ftp' is no scheme"),
    case(
        "--unix-dir",
        "nowhere",
        "--unix-dir nowhere: there is no such directory",
    ),
    case("--drain", "soon", "soon"),
    case("--drain", "-1", "-1"),
    case("--colour", "blue", "--colour"),
];

const CLIENT_CASES: &[Case] = &[
    case("--addr-mapping", "9900", "^"),
    case("--addr-mapping", "", "^"),
    case("--addr-mapping", "70000^8800", "70000"),
    case("--addr-mapping", "9900^70000", "70000"),
    case("--addr-mapping", "9900^127.0.0.1:70000", "70000"),
    case("--addr-mapping", "9900^8800^7700", "9900^8800^7700"),
    case("--addr-mapping", "^8800", "^8800"),
    case("--addr-mapping", "9900^", "9900^"),
    case("--addr-mapping", "9900^-1", "-1"),
    case("--addr-mapping", "9900^two words:1", "two words"),
    case("--addr-mapping", "example.org:9900^8800", "example.org"),
    case("-L", "9901", "^"),
    case("-L", "70000^1", "70000"),
    case("-R", "9901", "^"),
    case("-R", "1^70000", "70000"),
    case("-R", "1^example.org:1", "example.org"),
    case("-L", "udp://1^tcp://2", "one side is UDP"),
    case("-L", "1-3^4", "1-3 is 3 ports, 4 is one"),
    case("-L", "1?mode=0600^2", "option 'mode' has no meaning here"),
    case("-L", "unix://app.sock^2", "unix:///path/to/socket"),
    case("-R", "stdio^1", "left of -L"),
    case("-R", "1^2?mode=0600", "option 'mode' has no meaning here"),
    case("-D", "localhost:1080", "'localhost' is a name"),
    case("-D", "socks5://me:hunter2@localhost:1", "socks5://me:***@"),
    case("-D", "1080?auth=nowhere", "auth=nowhere"),
    case("--mode", "TunnelSideways", "TunnelSideways"),
    without("--mode", "--mode"),
    without("--addr-mapping", "--addr-mapping"),
    case("--server-addr", "127.0.0.1:70000", "70000"),
    case("--server-addr", "127.0.0.1:0", "--server-addr"),
    case("--server-addr", "two words", "two words"),
    without("--server-addr", "--server-addr"),
    without("--password", "password"),
    case("--password", "", "the password from --password is empty"),
    case("--password-file", "nowhere", "nowhere"),
    case("--cert", "nowhere.der", "--cert: cannot read nowhere.der"),
    case("--cert", "directory", "directory"),
    case("--cert", "empty", "empty"),
    case("--cert", "noise", "noise"),
    case("--cert", "priv_key.der", "priv_key.der"),
    without("--cert", "certificate.der"),
];

/// A site where a right command line would do, with everything that the cases name beside it.
fn site() -> Site {
    let site = Site::new();
    for (name, content) in [
        ("empty", &b""[..]),
        ("noise", b"\x30\x82\xff\xff not a certificate, and no key"),
        (
            "broken.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ] {
        site.write(name, content);
    }
    std::fs::create_dir(site.path("directory")).expect("a directory");
    keygen(&site, &["--out-dir", "other"]);
    site
}

fn keygen(site: &Site, args: &[&str]) {
    let ended = site.run(site.command("rstun").arg("keygen").args(args));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// `link` with the flags of `right`, but for one change.
fn changed(site: &Site, link: &str, right: &[(&str, &str)], change: &Case) -> Command {
    let (flag, value) = change.change;
    let mut command = site.command(link);
    let replaced = match flag {
        "--password-file" => "--password",
        flag => flag,
    };
    for (name, value) in right.iter().filter(|(name, _)| *name != replaced) {
        command.args([name, value]);
    }
    if let Some(value) = value {
        // As one word, so that a value may begin with a dash.
        match flag.strip_prefix("--") {
            Some(_) => command.arg(format!("{flag}={value}")),
            None => command.arg(format!("{flag}{value}")),
        };
    }
    command
}

fn assert_usage_errors(link: &str, right: &[(&str, &str)], cases: &[Case]) {
    assert!(!cases.is_empty());
    let site = site();
    let mut wrong = String::new();
    for case in cases {
        let mut command = changed(&site, link, right, case);
        let ended = site.run(&mut command);
        let (code, error) = (ended.code, ended.error());
        if code != 2 || !error.contains(case.says) || !ended.stdout.is_empty() {
            let says = case.says;
            wrong += &format!("{command:?}: exit code {code}, no {says:?} in {error:?}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn server() {
    assert_usage_errors("rstund", SERVER, SERVER_CASES);
}

#[test]
fn client() {
    assert_usage_errors("rstunc", CLIENT, CLIENT_CASES);
}

/// What the cases change is right: without a change, the same command lines do.
#[test]
fn unchanged_command_lines_are_right() {
    let site = site();
    for (link, right, ready) in [
        ("rstund", SERVER, "listening on 127.0.0.1:"),
        ("rstunc", CLIENT, "listening on 127.0.0.1:"),
    ] {
        let mut command = site.command(link);
        for (flag, value) in right {
            command.args([flag, value]);
        }
        crate::harness::Program::start(&mut command).line(ready);
    }
}

#[test]
fn other_commands() {
    let site = site();
    for (args, says) in [
        (&["teleport"][..], "teleport"),
        (&["server", "client"], "client"),
        (&["keygen", "--days", "0"], "--days"),
        (&["keygen", "--days", "many"], "many"),
        (&["keygen", "--host", "ünïcode"], "ünïcode"),
        (&["bench", "--seconds", "0"], "--seconds"),
        (&["bench", "--streams", "0"], "--streams"),
        (&["connect", "70000"], "70000"),
        (&["connect", "udp://53"], "UDP"),
        (&["connect", "22"], "--server-addr"),
        (&["connect", "22", "--server-addr", "127.0.0.1:9"], "--cert"),
    ] {
        let ended = site.run(site.command("rstun").args(args));
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
        assert!(ended.error().contains(says), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let site = site();
    let mut command = site.command("rstunc");
    for (flag, value) in CLIENT {
        command.args([flag, value]);
    }
    let wrong = [
        ("-L", "70000^1", "--tunnel-out 70000^1: port '70000'"),
        (
            "-R",
            "1^example.org:1",
            "--tunnel-in 1^example.org:1: 'example.org'",
        ),
        ("-L", "stdio^1", ""),
        ("-D", "udp://1", "--dynamic udp://1: a proxy"),
        ("-L", "stdio^2", "stdio: there is one"),
    ];
    for (flag, value, _) in wrong {
        command.args([flag, value]);
    }
    let ended = site.run(&mut command);
    assert_eq!(ended.code, 2);
    let errors = ended.errors();
    let says: Vec<_> = wrong.iter().filter(|(.., says)| !says.is_empty()).collect();
    assert_eq!(errors.len(), says.len(), "{errors:#?}");
    for (.., says) in says {
        assert!(
            errors.iter().any(|e| e.contains(says)),
            "{says}: {errors:#?}"
        );
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let site = Site::without_keys();
    for link in ["rstun", "rstund", "rstunc"] {
        let help = site.run(site.command(link).arg("--help"));
        assert_eq!(help.code, 0, "{link}: {}", help.stderr);
        assert!(help.stdout.contains("Usage:"), "{link}: {}", help.stdout);
    }
    let version = site.run(site.command("rstun").arg("--version"));
    assert_eq!(version.code, 0, "{}", version.stderr);
    assert_eq!(
        version.stdout.trim(),
        concat!("rstun ", env!("CARGO_PKG_VERSION"))
    );
}
