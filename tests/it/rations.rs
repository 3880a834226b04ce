//! What a client whose login is good can have written to the server's log.

use std::time::Duration;

use rstun::session::{LoggedIn, Summons};
use tokio_util::sync::CancellationToken;

use crate::harness::peer::{Peer, block_on, tunnel_out};
use crate::harness::tunnel::{Mode, Tunnel};

/// Lines about a client's tunnels that are written at once.
const STORE: usize = 1000;

/// So many come and go, which is two lines each.
const TUNNELS: u32 = STORE as u32 / 2 + 20;

/// A client that opens and closes tunnels as fast as it can, and so could fill a disk.
#[test]
fn of_tunnels_that_come_and_go() {
    let tunnel = Tunnel::new(Mode::Out);
    block_on(open_and_close(&tunnel));
    let lines = || {
        let [up, down] = ["event=\"tunnel-up\"", "event=\"tunnel-down\""]
            .map(|event| tunnel.server.count(event));
        up + down
    };
    tunnel.server.line("client gone");
    // There may be some more after a minute.
    assert!((STORE..=STORE + 30).contains(&lines()), "{}", lines());
    // What others do is not their business.
    tunnel.flow();
}

/// Opens one tunnel after the other and closes it.
async fn open_and_close(tunnel: &Tunnel) {
    let peer = Peer::new(&tunnel.site, tunnel.server_addr);
    let LoggedIn { session, .. } = peer.log_in(&peer.connect().await, &[]).await;
    let (opener, stop, summons) = (
        session.opener(),
        CancellationToken::new(),
        Summons::default(),
    );
    let mapping = tunnel_out(&format!("127.0.0.1:0^{}", tunnel.target.addr()));
    let churn = async {
        for number in 0..TUNNELS {
            opener
                .open_tunnel(number, &mapping)
                .await
                .expect("a tunnel");
            let _ = opener.close_tunnel(number, Duration::ZERO).await.await;
        }
        stop.cancel();
    };
    tokio::join!(session.run(&stop, &summons, Duration::ZERO), churn);
}
