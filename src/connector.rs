//! From a target to a connected socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::socket::{Socket, UdpPort};
use crate::tunnel::{Host, HostPort, UnixPath};

/// Longest that the dialing of one address may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a target was not reached.
#[derive(Debug, Error)]
pub enum DialError {
    /// Its name does not resolve.
    #[error("its name does not resolve: {0}")]
    NoSuchName(io::Error),
    /// It refused.
    #[error("connection refused")]
    Refused,
    /// It did not answer.
    #[error("no answer in {} s", DEADLINE.as_secs())]
    TimedOut,
    /// This process may open no more sockets.
    #[error("{0}")]
    Overloaded(io::Error),
    /// Any other failure, of the way to it as a rule.
    #[error("{0}")]
    Unreachable(io::Error),
}

/// The addresses that a machine's port stands for, at least one. Cancel-safe.
pub async fn resolve(target: &HostPort) -> Result<Vec<SocketAddr>, DialError> {
    match &target.host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, target.port)]),
        Host::Name(name) => {
            let found = lookup_host((name.as_str(), target.port))
                .await
                .map_err(DialError::NoSuchName)?;
            let addrs: Vec<_> = found.collect();
            if addrs.is_empty() {
                return Err(DialError::NoSuchName(io::ErrorKind::NotFound.into()));
            }
            Ok(addrs)
        }
    }
}

/// Connects to the first of these addresses that answers. Cancel-safe.
pub async fn dial(addrs: &[SocketAddr]) -> Result<Socket, DialError> {
    let mut failure = DialError::Unreachable(io::ErrorKind::AddrNotAvailable.into());
    for addr in addrs {
        match timeout(DEADLINE, connect(*addr)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(e)) => failure = classify(e),
            Err(_) => failure = DialError::TimedOut,
        }
    }
    Err(failure)
}

async fn connect(addr: SocketAddr) -> io::Result<Socket> {
    Socket::tcp(TcpStream::connect(addr).await?)
}

/// Connects a UDP socket to the first of these addresses that there is a way to.
pub fn dial_udp(addrs: &[SocketAddr]) -> Result<UdpPort, DialError> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for addr in addrs {
        match UdpPort::connect(*addr) {
            Ok(port) => return Ok(port),
            Err(e) => failure = e,
        }
    }
    Err(classify(failure))
}

/// Connects to a Unix socket. Cancel-safe.
#[cfg(unix)]
pub async fn dial_unix(path: &UnixPath) -> Result<Socket, DialError> {
    let connect = UnixStream::connect(path.as_path());
    match timeout(DEADLINE, connect).await {
        Ok(Ok(socket)) => Ok(Socket::Unix(socket)),
        Ok(Err(e)) => Err(classify(e)),
        Err(_) => Err(DialError::TimedOut),
    }
}

/// Fails: this system has no Unix sockets.
#[cfg(not(unix))]
pub async fn dial_unix(_: &UnixPath) -> Result<Socket, DialError> {
    Err(DialError::Unreachable(crate::socket::no_unix_sockets()))
}

fn classify(error: io::Error) -> DialError {
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::ConnectionRefused, _) => DialError::Refused,
        (io::ErrorKind::TimedOut, _) => DialError::TimedOut,
        // EMFILE and ENFILE have no kind of their own.
        #[cfg(unix)]
        (_, Some(23 | 24)) => DialError::Overloaded(error),
        _ => DialError::Unreachable(error),
    }
}
