//! `rstun stop`: what a person has a program do that runs.

use crate::harness::sockets::{assert_joined, finish, receive_all};
use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{Ended, Program, Site};

/// Runs `rstun` with arguments to its end.
fn rstun(site: &Site, args: &[&str]) -> Ended {
    site.run(site.command("rstun").args(args))
}

fn pid(program: &Program) -> String {
    program.id().to_string()
}

#[test]
fn stop_waits_until_open_flows_have_finished() {
    let tunnel = Tunnel::with(Mode::Out, &["--drain", "600"]);
    let (visitor, target) = tunnel.flow();
    let pid = pid(&tunnel.client);
    let mut stop = tunnel.site.command("rstun");
    let stop = Program::start(stop.args(["stop", "--pid", &pid]));
    stop.line(&format!(
        "{pid} (client of {}): open flows have 600 s",
        tunnel.server_addr
    ));
    // What was open goes on, and who asks for the same again waits too.
    assert_joined(&visitor, &target);
    let mut again = tunnel.site.command("rstun");
    let again = Program::start(again.args(["stop", "--pid", &pid]));
    again.line("open flows have 600 s");
    assert_eq!(stop.count("has stopped"), 0);
    finish(&visitor);
    finish(&target);
    assert_eq!(receive_all(&visitor), b"");
    for stop in [stop, again] {
        let ended = stop.ended();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout.contains("has stopped"), "{}", ended.stdout);
    }
    assert_eq!(tunnel.client.ended().code, 0);

    // The only one that is left.
    let ended = rstun(&tunnel.site, &["stop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(tunnel.server.ended().code, 0);
    let ended = rstun(&tunnel.site, &["stop"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .error()
            .contains("no rstun server or client is running here")
    );
}

#[test]
fn it_has_to_be_clear_which_one_is_meant() {
    let tunnel = Tunnel::new(Mode::In);
    let (server, client) = (pid(&tunnel.server), pid(&tunnel.client));
    let ended = rstun(&tunnel.site, &["stop"]);
    assert_eq!(ended.code, 1);
    let addr = tunnel.server_addr;
    for part in [
        "--pid".to_owned(),
        format!("{server} (server at {addr})"),
        format!("{client} (client of {addr})"),
    ] {
        assert!(ended.error().contains(&part), "{}", ended.stderr);
    }
    let ended = rstun(&tunnel.site, &["stop", "--pid", "1"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.error().contains("--pid 1: it is none of"),
        "{}",
        ended.stderr
    );
    let missing = tunnel.site.path("run/rstun/client-1.sock");
    let missing = missing.to_string_lossy();
    let ended = rstun(&tunnel.site, &["stop", "--socket", &missing]);
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("--socket "), "{}", ended.stderr);
    tunnel.flow();
}
