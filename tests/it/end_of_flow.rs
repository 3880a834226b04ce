//! How a flow ends: in one direction, in both, by a reset, or before it began. A flow that broke must
//! never look like one that ended.

use crate::harness::sockets::{
    ClosedPort, Target, assert_reset, assert_turned_away, finish, join, receive, receive_all,
    reset, send, visit,
};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{Program, Site};

in_both_modes!(
    visitor_finishes_first,
    target_finishes_first,
    visitor_resets,
    target_resets,
    visitor_resets_after_the_target_finished,
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

/// A client with a tunnel to nowhere and one to somewhere.
fn target_refuses(mode: Mode) {
    let closed = ClosedPort::new();
    let open = Target::new();
    let site = Site::new();
    let server = site.server(&[closed.addr(), open.addr()]);
    let args = [mode.args(closed.addr()), mode.args(open.addr())].concat();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server.server_addr(), &args);
    let nowhere = client.addr(&mode.announcement(closed.addr()));
    let somewhere = client.addr(&mode.announcement(open.addr()));
    client.line("connected to ");

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
