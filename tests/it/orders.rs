//! When a running client answers who gives it orders: at once where that is up to itself, and else when
//! its server has done its part.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::sockets::{Reception, assert_joined, join, steady_port, wait_for_reception};
use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{Program, Signal};

/// What is promised for an answer, twice.
const AT_ONCE: Duration = Duration::from_secs(2);

/// `rstun` with arguments, for the tunnel's client. Its socket is named, for a server that is asked who
/// it is says nothing while it sleeps.
fn order(tunnel: &Tunnel, args: &[&str]) -> Command {
    let socket = format!("run/rstun/client-{}.sock", tunnel.client.id());
    let mut command = tunnel.site.command("rstun");
    command.args(args).args(["--socket", &socket]);
    command
}

/// Runs it to its end, and returns what it says.
fn ask(tunnel: &Tunnel, args: &[&str]) -> String {
    let ended = tunnel.site.run(&mut order(tunnel, args));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

#[test]
fn nobody_waits_for_a_server_that_somebody_else_asks() {
    let tunnel = Tunnel::new(Mode::In);
    tunnel.server.signal(Signal::Stop);
    let mapping = format!("{}^127.0.0.1:0", tunnel.target.addr());
    let adding = Program::start(&mut order(&tunnel, &["tunnel", "add", "-R", &mapping]));
    loop {
        let asked = Instant::now();
        let listed = ask(&tunnel, &["tunnel", "list"]);
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        // Under the columns' names.
        if listed.lines().count() == 1 + 2 {
            break;
        }
    }
    let asked = Instant::now();
    ask(&tunnel, &["status"]);
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    tunnel.server.signal(Signal::Continue);
    adding.line("listening on ");
    assert_eq!(adding.ended().code, 0);
}

/// Adds a tunnel, and returns where the server listens.
fn add(tunnel: &Tunnel, mapping: &str) -> SocketAddr {
    let added = ask(tunnel, &["tunnel", "add", "-R", mapping]);
    let (_, addr) = added.rsplit_once("listening on ").expect("an address");
    addr.trim().parse().expect("an address")
}

#[test]
fn a_port_is_free_when_its_tunnel_has_been_removed() {
    let tunnel = Tunnel::new(Mode::In);
    let target = tunnel.target.addr();
    let mut flows = Vec::new();
    let mapping = format!("{target}^127.0.0.1:{}", steady_port());
    for _ in 0..5 {
        let entrance = add(&tunnel, &mapping);
        flows.push(join(entrance, &tunnel.target));
        ask(&tunnel, &["tunnel", "remove", "-R", &mapping]);
        drop(TcpListener::bind(entrance).expect("a free port"));
    }
    // What is open drains.
    for (visitor, end) in &flows {
        assert_joined(visitor, end);
    }

    let mapping = format!("9^udp://127.0.0.1:{}", steady_port());
    for _ in 0..5 {
        let entrance = add(&tunnel, &mapping);
        ask(&tunnel, &["tunnel", "remove", "-R", &mapping]);
        drop(UdpSocket::bind(entrance).expect("a free port"));
    }
}

#[test]
fn a_server_that_does_not_say_that_a_port_is_free_is_told_of() {
    let tunnel = Tunnel::new(Mode::In);
    let mapping = format!("{}^127.0.0.1:0", tunnel.target.addr());
    let entrance = add(&tunnel, &mapping);
    tunnel.server.signal(Signal::Stop);
    let removed = tunnel
        .site
        .run(&mut order(&tunnel, &["tunnel", "remove", "1"]));
    assert_eq!(removed.code, 1, "{}", removed.stdout);
    let why = "removed, but the server has not said in 5 s";
    assert!(removed.error().contains(why), "{}", removed.stderr);
    tunnel.server.signal(Signal::Continue);
    assert_eq!(ask(&tunnel, &["tunnel", "list"]).lines().count(), 1 + 1);
    wait_for_reception(entrance, &[Reception::Closed]);
}
