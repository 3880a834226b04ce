//! A network address translator between a client and a server, whose outer address can change.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long its threads wait for a packet before they see whether to end.
const TURN: Duration = Duration::from_millis(50);

/// It forwards for one client. Its threads end when it is dropped.
pub(crate) struct Nat {
    shared: Arc<Shared>,
    inner_addr: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    inner: UdpSocket,
    /// What the server sees.
    outer: Mutex<Arc<UdpSocket>>,
    client: Mutex<Option<SocketAddr>>,
    server: SocketAddr,
    over: AtomicBool,
}

impl Nat {
    /// Forwards to this server.
    pub(crate) fn new(server: SocketAddr) -> Self {
        let inner = socket("127.0.0.1");
        let inner_addr = inner.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            inner,
            outer: Mutex::new(Arc::new(socket("127.0.0.1"))),
            client: Mutex::new(None),
            server,
            over: AtomicBool::new(false),
        });
        let run = |direction: fn(&Shared)| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                while !shared.over.load(Relaxed) {
                    direction(&shared);
                }
            })
        };
        let threads = vec![run(Shared::outward), run(Shared::inward)];
        Self {
            shared,
            inner_addr,
            threads,
        }
    }

    /// Where the client is to connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.inner_addr
    }

    /// From now on the server sees the client at another port, of this address; what it still sends to the
    /// former one is lost.
    pub(crate) fn move_to(&self, ip: &str) {
        *self.shared.outer() = Arc::new(socket(ip));
    }
}

impl Shared {
    fn outward(&self) {
        let mut packet = [0; 1 << 16];
        if let Some((n, from)) = receive(&self.inner, &mut packet) {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            let outer = self.outer().clone();
            // A full queue loses packets, as any does.
            let _ = outer.send_to(&packet[..n], self.server);
        }
    }

    fn inward(&self) {
        let mut packet = [0; 1 << 16];
        let outer = self.outer().clone();
        let client = || *self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((n, _)) = receive(&outer, &mut packet)
            && let Some(client) = client()
        {
            let _ = self.inner.send_to(&packet[..n], client);
        }
    }

    fn outer(&self) -> MutexGuard<'_, Arc<UdpSocket>> {
        self.outer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn socket(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("a free port");
    socket.set_read_timeout(Some(TURN)).expect("a timeout");
    socket
}

fn receive(socket: &UdpSocket, packet: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(packet) {
        Ok(received) => Some(received),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        // A server that has ended refuses what is sent to it.
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => None,
        Err(e) => panic!("the NAT's socket: {e}"),
    }
}
