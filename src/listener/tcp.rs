//! TCP ports.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::net::TcpListener;

use super::{BACKLOG, Origin, Visitor};
use crate::socket::{Socket, bind_to, listen_tcp};
use crate::tunnel::ListenAddr;

/// A bound and listening TCP port.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// Binds; "all addresses" takes IPv4 alone where there is no IPv6.
    pub(super) fn bind(addr: ListenAddr) -> io::Result<Self> {
        let inner = bind_to(addr.ip, addr.port, |addr| listen_tcp(addr, BACKLOG))?;
        let addr = inner.local_addr()?;
        Ok(Self { inner, addr })
    }

    /// Takes over a socket that listens.
    #[cfg(unix)]
    pub(super) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let inner = TcpListener::from_std(socket.into())?;
        let addr = inner.local_addr()?;
        Ok(Self { inner, addr })
    }

    #[cfg(unix)]
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next visitor, of whom none is lost by an error. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Visitor> {
        loop {
            let (socket, from) = self.inner.accept().await?;
            // It fails on a socket that is gone already.
            if let Ok(socket) = Socket::tcp(socket) {
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                let from = Origin::Tcp(from);
                return Ok(Visitor { socket, from });
            }
        }
    }
}
