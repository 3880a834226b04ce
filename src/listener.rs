//! Sockets that visitors connect to.

#[cfg_attr(not(unix), path = "listener/ports_elsewhere.rs")]
mod ports;
mod proxy_header;
mod tcp;
mod udp;
#[cfg(unix)]
mod unix;

use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::socket::Socket;
use crate::tunnel::{Listen, ProxyHeader};

pub use ports::Ports;
pub use udp::Listener as UdpListener;

/// Visitors that the kernel lets wait to be accepted.
const BACKLOG: i32 = 1024;

/// Pause after a failure that will not be over at once, such as no descriptors being left.
const PAUSE: Duration = Duration::from_secs(1);

/// Visitors in a row that may die before they are accepted without a pause.
const MANY: u32 = 64;

/// Someone who came in.
#[derive(Debug)]
pub struct Visitor {
    /// Its connection.
    pub socket: Socket,
    /// Where it came from.
    pub from: Origin,
}

/// Where a visitor came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This address, in canonical form.
    Tcp(SocketAddr),
    /// A Unix socket's visitors have none.
    Unix,
    /// The process itself, by its standard input.
    Stdio,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix => f.write_str("a process of this machine"),
            Self::Stdio => f.write_str("standard input"),
        }
    }
}

impl Visitor {
    /// The header by which the PROXY protocol tells a target who this is.
    pub fn introduction(&self, version: ProxyHeader) -> Vec<u8> {
        let addresses = match (self.from, self.socket.local_addr()) {
            (Origin::Tcp(from), Some(to)) => Some((from, to)),
            _ => None,
        };
        proxy_header::encode(version, addresses)
    }
}

/// A bound and listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(tcp::Listener),
    /// A Unix stream socket.
    #[cfg(unix)]
    Unix(unix::Listener),
    /// UDP, where visitors are not accepted but send packets.
    Udp(udp::Listener),
}

impl Listener {
    /// Binds what a tunnel is to listen on; must be called within a runtime.
    pub fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(addr) => Ok(Self::Tcp(tcp::Listener::bind(*addr)?)),
            Listen::Socks5 { addr, auth } | Listen::Http { addr, auth } => {
                let listener = tcp::Listener::bind(*addr)?;
                if auth.is_none() && !listener.local_addr().ip().is_loopback() {
                    warn!(
                        "{listen} asks for no password: whoever reaches it goes out through it; \
                         ?auth=FILE behind its address changes that"
                    );
                }
                Ok(Self::Tcp(listener))
            }
            #[cfg(unix)]
            Listen::Unix { path, mode } => Ok(Self::Unix(unix::Listener::bind(path, *mode)?)),
            #[cfg(not(unix))]
            Listen::Unix { .. } => Err(crate::socket::no_unix_sockets()),
            Listen::Udp { addr, timeout } => Ok(Self::Udp(udp::Listener::bind(*addr, *timeout)?)),
            Listen::Stdio => {
                let text = "standard input is no socket";
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
        }
    }

    /// Takes over a socket that is bound and listens as this says; must be called within a runtime.
    #[cfg(unix)]
    fn adopt(listen: &Listen, socket: OwnedFd) -> io::Result<Self> {
        match listen {
            Listen::Unix { path, .. } => Ok(Self::Unix(unix::Listener::adopt(path, socket)?)),
            Listen::Udp { timeout, .. } => Ok(Self::Udp(udp::Listener::adopt(socket, *timeout)?)),
            _ => Ok(Self::Tcp(tcp::Listener::adopt(socket)?)),
        }
    }

    /// Leaves all as it is when this is dropped, for another process has the socket too.
    #[cfg(unix)]
    fn leave(&self) {
        if let Self::Unix(listener) = self {
            listener.leave();
        }
    }

    /// The address that was bound, with its real port; none where there is no port.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => Some(listener.local_addr()),
            #[cfg(unix)]
            Self::Unix(_) => None,
            Self::Udp(listener) => Some(listener.port.local_addr()),
        }
    }

    /// Waits for the next visitor. Cancel-safe.
    ///
    /// Failures to accept are logged, and never spin. A UDP port has none to wait for.
    pub async fn accept(&self) -> Visitor {
        let mut dead = 0;
        loop {
            let accepted = match self {
                Self::Tcp(listener) => listener.accept().await,
                #[cfg(unix)]
                Self::Unix(listener) => listener.accept().await,
                Self::Udp(_) => pending().await,
            };
            match accepted {
                Ok(visitor) => return visitor,
                // On some systems a listener that has failed for good says the same.
                Err(e) if is_the_visitors(&e) && dead < MANY => dead += 1,
                Err(e) => {
                    warn!("cannot accept at {self}: {e}; waiting");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

#[cfg(unix)]
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
            Self::Udp(listener) => listener.port.as_fd(),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => listener.local_addr().fmt(f),
            #[cfg(unix)]
            Self::Unix(listener) => listener.path().fmt(f),
            Self::Udp(listener) => listener.port.local_addr().fmt(f),
        }
    }
}

/// Errors of a connection that died before it was accepted, which say nothing of the listener.
fn is_the_visitors(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | HostUnreachable
            | InvalidInput
            | NetworkUnreachable
            | NetworkDown
            | NotConnected
            | TimedOut
            | Interrupted
    )
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::net::{Shutdown, shutdown};
    use tokio::time::timeout;

    use super::*;

    /// Time goes on only while nothing runs.
    #[tokio::test(start_paused = true)]
    async fn a_listener_that_has_failed_does_not_spin() {
        let listener = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        shutdown(&listener, Shutdown::Both).unwrap();
        assert!(timeout(10 * PAUSE, listener.accept()).await.is_err());
    }
}
