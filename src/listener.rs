//! TCP sockets that visitors connect to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

use crate::tunnel::ListenAddr;

/// Visitors that the kernel lets wait to be accepted.
const BACKLOG: i32 = 1024;

/// Pause after a failure that will not be over at once, such as no descriptors being left.
const PAUSE: Duration = Duration::from_secs(1);

/// A bound and listening socket.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// Binds; "all addresses" takes IPv4 alone where there is no IPv6.
    pub fn bind(addr: ListenAddr) -> io::Result<Self> {
        let inner = match addr.ip {
            Some(ip) => bind(ip, addr.port)?,
            None => bind(Ipv6Addr::UNSPECIFIED.into(), addr.port).or_else(|e| match e.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(e),
                _ => bind(Ipv4Addr::UNSPECIFIED.into(), addr.port),
            })?,
        };
        let addr = inner.local_addr()?;
        Ok(Self { inner, addr })
    }

    /// The address that was bound, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next visitor. Cancel-safe.
    ///
    /// The socket is [prepared](prepare). Failures to accept are logged, and never spin.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((socket, from)) => {
                    // It fails on a socket that is gone already.
                    if prepare(&socket).is_ok() {
                        return (
                            socket,
                            SocketAddr::new(from.ip().to_canonical(), from.port()),
                        );
                    }
                }
                Err(e) if is_the_visitors(&e) => {}
                Err(e) => {
                    warn!("cannot accept at {}: {e}; waiting", self.addr);
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Sets up a socket that a flow is to go through, accepted or connected.
///
/// It is reset when closed, so that a flow never looks ended because we died, until the relay has
/// seen both ends. A peer that has vanished is noticed within two minutes (RFC 9293, section
/// 3.8.4), for otherwise its flow would stay for ever.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_zero_linger()?;
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    SockRef::from(socket).set_tcp_keepalive(&probes)
}

fn bind(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    let addr = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if ip.is_ipv6() {
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    // Elsewhere than on Unix this would let two programs share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
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
            | NetworkUnreachable
            | NetworkDown
            | TimedOut
            | Interrupted
    )
}
