//! A stay with one server: from connecting to it to the end of the session, over as many connections as
//! that takes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::backoff::Backoff;
use super::connecting::{self, CONNECT_DEADLINE};
use crate::config::{ClientConfig, Upstream, Ways};
use crate::session::{self, ALPN, Former, Instance, LoggedIn, Opener, SessionError, Summons};
use crate::transport::{CloseCode, Connection, Lost, Transport};

/// Head start of a connection that was out of hearing over one made since: the older has the flows. It
/// is looked at each second whether it is heard.
const SECOND_CHANCE: Duration = Duration::from_millis(2200);

/// The same over one by TCP, which says nothing of whether the older one's UDP gets through again: a look,
/// and the answer to a probe before it.
const SECOND_CHANCE_OVER_TCP: Duration = Duration::from_millis(1500);

/// Time between attempts to connect beside a connection that is out of hearing.
const ANOTHER_TRY: Duration = Duration::from_secs(1);

/// First and longest wait between attempts to go back to QUIC from TCP.
const FIRST_RETURN: Duration = Duration::from_secs(5);
const LONGEST_RETURN: Duration = Duration::from_secs(300);

/// What connects to one server and carries sessions with it.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    /// The server.
    pub(super) upstream: Upstream,
    config: Arc<ClientConfig>,
    tls: Arc<rustls::ClientConfig>,
    instance: Instance,
    stop: CancellationToken,
    /// Sessions by TCP that finish their flows while another goes on by QUIC.
    retiring: TaskTracker,
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
    /// One that stays until `stop` is cancelled.
    pub(super) fn new(
        upstream: Upstream,
        config: Arc<ClientConfig>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let tls = upstream.trust.config(ALPN, config.credential.key())?;
        Ok(Self {
            upstream,
            config,
            tls: Arc::new(tls),
            instance: new_instance(),
            stop,
            retiring: TaskTracker::new(),
        })
    }

    /// Waits, once stopped, for what is left of sessions that others have replaced.
    pub(super) async fn retired(&self) {
        self.retiring.close();
        self.retiring.wait().await;
    }

    /// Takes what comes next for another client than the one so far: a new session replaces one of the
    /// same client's, with all of its flows.
    pub(super) fn begin_anew(&mut self) {
        self.instance = new_instance();
    }

    /// Connects, logs in and carries flows until the session is lost, or until told to stop. On
    /// `retire` it takes no new flows, and ends with the last that is open.
    pub(super) async fn stay(
        self,
        retire: CancellationToken,
        mut tell: impl FnMut(News),
    ) -> Outcome {
        let (mut next, mut moved) = (None, None);
        loop {
            let log_in = async {
                match moved.take() {
                    Some(logged_in) => logged_in,
                    None => self.log_in(next.take(), Former::Breaks).await,
                }
            };
            let log_in = self.stop.run_until_cancelled(log_in);
            let logged_in = match retire.run_until_cancelled(log_in).await.flatten() {
                None => return Outcome::Stopped,
                Some(Err(e)) => return Outcome::Failed(e),
                Some(Ok(logged_in)) => logged_in,
            };
            match self.carry(logged_in, &retire, &mut tell).await {
                Ended::Superseded(connection) => next = Some(connection),
                Ended::Moved(logged_in) => moved = Some(*logged_in),
                Ended::Stopped => return Outcome::Stopped,
                Ended::Lost(lost) => return Outcome::Lost(lost),
            }
        }
    }

    /// Connects to the server as it can be reached now. Cancel-safe.
    async fn connect(&self) -> Result<Connection, SessionError> {
        let connection = connecting::connect(
            &self.upstream.addr,
            &self.upstream.ways,
            &self.tls,
            self.config.tuning,
        )
        .await;
        connection.map_err(|lost| match lost {
            Lost::Certificate(why) => SessionError::Untrusted(self.upstream.trust.complaint(&why)),
            lost => SessionError::Lost(lost),
        })
    }

    /// Logs in to the server, over this connection or a new one.
    async fn log_in(
        &self,
        connection: Option<Connection>,
        former: Former,
    ) -> Result<LoggedIn, SessionError> {
        let connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let remote = connection.remote_address();
        let tunnels = &self.config.tunnels;
        let credential = &self.config.credential;
        let idle = self.config.udp_idle;
        let who = (self.instance, former);
        let login = session::login(connection, credential, who, tunnels, idle);
        let logged_in = timeout(CONNECT_DEADLINE, login)
            .await
            .map_err(|_| SessionError::Lost(Lost::TimedOut))??;
        match logged_in.session.opener().describe().transport {
            Transport::Quic => info!("connected to {remote}"),
            Transport::Tcp => info!("connected to {remote} by TCP"),
        }
        for (tunnel, listening) in tunnels.iter().zip(&logged_in.listening) {
            if let Some(addr) = listening {
                match self.config.servers.len() {
                    1 => info!("{tunnel}: the server listens on {addr}"),
                    _ => info!("{tunnel}: {} listens on {addr}", self.upstream.addr),
                }
            }
        }
        Ok(logged_in)
    }

    /// Runs a session to its end. One that has become deaf ends when another connection can be had
    /// before it is heard again, unless it takes no new flows any more.
    async fn carry(
        &self,
        logged_in: LoggedIn,
        retire: &CancellationToken,
        tell: &mut impl FnMut(News),
    ) -> Ended {
        let session = logged_in.session;
        let opener = session.opener();
        tell(News::Up(opener.clone()));
        let summons = Arc::new(Summons {
            retire: retire.child_token(),
            ..Summons::default()
        });
        let (stop, drain, summoned) = (self.stop.clone(), self.config.drain, summons.clone());
        let mut run = Box::pin(async move { session.run(&stop, &summoned, drain).await });
        let connection = tokio::select! {
            ended = &mut run => return ended.into(),
            () = follow(&opener, tell) => unreachable!("it follows for ever"),
            connection = self.replacement(&opener) => connection,
            moved = self.back_to_quic(&opener) => {
                // Its flows go on where they are, and new ones do not wait for that.
                summons.retire.cancel();
                self.retiring.spawn(run);
                return Ended::Moved(Box::new(moved));
            }
        };
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

    /// Logs in by QUIC as soon as that works, where the session so far goes by TCP though it need not. The
    /// server hands to the new session what it listens on. Cancel-safe.
    async fn back_to_quic(&self, opener: &Opener) -> Result<LoggedIn, SessionError> {
        let ways = &self.upstream.ways;
        if opener.describe().transport == Transport::Quic || !ways.quic {
            return std::future::pending().await;
        }
        let ways = Ways {
            quic: true,
            tcp: None,
        };
        let mut backoff = Backoff::between(FIRST_RETURN, LONGEST_RETURN);
        loop {
            sleep(backoff.wait(fastrand::f64())).await;
            if opener.is_deaf() || !opener.is_open() {
                continue;
            }
            let (addr, tuning) = (&self.upstream.addr, self.config.tuning);
            match connecting::connect(addr, &ways, &self.tls, tuning).await {
                Ok(connection) => return self.log_in(Some(connection), Former::Retires).await,
                Err(e) => debug!("no QUIC yet to {addr}: {e}"),
            }
        }
    }

    async fn other_connection(&self, opener: &Opener) -> Connection {
        loop {
            opener.deaf(true).await;
            match self.connect().await {
                Ok(connection) => {
                    // The way is open, so the older one is heard too if it lives.
                    opener.probe();
                    let chance = match connection.describe().transport {
                        Transport::Quic => SECOND_CHANCE,
                        Transport::Tcp => SECOND_CHANCE_OVER_TCP,
                    };
                    if timeout(chance, opener.deaf(false)).await.is_err() {
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

/// How a session of the client's ended.
enum Ended {
    /// In order, as it was told to.
    Stopped,
    /// With its connection.
    Lost(Lost),
    /// In favour of this connection.
    Superseded(Connection),
    /// In favour of another session, if there is one; its flows go on.
    Moved(Box<Result<LoggedIn, SessionError>>),
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
