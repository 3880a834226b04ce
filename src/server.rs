//! The server: lets clients in, and keeps a session for each.

#[cfg(unix)]
mod callers;
mod door;
mod entrance;
mod reload;
mod seats;
#[cfg_attr(not(unix), path = "server/succession_elsewhere.rs")]
mod succession;

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::entrance::{Entrance, Place};
use self::seats::Seats;
use crate::access::Registry;
use crate::audit;
use crate::bench;
use crate::config::{ServerConfig, Source};
#[cfg(unix)]
use crate::control::{ControlSocket, Greeting};
use crate::listener::Ports;
use crate::metrics::{Login, Metrics};
use crate::reload::Occasions;
use crate::session::{self, ALPN, Ended, SessionError};
use crate::status::{Observed, Role};
use crate::systemd;
use crate::transport::{Attempt, Bound, CloseCode, Connection, Endpoint};
use crate::web::Web;

pub use succession::{Predecessor, sockets};

/// Longest that a handshake and a login may take together.
const LOGIN_DEADLINE: Duration = Duration::from_secs(5);

/// A server whose socket is bound.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    config: ServerConfig,
    web: Web,
    /// Tells that another process is there for all who come from now on.
    left: CancellationToken,
    #[cfg(unix)]
    control: Option<ControlSocket>,
    shared: Arc<Shared>,
}

/// What all sessions of a server have in common.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    metrics: Arc<Metrics>,
    status: Observed,
    drain: Duration,
    udp_idle: Duration,
    stop: CancellationToken,
    seats: Arc<Seats>,
    entrance: Arc<Entrance>,
    ports: Arc<Ports>,
}

