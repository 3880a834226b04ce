//! The local end of a flow: a connected socket of one of a few kinds, or for UDP also a bound one.
//!
//! A TCP socket can be reset, and so show that its flow broke. A Unix socket cannot: there a flow
//! that broke shows as an end, and what is written to it then fails.

mod udp;
#[cfg_attr(not(unix), path = "socket/watched_elsewhere.rs")]
mod watched;

use std::io::{self, IoSlice, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, tcp};
#[cfg(unix)]
use tokio::net::{UnixStream, unix};
use tokio::time::timeout;

/// Longest that a peer is waited for that has had its last word.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes that the kernel may have and not have sent yet, where little is to be kept.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 64 * 1024;

pub use udp::{Packet, Route, UdpPort};
pub(crate) use watched::{Watched, register};

/// A connected socket that a flow goes through.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Takes a TCP connection, accepted or made.
    ///
    /// It is reset when closed, so that a flow never looks ended because we died, until
    /// [`Socket::settle`]. A peer that has vanished is noticed within two minutes (RFC 9293, section
    /// 3.8.4), for otherwise its flow would stay for ever.
    pub fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_zero_linger()?;
        let probes = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15));
        SockRef::from(&socket).set_tcp_keepalive(&probes)?;
        Ok(Self::Tcp(socket))
    }

    /// Has the kernel keep little of what it has not sent yet, and so say sooner that it can take more.
    pub fn keep_little(&self) -> io::Result<()> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Tcp(socket) => SockRef::from(socket).set_tcp_notsent_lowat(UNSENT),
            _ => Ok(()),
        }
    }

    /// The address that its peer connected to, if it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    /// The address of its peer, if it has one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    /// Lets it be closed in order, now that both directions have ended.
    pub fn settle(&self) {
        match self {
            Self::Tcp(socket) => drop(SockRef::from(socket).set_linger(None)),
            #[cfg(unix)]
            Self::Unix(_) => {}
        }
    }

    /// Closes it in order after a last word, which gets through whatever the peer sends meanwhile:
    /// a system that closes with bytes unread resets instead.
    ///
    /// It takes as long as the peer leaves its direction open, and a second at most. Cancelling
    /// this resets.
    pub async fn close(mut self) {
        let end = async {
            self.shutdown().await?;
            while self.read(&mut [0; 1024]).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        // An error is the peer's, who is gone then.
        let _ = timeout(FAREWELL, end).await;
        self.settle();
    }

    /// Reads what is there already, without knowing whether anything is.
    ///
    /// Not through tokio, which knows nothing of a new socket's readiness before the next poll.
    pub fn read_at_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = match self {
            Self::Tcp(socket) => SockRef::from(socket),
            #[cfg(unix)]
            Self::Unix(socket) => SockRef::from(socket),
        };
        match (&*socket).read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// The two directions, to be used side by side.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Tcp(socket) => {
                let (read, write) = socket.split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (read, write) = socket.split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// Binds to an address; with none, to all, which are those of IPv4 alone where there is no IPv6.
pub fn bind_to<T>(
    ip: Option<IpAddr>,
    port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let to = |ip| bind(SocketAddr::new(ip, port));
    match ip {
        Some(ip) => to(ip),
        None => to(Ipv6Addr::UNSPECIFIED.into()).or_else(|e| match e.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(e),
            _ => to(Ipv4Addr::UNSPECIFIED.into()),
        }),
    }
}

/// A TCP port for others to connect to, of whom the kernel lets so many wait.
pub fn listen_tcp(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // Elsewhere than on Unix this would let two programs share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// The direction from the socket.
#[derive(Debug)]
pub enum ReadHalf<'a> {
    /// Of TCP.
    Tcp(tcp::ReadHalf<'a>),
    /// Of a Unix socket.
    #[cfg(unix)]
    Unix(unix::ReadHalf<'a>),
}

impl ReadHalf<'_> {
    /// Waits until there is something to read, or an end. Cancel-safe.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.readable().await,
            #[cfg(unix)]
            Self::Unix(half) => half.readable().await,
        }
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

/// The direction to the socket.
#[derive(Debug)]
pub enum WriteHalf<'a> {
    /// Of TCP.
    Tcp(tcp::WriteHalf<'a>),
    /// Of a Unix socket.
    #[cfg(unix)]
    Unix(unix::WriteHalf<'a>),
}

impl WriteHalf<'_> {
    /// Waits until it takes more. Cancel-safe.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            #[cfg(unix)]
            Self::Unix(half) => half.writable().await,
        }
    }

    /// Writes as much as it takes at once.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write_vectored(slices),
            #[cfg(unix)]
            Self::Unix(half) => half.try_write_vectored(slices),
        }
    }

    /// Ends this direction.
    pub fn finish(&self) -> io::Result<()> {
        let socket = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()),
            #[cfg(unix)]
            Self::Unix(half) => SockRef::from(half.as_ref()),
        };
        match socket.shutdown(Shutdown::Write) {
            // A peer that has gone meanwhile shows as an error of the socket.
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Waits for an error of the socket, which a peer's reset is, also while nothing is read from
    /// it. Cancel-safe.
    pub async fn failure(&self) -> io::Error {
        let ready = match self {
            Self::Tcp(half) => half.ready(Interest::ERROR).await,
            #[cfg(unix)]
            Self::Unix(half) => half.ready(Interest::ERROR).await,
        };
        if let Err(e) = ready {
            return e;
        }
        let error = match self {
            Self::Tcp(half) => half.as_ref().take_error(),
            #[cfg(unix)]
            Self::Unix(half) => half.as_ref().take_error(),
        };
        match error {
            Ok(Some(e)) | Err(e) => e,
            // Whoever read or wrote has met the error before us, and tells of it.
            Ok(None) => std::future::pending().await,
        }
    }
}

/// What there is to say of a Unix socket where there are none.
#[cfg(not(unix))]
pub(crate) fn no_unix_sockets() -> io::Error {
    let text = "this system has no Unix sockets";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
