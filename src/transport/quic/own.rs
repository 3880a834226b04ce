//! A client's socket, which is its one connection's alone, and may be replaced by another any time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::{fmt, io};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{AsyncUdpSocket, EndpointConfig};
use tokio::time::sleep;
use tracing::debug;

use super::moderation::Bulk;
use super::path::{Hints, Path};
use super::ports::OnePort;
use super::punctual::Punctual;
use super::socket::{self, BatchSocket};
use super::{Connection, MAX_FLOWS, RECEIVE_WINDOW, lost};
use crate::transport::{Hop, Lost, Tuning};

/// Connects to a server from a new socket, by the name that its certificate should have if names
/// matter. It has no deadline of its own. Not cancel-safe: the
/// attempt is given up.
pub(in crate::transport) async fn connect(
    remote: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    name: &str,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let failed = |e: &dyn fmt::Display| Lost::Failed(e.to_string());
    let path = Path::to(remote);
    let mut config = EndpointConfig::default();
    config
        .max_udp_payload_size(path.max_payload())
        .map_err(|e| failed(&e))?;
    let bulk = Arc::default();
    let socket = open(remote, path.max_payload(), &bulk, tuning.hop).map_err(|e| failed(&e))?;
    let runtime = Arc::new(Punctual);
    let endpoint = quinn::Endpoint::new_with_abstract_socket(config, None, socket, runtime)
        .map_err(|e| failed(&e))?;
    let tls = QuicClientConfig::try_from(tls).map_err(|e| failed(&e))?;
    let mut client = quinn::ClientConfig::new(Arc::new(tls));
    let hints = Hints::default();
    client.transport_config(Arc::new(path.config(
        tuning,
        &hints,
        RECEIVE_WINDOW,
        MAX_FLOWS,
        1,
    )));
    let connecting = endpoint
        .connect_with(client, remote, name)
        .map_err(|e| failed(&e))?;
    let connection = connecting.await.map_err(lost)?;
    let own = Own {
        endpoint,
        payload: path.max_payload(),
        bulk: bulk.clone(),
        hop: tuning.hop,
    };
    Ok(Connection::new(connection, Some(own), bulk, hints))
}

/// What belongs to a client's connection.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) endpoint: quinn::Endpoint,
    /// Largest payload that can come, in bytes.
    payload: u16,
    bulk: Arc<Bulk>,
    hop: Hop,
}

impl Own {
    /// Goes on from a new local port, and to any of the server's.
    pub(super) fn rebind(&self, remote: SocketAddr) -> io::Result<()> {
        let socket = open(remote, self.payload, &self.bulk, self.hop)?;
        self.endpoint.rebind_abstract(socket)
    }

    /// Does so at intervals, for ever. Cancel-safe.
    pub(super) async fn hop(&self, connection: &quinn::Connection) {
        let Some(interval) = self.hop.interval else {
            return std::future::pending().await;
        };
        loop {
            // Not to the tick, which would tell what this is.
            sleep(interval.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
            if let Err(e) = self.rebind(connection.remote_address()) {
                debug!("no new local socket: {e}");
            }
        }
    }
}

/// Opens a socket towards a server: from any address and port of the family.
fn open(
    remote: SocketAddr,
    payload: u16,
    bulk: &Arc<Bulk>,
    hop: Hop,
) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = socket::bind(SocketAddr::new(any, 0).into())?;
    let from = socket.local_addr()?.port();
    let socket = BatchSocket::new(socket, payload.into(), bulk.clone(), false)?;
    if hop.more_ports == 0 {
        debug!("from port {from} to {remote}");
        return Ok(Arc::new(socket));
    }
    let server = remote.port()..=remote.port() + hop.more_ports;
    let socket = OnePort::of(server, socket);
    debug!("from port {from} to port {} of {remote}", socket.port());
    Ok(Arc::new(socket))
}
