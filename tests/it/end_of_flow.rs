//! How a flow ends: in one direction, in both, by a reset, or before it began. A flow that broke must
//! never look like one that ended.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use crate::harness::sockets::{
    ClosedPort, Target, assert_joined, assert_reset, assert_turned_away, fill, finish, join,
    receive, receive_all, reset, send, visit,
};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{Program, Site};

in_both_modes!(
    visitor_finishes_first,
    target_finishes_first,
    visitor_resets,
    target_resets,
    visitor_resets_after_the_target_finished,
    visitor_resets_at_once,
    visitor_resets_a_full_flow,
    target_resets_a_full_flow,
    short_flows_end_in_order,
    target_refuses,
);

/// More than any buffer on the way holds, so that it has to flow.
const MUCH: usize = 4 << 20;

fn visitor_finishes_first(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let visitor = visit(tunnel.entrance);
    send(&visitor, b"the whole request");
    finish(&visitor);
    let target = tunnel.target.accept();
    assert_eq!(receive_all(&target), b"the whole request");

    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&target, vec![b'a'; MUCH]);
            finish(&target);
        });
        assert_eq!(receive_all(&visitor), vec![b'a'; MUCH]);
    });
}

fn target_finishes_first(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    send(&target, b"all I have to say");
    finish(&target);
    assert_eq!(receive_all(&visitor), b"all I have to say");

    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&visitor, vec![b'b'; MUCH]);
            finish(&visitor);
        });
        assert_eq!(receive_all(&target), vec![b'b'; MUCH]);
    });
}

fn visitor_resets(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    reset(visitor);
    assert_reset(&target);
    // The connection and the tunnel are none the worse for it.
    tunnel.flow();
}

fn target_resets(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    reset(target);
    assert_reset(&visitor);
    tunnel.flow();
}

/// The direction that has ended has nothing left to carry the reset; the other one must.
fn visitor_resets_after_the_target_finished(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    send(&target, b"bye");
    finish(&target);
    assert_eq!(receive_all(&visitor), b"bye");
    reset(visitor);
    assert_reset(&target);
}

/// The reset may be there before the visitor has been accepted. Its target sees a reset too, or nothing.
fn visitor_resets_at_once(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    for _ in 0..20 {
        reset(visit(tunnel.entrance));
    }
    let visitor = visit(tunnel.entrance);
    send(&visitor, b"hello");
    loop {
        let mut target = tunnel.target.accept();
        match target.read_exact(&mut [0; 5]).map_err(|error| error.kind()) {
            Ok(()) => return assert_joined(&visitor, &target),
            Err(error) => assert_eq!(error, ErrorKind::ConnectionReset, "a reset became an end"),
        }
    }
}

/// The target reads nothing, so that all buffers on the way are full when the visitor gives up.
fn visitor_resets_a_full_flow(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    fill(&visitor);
    reset(visitor);
    assert_eq!(drain(&target), ErrorKind::ConnectionReset);
    tunnel.flow();
}

fn target_resets_a_full_flow(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let (visitor, target) = tunnel.flow();
    fill(&visitor);
    reset(target);
    // What it sent is lost to it; that must not look like having been taken.
    assert_reset(&visitor);
    tunnel.flow();
}

/// Reads until an error.
fn drain(mut stream: &TcpStream) -> ErrorKind {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("an orderly end"),
            Ok(_) => {}
            Err(error) => return error.kind(),
        }
    }
}

/// All that the visitor has to say has arrived before its target, whose name takes its time to be resolved, has
/// been dialed.
fn short_flows_end_in_order(mode: Mode) {
    let site = Site::new();
    let target = Target::new();
    let name = format!("localhost:{}", target.port());
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", &name]);
    let [flag, mapping] = match mode {
        Mode::Out => ["-L", &format!("127.0.0.1:0^{name}")],
        Mode::In => ["-R", &format!("{name}^127.0.0.1:0")],
    };
    let client = site.client(server.server_addr(), &[flag, mapping]);
    let entrance = client.entrance(match mode {
        Mode::Out => ": listening on ",
        Mode::In => ": the server listens on ",
    });
    for round in 0..100u32 {
        let visitor = visit(entrance);
        send(&visitor, round.to_be_bytes());
        finish(&visitor);
        let target = target.accept();
        assert_eq!(receive_all(&target), round.to_be_bytes());
        send(&target, b"done");
        drop(target);
        assert_eq!(receive_all(&visitor), b"done");
    }
}

/// A client with a tunnel to nowhere and one to somewhere.
fn target_refuses(mode: Mode) {
    let closed = ClosedPort::new();
    let open = Target::new();
    let site = Site::new();
    let server = site.server(&[closed.addr(), open.addr()]);
    let args = [mode.args(closed.addr()), mode.args(open.addr())].concat();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server.server_addr(), &args);
    let nowhere = client.entrance(&mode.announcement(closed.addr()));
    let somewhere = client.entrance(&mode.announcement(open.addr()));

    // One visitor who waits to be spoken to, one who speaks.
    assert_turned_away(nowhere, b"");
    assert_turned_away(nowhere, b"anyone there?");

    let names_it = |program: &Program| {
        let line = program.line("refused");
        let port = closed.addr().port().to_string();
        assert!(line.contains(&port), "{line:?} does not name port {port}");
    };
    names_it(&server);
    names_it(&client);
    let (visitor, target) = join(somewhere, &open);
    send(&visitor, b"!");
    assert_eq!(receive(&target, 1), b"!");
}
