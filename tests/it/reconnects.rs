//! A client that connects a thousand times leaves nothing behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rstun::access::{Credential, Password};
use rstun::metrics::Account;
use rstun::session;
use rstun::tls::Trust;
use rstun::transport::{self, CloseCode, Congestion, Hop, Tuning};
use rstun::tunnel::{Direction, Tunnel as Mapping};
use tokio::task::JoinSet;

use crate::harness::link::say;
use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{DEADLINE, PASSWORD};

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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let pinned = Trust::load(&[tunnel.site.path("certificate.der")]).expect("a copy");
    let tls = Arc::new(pinned.config(session::ALPN, None).expect("a configuration"));
    let tuning = Tuning {
        congestion: Congestion::Bbr,
        idle_timeout: DEADLINE,
        hop: Hop::default(),
    };
    let mapping = format!("127.0.0.1:0^{target}");
    let mappings = Mapping::parse(Direction::Out, &mapping).expect("a mapping");
    let tunnels: Vec<_> = (0..).zip(mappings).collect();
    let password = Password::new(PASSWORD.to_owned().into()).expect("a password");
    let credential = Credential::Password(password);
    runtime.block_on(async {
        // A goodbye takes its time, in which the next connection can be made.
        let mut closing = JoinSet::new();
        for _ in 0..times {
            let connection = transport::connect(tunnel.server_addr, tls.clone(), "rstun", tuning);
            let connection = connection.await.expect("a connection");
            let idle = Duration::from_secs(60);
            let account = Account::new(&Arc::default(), "");
            let peer = connection.clone();
            let who = ([7; 16], session::Former::Breaks);
            let login = session::login(peer, &credential, who, &tunnels, idle, account);
            login.await.expect("a session");
            if closing.len() >= CLOSING {
                closing.join_next().await;
            }
            closing.spawn(async move { connection.close(CloseCode::Done, "enough").await });
        }
        closing.join_all().await;
    });
}
