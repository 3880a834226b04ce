//! UDP ports.

use std::io;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::socket::{UdpPort, bind_to};
use crate::tunnel::ListenAddr;

/// A bound UDP port. It accepts nobody: whoever sends a packet is a visitor.
#[derive(Debug)]
pub struct Listener {
    /// The port.
    pub port: Arc<UdpPort>,
    /// Silence after which a visitor counts as gone, if that was written.
    pub timeout: Option<Duration>,
}

impl Listener {
    /// Binds; "all addresses" takes IPv4 alone where there is no IPv6.
    pub(super) fn bind(addr: ListenAddr, timeout: Option<Duration>) -> io::Result<Self> {
        let port = bind_to(addr.ip, addr.port, UdpPort::bind)?;
        Ok(Self {
            port: Arc::new(port),
            timeout,
        })
    }

    /// Takes over a socket that is bound.
    #[cfg(unix)]
    pub(super) fn adopt(socket: OwnedFd, timeout: Option<Duration>) -> io::Result<Self> {
        Ok(Self {
            port: Arc::new(UdpPort::adopt(socket.into())?),
            timeout,
        })
    }
}
