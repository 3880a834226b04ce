//! From the server's name to a connection, by whichever of its addresses answers first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::CONNECT_DEADLINE;
use crate::config::ClientConfig;
use crate::connector;
use crate::transport::{self, Connection, Lost, Tuning};

/// Head start of one of the server's addresses over the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Resolves the server's name, and connects to the first address that answers. Cancel-safe.
pub(super) async fn connect(
    config: &ClientConfig,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Connection, Lost> {
    let addrs = timeout(CONNECT_DEADLINE, connector::resolve(&config.server))
        .await
        .map_err(|_| Lost::Failed("its name does not resolve in time".into()))?
        .map_err(|e| Lost::Failed(e.to_string()))?;
    let name = config.server.host.to_string();
    race(addrs, tls, &name, config.tuning).await
}

/// Connects to all addresses, each a little later than the one before it; the first to answer wins.
async fn race(
    addrs: Vec<SocketAddr>,
    tls: &Arc<rustls::ClientConfig>,
    name: &str,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let mut attempts = JoinSet::new();
    let mut addrs = addrs.into_iter();
    let mut failure = Lost::TimedOut;
    loop {
        if let Some(addr) = addrs.next() {
            let (tls, name) = (tls.clone(), name.to_owned());
            attempts.spawn(async move {
                let connecting = transport::connect(addr, tls, &name, tuning);
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
                    if !matches!(failure, Lost::Certificate(_)) {
                        failure = lost;
                    }
                }
                Some(Err(_)) => {}
                None => return Err(failure),
            }
        }
    }
}
