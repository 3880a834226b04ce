//! What a client whose login is good can have written to the server's log.

use std::sync::Arc;
use std::time::Duration;

use rstun::access::{Credential, Password};
use rstun::metrics::Account;
use rstun::session::{self, Former, LoggedIn, Summons};
use rstun::tls::Trust;
use rstun::transport::{self, Congestion, Hop, Tuning};
use rstun::tunnel::{Direction, Tunnel as Mapping};
use tokio_util::sync::CancellationToken;

use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{DEADLINE, PASSWORD};

/// Lines about a client's tunnels that are written at once.
const STORE: usize = 1000;

/// So many come and go, which is two lines each.
const TUNNELS: u32 = STORE as u32 / 2 + 20;

/// A client that opens and closes tunnels as fast as it can, and so could fill a disk.
#[test]
fn of_tunnels_that_come_and_go() {
    let tunnel = Tunnel::new(Mode::Out);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(open_and_close(&tunnel));
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
    let pinned = Trust::load(&[tunnel.site.path("certificate.der")]).expect("a copy");
    let tls = Arc::new(pinned.config(session::ALPN, None).expect("a configuration"));
    let tuning = Tuning {
        congestion: Congestion::Bbr,
        idle_timeout: DEADLINE,
        hop: Hop::default(),
    };
    let connection = transport::connect(tunnel.server_addr, tls, "rstun", tuning);
    let connection = connection.await.expect("a connection");
    let password = Password::new(PASSWORD.to_owned().into()).expect("a password");
    let credential = Credential::Password(password);
    let account = Account::new(&Arc::default(), "");
    let who = ([7; 16], Former::Breaks);
    let login = session::login(connection, &credential, who, &[], DEADLINE, account);
    let LoggedIn { session, .. } = login.await.expect("a session");
    let (opener, stop, summons) = (
        session.opener(),
        CancellationToken::new(),
        Summons::default(),
    );
    let mapping = format!("127.0.0.1:0^{}", tunnel.target.addr());
    let mapping = Mapping::parse(Direction::Out, &mapping)
        .expect("a mapping")
        .remove(0);
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
