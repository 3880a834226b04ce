//! UDP sockets of a machine's own side, read and written many packets at a time.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::watched::{Watched, register};

/// Bytes that the kernel is asked to keep for us while we are busy with something else.
const BUFFER: usize = 4 * 1024 * 1024;

/// Most bytes of one read: what a packet can have, or several that the kernel has joined.
const LARGEST: usize = 64 * 1024;

/// Most bytes that one system call sends, as one packet or as several.
const MAX_SEND: usize = 65_507;

/// Errors in a row, such as a target's refusals, after which to wait for the next event.
const ERRORS: usize = 16;

thread_local! {
    /// Where packets are read into. A worker is one thread, so all of its sockets share it, and an
    /// idle one holds nothing.
    static BATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH_SIZE * LARGEST]);
}

/// A UDP socket, bound for all who come or connected to one address.
///
/// Registered with the reactor for packets alone: the kernel calls a UDP socket writable again
/// whenever a packet has left, which would wake us for each.
#[derive(Debug)]
pub struct UdpPort {
    socket: Watched<UdpSocket>,
    state: UdpSocketState,
    addr: SocketAddr,
    /// The address that it is connected to.
    peer: Option<SocketAddr>,
}

#[cfg(unix)]
impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

/// A packet that has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Whom it is from, and where that one sent it.
    pub route: Route,
    /// Its payload.
    pub bytes: &'a [u8],
}

/// The two ends of a packet's way, as the socket that got it knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The other end.
    pub peer: SocketAddr,
    /// Our address, where the socket has several.
    pub local: Option<IpAddr>,
}

impl AsRef<[u8]> for Packet<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

