//! A client in the test's own process, which can do what no other would.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rstun::access::{Credential, Password};
use rstun::metrics::Account;
use rstun::session::{self, Former, LoggedIn};
use rstun::tls::Trust;
use rstun::transport::{self, Congestion, Connection, Hop, Tuning};
use rstun::tunnel::{Direction, Tunnel};

use super::{DEADLINE, PASSWORD, Site};

/// Who knows a site's password and certificate, and connects as often as it likes.
pub(crate) struct Peer {
    server: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    credential: Credential,
}

impl Peer {
    pub(crate) fn new(site: &Site, server: SocketAddr) -> Self {
        let pinned = Trust::load(&[site.path("certificate.der")]).expect("a copy");
        let tls = pinned.config(session::ALPN, None).expect("a configuration");
        let password = Password::new(PASSWORD.to_owned().into()).expect("a password");
        Self {
            server,
            tls: Arc::new(tls),
            credential: Credential::Password(password),
        }
    }

    /// Connects by QUIC.
    pub(crate) async fn connect(&self) -> Connection {
        let tuning = Tuning {
            congestion: Congestion::Bbr,
            idle_timeout: DEADLINE,
            hop: Hop::default(),
        };
        let connection = transport::connect(self.server, self.tls.clone(), "rstun", tuning);
        connection.await.expect("a connection")
    }

    /// Logs in with these tunnels, numbered from 0, in place of its session of before.
    pub(crate) async fn log_in(&self, connection: &Connection, tunnels: &[Tunnel]) -> LoggedIn {
        let tunnels: Vec<_> = (0..).zip(tunnels.iter().cloned()).collect();
        let account = Account::new(&Arc::default(), "");
        let who = ([7; 16], Former::Breaks);
        let login = session::login(
            connection.clone(),
            &self.credential,
            who,
            &tunnels,
            DEADLINE,
            account,
        );
        login.await.expect("a session")
    }
}

/// TunnelOut by its mapping.
pub(crate) fn tunnel_out(mapping: &str) -> Tunnel {
    let mut tunnels = Tunnel::parse(Direction::Out, mapping).expect("a mapping");
    tunnels.remove(0)
}

/// Does what such a client does, in the calling thread.
pub(crate) fn block_on<T>(act: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(act)
}
