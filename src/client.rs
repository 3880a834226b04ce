//! The client: binds its listeners, and keeps one session up.

mod backoff;
#[cfg(unix)]
mod callers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::backoff::Backoff;
use crate::config::ClientConfig;
use crate::connector;
#[cfg(unix)]
use crate::control::{self, ControlSocket, Greeting};
use crate::listener::{Listener, Origin, UdpListener, Visitor};
use crate::session::{
    self, ALPN, Ended, FlowError, Instance, Local, LoggedIn, Opener, SessionError, Summons,
};
use crate::stdio::Stdio;
use crate::transport::{self, Congestion, Connection, Lost};
use crate::tunnel::{Half, Listen};

/// Longest that connecting to one address, and then the login, may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

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
            control: control_socket(&config),
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
            let (current, stop) = (self.current.subscribe(), self.stop.clone());
            listening.spawn(async move {
                let serve = callers::serve(control, current);
                stop.run_until_cancelled(serve).await;
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
                        Ended::Stopped => break,
                        // These are the server's.
                        Ended::Superseded | Ended::Unwelcome(_) | Ended::Dead => break,
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

    /// Resolves the server's name, connects to the first address that answers, and logs in.
    async fn log_in(&self) -> Result<LoggedIn, SessionError> {
        let failed = |e: String| SessionError::Lost(Lost::Failed(e));
        let addrs = timeout(CONNECT_DEADLINE, connector::resolve(&self.config.server))
            .await
            .map_err(|_| failed("its name does not resolve in time".into()))?
            .map_err(|e| failed(e.to_string()))?;
        let name = self.config.server.host.to_string();
        let connection = connect(addrs, &self.tls, &name, self.config.congestion).await;
        let connection = connection.map_err(|lost| match lost {
            Lost::Certificate(why) => SessionError::Untrusted(self.config.trust.complaint(&why)),
            lost => SessionError::Lost(lost),
        })?;
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

    /// Runs a session to its end; visitors are carried through it as long as it takes them.
    async fn carry(&self, logged_in: LoggedIn) -> Ended {
        let session = logged_in.session;
        self.current.send_replace(Some(session.opener()));
        let summons = Summons::default();
        let ended = session.run(&self.stop, &summons, self.config.drain).await;
        self.current.send_replace(None);
        ended
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

/// Makes the socket by which others on this machine can use this client's connection.
#[cfg(unix)]
fn control_socket(config: &ClientConfig) -> Option<ControlSocket> {
    if !config.control {
        return None;
    }
    let greeting = Greeting::new(&config.server, &config.trust);
    let socket = control::directory().and_then(|dir| ControlSocket::bind(&dir, greeting));
    socket
        .inspect_err(|e| warn!("no control socket, so `rstun connect` will not find us: {e}"))
        .ok()
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
        if let Some(opener) = open {
            drop(opener.carry(number, &tunnel, visitor));
            continue;
        }
        let (tunnel, current) = (tunnel.clone(), current.clone());
        waiting.spawn(async move {
            match next_session(current).await {
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

/// Connects to the first of these addresses that answers.
async fn connect(
    addrs: Vec<SocketAddr>,
    tls: &Arc<rustls::ClientConfig>,
    name: &str,
    congestion: Congestion,
) -> Result<Connection, Lost> {
    let attempt = |addr| {
        let (tls, name) = (tls.clone(), name.to_owned());
        async move {
            let connecting = transport::connect(addr, tls, &name, congestion);
            timeout(CONNECT_DEADLINE, connecting)
                .await
                .unwrap_or(Err(Lost::TimedOut))
        }
    };
    connector::race(&addrs, attempt).await.map_err(|mut lost| {
        // What a person has to mend is told before what may pass.
        let certificate = lost.iter().position(|l| matches!(l, Lost::Certificate(_)));
        match certificate {
            Some(at) => lost.swap_remove(at),
            None => lost.pop().unwrap_or(Lost::TimedOut),
        }
    })
}
