//! What keeps a session with one server up: it connects, logs in, carries flows through the session to
//! its end, and begins again after a while.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::ClientError;
use super::backoff::Backoff;
use super::connecting::{self, CONNECT_DEADLINE};
use crate::config::ClientConfig;
use crate::session::{self, ALPN, Instance, LoggedIn, Opener, SessionError, Summons};
use crate::transport::{CloseCode, Connection, Lost, Transport};

/// Head start of a connection that was out of hearing over one made since: the older has the flows. It
/// is looked at each second whether it is heard.
const SECOND_CHANCE: Duration = Duration::from_millis(2200);

/// Time between attempts to connect beside a connection that is out of hearing.
const ANOTHER_TRY: Duration = Duration::from_secs(1);

/// Keeps a session with one server up.
#[derive(Debug)]
pub(super) struct Keeper {
    config: ClientConfig,
    tls: Arc<rustls::ClientConfig>,
    instance: Instance,
    stop: CancellationToken,
    /// The session that there is at any time.
    current: watch::Sender<Option<Opener>>,
}

impl Keeper {
    /// One that has not begun, and that stops when `stop` is cancelled.
    pub(super) fn new(config: ClientConfig, stop: CancellationToken) -> Result<Self> {
        Ok(Self {
            tls: Arc::new(config.trust.config(ALPN, config.credential.key())?),
            instance: std::array::from_fn(|_| fastrand::u8(..)),
            stop,
            current: watch::Sender::new(None),
            config,
        })
    }

    /// The session that there is at any time.
    pub(super) fn session(&self) -> watch::Receiver<Option<Opener>> {
        self.current.subscribe()
    }

    /// Keeps a session up until told to stop; without `again`, one session until its end. It fails
    /// when trying again is of no use. When it returns, there is no session any more.
    pub(super) async fn run(self, again: bool) -> Result<(), ClientError> {
        info!("connecting to {}", self.config.server);
        let mut backoff = Backoff::new();
        let mut next = None;
        while !self.stop.is_cancelled() {
            let log_in = self.log_in(next.take());
            let why = match self.stop.run_until_cancelled(log_in).await {
                None => break,
                Some(Ok(logged_in)) => {
                    backoff.reset();
                    match self.carry(logged_in).await {
                        Ended::Stopped => break,
                        Ended::Superseded(connection) => {
                            next = Some(connection);
                            continue;
                        }
                        Ended::Lost(lost) => format!("connection lost: {lost}"),
                    }
                }
                Some(Err(e)) if e.is_final() => return Err(e.into()),
                Some(Err(e)) => format!("cannot connect to {}: {e}", self.config.server),
            };
            if !again {
                return Err(ClientError::Once(why));
            }
            let wait = backoff.wait(fastrand::f64());
            warn!("{why}; retry in {:.1} s", wait.as_secs_f64());
            let _ = self.stop.run_until_cancelled(sleep(wait)).await;
        }
        Ok(())
    }

    /// Connects to the server as it can be reached now. Cancel-safe.
    async fn connect(&self) -> Result<Connection, SessionError> {
        let connection = connecting::connect(&self.config, &self.config.ways, &self.tls).await;
        connection.map_err(|lost| match lost {
            Lost::Certificate(why) => SessionError::Untrusted(self.config.trust.complaint(&why)),
            lost => SessionError::Lost(lost),
        })
    }

    /// Logs in to the server, over this connection or a new one.
    async fn log_in(&self, connection: Option<Connection>) -> Result<LoggedIn, SessionError> {
        let connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let remote = connection.remote_address();
        let tunnels = &self.config.tunnels;
        let credential = &self.config.credential;
        let idle = self.config.udp_idle;
        let login = session::login(connection, credential, self.instance, tunnels, idle);
        let logged_in = timeout(CONNECT_DEADLINE, login)
            .await
            .map_err(|_| SessionError::Lost(Lost::TimedOut))??;
        match logged_in.session.opener().describe().transport {
            Transport::Quic => info!("connected to {remote}"),
            Transport::Tcp => info!("connected to {remote} by TCP"),
        }
        for (tunnel, listening) in tunnels.iter().zip(&logged_in.listening) {
            if let Some(addr) = listening {
                info!("{tunnel}: the server listens on {addr}");
            }
        }
        Ok(logged_in)
    }

    /// Runs a session to its end; visitors are carried through it as long as it takes them. One that
    /// has become deaf ends when another connection can be had before it is heard again.
    async fn carry(&self, logged_in: LoggedIn) -> Ended {
        let session = logged_in.session;
        let opener = session.opener();
        self.current.send_replace(Some(opener.clone()));
        let summons = Summons::default();
        let mut run = pin!(session.run(&self.stop, &summons, self.config.drain));
        let ended = tokio::select! {
            ended = &mut run => ended.into(),
            connection = self.replacement(&opener) => {
                summons.leave.cancel();
                match run.await {
                    session::Ended::Superseded => Ended::Superseded(connection),
                    ended => ended.into(),
                }
            }
        };
        self.current.send_replace(None);
        ended
    }

    /// Waits for a connection to take the place of one that is out of hearing. Cancel-safe.
    async fn replacement(&self, opener: &Opener) -> Connection {
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
                    debug!("no other connection to {}: {e}", self.config.server);
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