impl Server {
    /// Binds what is not bound already; must be called within a runtime. It stops when `stop` is
    /// cancelled.
    pub fn bind(config: ServerConfig, bound: Bound, stop: CancellationToken) -> Result<Self> {
        let succeeds = !bound.udp.is_empty();
        let secret = config.identity.derive(b"rstun stateless reset");
        let endpoint = Endpoint::bind(
            config.addr,
            bound,
            config.identity.config(ALPN, config.clients.is_some())?,
            secret,
            config.tuning,
        )
        .with_context(|| format!("--addr {}: cannot listen on UDP there", config.addr))?;
        info!(
            "listening on {}, certificate SHA-256 {}",
            endpoint.local_addr(),
            config.identity.fingerprint()
        );
        if let Some((_, access)) = &config.password
            && access.reach.is_empty()
        {
            info!("no --downstream: clients by password may use TunnelIn only");
        }
        let bench = match config.allow_bench {
            true => {
                info!("--allow-bench: every client may load this server to measure it");
                Some(bench::Target::start()?.addr())
            }
            false => None,
        };
        let listed = config.clients.as_ref();
        let entries = listed.map_or_else(Vec::new, |clients| clients.entries.clone());
        if let Some(clients) = listed
            && entries.is_empty()
            && config.password.is_none()
        {
            let file = clients.path().display();
            warn!("nobody can log in yet: --clients {file} lists no client");
        }
        let web = Web::bind(&config.web, succeeds)?;
        #[cfg(unix)]
        if let Some(user) = &config.user {
            user.assume()?;
        }
        let metrics = Arc::<Metrics>::default();
        Ok(Self {
            #[cfg(unix)]
            control: match config.control {
                true => {
                    let certificate = config.identity.fingerprint();
                    ControlSocket::bind(Greeting::server(endpoint.local_addr(), certificate))
                }
                false => None,
            },
            endpoint,
            web,
            left: CancellationToken::new(),
            shared: Arc::new(Shared {
                registry: Registry::new(config.password.clone(), entries, bench),
                drain: config.drain,
                udp_idle: config.udp_idle,
                status: Observed::new(Role::Server, metrics.clone(), stop.clone()),
                stop,
                seats: Arc::default(),
                entrance: Arc::new(Entrance::new(metrics.clone())),
                metrics,
                ports: Arc::default(),
            }),
            config,
        })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// Serves until told to stop, and then until all sessions have ended or their time is up.
    ///
    /// It may take the place of a server that runs, and gives it to another on SIGUSR2. What
    /// it was told is read again on occasion, if it comes from anywhere.
    pub async fn run(mut self, predecessor: Option<Predecessor>, source: Option<Source>) {
        let mut files = source.as_ref().map_or_else(Vec::new, Source::files);
        files.extend_from_slice(self.config.identity.files());
        let (ask, occasions) = Occasions::new(files);
        let web = mem::take(&mut self.web);
        let follow = async {
            let Some(source) = source else {
                return std::future::pending().await;
            };
            let mut current = None;
            let reload = async || self.reload(&source, &mut current).await;
            occasions.follow(reload).await
        };
        let answer = async {
            #[cfg(unix)]
            if let Some(control) = &self.control {
                let answer = |caller| callers::answer(caller, self.shared.clone(), ask.clone());
                control.serve(answer).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = self.serve() => {}
            () = answer => {}
            () = self.shared.status.keep_pace() => {}
            () = web.serve(self.shared.status.clone(), self.left.clone()) => {}
            () = follow => {}
            () = self.succeed(predecessor) => {}
        }
    }

    async fn serve(&self) {
        let shared = &self.shared;
        let mut pending = JoinSet::new();
        let mut sessions = JoinSet::new();
        let follow = async {
            match &self.config.clients {
                Some(clients) => reload::follow(clients, &shared.registry).await,
                None => std::future::pending().await,
            }
        };
        let mut follow = std::pin::pin!(follow);
        let mut replaced = std::pin::pin!(self.replaced());
        let successor = loop {
            tokio::select! {
                () = shared.stop.cancelled() => break None,
                successor = &mut replaced => break Some(successor),
                () = &mut follow => {}
                attempt = self.endpoint.accept() => match attempt {
                    Some(attempt) => admit(attempt, &mut pending, shared),
                    None => break None,
                },
                Some(newcomer) = pending.join_next() => {
                    match newcomer {
                        Ok(Some(newcomer)) => {
                            sessions.spawn(serve(newcomer, shared.clone()));
                            report(sessions.len());
                        }
                        Ok(None) => {}
                        Err(e) => error!("a login failed: {e}"),
                    }
                }
                Some(ended) = sessions.join_next() => {
                    if let Err(e) = ended {
                        error!("a session failed: {e}");
                    }
                    report(sessions.len());
                }
            }
        };
        shared.stop.cancel();
        info!(
            "stopping; connections have {} s to finish",
            shared.drain.as_secs()
        );
        pending.shutdown().await;
        self.drain(sessions, successor.is_some()).await;
        self.endpoint
            .close(CloseCode::Shutdown, "the server was stopped")
            .await;
    }

    /// Waits for the end of all sessions. Whoever comes meanwhile can go to another server at once, and
    /// whoever was meant for a successor will ask it when nobody answers.
    async fn drain(&self, mut sessions: JoinSet<()>, succeeded: bool) {
        loop {
            tokio::select! {
                ended = sessions.join_next() => match ended {
                    Some(_) => {}
                    None => break,
                },
                Some(attempt) = self.endpoint.accept() => match succeeded {
                    true => attempt.ignore(),
                    false => attempt.refuse(),
                },
            }
        }
    }
}

/// Tells systemd how many clients there are.
fn report(sessions: usize) {
    let s = if sessions == 1 { "" } else { "s" };
    systemd::status(&format!("{sessions} client{s}"));
}

/// Starts a handshake in a task of its own, if the client has a place.
fn admit(attempt: Attempt, pending: &mut JoinSet<Option<Greeted>>, shared: &Arc<Shared>) {
    let Some((attempt, mut place)) = shared.entrance.receive(attempt) else {
        return;
    };
    let shared = shared.clone();
    pending.spawn(async move {
        let greeting = greet(attempt, &mut place, &shared.registry);
        match timeout(LOGIN_DEADLINE, greeting).await {
            Ok(Ok(greeted)) => return Some(greeted),
            Ok(Err(e)) => place.fail(Some(&e)),
            Err(_) => place.fail(None),
        }
        None
    });
}

/// A client that has logged in, with its connection.
type Greeted = (session::Newcomer, Connection);

async fn greet(
    attempt: Attempt,
    place: &mut Place,
    known: &Registry,
) -> Result<Greeted, SessionError> {
    let connection = attempt.handshake().await?;
    place.prove();
    let newcomer = session::greet(connection.clone(), known).await?;
    Ok((newcomer, connection))
}

/// Gives a client its tunnels, and carries its flows until one side ends.
async fn serve((newcomer, connection): Greeted, shared: Arc<Shared>) {
    let from = connection.remote_address();
    let stop = &shared.stop;
    let identity = newcomer.identity.clone();
    let take = shared.seats.take(&newcomer);
    let Some((seat, inheritance)) = stop.run_until_cancelled(take).await else {
        return;
    };
    let (ports, make_room) = (shared.ports.clone(), seat.make_room());
    let known = (ports, inheritance);
    let welcome = newcomer.welcome(&shared.metrics, known, shared.udp_idle, make_room);
    let why = match stop
        .run_until_cancelled(timeout(LOGIN_DEADLINE, welcome))
        .await
    {
        Some(Ok(Ok(session))) => {
            shared.metrics.login(Login::Accepted);
            let _listed = session.list(identity.name());
            match session.run(stop, seat.summons(), shared.drain).await {
                Ended::Stopped => "told to go".to_owned(),
                Ended::Lost(lost) => lost.to_string(),
                Ended::Superseded => "it has connected anew".to_owned(),
                Ended::Dead => "it gave no sign of life".to_owned(),
                Ended::Unwelcome(why) => why,
            }
        }
        Some(Ok(Err(e))) => {
            shared.metrics.login(e.kind());
            e.to_string()
        }
        Some(Err(_)) => {
            shared.metrics.login(Login::TimedOut);
            "it did not take its answer in time".to_owned()
        }
        None => "told to go".to_owned(),
    };
    audit::logout(identity.name(), from, &why);
}
