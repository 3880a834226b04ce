//! A stay with one server: from connecting to it to the end of the session, over as many connections as
//! that takes.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::connecting::{self, CONNECT_DEADLINE};
use crate::config::{ClientConfig, Upstream};
use crate::metrics::{self, Account, Login};
use crate::session::{self, ALPN, Instance, LoggedIn, Opener, Session, SessionError, Summons};
use crate::transport::{CloseCode, Connection, Lost};
use crate::tunnel::{Host, HostPort};

/// Head start of a connection that was out of hearing over one made since: the older has the flows. It
/// is looked at each second whether it is heard.
const SECOND_CHANCE: Duration = Duration::from_millis(2200);

/// Time between attempts to connect beside a connection that is out of hearing.
const ANOTHER_TRY: Duration = Duration::from_secs(1);

/// What connects to one server and carries sessions with it.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    /// The server.
    pub(super) upstream: Upstream,
    config: Arc<ClientConfig>,
    tls: Arc<rustls::ClientConfig>,
    instance: Instance,
    account: Arc<Account>,
    /// Whether there has been a session with this server.
    connected: Arc<AtomicBool>,
    stop: CancellationToken,
}

/// What happens during a stay.
#[derive(Debug)]
pub(super) enum News {
    /// There is a session.
    Up(Opener),
    /// The server is out of hearing, or is heard again.
    Deaf(bool),
    /// The session takes no new flows any more, and lasts as long as those that are open.
    Draining,
    /// The server is out of hearing, and by another address it is not: that may be another machine.
    Elsewhere(Connection),
}

/// How a stay ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// In order, as it was told to.
    Stopped,
    /// With the connection.
    Lost(Lost),
    /// Without a session.
    Failed(SessionError),
}

impl Keeper {
    /// One that stays until `stop` is cancelled, and counts in this account.
    pub(super) fn new(
        upstream: Upstream,
        config: Arc<ClientConfig>,
        stop: CancellationToken,
        account: Arc<Account>,
    ) -> Result<Self> {
        let tls = upstream.trust.config(ALPN, config.credential.key())?;
        Ok(Self {
            upstream,
            account,
            connected: Arc::default(),
            config,
            tls: Arc::new(tls),
            instance: new_instance(),
            stop,
        })
    }

    /// Takes what comes next for another client than the one so far: a new session replaces one of the
    /// same client's, with all of its flows.
    pub(super) fn begin_anew(&mut self) {
        self.instance = new_instance();
    }

    /// Connects, if there is no connection yet, logs in and carries flows until the session is lost, or
    /// until told to stop. On `retire` it takes no new flows, and ends with the last that is open.
    pub(super) async fn stay(
        self,
        mut next: Option<Connection>,
        retire: CancellationToken,
        mut tell: impl FnMut(News),
    ) -> Outcome {
        loop {
            let log_in = self.stop.run_until_cancelled(self.log_in(next.take()));
            let logged_in = match retire.run_until_cancelled(log_in).await.flatten() {
                None => return Outcome::Stopped,
                Some(Err(e)) => return Outcome::Failed(e),
                Some(Ok(logged_in)) => logged_in,
            };
            match self.carry(logged_in, &retire, &mut tell).await {
                Ended::Superseded(connection) => next = Some(connection),
                Ended::Stopped => return Outcome::Stopped,
                Ended::Lost(lost) => return Outcome::Lost(lost),
            }
        }
    }

    /// Connects to the server as it can be reached now. Cancel-safe.
    async fn connect(&self) -> Result<Connection, SessionError> {
        let connection =
            connecting::connect(&self.upstream.addr, &self.tls, self.config.tuning).await;
        connection.map_err(|lost| match lost {
            Lost::Certificate(why) => SessionError::Untrusted(self.upstream.trust.complaint(&why)),
            lost => SessionError::Lost(lost),
        })
    }

    /// Logs in to the server, over this connection or a new one.
    async fn log_in(&self, connection: Option<Connection>) -> Result<LoggedIn, SessionError> {
        let logged_in = self.try_to_log_in(connection).await;
        let failed = logged_in.as_ref().err();
        let how = failed.map_or(Login::Accepted, SessionError::kind);
        self.account.metrics().login(how);
        logged_in
    }

    async fn try_to_log_in(
        &self,
        connection: Option<Connection>,
    ) -> Result<LoggedIn, SessionError> {
        let connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let remote = connection.remote_address();
        let tunnels = &self.config.tunnels;
        let credential = &self.config.credential;
        let idle = self.config.udp_idle;
        let login = session::login(
            connection,
            credential,
            self.instance,
            tunnels,
            idle,
            self.account.clone(),
        );
        let logged_in = timeout(CONNECT_DEADLINE, login)
            .await
            .map_err(|_| SessionError::Lost(Lost::TimedOut))??;
        info!("connected to {remote}");
        for (tunnel, listening) in tunnels.iter().zip(&logged_in.listening) {
            if let Some(addr) = listening {
                let reached = reached(addr, &self.upstream.addr.host);
                match self.config.servers.len() {
                    1 => info!("{tunnel}: the server listens on {addr}{reached}"),
                    _ => info!(
                        "{tunnel}: {} listens on {addr}{reached}",
                        self.upstream.addr
                    ),
                }
            }
        }
        Ok(logged_in)
    }

