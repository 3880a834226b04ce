//! The server: lets clients in, and keeps a session for each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::access::Access;
use crate::bench;
use crate::config::ServerConfig;
use crate::session::{self, ALPN, Ended, Instance, SessionError};
use crate::transport::{Attempt, CloseCode, Connection, Endpoint, Lost};

/// Longest that a handshake and a login may take together.
const LOGIN_DEADLINE: Duration = Duration::from_secs(5);

/// Clients between their first packet and their login, from which on an address has to be proved
/// before it costs us memory, and above which nobody is answered.
const VALIDATE_FROM: usize = 64;
const MAX_PENDING: usize = 512;

/// A server whose socket is bound.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

/// What all sessions of a server have in common.
#[derive(Debug)]
struct Shared {
    access: Arc<Access>,
    drain: Duration,
    udp_idle: Duration,
    stop: CancellationToken,
    present: Mutex<HashMap<Instance, Present>>,
}

/// A client process that has a session: how to end it, and how to know that it has ended.
#[derive(Clone, Debug)]
struct Present {
    leave: CancellationToken,
    gone: CancellationToken,
}

impl Server {
    /// Binds the socket; must be called within a runtime. It stops when `stop` is cancelled.
    pub fn bind(config: ServerConfig, stop: CancellationToken) -> Result<Self> {
        let secret = config.identity.derive(b"rstun stateless reset");
        let endpoint = Endpoint::bind(
            config.addr,
            config.identity.config(ALPN)?,
            secret,
            config.tuning,
        )
        .with_context(|| format!("cannot listen on UDP {}", config.addr))?;
        info!(
            "listening on {}, certificate SHA-256 {}",
            endpoint.local_addr(),
            config.identity.fingerprint()
        );
        if config.access.downstream.is_empty() {
            info!("no --downstream: clients may use TunnelIn only");
        }
        let mut access = config.access;
        if config.allow_bench {
            access.bench = Some(bench::Target::start()?.addr());
            info!("--allow-bench: every client may load this server to measure it");
        }
        Ok(Self {
            endpoint,
            shared: Arc::new(Shared {
                access: Arc::new(access),
                drain: config.drain,
                udp_idle: config.udp_idle,
                stop,
                present: Mutex::default(),
            }),
        })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// Serves until told to stop, and then until all sessions have ended or their time is up.
    pub async fn run(self) {
        let shared = &self.shared;
        let mut pending = JoinSet::new();
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = shared.stop.cancelled() => break,
                attempt = self.endpoint.accept() => match attempt {
                    Some(attempt) => admit(attempt, &mut pending, shared),
                    None => break,
                },
                Some(newcomer) = pending.join_next() => {
                    match newcomer {
                        Ok(Some(newcomer)) => drop(sessions.spawn(serve(newcomer, shared.clone()))),
                        Ok(None) => {}
                        Err(e) => error!("a login failed: {e}"),
                    }
                }
                Some(ended) = sessions.join_next() => {
                    if let Err(e) = ended {
                        error!("a session failed: {e}");
                    }
                }
            }
        }
        info!(
            "stopping; connections have {} s to finish",
            shared.drain.as_secs()
        );
        pending.shutdown().await;
        while sessions.join_next().await.is_some() {}
        self.endpoint
            .close(CloseCode::Shutdown, "the server was stopped")
            .await;
    }
}

/// Starts a handshake in a task of its own, unless too many are under way.
fn admit(attempt: Attempt, pending: &mut JoinSet<Option<Greeted>>, shared: &Arc<Shared>) {
    let attempt = match pending.len() {
        MAX_PENDING.. => return attempt.ignore(),
        VALIDATE_FROM.. => match attempt.retry() {
            None => return,
            Some(validated) => validated,
        },
        _ => attempt,
    };
    let shared = shared.clone();
    pending.spawn(async move {
        let from = attempt.remote_address();
        let greeted = timeout(LOGIN_DEADLINE, greet(attempt, shared)).await;
        match greeted {
            Ok(Ok(greeted)) => return Some(greeted),
            Ok(Err(SessionError::Lost(Lost::Version))) => {
                let ours = String::from_utf8_lossy(ALPN);
                warn!("{from}: a client of another version was refused; this server speaks {ours}");
            }
            Ok(Err(SessionError::WrongPassword)) => warn!("{from}: refused, its password is wrong"),
            Ok(Err(e)) => debug!("{from}: {e}"),
            Err(_) => debug!("{from}: no handshake and login in time"),
        }
        None
    });
}

/// A client that has logged in, with its connection.
type Greeted = (session::Newcomer, Connection);

async fn greet(attempt: Attempt, shared: Arc<Shared>) -> Result<Greeted, SessionError> {
    let connection = attempt.handshake().await?;
    let newcomer = session::greet(connection.clone(), shared.access.clone()).await?;
    Ok((newcomer, connection))
}

/// Gives a client its tunnels, and carries its flows until one side ends.
async fn serve((newcomer, connection): Greeted, shared: Arc<Shared>) {
    let from = connection.remote_address();
    let stop = &shared.stop;
    let Some(seat) = stop
        .run_until_cancelled(Seat::take(newcomer.instance, &shared))
        .await
    else {
        return;
    };
    let welcome = timeout(LOGIN_DEADLINE, newcomer.welcome(shared.udp_idle));
    let session = match stop.run_until_cancelled(welcome).await {
        Some(Ok(Ok(session))) => session,
        Some(Ok(Err(e))) => return debug!("{from}: {e}"),
        Some(Err(_)) => return debug!("{from}: did not take its answer in time"),
        None => return,
    };
    info!("{from}: client connected");
    match session.run(stop, &seat.present.leave, shared.drain).await {
        Ended::Stopped => info!("{from}: client told to go"),
        Ended::Lost(lost) => info!("{from}: client gone: {lost}"),
        Ended::Superseded => info!("{from}: client gone: it has connected anew"),
    }
}

/// The place of one client process among the server's sessions; free again when dropped.
#[derive(Debug)]
struct Seat {
    instance: Instance,
    present: Present,
    shared: Arc<Shared>,
}

impl Seat {
    /// Takes a client's place, after its former session has left it with all of its ports.
    async fn take(instance: Instance, shared: &Arc<Shared>) -> Self {
        let present = Present {
            leave: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        let former = shared.present().insert(instance, present.clone());
        if let Some(former) = former {
            former.leave.cancel();
            former.gone.cancelled().await;
        }
        Self {
            instance,
            present,
            shared: shared.clone(),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut present = self.shared.present();
        // Unless the next one sits here already.
        if !self.present.leave.is_cancelled() {
            present.remove(&self.instance);
        }
        self.present.gone.cancel();
    }
}

impl Shared {
    fn present(&self) -> std::sync::MutexGuard<'_, HashMap<Instance, Present>> {
        self.present.lock().unwrap_or_else(|e| e.into_inner())
    }
}
