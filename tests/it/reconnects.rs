//! A client that connects a thousand times leaves nothing behind.

use rstun::transport::CloseCode;
use std::net::SocketAddr;
use tokio::task::JoinSet;

use crate::harness::link::say;
use crate::harness::peer::{Peer, block_on, tunnel_out};
use crate::harness::tunnel::{Mode, Tunnel};

/// So many connections, one after the other, and so many before, after which the memory that a server
/// needs for one at a time has been taken.
const CONNECTIONS: usize = 1000;
const BEFORE: usize = 500;

/// Bytes that the server's memory may grow by meanwhile: a tenth of what a connection takes, for each.
const GROWTH: u64 = 4 << 20;

/// Goodbyes at once.
const CLOSING: usize = 8;

#[test]
fn a_thousand() {
    let tunnel = Tunnel::new(Mode::Out);
    let target = tunnel.target.addr();
    connect(&tunnel, target, BEFORE);
    tunnel.server.nth_line(BEFORE, "client gone");
    let before = (tunnel.server.descriptors(), tunnel.server.peak_memory());
    connect(&tunnel, target, CONNECTIONS);
    tunnel.server.nth_line(BEFORE + CONNECTIONS, "client gone");
    let after = (tunnel.server.descriptors(), tunnel.server.peak_memory());
    let grown = after.1 - before.1;
    say(&format!(
        "{} descriptors before and {} after, {} KiB of memory more",
        before.0,
        after.0,
        grown >> 10
    ));
    assert_eq!(before.0, after.0);
    assert!(grown < GROWTH, "{grown}");
    tunnel.flow();
}

/// Logs in to the tunnel's server so many times, and leaves.
fn connect(tunnel: &Tunnel, target: SocketAddr, times: usize) {
    let peer = Peer::new(&tunnel.site, tunnel.server_addr);
    let tunnels = [tunnel_out(&format!("127.0.0.1:0^{target}"))];
    block_on(async {
        // A goodbye takes its time, in which the next connection can be made.
        let mut closing = JoinSet::new();
        for _ in 0..times {
            let connection = peer.connect().await;
            peer.log_in(&connection, &tunnels).await;
            if closing.len() >= CLOSING {
                closing.join_next().await;
            }
            closing.spawn(async move { connection.close(CloseCode::Done, "enough").await });
        }
        closing.join_all().await;
    });
}
