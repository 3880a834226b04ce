//! The client: binds its listeners, and keeps one session up.

mod backoff;
#[cfg(unix)]
mod callers;
mod connecting;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::backoff::Backoff;
use crate::config::ClientConfig;
#[cfg(unix)]
use crate::control::{ControlSocket, Greeting};
use crate::listener::{Listener, Origin, UdpListener, Visitor};
use crate::session::{
    self, ALPN, FlowError, Instance, Local, LoggedIn, Opener, SessionError, Summons,
};
use crate::stdio::Stdio;
use crate::transport::{CloseCode, Connection, Lost};
use crate::tunnel::{Half, Listen};

/// Longest that connecting to one address, and then the login, may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Head start of a connection that was out of hearing over one made since: the older has the flows. It
/// is looked at each second whether it is heard.
const SECOND_CHANCE: Duration = Duration::from_millis(2200);

/// Time between attempts to connect beside a connection that is out of hearing.
const ANOTHER_TRY: Duration = Duration::from_secs(1);

/// Longest that a visitor waits for a session that is not there: a short outage does not show, and
/// a long one does not hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a client ended.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no session, nor will there be one without a person's doing.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is no session, and one was all that was wanted.
    #[error("{0}")]
    Once(String),
    /// The flow of standard input and output failed.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> Self {
        Self::Flow(error.into())
    }
}

/// A client whose listeners are bound.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    tls: Arc<rustls::ClientConfig>,
    instance: Instance,
    listeners: Vec<(u32, Local, Listener)>,
    /// The tunnel whose one visitor is this process's standard input and output.
    stdio: Option<(u32, Local)>,
    #[cfg(unix)]
    control: Option<ControlSocket>,
    stop: CancellationToken,
    current: watch::Sender<Option<Opener>>,
}

