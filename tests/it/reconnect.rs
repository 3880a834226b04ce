//! The client keeps trying: a server that is killed, told to end, or not there yet.

use std::net::SocketAddr;

use crate::harness::sockets::{Target, assert_reset, assert_turned_away, join, steady_port};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{Signal, Site};

in_both_modes!(
    server_killed_and_back_at_once,
    server_terminated_in_mid_run,
    server_not_there_yet,
);

/// The connection is dead, and neither the old server nor the kernel has told the client.
fn server_killed_and_back_at_once(mode: Mode) {
    let Tunnel {
        site,
        server,
        server_addr,
        client,
        entrance,
        target,
        mode,
    } = Tunnel::new(mode);
    let announcement = mode.announcement(target.addr());
    let (visitor, end) = join(entrance, &target);
    server.kill();
    let _server = site.server_again(server_addr, &[target.addr()]);

    client.nth_line(2, "connected to ");
    // What was open at the client's side has been broken off, and not ended.
    match mode {
        Mode::Out => assert_reset(&visitor),
        Mode::In => assert_reset(&end),
    }
    let entrance = match mode {
        Mode::Out => entrance,
        Mode::In => client.nth_addr(2, &announcement),
    };
    join(entrance, &target);
    if mode == Mode::Out {
        assert_eq!(client.count(&announcement), 1, "it listened once");
    }
}

/// Nobody is there for long, and then somebody is.
#[test]
fn server_gone_for_a_while() {
    let tunnel = Tunnel::new(Mode::Out);
    let (visitor, _end) = tunnel.flow();
    tunnel.server.kill();
    tunnel.client.line("nothing heard from the server");
    // The listener has stayed: one gets in, and is turned away when nobody can be reached.
    assert_turned_away(tunnel.entrance, b"");

    let targets = [tunnel.target.addr()];
    let _server = tunnel.site.server_again(tunnel.server_addr, &targets);
    tunnel.client.nth_line(2, "connected to ");
    assert_reset(&visitor);
    join(tunnel.entrance, &tunnel.target);
    let announcement = tunnel.mode.announcement(targets[0]);
    assert_eq!(tunnel.client.count(&announcement), 1, "it listened once");
}

/// As before, but the server says goodbye.
fn server_terminated_in_mid_run(mode: Mode) {
    let Tunnel {
        site,
        server,
        server_addr,
        client,
        entrance,
        target,
        mode,
    } = Tunnel::new(mode);
    join(entrance, &target);
    server.signal(Signal::Terminate);
    assert_eq!(server.ended().code, 0);
    client.line("retry");

    let _server = site.server_again(server_addr, &[target.addr()]);
    client.nth_line(2, "connected to ");
    let entrance = match mode {
        Mode::Out => entrance,
        Mode::In => client.nth_addr(2, &mode.announcement(target.addr())),
    };
    join(entrance, &target);
}

fn server_not_there_yet(mode: Mode) {
    let site = Site::new();
    let target = Target::new();
    let server_addr = SocketAddr::from(([127, 0, 0, 1], steady_port()));
    let args = mode.args(target.addr());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server_addr, &args);
    let announcement = mode.announcement(target.addr());
    if mode == Mode::Out {
        // It listens before there is anybody to connect to.
        assert_turned_away(client.addr(&announcement), b"");
    }
    client.line("retry");
    assert_eq!(client.count("connected to "), 0);

    let _server = site.server_again(server_addr, &[target.addr()]);
    join(client.entrance(&announcement), &target);
}
