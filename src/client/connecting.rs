//! From the server's name to a connection, by whichever of its addresses answers first.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::connector;
use crate::transport::{self, Connection, Lost, Tuning};
use crate::tunnel::HostPort;

/// Longest that connecting to one address, and then the login, may take.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Resolves the server's name, and connects to the first address that answers. Cancel-safe.
pub(crate) async fn connect(
    server: &HostPort,
    tls: &Arc<rustls::ClientConfig>,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let addrs = timeout(CONNECT_DEADLINE, connector::resolve(server))
        .await
        .map_err(|_| Lost::Failed("its name does not resolve in time".into()))?
        .map_err(|e| Lost::Failed(e.to_string()))?;
    let name = server.host.to_string();
    let attempt = |addr| {
        let (tls, name) = (tls.clone(), name.clone());
        async move {
            let connecting = transport::connect(addr, tls, &name, tuning);
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
