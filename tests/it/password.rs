//! Where the password comes from, and where it never shows.

use std::process::Command;

use crate::harness::entries::{By, CLIENTS};
use crate::harness::sockets::{Target, join};
use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{Program, Signal, Site};

/// A password that is found nowhere by chance.
const SECRET: &str = "Tr0ub4dor & 3 correct horses";

/// The ways to give a password to a program.
#[derive(Clone, Copy)]
enum From {
    Flag,
    File,
    Environment,
}

impl From {
    fn give(self, command: &mut Command) {
        match self {
            Self::Flag => command.args(["--password", SECRET]),
            Self::File => command.args(["--password-file", "secret"]),
            Self::Environment => command.env("RSTUN_PASSWORD", SECRET),
        };
    }
}

/// A tunnel between programs that know [`SECRET`], and RUST_LOG set to `log`.
fn tunnel(site: Site, server_from: From, client_from: From, log: &str) -> Tunnel {
    let target = Target::new();
    let mode = Mode::Out;
    let mut server = site.command("rstund");
    server.env("RUST_LOG", log);
    server.args(["--addr", "127.0.0.1:0", "--cert", "certificate.der"]);
    server.args(["--key", "priv_key.der"]);
    server.args(["--downstream", &target.addr().to_string()]);
    server_from.give(&mut server);
    let server = Program::start(&mut server);
    let server_addr = server.server_addr();

    let mut client = site.command("rstunc");
    client.env("RUST_LOG", log);
    client.args(["--server-addr", &server_addr.to_string()]);
    client.args(["--cert", "certificate.der"]);
    client.args(mode.args(target.addr()));
    client_from.give(&mut client);
    let client = Program::start(&mut client);
    let entrance = client.entrance(&mode.announcement(target.addr()));
    Tunnel {
        site,
        server,
        server_addr,
        client,
        entrance,
        target,
        mode,
    }
}

/// A site with the password in a file, its line ended by `newline`.
fn site(newline: &str) -> Site {
    let site = Site::new();
    site.write("secret", [SECRET, newline].concat());
    site
}

#[test]
fn from_a_file_with_a_newline() {
    tunnel(site("\n"), From::File, From::Flag, "info").flow();
    tunnel(site("\n"), From::Flag, From::File, "info").flow();
}

#[test]
fn from_a_file_with_or_without_any_line_ending() {
    tunnel(site(""), From::File, From::Flag, "info").flow();
    tunnel(site("\r\n"), From::File, From::Flag, "info").flow();
}

#[test]
fn from_the_environment() {
    tunnel(site("\n"), From::Environment, From::Flag, "info").flow();
    tunnel(site("\n"), From::File, From::Environment, "info").flow();
}

#[test]
fn a_flag_goes_before_the_environment() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let mut client = site.command("rstunc");
    client.env("RSTUN_PASSWORD", "another");
    client.args(["--server-addr", &server.server_addr().to_string()]);
    client.args(["--cert", "certificate.der"]);
    client.args(["--password", crate::harness::PASSWORD]);
    client.args(Mode::Out.args(target.addr()));
    let client = Program::start(&mut client);
    join(
        client.entrance(&Mode::Out.announcement(target.addr())),
        &target,
    );
}

#[test]
fn never_in_the_logs() {
    for from in [From::Flag, From::File, From::Environment] {
        let tunnel = tunnel(site("\n"), from, from, "trace");
        tunnel.flow();
        for program in [tunnel.client, tunnel.server] {
            #[cfg(target_os = "linux")]
            if !matches!(from, From::Flag) {
                assert!(!program.proc("cmdline").contains(SECRET));
            }
            program.signal(Signal::Terminate);
            let ended = program.ended();
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            assert!(ended.stderr.contains("TRACE"), "no trace was asked for");
            for text in [&ended.stdout, &ended.stderr] {
                assert!(!text.contains(SECRET), "{text}");
                // Nor as a list of bytes, which is how Debug shows a Vec<u8>.
                let bytes = format!("{:?}", SECRET.as_bytes());
                assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{text}");
            }
        }
    }
}

