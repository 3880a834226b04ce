//! The first minute: a server and a client with nothing prepared.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::sockets::{Target, join, steady_port};
use crate::harness::{Program, Site, is_installed};

const STATE: &str = ".local/state/rstun";

/// A command on a terminal of its own.
fn on_a_terminal(site: &Site, command: &str) -> Command {
    let mut script = Command::new("script");
    let command = format!("{}/{command}", site.path("").display());
    site.within(script.args(["-qec", &command, "/dev/null"]));
    script
}

/// A server without anything but a place to listen, for tests that run beside others.
fn server(site: &Site) -> Command {
    let mut command = site.command("rstun");
    command.args(["server", "--addr", "127.0.0.1:0"]);
    command
}

/// What the README begins with, to the letter: two machines, a command on each.
#[cfg(target_os = "linux")]
#[test]
fn two_commands_and_nothing_prepared() {
    use crate::harness::link::Link;

    if !is_installed("script") {
        return;
    }
    let Some(link) = Link::mostly_idle("delay=1") else {
        return;
    };
    let [here, there] = [Site::without_keys(), Site::without_keys()];
    let server = link.at_server(|| Program::start(&mut on_a_terminal(&here, "rstun server")));
    let typed = server.line("rstun client rstun://");
    let words: Vec<_> = typed.split_whitespace().collect();
    assert_eq!((words[0], words[1]), ("rstun", "client"));
    assert_eq!(words[3..], ["-R", "3000^18080"]);
    let target = link.at_client(|| Target::at("127.0.0.1:3000".parse().expect("an address")));
    let client = link.at_client(|| Program::start(there.command("rstun").args(&words[1..])));
    let line = client.line("listens on ");
    let reached = format!(", reached at {}:18080", Link::server_addr().ip());
    assert!(line.ends_with(&reached), "{line}");
    let entrance = "127.0.0.1:18080".parse().expect("an address");
    link.at_server(|| {
        // The target is of another machine, and so of another thread.
        let (visitor, inside) = join(entrance, &target);
        drop((visitor, inside));
    });
    let warned = client.line("shows to everyone on this machine");
    assert!(!warned.contains("rstun://"), "{warned}");
}

#[test]
fn the_ticket_goes_to_a_persons_terminal_alone() {
    let site = Site::without_keys();
    let program = Program::start(server(&site).arg("--qr").env("RUST_LOG", "trace"));
    program.line("`rstun ticket` prints the ticket");
    program.line("`rstun ticket --qr`");
    program.signal(crate::harness::Signal::Terminate);
    let ended = program.ended();
    assert!(!ended.stderr.contains("rstun://"), "{}", ended.stderr);
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    if is_installed("script") {
        let mut script = on_a_terminal(&site, "rstun server --addr 127.0.0.1:0 --qr");
        let program = Program::start(&mut script);
        program.line("rstun client rstun://");
        program.line("█ ▄▄▄▄▄ █");
    }
}

/// Clients know the server by its certificate: one that is away for a moment is not to be replaced.
#[test]
fn what_is_gone_while_it_runs_is_not_made_anew() {
    let site = Site::without_keys();
    let program = Program::start(&mut server(&site));
    program.line("certificate SHA-256");
    let [here, away] = [STATE, "away"].map(|path| site.path(path));
    std::fs::rename(&here, &away).expect("a directory renamed");
    let reload = || site.run(site.command("rstun").arg("reload"));
    assert_eq!(reload().code, 1);
    assert!(!here.exists());
    std::fs::rename(&away, &here).expect("a directory renamed");
    assert_eq!(reload().stdout.trim(), "nothing has changed");
    assert_eq!(program.count("new connections get the certificate"), 0);
}

#[test]
fn a_server_goes_with_its_terminal() {
    if !is_installed("script") {
        return;
    }
    let site = Site::new();
    let command = format!("rstun server --addr 127.0.0.1:{}", steady_port());
    let script = on_a_terminal(&site, &command);
    // The tests themselves may have been started by `nohup`.
    let mut env = Command::new("env");
    env.args(["--default-signal=HUP", "NO_COLOR=1"]);
    env.arg(script.get_program()).args(script.get_args());
    let program = Program::start(site.within(&mut env));
    let addr = program.server_addr();
    // A window is closed like that: what runs in it is told by SIGHUP.
    program.kill();
    site.server_again(addr, &[]);
}

#[test]
fn what_is_made_is_made_once_and_its_owners_alone() {
    let site = Site::without_keys();
    let listening = |program: &Program| {
        let line = program.line("certificate SHA-256 ");
        line.split_once("SHA-256 ").expect("it").1.to_owned()
    };
    let first = Program::start(&mut server(&site));
    let certificate = listening(&first);
    let mode = |name: &str| {
        let path = site.path(STATE).join(name);
        let metadata = std::fs::metadata(path).expect(name);
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(
        (mode(""), mode("priv_key.der"), mode("password")),
        (0o700, 0o600, 0o600)
    );
    let password = site.read(&format!("{STATE}/password"));
    first.kill();
    let second = Program::start(&mut server(&site));
    assert_eq!(listening(&second), certificate);
    assert_eq!(site.read(&format!("{STATE}/password")), password);
    // What a server that was killed in between has left half done is done anew.
    second.kill();
    std::fs::remove_file(site.path(STATE).join("certificate.der")).expect("it is there");
    assert_ne!(listening(&Program::start(&mut server(&site))), certificate);
}

#[test]
fn systemd_says_where_it_is_kept() {
    let site = Site::without_keys();
    let state = site.path("var");
    let program = Program::start(server(&site).env("STATE_DIRECTORY", &state));
    let again = format!("`STATE_DIRECTORY={} rstun ticket`", state.display());
    program.line(&again);
    assert!(state.join("password").exists() && !site.path(STATE).exists());
}

/// Who gives a server its certificate gives it its password, too, or is asked for it.
#[test]
fn a_server_that_was_given_its_certificate_makes_nothing() {
    let site = Site::new();
    let ended = site.run(server(&site).args(["--cert", "certificate.der"]));
    assert_eq!(ended.code, 2);
    assert!(
        ended.error().contains("--password-file"),
        "{}",
        ended.stderr
    );
    let ended = site.run(server(&site).args(["--key", "priv_key.der"]));
    assert!(ended.error().contains("--cert"), "{}", ended.stderr);
    assert!(!site.path(STATE).exists());
    let mut explicit = server(&site);
    explicit.args(["--cert", "certificate.der", "--password", "123456"]);
    let program = Program::start(&mut explicit);
    program.server_addr();
    assert_eq!(program.count("rstun ticket"), 0);
}
