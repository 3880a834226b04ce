//! From a target to a connected socket.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::socket::{Socket, UdpPort};
use crate::tunnel::{Host, HostPort, UnixPath};

/// Longest that the dialing of one address may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Head start of one of a name's addresses over the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

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
    let none = || DialError::Unreachable(io::ErrorKind::AddrNotAvailable.into());
    let dialed = race(addrs, connect).await;
    dialed.map_err(|mut failures| failures.pop().unwrap_or_else(none))
}

async fn connect(addr: SocketAddr) -> Result<Socket, DialError> {
    let connect = async { Socket::tcp(TcpStream::connect(addr).await?) };
    match timeout(DEADLINE, connect).await {
        Ok(connected) => connected.map_err(classify),
        Err(_) => Err(DialError::TimedOut),
    }
}

/// Tries these addresses side by side, each a little later than the one before it; the first that
/// succeeds wins, and the others are given up. Fails with all failures, in the order in which they
/// came. Cancel-safe.
pub async fn race<T, E, A>(
    addrs: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> A,
) -> Result<T, Vec<E>>
where
    A: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    if let [addr] = addrs {
        return attempt(*addr).await.map_err(|e| vec![e]);
    }
    let (mut attempts, mut failures) = (JoinSet::new(), Vec::new());
    let mut addrs = addrs.iter();
    loop {
        if let Some(addr) = addrs.next() {
            attempts.spawn(attempt(*addr));
        }
        tokio::select! {
            () = sleep(HEAD_START), if addrs.len() > 0 => {}
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Ok(won))) => return Ok(won),
                Some(Ok(Err(e))) => failures.push(e),
                Some(Err(_)) => {}
                None => return Err(failures),
            }
        }
    }
}

/// Connects a UDP socket to the next of these addresses that there is a way to.
pub fn dial_udp(addrs: impl IntoIterator<Item = SocketAddr>) -> Result<UdpPort, DialError> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for addr in addrs {
        match UdpPort::connect(addr) {
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn addrs(n: u16) -> Vec<SocketAddr> {
        (1..=n).map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_silent_holds_up_the_next_for_a_moment() {
        let begun = tokio::time::Instant::now();
        let attempt = |addr: SocketAddr| async move {
            match addr.port() {
                3 => Ok(addr.port()),
                _ => pending::<Result<u16, ()>>().await,
            }
        };
        assert_eq!(race(&addrs(4), attempt).await, Ok(3));
        assert_eq!(begun.elapsed(), 2 * HEAD_START);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_does_not() {
        let begun = tokio::time::Instant::now();
        let attempt = |addr: SocketAddr| async move { Err::<(), _>(addr.port()) };
        assert_eq!(race(&addrs(3), attempt).await, Err(vec![1, 2, 3]));
        assert_eq!(race(&addrs(1), attempt).await, Err(vec![1]));
        assert_eq!(race(&[], attempt).await, Err(vec![]));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_closed_port_is_passed_over() {
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open_and_closed = [&closed, &open].map(|l| l.local_addr().unwrap());
        drop(closed);
        dial(&open_and_closed).await.unwrap();
        let refused = dial(&open_and_closed[..1]).await.unwrap_err();
        assert!(matches!(refused, DialError::Refused));
    }
}
