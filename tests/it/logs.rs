//! What log lines look like where they go, and what is in them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::sockets::Target;
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::web::in_path;
use crate::harness::{Ended, PASSWORD, Program, Signal, Site};

in_both_modes!(a_flows_lines_share_a_span, nothing_at_info_for_each_flow);

/// What a server says from its start to its end, when it is started by a shell as `script` has it.
fn said(site: &Site, script: &str, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command = in_path("sh");
    site.within(&mut command);
    command.args(["-c", script]).arg(site.path("rstund"));
    command.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
    command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    command.args(args).envs(env.iter().copied());
    let server = Program::start(&mut command);
    server.line("listening on ");
    server.signal(Signal::Terminate);
    server.ended()
}

/// What systemd does, as far as the program sees it.
const FOR_THE_JOURNAL: &str = r#"JOURNAL_STREAM=$(stat -Lc %d:%i /proc/$$/fd/2) exec "$0" "$@""#;

#[test]
fn the_journal_gets_priorities_and_no_times() {
    let site = Site::new();
    let ended = said(&site, FOR_THE_JOURNAL, &[], &[]);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with("<4>--password shows"), "{lines:?}");
    let said = |start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(said("<6>listening on 127.0.0.1:"), "{lines:?}");
}

#[test]
fn the_journal_gets_the_reason_of_an_end_as_an_error() {
    let site = Site::without_keys();
    let mut command = in_path("sh");
    site.within(&mut command).args(["-c", FOR_THE_JOURNAL]);
    let args = ["--addr", "nowhere", "--password", PASSWORD, "--cert", "a"];
    let ended = site.run(command.arg(site.path("rstund")).args(args));
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    let last = ended.stderr.lines().last();
    assert!(
        last.is_some_and(|line| line.starts_with("<3>error: ")),
        "{}",
        ended.stderr
    );
}

/// A program that a service starts has the variable too, wherever its own output goes.
#[test]
fn a_journal_elsewhere_is_none() {
    let site = Site::new();
    let elsewhere = [("JOURNAL_STREAM", "1:1")];
    let ended = said(&site, r#"exec "$0" "$@""#, &[], &elsewhere);
    for line in ended.stderr.lines() {
        assert!(line.starts_with("20"), "no time in {line:?}");
        assert!(!line.contains('\x1b'), "colour in {line:?}");
    }
    assert!(
        ended.stderr.contains(" INFO listening on "),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_terminal_gets_colour_unless_it_is_refused() {
    let site = Site::new();
    for (name, value, coloured) in [
        ("NO_COLOR", "", true),
        ("NO_COLOR", "1", false),
        ("TERM", "dumb", false),
    ] {
        let mut command = in_path("script");
        site.within(&mut command)
            .env("TERM", "xterm")
            .env(name, value);
        // The warning about the password is a line, and an address of nobody's the end.
        let server = site.path("rstund").display().to_string()
            + " --password 1 --cert certificate.der --key priv_key.der --addr 192.0.2.1:1";
        let ended = site.run(command.args(["-qec", &server, "/dev/null"]));
        assert_eq!(
            ended.stdout.contains("\x1b["),
            coloured,
            "{name}={value}: {}",
            ended.stdout
        );
    }
}

#[test]
fn json_is_an_object_a_line() {
    let site = Site::new();
    let ended = said(&site, r#"exec "$0" "$@""#, &["--log", "json"], &[]);
    let lines = objects(&ended.stderr);
    let listening = lines
        .iter()
        .find(|line| message(line).starts_with("listening on "));
    let listening = listening.expect("the line of the socket");
    assert_eq!(listening["level"], "INFO");
    assert!(
        listening["timestamp"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    assert!(
        lines.iter().any(|line| line["level"] == "WARN"),
        "{lines:?}"
    );
}

#[test]
fn errors_are_json_too() {
    let site = Site::without_keys();
    for args in [
        &["--addr", "nowhere", "--password", PASSWORD, "--cert", "a"][..],
        &["--audit-log", "nowhere/at/all"],
    ] {
        let mut command = site.command("rstund");
        let ended = site.run(command.args(["--log", "json"]).args(args));
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        let lines = objects(&ended.stderr);
        assert_eq!(lines.last().expect("a line")["level"], "ERROR", "{lines:?}");
    }
}

fn a_flows_lines_share_a_span(mode: Mode) {
    let tunnel = with_debug_lines(mode);
    for _ in 0..2 {
        drop(tunnel.flow());
    }
    for program in [&tunnel.client, &tunnel.server] {
        program.nth_line(2, "done\"");
    }
    for side in [tunnel.client, tunnel.server] {
        side.signal(Signal::Terminate);
        let ended = side.ended();
        let lines = objects(&ended.stderr);
        let of_flows = lines.iter().filter(|line| line["span"]["name"] == "flow");
        let flows: BTreeSet<_> = of_flows
            .clone()
            .map(|l| l["span"]["number"].as_u64())
            .collect();
        assert_eq!(flows, [Some(1), Some(2)].into(), "{lines:#?}");
        for line in of_flows {
            let tunnel = line["span"]["tunnel"].as_str().expect("the tunnel's name");
            assert!(tunnel.starts_with("Tunnel"), "{line}");
        }
    }
}

/// A tunnel between programs that log all there is, as JSON.
fn with_debug_lines(mode: Mode) -> Tunnel {
    let (site, target) = (Site::new(), Target::new());
    let start = |link: &str, args: &[&str]| {
        let mut command = site.command(link);
        command.env("RUST_LOG", "debug").args(["--log", "json"]);
        command.args(["--password", PASSWORD, "--cert", "certificate.der"]);
        Program::start(command.args(args))
    };
    let downstream = target.addr().to_string();
    let server = [
        "--addr",
        "127.0.0.1:0",
        "--key",
        "priv_key.der",
        "--downstream",
        &downstream,
    ];
    let server = start("rstund", &server);
    let server_addr = server.server_addr();
    let [flag, mapping] = mode.args(target.addr());
    let client = ["--server-addr", &server_addr.to_string(), &flag, &mapping];
    let client = start("rstunc", &client);
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

fn nothing_at_info_for_each_flow(mode: Mode) {
    let lines_after = |flows| {
        let tunnel = Tunnel::new(mode);
        for _ in 0..flows {
            drop(tunnel.flow());
        }
        [tunnel.client, tunnel.server].map(|program| {
            program.signal(Signal::Terminate);
            program.ended().stderr.lines().count()
        })
    };
    assert_eq!(lines_after(0), lines_after(20));
}

/// The lines of a program that logs JSON.
fn objects(lines: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let lines: Vec<Value> = lines.lines().map(parse).collect();
    assert!(!lines.is_empty());
    lines
}

fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}