impl UdpPort {
    /// Binds a port of one address, or of all if that is unspecified: with IPv6's then also those of
    /// IPv4. Must be called within a runtime.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = open(addr)?;
        if addr.is_ipv6() {
            socket.set_only_v6(!addr.ip().is_unspecified())?;
        }
        socket.bind(&addr.into())?;
        Self::new(socket.into(), None)
    }

    /// Connects to an address from a new port. Must be called within a runtime.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = open(addr)?;
        socket.connect(&addr.into())?;
        Self::new(socket.into(), Some(addr))
    }

    /// Takes over a socket that is bound. Must be called within a runtime.
    pub fn adopt(socket: UdpSocket) -> io::Result<Self> {
        Self::new(socket, None)
    }

    fn new(socket: UdpSocket, peer: Option<SocketAddr>) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let addr = socket.local_addr()?;
        allow_ip_fragments(&socket, addr)?;
        Ok(Self {
            socket: register(Arc::new(socket), Interest::READABLE)?,
            state,
            addr,
            peer,
        })
    }

    /// The address that it is bound to, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address that it is connected to, if it is.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Waits for packets, and hands over those that have arrived, of which there may be none.
    /// Cancel-safe: nothing is read before it is handed over.
    ///
    /// It fails, where nothing has arrived, with what became of a packet that was sent before (ICMP).
    /// The port is none the worse for that.
    pub async fn recv(&self, take: impl FnOnce(&[Packet<'_>])) -> io::Result<()> {
        let either = Interest::READABLE | Interest::ERROR;
        let Ok(mut ready) = self.socket.ready(either).await else {
            // The runtime is shutting down.
            return std::future::pending().await;
        };
        BATCH.with_borrow_mut(|buffer| {
            let mut meta = [RecvMeta::default(); BATCH_SIZE];
            let n = match self.read(buffer, &mut meta) {
                Ok(n) => n,
                Err(e) => {
                    ready.clear_ready();
                    let nothing = e.kind() == io::ErrorKind::WouldBlock;
                    return if nothing { Ok(()) } else { Err(e) };
                }
            };
            // What comes after a read that left room is an event of its own.
            if n < BATCH_SIZE {
                ready.clear_ready();
            }
            let read = meta[..n].iter().zip(buffer.chunks(LARGEST));
            let packets: Vec<_> = read
                .flat_map(|(meta, bytes)| self.split(meta, bytes))
                .collect();
            take(&packets);
            Ok(())
        })
    }

    /// Waits until packets have arrived, and leaves them where they are. Cancel-safe.
    pub async fn arrival(&self) {
        let arrived = self.socket.ready(Interest::READABLE).await.is_ok();
        if !arrived {
            // The runtime is shutting down.
            std::future::pending().await
        }
    }

    /// Throws away the packets that have arrived so far. Cancel-safe.
    pub async fn discard(&self) {
        loop {
            tokio::select! {
                biased;
                _ = self.recv(|_| ()) => {}
                () = std::future::ready(()) => return,
            }
        }
    }

    fn read(&self, buffer: &mut [u8], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let mut chunks = buffer.chunks_mut(LARGEST);
        let mut slices: [_; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let mut failure = None;
        for _ in 0..ERRORS {
            let socket = &**self.socket.get_ref();
            match self.state.recv(socket.into(), &mut slices, meta) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(failure.unwrap_or(e));
                }
                Err(e) => failure = Some(e),
            }
        }
        Err(failure.unwrap_or(io::ErrorKind::WouldBlock.into()))
    }

    /// The packets of one read: one, or several of the same size that the kernel has joined, of
    /// which the last may be shorter.
    fn split<'a>(&self, meta: &RecvMeta, buffer: &'a [u8]) -> impl Iterator<Item = Packet<'a>> {
        let route = Route {
            peer: meta.addr,
            local: meta.dst_ip.filter(|_| self.addr.ip().is_unspecified()),
        };
        let read = &buffer[..meta.len];
        // An empty packet is a packet.
        let empty = read.is_empty().then_some(read);
        let packets = read.chunks(meta.stride.max(1)).chain(empty);
        packets.map(move |bytes| Packet { route, bytes })
    }

    /// Sends packets of one size, one behind the other in `bytes`, to the other end of the route;
    /// the way back for none is to where the socket is connected. Returns how many did not leave.
    ///
    /// It does not wait: what the kernel has no room for is lost, as it would be on a wire.
    pub fn send(&self, route: Option<Route>, size: usize, bytes: &[u8]) -> usize {
        let Some(destination) = route.map(|route| route.peer).or(self.peer) else {
            return bytes.len().div_ceil(size.max(1));
        };
        let segments = self.state.max_gso_segments().min(MAX_SEND / size.max(1));
        if bytes.is_empty() {
            return self.send_one(route, destination, bytes).into();
        }
        let mut lost = 0;
        for batch in bytes.chunks(size * segments.max(1)) {
            let transmit = Transmit {
                destination,
                ecn: None,
                contents: batch,
                segment_size: (batch.len() > size).then_some(size),
                src_ip: route.and_then(|route| route.local),
            };
            let sent = match transmit.segment_size {
                None => !self.send_one(route, destination, batch),
                Some(_) => self.try_send(&transmit),
            };
            if !sent {
                lost += batch.len() / size;
            }
        }
        lost
    }

    /// Sends a packet, and tells whether it was lost.
    fn send_one(&self, route: Option<Route>, destination: SocketAddr, bytes: &[u8]) -> bool {
        match route {
            Some(Route {
                local: Some(ip), ..
            }) => !self.try_send(&Transmit {
                destination,
                ecn: None,
                contents: bytes,
                segment_size: None,
                src_ip: Some(ip),
            }),
            Some(_) => !self.retried(|socket| socket.send_to(bytes, destination).map(drop)),
            None => !self.retried(|socket| socket.send(bytes).map(drop)),
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> bool {
        self.retried(|socket| self.state.try_send(socket.into(), transmit))
    }

    /// Sends again if it failed: a connected socket reports by that what became of a packet before.
    fn retried(&self, mut send: impl FnMut(&UdpSocket) -> io::Result<()>) -> bool {
        let socket = self.socket.get_ref();
        send(socket).or_else(|_| send(socket)).is_ok()
    }
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // Less than was asked for is what every program gets.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Lets packets be larger than the path's MTU. QUIC must not, and so quinn-udp forbids it.
#[cfg(target_os = "linux")]
fn allow_ip_fragments(socket: &UdpSocket, addr: SocketAddr) -> io::Result<()> {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};

    if addr.is_ipv6() {
        sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
        allow_ipv6_fragments(socket)?;
    }
    // For IPv6 too, to which IPv4's addresses may be mapped.
    Ok(sockopt::set_ip_mtu_discover(
        socket,
        Ipv4PathMtuDiscovery::DONT,
    )?)
}

/// Takes IPV6_DONTFRAG (RFC 3542, section 11.2) back.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of ours has a name for this option")]
fn allow_ipv6_fragments(socket: &UdpSocket) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let off: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the value is an int as long as it says.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DONTFRAG,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn allow_ip_fragments(_: &UdpSocket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}
