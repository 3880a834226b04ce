//! A server at many ports, and a client that goes from one of them to another.
//!
//! A connection belongs to no port: whatever comes to any of the server's is for the one endpoint,
//! and is answered from where it came to, as NATs on the way expect. The client's side of quinn knows
//! of the first port alone, and is told that all comes from there.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::mem;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// Peers whose port is known, at most, and again as many that were heard of before these. Strangers
/// can make others of them forgotten, but not those who send more often than 65,536 strangers do.
const MAX_PEERS: usize = 65_536;

/// A server's sockets as one.
#[derive(Debug)]
pub(super) struct ManyPorts<S> {
    sockets: Vec<Arc<S>>,
    /// By which of them each peer came last.
    ways: Mutex<Ways>,
    /// Which is to be read first, for all to have their turn.
    turn: AtomicUsize,
}

impl<S> ManyPorts<S> {
    /// Joins sockets, of which there is at least one.
    pub(super) fn new(sockets: Vec<Arc<S>>) -> Self {
        Self {
            sockets,
            ways: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    fn ways(&self) -> std::sync::MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<S: AsyncUdpSocket> AsyncUdpSocket for ManyPorts<S> {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let pollers = self.sockets.iter().cloned();
        Box::pin(Room(pollers.map(S::create_io_poller).collect()))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let way = self.ways().to(&transmit.destination);
        self.sockets[way].try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let first = self.turn.load(Relaxed);
        for n in 0..self.sockets.len() {
            let way = (first + n) % self.sockets.len();
            if let Poll::Ready(received) = self.sockets[way].poll_recv(cx, bufs, meta)? {
                self.turn.store(way + 1, Relaxed);
                let mut ways = self.ways();
                for meta in &meta[..received] {
                    ways.note(meta.addr, way);
                }
                return Poll::Ready(Ok(received));
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.sockets[0].local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.sockets[0].max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.sockets[0].max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.sockets[0].may_fragment()
    }
}

/// Waits for room in the buffers of all sockets: those that are not full say so at once.
#[derive(Debug)]
struct Room(Vec<Pin<Box<dyn UdpPoller>>>);

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for poller in &mut self.0 {
            ready!(poller.as_mut().poll_writable(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// By which socket each peer came last. When there are too many, those who were silent longest go.
#[derive(Debug, Default)]
struct Ways {
    recent: HashMap<SocketAddr, usize>,
    before: HashMap<SocketAddr, usize>,
}

impl Ways {
    fn note(&mut self, peer: SocketAddr, way: usize) {
        if self.recent.len() >= MAX_PEERS && !self.recent.contains_key(&peer) {
            self.before = mem::take(&mut self.recent);
        }
        self.recent.insert(peer, way);
    }

    /// The way to a peer; the first for one that is not known.
    fn to(&self, peer: &SocketAddr) -> usize {
        let known = self.recent.get(peer).or_else(|| self.before.get(peer));
        known.copied().unwrap_or(0)
    }
}

/// A client's socket to one port of a server's, that looks as if it were to the first.
#[derive(Debug)]
pub(super) struct OnePort<S> {
    socket: Arc<S>,
    server: RangeInclusive<u16>,
    to: u16,
}

impl<S> OnePort<S> {
    /// By a socket to one of these ports, which is chosen at random.
    pub(super) fn of(server: RangeInclusive<u16>, socket: S) -> Self {
        Self {
            to: fastrand::u16(server.clone()),
            socket: Arc::new(socket),
            server,
        }
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.to
    }
}

impl<S: AsyncUdpSocket> AsyncUdpSocket for OnePort<S> {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut destination = transmit.destination;
        destination.set_port(self.to);
        self.socket.try_send(&Transmit {
            destination,
            ecn: transmit.ecn,
            contents: transmit.contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.socket.poll_recv(cx, bufs, meta))?;
        for meta in &mut meta[..received] {
            // Also from another port than this: it may have left before the last change.
            if self.server.contains(&meta.addr.port()) {
                meta.addr.set_port(*self.server.start());
            }
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::transport::quic::socket::{self, BatchSocket};

    fn socket() -> BatchSocket {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = socket::bind(local.into()).unwrap();
        BatchSocket::new(socket, 1452, Arc::default(), true).unwrap()
    }

    async fn receive(socket: &impl AsyncUdpSocket) -> RecvMeta {
        let mut buffer = [0; 9000];
        let mut meta = [RecvMeta::default()];
        poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta))
            .await
            .unwrap();
        meta[0]
    }

    fn send(socket: &impl AsyncUdpSocket, destination: SocketAddr) {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: b"x",
            segment_size: None,
            src_ip: None,
        };
        socket.try_send(&transmit).unwrap();
    }

    #[tokio::test]
    async fn a_peer_is_answered_from_the_port_that_it_came_to_last() {
        let server = ManyPorts::new((0..3).map(|_| Arc::new(socket())).collect());
        let ports: Vec<_> = server
            .sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        let client = socket();
        for port in [ports[2], ports[0], ports[1], ports[1]] {
            send(&client, port);
            let peer = receive(&server).await.addr;
            assert_eq!(peer, client.local_addr().unwrap());
            send(&server, peer);
            assert_eq!(receive(&client).await.addr, port);
        }
    }

    #[tokio::test]
    async fn a_client_sees_one_port_wherever_it_sends() {
        let server = socket();
        let real = server.local_addr().unwrap();
        let first = SocketAddr::new(real.ip(), real.port() - 1);
        let mut client = OnePort::of(first.port()..=real.port(), socket());
        client.to = real.port();
        send(&client, first);
        let peer = receive(&server).await.addr;
        send(&server, peer);
        assert_eq!(receive(&client).await.addr, first);
    }

    #[test]
    fn who_sends_is_remembered_and_others_are_forgotten() {
        let mut ways = Ways::default();
        let peer = |n: usize| SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 1));
        ways.note(peer(0), 7);
        for n in 1..3 * MAX_PEERS {
            ways.note(peer(n), 1);
            if n % (MAX_PEERS / 2) == 0 {
                ways.note(peer(0), 7);
            }
        }
        assert_eq!([ways.to(&peer(0)), ways.to(&peer(1))], [7, 0]);
        assert!(ways.recent.len() + ways.before.len() <= 2 * MAX_PEERS);
    }
}
