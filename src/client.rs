//! The client: binds its listeners, and keeps one session up.

mod backoff;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::backoff::Backoff;
use crate::config::ClientConfig;
use crate::connector;
use crate::listener::{Listener, Visitor};
use crate::session::{self, ALPN, Ended, Instance, Local, LoggedIn, Opener, SessionError};
use crate::transport::{self, Congestion, Connection, Lost};
use crate::tunnel::Half;

/// Longest that connecting to one address, and then the login, may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Head start of one of the server's addresses over the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Longest that a visitor waits for a session that is not there: a short outage does not show, and
/// a long one does not hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client whose listeners are bound.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    tls: Arc<rustls::ClientConfig>,
    instance: Instance,
    listeners: Vec<(u32, Local, Listener)>,
    stop: CancellationToken,
    current: watch::Sender<Option<Opener>>,
}

impl Client {
    /// Binds all local listeners; must be called within a runtime. It stops when `stop` is
    /// cancelled.
    pub fn bind(config: ClientConfig, stop: CancellationToken) -> Result<Self> {
        let (mut listeners, mut failures) = (Vec::new(), Vec::new());
        for (number, tunnel) in (0..).zip(&config.tunnels) {
            let Half::Listen(listen, proxy) = tunnel.near() else {
                continue;
            };
            match Listener::bind(&listen) {
                Ok(listener) => {
                    info!("{tunnel}: listening on {listener}");
                    let local = Local::new(tunnel.to_string(), proxy);
                    listeners.push((number, local, listener));
                }
                Err(e) => failures.push(format!("{tunnel}: cannot listen on {listen}: {e}")),
            }
        }
        ensure!(failures.is_empty(), failures.join("\n"));
        Ok(Self {
            tls: Arc::new(config.pinned.config(ALPN)?),
            instance: std::array::from_fn(|_| fastrand::u8(..)),
            listeners,
            stop,
            current: watch::Sender::new(None),
            config,
        })
    }

    /// The addresses of the local listeners that have one, in the order of their tunnels.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let addrs = self.listeners.iter().filter_map(|l| l.2.local_addr());
        addrs.collect()
    }

    /// The session that there is at any time.
    pub fn session(&self) -> watch::Receiver<Option<Opener>> {
        self.current.subscribe()
    }

    /// Keeps a session up until told to stop; fails when trying again is of no use.
    pub async fn run(mut self) -> Result<(), SessionError> {
        let mut listening = JoinSet::new();
        for (number, tunnel, listener) in std::mem::take(&mut self.listeners) {
            let (current, stop) = (self.current.subscribe(), self.stop.clone());
            listening.spawn(async move {
                stop.run_until_cancelled(receive(number, tunnel, listener, current))
                    .await;
            });
        }
        info!("connecting to {}", self.config.server);
        let mut backoff = Backoff::new();
        while !self.stop.is_cancelled() {
            let stop = self.stop.clone();
            let why = match stop.run_until_cancelled(self.log_in()).await {
                None => break,
                Some(Ok(logged_in)) => {
                    backoff.reset();
                    match self.carry(logged_in).await {
                        Ended::Stopped | Ended::Superseded => break,
                        Ended::Lost(lost) => format!("connection lost: {lost}"),
                    }
                }
                Some(Err(e)) if e.is_final() => return Err(e),
                Some(Err(e)) => format!("cannot connect to {}: {e}", self.config.server),
            };
            let wait = backoff.wait(fastrand::f64());
            warn!("{why}; retry in {:.1} s", wait.as_secs_f64());
            let _ = self.stop.run_until_cancelled(sleep(wait)).await;
        }
        Ok(())
    }

    /// Resolves the server's name, connects to the first address that answers, and logs in.
    async fn log_in(&self) -> Result<LoggedIn, SessionError> {
        let failed = |e: String| SessionError::Lost(Lost::Failed(e));
        let addrs = timeout(CONNECT_DEADLINE, connector::resolve(&self.config.server))
            .await
            .map_err(|_| failed("its name does not resolve in time".into()))?
            .map_err(|e| failed(e.to_string()))?;
        let connection = connect(addrs, &self.tls, self.config.congestion).await?;
        let remote = connection.remote_address();
        let tunnels = &self.config.tunnels;
        let login = session::login(connection, &self.config.password, self.instance, tunnels);
        let logged_in = timeout(CONNECT_DEADLINE, login)
            .await
            .map_err(|_| SessionError::Lost(Lost::TimedOut))??;
        info!("connected to {remote}");
        for (tunnel, listening) in tunnels.iter().zip(&logged_in.listening) {
            if let Some(addr) = listening {
                info!("{tunnel}: the server listens on {addr}");
            }
        }
        Ok(logged_in)
    }

    /// Runs a session to its end; visitors are carried through it as long as it takes them.
    async fn carry(&self, logged_in: LoggedIn) -> Ended {
        let session = logged_in.session;
        self.current.send_replace(Some(session.opener()));
        let never = CancellationToken::new();
        let ended = session.run(&self.stop, &never, self.config.drain).await;
        self.current.send_replace(None);
        ended
    }
}

/// Hands a listener's visitors to whatever session there is, for ever.
async fn receive(
    number: u32,
    tunnel: Local,
    listener: Listener,
    current: watch::Receiver<Option<Opener>>,
) {
    let tunnel = Arc::new(tunnel);
    let mut waiting = JoinSet::new();
    loop {
        let visitor: Visitor = tokio::select! {
            arrived = listener.accept() => arrived,
            Some(_) = waiting.join_next() => continue,
        };
        let open = current.borrow().clone().filter(Opener::is_open);
        if let Some(opener) = open {
            drop(opener.carry(number, &tunnel, visitor));
            continue;
        }
        let (tunnel, current) = (tunnel.clone(), current.clone());
        waiting.spawn(async move {
            let from = visitor.from;
            match next_session(current).await {
                Some(opener) => drop(opener.carry(number, &tunnel, visitor)),
                // Dropped, and so reset.
                None => debug!("{from}: turned away, there is no connection to the server"),
            }
        });
    }
}

async fn next_session(mut current: watch::Receiver<Option<Opener>>) -> Option<Opener> {
    let usable = |opener: &Option<Opener>| opener.as_ref().is_some_and(Opener::is_open);
    let opener = timeout(PATIENCE, current.wait_for(usable))
        .await
        .ok()?
        .ok()?;
    opener.clone()
}

/// Connects to all addresses, each a little later than the one before it; the first to answer wins.
async fn connect(
    addrs: Vec<SocketAddr>,
    tls: &Arc<rustls::ClientConfig>,
    congestion: Congestion,
) -> Result<Connection, Lost> {
    let mut attempts = JoinSet::new();
    let mut addrs = addrs.into_iter();
    let mut failure = Lost::TimedOut;
    loop {
        if let Some(addr) = addrs.next() {
            let tls = tls.clone();
            attempts.spawn(async move {
                let connecting = transport::connect(addr, tls, congestion);
                timeout(CONNECT_DEADLINE, connecting)
                    .await
                    .unwrap_or(Err(Lost::TimedOut))
            });
        }
        let head_start = async {
            match addrs.len() {
                0 => std::future::pending().await,
                _ => sleep(HEAD_START).await,
            }
        };
        tokio::select! {
            () = head_start => {}
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Ok(connection))) => return Ok(connection),
                // What a person has to mend is told before what may pass.
                Some(Ok(Err(lost))) => {
                    if !matches!(failure, Lost::Certificate) {
                        failure = lost;
                    }
                }
                Some(Err(_)) => {}
                None => return Err(failure),
            }
        }
    }
}
