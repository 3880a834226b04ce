//! A server's sockets and those who knock at them, and the way to a server.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tracing::warn;

use super::quic::{self, Generation};
use super::{CloseCode, Connection, Lost, Route, Tuning, tcp};
use crate::socket::listen_tcp;
use crate::tunnel::ListenAddr;

/// How often a port of the system's choice is tried that has to be free for UDP and TCP both.
const TRIES: usize = 16;

/// A server's sockets, and the connections through them.
#[derive(Debug)]
pub struct Endpoint {
    quic: quic::Endpoint,
    /// None where the port is taken.
    tcp: Option<tcp::Endpoint>,
    /// Whether those who come by TCP are another process's.
    steered: AtomicBool,
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
    /// Binds a server's sockets, of UDP and of TCP, to one port number, but for those that are bound
    /// already, by whatever address. A TCP port that is taken is done without, after a warning: those
    /// whose UDP gets through do not need it.
    ///
    /// From `secret` come the keys of QUIC's connection ids and stateless resets (RFC 9000, section
    /// 10.3), so that a server with the same secret can end the connections of one that died.
    pub fn bind(
        addr: ListenAddr,
        mut bound: Bound,
        tls: rustls::ServerConfig,
        secret: [u8; 32],
        tuning: Tuning,
    ) -> io::Result<Self> {
        let chosen = addr.port == 0 && bound.udp.is_empty() && bound.tcp.is_none();
        let mut tries = if chosen { TRIES } else { 1 };
        loop {
            tries -= 1;
            let udp = (std::mem::take(&mut bound.udp), bound.generation);
            let quic = quic::Endpoint::bind(addr, udp, tls.clone(), secret, tuning)?;
            let listener = match bound.tcp.take() {
                Some(listener) => tcp::listen(listener),
                None => listen_tcp(quic.local_addr(), tcp::BACKLOG),
            };
            let tcp = match listener {
                Ok(listener) => Some(tcp::Endpoint::new(listener, tls.clone(), tuning)),
                Err(_) if tries > 0 => continue,
                Err(e) => {
                    let addr = quic.local_addr();
                    warn!("no fallback for clients whose UDP is blocked: TCP {addr}: {e}");
                    None
                }
            };
            let steered = AtomicBool::new(false);
            return Ok(Self { quic, tcp, steered });
        }
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
            tcp: self
                .tcp
                .as_ref()
                .map(tcp::Endpoint::duplicate)
                .transpose()?,
            generation,
        })
    }

    /// Lets new clients arrive at the sockets of the process that takes this one's place.
    pub fn steer(&self) -> io::Result<()> {
        self.quic.steer()?;
        self.steered.store(true, Relaxed);
        Ok(())
    }

    /// Whether no other process has the port too.
    pub fn is_alone(&self) -> bool {
        self.quic.is_alone()
    }

    /// Takes the port for this process alone, after the one before it has gone, or the one after it
    /// has not come.
    pub fn claim(&self) {
        self.quic.claim();
        self.steered.store(false, Relaxed);
    }

    /// Waits for the next client; none when the endpoint is closed. Cancel-safe.
    pub async fn accept(&self) -> Option<Attempt> {
        let tcp = async {
            match &self.tcp {
                Some(tcp) if !self.steered.load(Relaxed) => tcp.accept().await,
                _ => pending().await,
            }
        };
        tokio::select! {
            attempt = self.quic.accept() => attempt.map(|attempt| Attempt::Quic(Box::new(attempt))),
            attempt = tcp => Some(Attempt::Tcp(attempt)),
        }
    }

    /// Goes through the next handshakes with this; connections that there are know nothing of it.
    pub fn set_tls(&self, tls: rustls::ServerConfig) -> io::Result<()> {
        if let Some(tcp) = &self.tcp {
            tcp.set_tls(tls.clone());
        }
        self.quic.set_tls(tls)
    }

    /// Closes all connections, and waits up to a second until their peers can know. Those by TCP have
    /// been closed one by one.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        let tcp = async {
            if let Some(tcp) = &self.tcp {
                tcp.close().await;
            }
        };
        tokio::join!(self.quic.close(code, reason), tcp);
    }
}

/// A client at the door: it has knocked, and nothing has been answered.
#[derive(Debug)]
pub enum Attempt {
    /// By QUIC.
    Quic(Box<quic::Attempt>),
    /// By TCP.
    Tcp(tcp::Attempt),
}

impl Attempt {
    /// Where it says it comes from.
    pub fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Quic(inner) => inner.remote_address(),
            Self::Tcp(inner) => inner.remote_address(),
        }
    }

    /// Whether it has shown that this is its address.
    pub fn is_proved(&self) -> bool {
        match self {
            Self::Quic(inner) => inner.is_proved(),
            // TCP has seen an answer of it.
            Self::Tcp(_) => true,
        }
    }

    /// Asks for proof of its address, at no cost of memory, unless it has given it already.
    pub fn retry(self) {
        match self {
            Self::Quic(inner) => inner.retry(),
            Self::Tcp(_) => {}
        }
    }

    /// Turns it away before any handshake, so that it knows.
    pub fn refuse(self) {
        match self {
            Self::Quic(inner) => inner.refuse(),
            // To be closed without a word says enough.
            Self::Tcp(_) => {}
        }
    }

    /// Drops it without an answer.
    pub fn ignore(self) {
        match self {
            Self::Quic(inner) => inner.ignore(),
            Self::Tcp(_) => {}
        }
    }

    /// Goes through the handshake. It has no deadline of its own. Not cancel-safe: the connection
    /// is closed.
    pub async fn handshake(self) -> Result<Connection, Lost> {
        match self {
            Self::Quic(inner) => inner.handshake().await.map(Connection::Quic),
            Self::Tcp(inner) => inner.handshake().await.map(Connection::Tcp),
        }
    }
}

/// Connects to a server by QUIC from a new socket, by the name that its certificate should have if
/// names matter. It has no deadline of its own. Not cancel-safe: the attempt is given up.
pub async fn connect(
    remote: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    name: &str,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let connected = quic::connect(remote, tls, name, tuning).await;
    connected.map(Connection::Quic)
}

/// The same by TCP.
pub async fn connect_tcp(
    route: &Route,
    tls: Arc<rustls::ClientConfig>,
    name: &str,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let connected = tcp::connect(route, tls, name, tuning).await;
    connected.map(Connection::Tcp)
}