/// Nor are the secrets and keys of clients with entries of their own, nor the server's key, in any form.
#[test]
fn no_secret_of_an_entry_is_in_the_logs() {
    let site = Site::new();
    let target = Target::new();
    let rights = format!("reach = [\"{}\"]", target.addr());
    let entries = [("laptop", By::Key), ("phone", By::Secret)];
    let listed = entries.map(|(name, by)| site.entry(name, by, &rights));
    site.write(CLIENTS, listed.concat());
    let mut server = site.command("rstund");
    server.env("RUST_LOG", "trace");
    server.args(["--addr", "127.0.0.1:0", "--clients", CLIENTS]);
    server.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    server.args(["--audit-log", "audit"]);
    let server = Program::start(&mut server);
    let addr = server.server_addr();
    let mut said = Vec::new();
    let mut end = |program: Program| {
        #[cfg(target_os = "linux")]
        said.push(program.proc("cmdline"));
        program.signal(Signal::Terminate);
        let ended = program.ended();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stderr.contains("TRACE"), "no trace was asked for");
        said.extend([ended.stdout, ended.stderr]);
    };
    for (name, by) in entries {
        let mut client = site.client_command(addr, name, by);
        client.env("RUST_LOG", "trace");
        client.args(Mode::Out.args(target.addr()));
        let client = Program::start(&mut client);
        let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
        join(entrance, &target);
        end(client);
    }
    end(server);
    said.push(String::from_utf8(site.read("audit")).expect("text"));
    let verifier = listed[1].split('"').nth(3).expect("a verifier").to_owned();
    let secret = String::from_utf8(site.read("phone.secret")).expect("text");
    let pem = String::from_utf8(site.read("laptop.pem")).expect("text");
    let (key, _) = pem.split_once("-----END").expect("the key first");
    let mut hidden = vec![verifier, secret.trim().to_owned()];
    hidden.extend(key.lines().skip(1).map(str::to_owned));
    // In DER the key itself comes last but for the public half, and the first bytes are everybody's.
    let der = &site.read("priv_key.der")[36..68];
    hidden.push(format!("{der:?}").trim_matches(['[', ']']).to_owned());
    hidden.push(der.iter().map(|byte| format!("{byte:02x}")).collect());
    let bytes: Vec<_> = hidden
        .iter()
        .map(|text| format!("{:?}", text.as_bytes()))
        .collect();
    hidden.extend(
        bytes
            .iter()
            .map(|bytes| bytes.trim_matches(['[', ']']).to_owned()),
    );
    assert_eq!(hidden.len(), 14, "{hidden:?}");
    for text in &said {
        for secret in &hidden {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn from_a_file_that_others_can_read() {
    let site = site("\n");
    site.write("proxy", "alice:hunter2\n");
    site.entry("key", By::Key, "");
    for (link, file, flags) in [
        ("rstund", "secret", &["--password-file", "secret"][..]),
        ("rstund", "priv_key.der", &["--password", SECRET]),
        (
            "rstunc",
            "secret",
            &["--password-file", "secret", "-L", "0^1"],
        ),
        ("rstunc", "proxy", &["-D", "127.0.0.1:0?auth=proxy"]),
        ("rstunc", "key.pem", &["--identity", "key.pem", "-L", "0^1"]),
    ] {
        for mode in [0o640, 0o604, 0o620] {
            site.set_mode(file, mode);
            let mut command = site.command(link);
            command.args(["--cert", "certificate.der"]).args(flags);
            if link == "rstunc" {
                command.args(["--server-addr", "127.0.0.1:9"]);
            }
            let ended = site.run(&mut command);
            assert_eq!(ended.code, 2, "{file} {mode:o}: {}", ended.stderr);
            let error = ended.error();
            assert!(
                error.contains(file) && error.contains("chmod 600"),
                "{error}"
            );
        }
        site.set_mode(file, 0o600);
    }
}

#[test]
fn on_the_command_line_with_a_warning() {
    let tunnel = tunnel(site("\n"), From::Flag, From::File, "info");
    tunnel.server.line("--password shows the password");
    assert_eq!(tunnel.client.count("shows the password"), 0);
}