impl Client {
    /// Binds all local listeners; must be called within a runtime. It stops when `stop` is
    /// cancelled.
    pub fn bind(config: ClientConfig, stop: CancellationToken) -> Result<Self> {
        let (mut listeners, mut failures, mut stdio) = (Vec::new(), Vec::new(), None);
        for (number, tunnel) in (0..).zip(&config.tunnels) {
            let Half::Listen(listen, proxy) = tunnel.near() else {
                continue;
            };
            let local = Local::new(tunnel.to_string(), &listen, proxy);
            if listen == Listen::Stdio {
                stdio = Some((number, local));
                continue;
            }
            match Listener::bind(&listen) {
                Ok(listener) => {
                    info!("{tunnel}: listening on {listener}");
                    listeners.push((number, local, listener));
                }
                Err(e) => failures.push(format!("{tunnel}: cannot listen on {listen}: {e}")),
            }
        }
        ensure!(failures.is_empty(), failures.join("\n"));
        Ok(Self {
            tls: Arc::new(config.trust.config(ALPN, config.credential.key())?),
            instance: std::array::from_fn(|_| fastrand::u8(..)),
            listeners,
            stdio,
            #[cfg(unix)]
            control: match config.control {
                true => ControlSocket::bind(Greeting::client(&config.server, &config.trust)),
                false => None,
            },
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
    ///
    /// With a tunnel for standard input and output it ends with their flow, and fails if that does:
    /// then nothing is tried twice.
    pub async fn run(mut self) -> Result<(), ClientError> {
        let Some((number, local)) = self.stdio.take() else {
            return self.keep_up(true).await;
        };
        let (current, stop) = (self.current.subscribe(), self.stop.clone());
        let carried = async {
            let carried = carry_stdio(number, local, current).await;
            stop.cancel();
            carried
        };
        let (kept, carried) = tokio::join!(self.keep_up(false), carried);
        // Why there is no session says more than that there is none.
        kept.and(carried)
    }

    /// Keeps a session up; without `again`, one session until its end.
    async fn keep_up(mut self, again: bool) -> Result<(), ClientError> {
        let mut listening = JoinSet::new();
        for (number, tunnel, listener) in std::mem::take(&mut self.listeners) {
            let (current, stop) = (self.current.subscribe(), self.stop.clone());
            listening.spawn(async move {
                stop.run_until_cancelled(receive(number, tunnel, listener, current))
                    .await;
            });
        }
        #[cfg(unix)]
        if let Some(control) = self.control.take() {
            let desk = callers::Desk {
                current: self.current.subscribe(),
                stop: self.stop.clone(),
                drain: self.config.drain,
            };
            // To the very end: until then somebody may ask how far it is.
            listening
                .spawn(async move { control.serve(|caller| desk.clone().answer(caller)).await });
        }
        info!("connecting to {}", self.config.server);
        let mut backoff = Backoff::new();
        let mut next = None;
        while !self.stop.is_cancelled() {
            let stop = self.stop.clone();
            let why = match stop.run_until_cancelled(self.log_in(next.take())).await {
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
        let connection = connecting::connect(&self.config, &self.tls).await;
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
        info!("connected to {remote}");
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

/// Carries standard input and output through the first session that there is, to their end.
async fn carry_stdio(
    number: u32,
    tunnel: Local,
    mut current: watch::Receiver<Option<Opener>>,
) -> Result<(), ClientError> {
    let opener = match current.wait_for(Option::is_some).await {
        Ok(opener) => opener.clone(),
        Err(_) => None,
    };
    let Some(opener) = opener else {
        return Err(ClientError::Once(
            "stopped before there was a connection".into(),
        ));
    };
    let (stdio, socket) = Stdio::pair()?;
    let from = Origin::Stdio;
    let flow = opener.carry(number, &Arc::new(tunnel), Visitor { socket, from });
    let end = flow.abort_handle();
    let carried = stdio.carry(async {
        match flow.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(ClientError::Once("the flow was cut short".into())),
        }
    });
    // What is not written any more must look broken to the far side.
    carried.await.inspect_err(|_| end.abort())
}

/// Hands a listener's visitors to whatever session there is, for ever.
async fn receive(
    number: u32,
    tunnel: Local,
    listener: Listener,
    current: watch::Receiver<Option<Opener>>,
) {
    let tunnel = Arc::new(tunnel);
    if let Listener::Udp(listener) = &listener {
        return receive_packets(number, &tunnel, listener, current).await;
    }
    let mut waiting = JoinSet::new();
    loop {
        let visitor: Visitor = tokio::select! {
            arrived = listener.accept() => arrived,
            Some(_) = waiting.join_next() => continue,
        };
        let open = current.borrow().clone().filter(Opener::is_open);
        if let Some(opener) = open.as_ref().filter(|opener| !opener.is_deaf()) {
            drop(opener.carry(number, &tunnel, visitor));
            continue;
        }
        let (tunnel, current) = (tunnel.clone(), current.clone());
        waiting.spawn(async move {
            let next = match open {
                // A server that is out of hearing may be so for long.
                Some(_) => None,
                None => next_session(current).await,
            };
            match next {
                Some(opener) => drop(opener.carry(number, &tunnel, visitor)),
                None => tunnel.turn_away(visitor).await,
            }
        });
    }
}

/// Hands the packets of a UDP port to whatever session there is, for ever. Those that come while
/// there is none are lost, as nobody wants to have them late.
async fn receive_packets(
    number: u32,
    tunnel: &Arc<Local>,
    listener: &UdpListener,
    mut current: watch::Receiver<Option<Opener>>,
) {
    loop {
        let opener = tokio::select! {
            opener = current.wait_for(is_usable) => match opener {
                Ok(opener) => opener.clone(),
                Err(_) => return,
            },
            _ = listener.port.recv(|_| ()) => continue,
        };
        if let Some(opener) = opener {
            opener.carry_packets(number, tunnel, listener).await;
        }
    }
}

fn is_usable(opener: &Option<Opener>) -> bool {
    opener.as_ref().is_some_and(Opener::is_open)
}

/// The session that there is, or that there is soon.
async fn next_session(mut current: watch::Receiver<Option<Opener>>) -> Option<Opener> {
    let opener = timeout(PATIENCE, current.wait_for(is_usable))
        .await
        .ok()?
        .ok()?;
    opener.clone()
}
