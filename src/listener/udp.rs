//! UDP ports.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::socket::UdpPort;
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
        let bind = |ip| UdpPort::bind(SocketAddr::new(ip, addr.port));
        let port = match addr.ip {
            Some(ip) => bind(ip)?,
            None => bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|e| match e.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(e),
                _ => bind(Ipv4Addr::UNSPECIFIED.into()),
            })?,
        };
        Ok(Self {
            port: Arc::new(port),
            timeout,
        })
    }
}
