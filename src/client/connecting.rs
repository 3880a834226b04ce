//! From the server's name to a connection, by whichever way answers first.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use crate::config::Ways;
use crate::connector;
use crate::transport::{self, Connection, Lost, Proxy, Route, Tuning};
use crate::tunnel::HostPort;

/// Longest that connecting to one address, and then the login, may take.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Head start of QUIC over TCP: two round trips of a long path. Where UDP is blocked this is what it
/// costs.
const HEAD_START: Duration = Duration::from_millis(700);

/// Connects to the server by the first of these ways that answers: all addresses of its name, and TCP
/// beside QUIC where QUIC takes long. Cancel-safe.
pub(crate) async fn connect(
    server: &HostPort,
    ways: &Ways,
    tls: &Arc<rustls::ClientConfig>,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let server = Server {
        addr: server,
        tls,
        tuning,
    };
    match (ways.quic, &ways.tcp) {
        (true, Some(proxy)) => either(server.quic(), server.tcp(proxy.as_ref())).await,
        (true, None) => server.quic().await,
        (false, Some(proxy)) => server.tcp(proxy.as_ref()).await,
        (false, None) => Err(Lost::Failed("neither QUIC nor TCP is allowed".into())),
    }
}

/// Has QUIC begin, and TCP follow if there is no answer; the first connection is taken.
async fn either(
    quic: impl Future<Output = Result<Connection, Lost>>,
    tcp: impl Future<Output = Result<Connection, Lost>>,
) -> Result<Connection, Lost> {
    let mut quic = pin!(quic);
    let early = timeout(HEAD_START, &mut quic).await;
    let mut silent = match early {
        Ok(Ok(connection)) => return Ok(connection),
        // A server has spoken, and would say the same by TCP.
        Ok(Err(lost)) if !may_be_the_path(&lost) => return Err(lost),
        Ok(Err(lost)) => Some(lost),
        Err(_) => None,
    };
    let mut tcp = pin!(tcp);
    let mut refused = None;
    loop {
        tokio::select! {
            outcome = &mut quic, if silent.is_none() => match outcome {
                Ok(connection) => return Ok(connection),
                Err(lost) if !may_be_the_path(&lost) => return Err(lost),
                Err(lost) => silent = Some(lost),
            },
            outcome = &mut tcp, if refused.is_none() => match outcome {
                Ok(connection) => return Ok(connection),
                Err(lost) => refused = Some(lost),
            },
            else => break,
        }
    }
    match (silent, refused) {
        (_, Some(lost @ (Lost::Certificate(_) | Lost::Version))) => Err(lost),
        (Some(by_quic), Some(by_tcp)) => {
            debug!("TCP: {by_tcp}");
            Err(by_quic)
        }
        (lost, _) => Err(lost.unwrap_or(Lost::TimedOut)),
    }
}

/// Whether a failure of QUIC's may be that of a path without UDP.
fn may_be_the_path(lost: &Lost) -> bool {
    matches!(lost, Lost::TimedOut | Lost::Failed(_) | Lost::Reset)
}

/// The server, and how it is spoken to.
#[derive(Clone, Copy)]
struct Server<'a> {
    addr: &'a HostPort,
    tls: &'a Arc<rustls::ClientConfig>,
    tuning: Tuning,
}

impl Server<'_> {
    async fn quic(self) -> Result<Connection, Lost> {
        let (name, tuning) = (self.addr.host.to_string(), self.tuning);
        self.race(|addr, tls| {
            let name = name.clone();
            async move { transport::connect(addr, tls, &name, tuning).await }
        })
        .await
    }

    async fn tcp(self, proxy: Option<&Arc<Proxy>>) -> Result<Connection, Lost> {
        let (name, tuning) = (self.addr.host.to_string(), self.tuning);
        if let Some(proxy) = proxy {
            // It is the proxy that resolves the name, which may mean nothing here.
            let route = Route::Through(proxy.clone(), self.addr.to_string());
            let connecting = transport::connect_tcp(&route, self.tls.clone(), &name, tuning);
            return match in_time(connecting).await {
                Err(Lost::TimedOut) => {
                    let s = CONNECT_DEADLINE.as_secs();
                    let why = format!("proxy {proxy}: no connection through it within {s} s");
                    Err(Lost::Failed(why))
                }
                outcome => outcome,
            };
        }
        self.race(|addr, tls| {
            let (route, name) = (Route::Direct(addr), name.clone());
            async move { transport::connect_tcp(&route, tls, &name, tuning).await }
        })
        .await
    }

    /// Resolves the name, and takes the first address that answers.
    async fn race<A>(
        self,
        attempt: impl Fn(SocketAddr, Arc<rustls::ClientConfig>) -> A,
    ) -> Result<Connection, Lost>
    where
        A: Future<Output = Result<Connection, Lost>> + Send + 'static,
    {
        let resolving = connector::resolve(self.addr);
        let addrs = timeout(CONNECT_DEADLINE, resolving)
            .await
            .map_err(|_| Lost::Failed("its name does not resolve in time".into()))?
            .map_err(|e| Lost::Failed(e.to_string()))?;
        let attempt = |addr| in_time(attempt(addr, self.tls.clone()));
        let raced = connector::race(&addrs, attempt).await;
        raced.map_err(|mut lost| {
            // What a person has to mend is told before what may pass.
            let certificate = lost.iter().position(|l| matches!(l, Lost::Certificate(_)));
            match certificate {
                Some(at) => lost.swap_remove(at),
                None => lost.pop().unwrap_or(Lost::TimedOut),
            }
        })
    }
}

async fn in_time(
    connecting: impl Future<Output = Result<Connection, Lost>>,
) -> Result<Connection, Lost> {
    timeout(CONNECT_DEADLINE, connecting)
        .await
        .unwrap_or(Err(Lost::TimedOut))
}
