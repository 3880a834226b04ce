//! A server's sockets and those who knock at them, and the way to a server.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use super::quic::{self, Generation};
use super::{CloseCode, Connection, Lost, Tuning};
use crate::tunnel::ListenAddr;

/// A server's sockets, and the connections through them.
#[derive(Debug)]
pub struct Endpoint {
    quic: quic::Endpoint,
}

/// A server's sockets, as far as they are bound already.
#[derive(Debug, Default)]
pub struct Bound {
    /// For QUIC, the first being the one that clients begin with.
    pub udp: Vec<UdpSocket>,
    /// For what goes through TCP.
    pub tcp: Option<TcpListener>,
    /// Which of two servers at that port this one is.
    pub generation: Generation,
}

impl Endpoint {
    /// Binds a server's sockets, but for those that are bound already, by whatever address.
    ///
    /// From `secret` come the keys of QUIC's connection ids and stateless resets (RFC 9000, section
    /// 10.3), so that a server with the same secret can end the connections of one that died.
    pub fn bind(
        addr: ListenAddr,
        bound: Bound,
        tls: rustls::ServerConfig,
        secret: [u8; 32],
        tuning: Tuning,
    ) -> io::Result<Self> {
        let quic = quic::Endpoint::bind(addr, (bound.udp, bound.generation), tls, secret, tuning)?;
        Ok(Self { quic })
    }

    /// The address that was bound, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.quic.local_addr()
    }

    /// The sockets for a process that takes this one's place. Until [`Endpoint::steer`] no client
    /// arrives there.
    pub fn for_successor(&self) -> io::Result<Bound> {
        let (udp, generation) = self.quic.second_sockets()?;
        Ok(Bound {
            udp,
            tcp: None,
            generation,
        })
    }

    /// Lets new clients arrive at the sockets of the process that takes this one's place.
    pub fn steer(&self) -> io::Result<()> {
        self.quic.steer()
    }

    /// Whether no other process has the port too.
    pub fn is_alone(&self) -> bool {
        self.quic.is_alone()
    }

    /// Takes the port for this process alone, after the one before it has gone, or the one after it
    /// has not come.
    pub fn claim(&self) {
        self.quic.claim();
    }

    /// Waits for the next client; none when the endpoint is closed. Cancel-safe.
    pub async fn accept(&self) -> Option<Attempt> {
        self.quic.accept().await.map(Attempt::Quic)
    }

    /// Goes through the next handshakes with this; connections that there are know nothing of it.
    pub fn set_tls(&self, tls: rustls::ServerConfig) -> io::Result<()> {
        self.quic.set_tls(tls)
    }

    /// Closes all connections, and waits up to a second until their peers can know.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        self.quic.close(code, reason).await;
    }
}

/// A client at the door: it has knocked, and nothing has been answered.
#[derive(Debug)]
pub enum Attempt {
    /// By QUIC.
    Quic(quic::Attempt),
}

impl Attempt {
    /// Where it says it comes from.
    pub fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Quic(inner) => inner.remote_address(),
        }
    }

    /// Whether it has shown that this is its address.
    pub fn is_proved(&self) -> bool {
        match self {
            Self::Quic(inner) => inner.is_proved(),
        }
    }

    /// Asks for proof of its address, at no cost of memory, unless it has given it already.
    pub fn retry(self) {
        match self {
            Self::Quic(inner) => inner.retry(),
        }
    }

    /// Turns it away before any handshake, so that it knows.
    pub fn refuse(self) {
        match self {
            Self::Quic(inner) => inner.refuse(),
        }
    }

    /// Drops it without an answer.
    pub fn ignore(self) {
        match self {
            Self::Quic(inner) => inner.ignore(),
        }
    }

    /// Goes through the handshake. It has no deadline of its own. Not cancel-safe: the connection
    /// is closed.
    pub async fn handshake(self) -> Result<Connection, Lost> {
        match self {
            Self::Quic(inner) => inner.handshake().await.map(Connection::Quic),
        }
    }
}

/// Connects to a server from a new socket, by the name that its certificate should have if names
/// matter. It has no deadline of its own. Not cancel-safe: the attempt is given up.
pub async fn connect(
    remote: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    name: &str,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let connected = quic::connect(remote, tls, name, tuning).await;
    connected.map(Connection::Quic)
}
