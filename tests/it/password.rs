//! Where the password comes from, and where it never shows.

use std::process::Command;

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

#[test]
fn from_a_file_that_others_can_read() {
    let site = site("\n");
    site.write("proxy", "alice:hunter2\n");
    for (link, file, flags) in [
        ("rstund", "secret", &["--password-file", "secret"][..]),
        ("rstund", "priv_key.der", &["--password", SECRET]),
        (
            "rstunc",
            "secret",
            &["--password-file", "secret", "-L", "0^1"],
        ),
        ("rstunc", "proxy", &["-D", "127.0.0.1:0?auth=proxy"]),
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
