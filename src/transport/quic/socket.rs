//! The UDP socket below a QUIC endpoint: its buffers, and batches that the kernel can take.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tracing::warn;

use super::moderation::{Bulk, Reader};
use super::slumber::Slumber;
use crate::socket::{Watched, bind_to, register};
use crate::tunnel::ListenAddr;

/// Bytes asked for in each direction; the usual 208 KiB drop packets at speed.
const BUFFER: usize = 4 * 1024 * 1024;

/// Most bytes that one system call can send as a UDP datagram or as segments of one.
const MAX_BATCH: usize = 65_507;

/// The bit of a packet's first byte that says that a version follows (RFC 8999, section 5.1).
const LONG_HEADER: u8 = 0x80;

/// The version of QUIC that a client begins with (RFC 9000, section 15).
const QUIC_VERSION: [u8; 4] = 1u32.to_be_bytes();

/// Binds a UDP socket with large buffers; "all addresses" takes IPv4 where there is no IPv6.
pub(super) fn bind(addr: ListenAddr) -> io::Result<UdpSocket> {
    bind_to(addr.ip, addr.port, bind_one)
}

fn bind_one(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    enlarge_buffers(&socket);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Makes a socket that another has bound like one of ours.
pub(super) fn tune(socket: UdpSocket) -> UdpSocket {
    let socket = Socket::from(socket);
    enlarge_buffers(&socket);
    socket.into()
}

/// Asks for large buffers; small ones cost speed, so what falls short is said, but once.
fn enlarge_buffers(socket: &Socket) {
    static SAID: Once = Once::new();
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    let granted = [socket.recv_buffer_size(), socket.send_buffer_size()];
    // Linux counts its bookkeeping in, and so reports twice what it granted.
    let halves = if cfg!(target_os = "linux") { 2 } else { 1 };
    let short = |size: &io::Result<usize>| size.as_ref().is_ok_and(|s| s / halves < BUFFER);
    if granted.iter().any(short) {
        SAID.call_once(|| {
            let [recv, send] = granted.map(|size| size.unwrap_or(0) / halves / 1024);
            warn!(
                "the system grants UDP buffers of {recv} KiB to receive and {send} KiB to send, \
                 which costs speed; on Linux mend it with \
                 `sysctl -w net.core.rmem_max={BUFFER} net.core.wmem_max={BUFFER}`"
            );
        });
    }
}

/// A UDP socket for quinn, that wakes no one needlessly and cuts batches to what the kernel takes.
///
/// Registered with the reactor to be told of packets alone: the kernel calls a UDP socket writable
/// again whenever a packet has left, which costs two wake-ups for each request if anyone listens.
/// And quinn hands over up to ten packets at once whatever their size, and takes the kernel's
/// refusal of a batch above 64 KiB for a lost batch.
#[derive(Debug)]
pub(super) struct BatchSocket {
    socket: Arc<UdpSocket>,
    reader: Mutex<Reader>,
    state: UdpSocketState,
    receive_segments: usize,
    /// At a client.
    slumber: Option<Slumber>,
    /// The kernel's buffer was full at the last attempt to send.
    blocked: AtomicBool,
    /// Strangers send to it.
    public: bool,
}

impl BatchSocket {
    /// Wraps a bound, non-blocking socket whose peers send payloads of at most so many bytes. A
    /// server's is public.
    pub(super) fn new(
        socket: UdpSocket,
        largest_payload: usize,
        bulk: Arc<Bulk>,
        public: bool,
    ) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // Quinn multiplies the two into the size of a receive buffer, of which 64 KiB can be used.
        let receive_segments = state.gro_segments().min(MAX_BATCH / largest_payload + 1);
        let socket = Arc::new(socket);
        Ok(Self {
            reader: Mutex::new(Reader::new(socket.clone(), bulk)?),
            socket,
            state,
            receive_segments,
            // A server may well have nothing to do for long.
            slumber: (!public).then(Slumber::new),
            blocked: AtomicBool::new(false),
            public,
        })
    }

    /// After a sleep of the process, forgets what has come meanwhile, for quinn to hold it lost.
    fn wake(&self) {
        let Some(slumber) = &self.slumber else {
            return;
        };
        if slumber.is_over(Instant::now()) {
            while self.socket.recv(&mut [0; 1]).is_ok() {}
        }
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let result = self.state.send((&*self.socket).into(), transmit);
        if matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock) {
            self.blocked.store(true, Relaxed);
        }
        result
    }
}

impl AsyncUdpSocket for BatchSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            socket: self,
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.wake();
        let segment = match transmit.segment_size {
            Some(size) if transmit.contents.len() > MAX_BATCH => size,
            _ => return self.send(transmit),
        };
        let batch = (MAX_BATCH / segment).max(1) * segment;
        for (i, contents) in transmit.contents.chunks(batch).enumerate() {
            let part = Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn,
                contents,
                segment_size: (contents.len() > segment).then_some(segment),
                src_ip: transmit.src_ip,
            };
            match self.send(&part) {
                // Some have gone, so to try all of them again would send those twice: the rest
                // counts as lost on the way.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && i > 0 => return Ok(()),
                result => result?,
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.wake();
        let mut reader = self.reader.lock().unwrap_or_else(|e| e.into_inner());
        reader.poll_recv(cx, meta, |socket, meta| {
            let received = self.state.recv(socket.into(), bufs, meta)?;
            if self.public {
                for (buf, meta) in bufs.iter_mut().zip(&*meta).take(received) {
                    silence(&mut buf[..meta.len], meta.stride);
                }
            }
            Ok(received)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.receive_segments
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Makes packets of QUIC versions that we do not speak look like those of no connection, which get no
/// answer.
///
/// Quinn would answer each with the versions that it speaks (RFC 9000, section 6.1, which asks for
/// that and lets a server limit it). No client of ours begins with another, and noise is not to be
/// told that anyone is here.
fn silence(datagrams: &mut [u8], stride: usize) {
    for datagram in datagrams.chunks_mut(stride.max(1)) {
        if let [first, version @ ..] = datagram
            && *first & LONG_HEADER != 0
            && !version.starts_with(&QUIC_VERSION)
        {
            *first = 0;
        }
    }
}

/// Waits for room in the kernel's buffer, which there nearly always is.
#[derive(Debug)]
struct Room {
    socket: Arc<BatchSocket>,
    /// Only while there is none: a second registration of the same socket.
    waiting: Option<Watched<UdpSocket>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.socket.blocked.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => {
                let socket = self.socket.socket.try_clone()?;
                register(Arc::new(socket), Interest::WRITABLE)?
            }
        };
        if waiting.poll_write_ready(cx)?.is_pending() {
            self.waiting = Some(waiting);
            return Poll::Pending;
        }
        self.socket.blocked.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_other_versions_are_silenced_and_no_others() {
        let first_bytes = |stride, mut datagrams: Vec<u8>| {
            silence(&mut datagrams, stride);
            let each = datagrams.chunks(stride);
            each.map(|datagram| datagram[0]).collect::<Vec<_>>()
        };
        let initial = [0xc3, 0, 0, 0, 1, 9];
        let short = [0x43, 0, 0, 0, 2, 9];
        let other = [0xc3, 0, 0, 0, 2, 9];
        let gathered = [initial, other, short, other].concat();
        assert_eq!(first_bytes(6, gathered), [0xc3, 0, 0x43, 0]);
        assert_eq!(first_bytes(6, [&initial[..], &[0xc3]].concat()), [0xc3, 0]);
        assert_eq!(first_bytes(1, Vec::new()), [0; 0]);
    }
}