    /// Runs a session to its end, and shows it for as long.
    async fn carry(
        &self,
        logged_in: LoggedIn,
        retire: &CancellationToken,
        tell: &mut impl FnMut(News),
    ) -> Ended {
        let LoggedIn { session, listening } = logged_in;
        if self.connected.swap(true, Ordering::Relaxed) {
            self.account.metrics().reconnect();
        }
        let _listed = session.list(&self.upstream.addr.to_string());
        self.say_where(&listening, metrics::Tunnel::listens_at);
        let ended = self.run(session, retire, tell).await;
        self.say_where(&listening, metrics::Tunnel::listens_no_more_at);
        ended
    }

    /// Tells of each tunnel where the server listens for it, or no more.
    fn say_where(&self, listening: &[Option<String>], tell: impl Fn(&metrics::Tunnel, &str)) {
        for (tunnel, addr) in self.config.tunnels.iter().zip(listening) {
            if let Some(addr) = addr {
                tell(&self.account.dialed(&tunnel.to_string()), addr);
            }
        }
    }

    /// Keeps in mind why there is no session.
    pub(super) fn fault(&self, why: &str) {
        self.account.metrics().fault(why);
    }

    /// Runs a session to its end. One that has become deaf ends when another connection can be had
    /// before it is heard again, unless it takes no new flows any more.
    async fn run(
        &self,
        session: Session,
        retire: &CancellationToken,
        tell: &mut impl FnMut(News),
    ) -> Ended {
        let opener = session.opener();
        tell(News::Up(opener.clone()));
        let summons = Summons {
            retire: retire.clone(),
            ..Summons::default()
        };
        let mut run = pin!(session.run(&self.stop, &summons, self.config.drain));
        let connection = tokio::select! {
            ended = &mut run => return ended.into(),
            () = follow(&opener, tell) => unreachable!("it follows for ever"),
            connection = self.replacement(&opener) => connection,
        };
        if connection.remote_address().ip() != opener.remote_address().ip() {
            // What is open can go on when the server is heard again.
            tell(News::Elsewhere(connection));
            return run.await.into();
        }
        summons.leave.cancel();
        match run.await {
            session::Ended::Superseded => Ended::Superseded(connection),
            ended => ended.into(),
        }
    }

    /// Waits for a connection to take the place of one that is out of hearing, for ever if that takes no
    /// new flows any more. Cancel-safe.
    async fn replacement(&self, opener: &Opener) -> Connection {
        tokio::select! {
            connection = self.other_connection(opener) => connection,
            () = opener.draining() => std::future::pending().await,
        }
    }

    async fn other_connection(&self, opener: &Opener) -> Connection {
        loop {
            opener.deaf(true).await;
            match self.connect().await {
                Ok(connection) => {
                    // The way is open, so the older one is heard too if it lives.
                    opener.probe();
                    if timeout(SECOND_CHANCE, opener.deaf(false)).await.is_err() {
                        return connection;
                    }
                    connection.close(CloseCode::Done, "not needed").await;
                }
                Err(e) => {
                    debug!("no other connection to {}: {e}", self.upstream.addr);
                    sleep(ANOTHER_TRY).await;
                }
            }
        }
    }
}

/// Where visitors find what a server listens on, if that is not said by its address alone.
fn reached(listening: &str, server: &Host) -> String {
    match listening.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_unspecified() => {
            let (host, port) = (server.clone(), addr.port());
            format!(", reached at {}", HostPort { host, port })
        }
        _ => String::new(),
    }
}

/// How a session of the client's ended.
enum Ended {
    /// In order, as it was told to.
    Stopped,
    /// With its connection.
    Lost(Lost),
    /// In favour of this connection.
    Superseded(Connection),
}

impl From<session::Ended> for Ended {
    fn from(ended: session::Ended) -> Self {
        match ended {
            session::Ended::Lost(lost) => Self::Lost(lost),
            session::Ended::Stopped => Self::Stopped,
            // These are the server's, and the first is told of otherwise.
            session::Ended::Superseded | session::Ended::Unwelcome(_) | session::Ended::Dead => {
                Self::Stopped
            }
        }
    }
}

/// Tells what becomes of a session's peer, for ever.
async fn follow(opener: &Opener, tell: &mut impl FnMut(News)) {
    let mut deaf = false;
    loop {
        tokio::select! {
            () = opener.deaf(!deaf) => {
                deaf = !deaf;
                tell(News::Deaf(deaf));
            }
            () = opener.draining() => break,
        }
    }
    tell(News::Draining);
    std::future::pending().await
}

fn new_instance() -> Instance {
    std::array::from_fn(|_| fastrand::u8(..))
}
