//! TLS over TCP with a multiplexer of our own, for paths that let no UDP through.
//!
//! Measured against what there is, a multiplexer of our own fits: yamux's reset carries no code, and its
//! crate shows it as an end of the stream; in HTTP/2 a server cannot open streams, as it has to for
//! TunnelIn. So the frames say what QUIC's say, and those above need not know which of both they use.

mod batch;
mod carrier;
mod frame;
mod half;
mod mux;
mod packets;
mod proxy;
mod socket;
mod stranger;
mod stream;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CommonState};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::mux::Mux;
use self::streams::Side;
use super::{CloseCode, Description, EXPORTER_LABEL, GOODBYE, Lost, Stats, Transport, Tuning};
use crate::memory::Account;
use crate::tls::Fingerprint;

pub use proxy::{NoProxy, Proxy};
pub(super) use socket::listen;
pub(super) use stream::{Receiver, Sender};

/// Clients that the kernel lets wait to be accepted.
pub(super) const BACKLOG: i32 = 1024;

/// Pause after a failure to accept, which may last: no descriptors may be left.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes that TLS may have and the kernel not taken yet.
const ENCRYPTED: usize = 128 * 1024;

/// Largest datagram that we send: one that is larger holds up what follows it.
const MAX_DATAGRAM: usize = 16 * 1024;

/// A server's TCP port, and the connections through it.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: TcpListener,
    tls: Mutex<Arc<rustls::ServerConfig>>,
    idle_timeout: Duration,
    carriers: TaskTracker,
}

impl Endpoint {
    pub(super) fn new(listener: TcpListener, tls: rustls::ServerConfig, tuning: Tuning) -> Self {
        Self {
            listener,
            tls: Mutex::new(Arc::new(tls)),
            idle_timeout: tuning.idle_timeout,
            carriers: TaskTracker::new(),
        }
    }

    /// Goes through the next handshakes with this.
    pub(super) fn set_tls(&self, tls: rustls::ServerConfig) {
        *self.lock() = Arc::new(tls);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<rustls::ServerConfig>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same port for another process.
    pub(super) fn duplicate(&self) -> io::Result<std::net::TcpListener> {
        let socket = SockRef::from(&self.listener).try_clone()?;
        Ok(socket.into())
    }

    /// Waits for the next client. Cancel-safe.
    pub(super) async fn accept(&self) -> Attempt {
        loop {
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    return Attempt {
                        stream,
                        remote: SocketAddr::new(remote.ip().to_canonical(), remote.port()),
                        tls: self.lock().clone(),
                        idle_timeout: self.idle_timeout,
                        carriers: self.carriers.clone(),
                    };
                }
                Err(e) => {
                    debug!("cannot accept a TCP connection: {e}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Waits up to a second until the peers of connections that were closed can know.
    pub(super) async fn close(&self) {
        self.carriers.close();
        let _ = timeout(GOODBYE, self.carriers.wait()).await;
    }
}

/// A client at the door: it has connected by TCP, and nothing has been answered.
#[derive(Debug)]
pub struct Attempt {
    stream: TcpStream,
    remote: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    idle_timeout: Duration,
    carriers: TaskTracker,
}

impl Attempt {
    /// Where it comes from.
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// Goes through the handshake. It has no deadline of its own. Not cancel-safe: the connection
    /// is closed.
    pub async fn handshake(self) -> Result<Connection, Lost> {
        socket::prepare(&self.stream, self.idle_timeout)
            .map_err(|e| Lost::Failed(e.to_string()))?;
        let limit = |tls: &mut rustls::ServerConnection| tls.set_buffer_limit(Some(ENCRYPTED));
        let accepted = TlsAcceptor::from(self.tls)
            .accept_with(self.stream, limit)
            .await;
        let stream = accepted.map_err(|e| match tls_error(&e) {
            Some(rustls::Error::NoApplicationProtocol) => Lost::Version,
            _ => Lost::Failed(e.to_string()),
        })?;
        let shown = Shown::new(stream.get_ref().1)?;
        let mux = Mux::new(Side::Server);
        let dropped = CancellationToken::new();
        let carry = carrier::carry(mux.clone(), stream, self.idle_timeout, dropped.clone());
        self.carriers.spawn(carry);
        Ok(Connection::new(mux, self.remote, shown, dropped, None))
    }
}

/// The way to a server by TCP.
#[derive(Clone, Debug)]
pub enum Route {
    /// Straight to this address.
    Direct(SocketAddr),
    /// Through a proxy, which is to find the server by this name and port.
    Through(Arc<Proxy>, String),
}

/// Connects to a server, by the name that its certificate should have if names matter. It has no
/// deadline of its own. Cancel-safe: the attempt is given up.
pub(super) async fn connect(
    route: &Route,
    tls: Arc<rustls::ClientConfig>,
    name: &str,
    tuning: Tuning,
) -> Result<Connection, Lost> {
    let failed = |e: &dyn std::fmt::Display| Lost::Failed(e.to_string());
    let name = ServerName::try_from(name.to_owned()).map_err(|e| failed(&e))?;
    let stream = match route {
        Route::Direct(remote) => TcpStream::connect(remote).await.map_err(|e| failed(&e))?,
        Route::Through(proxy, server) => proxy.dial(server).await?,
    };
    let remote = stream.peer_addr().map_err(|e| failed(&e))?;
    socket::prepare(&stream, tuning.idle_timeout).map_err(|e| failed(&e))?;
    let limit = |tls: &mut rustls::ClientConnection| tls.set_buffer_limit(Some(ENCRYPTED));
    let connected = TlsConnector::from(tls).connect_with(name, stream, limit);
    let stream = connected.await.map_err(|e| no_handshake(&e))?;
    let shown = Shown::new(stream.get_ref().1)?;
    let (mux, carriers) = (Mux::new(Side::Client), TaskTracker::new());
    let dropped = CancellationToken::new();
    carriers.spawn(carrier::carry(
        mux.clone(),
        stream,
        tuning.idle_timeout,
        dropped.clone(),
    ));
    carriers.close();
    Ok(Connection::new(mux, remote, shown, dropped, Some(carriers)))
}

/// What came of a handshake, for those who log in.
#[derive(Debug)]
struct Shown {
    binding: [u8; 32],
    certificate: Option<Fingerprint>,
}

impl Shown {
    fn new<D>(tls: &rustls::ConnectionCommon<D>) -> Result<Self, Lost> {
        let common: &CommonState = tls;
        if common.alpn_protocol().is_none() {
            return Err(Lost::Version);
        }
        let binding = tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(b""));
        let chain = common.peer_certificates().unwrap_or_default();
        Ok(Self {
            binding: binding.map_err(|e| Lost::Failed(e.to_string()))?,
            certificate: chain.first().map(Fingerprint::of),
        })
    }
}

/// Has a server take what a client may send, for the fuzzer.
#[doc(hidden)]
pub fn take_frames(bytes: &[u8]) {
    let (mux, mut decoder) = (Mux::new(Side::Server), frame::Decoder::default());
    mux.admit();
    let mut input = bytes::BytesMut::from(bytes);
    while !mux.is_over() {
        match decoder.next(&mut input) {
            Ok(Some(frame)) => mux.take(Ok(frame)),
            Ok(None) => break,
            Err(e) => mux.take(Err(e)),
        }
        mux.gather(&mut batch::Batch::default());
    }
}

/// An encrypted connection to a peer. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct Connection {
    mux: Arc<Mux>,
    remote: SocketAddr,
    shown: Arc<Shown>,
    /// At the client: what carries this connection and no other.
    carriers: Option<TaskTracker>,
    _dropped: Arc<DropGuard>,
}

impl Connection {
    fn new(
        mux: Arc<Mux>,
        remote: SocketAddr,
        shown: Shown,
        dropped: CancellationToken,
        carriers: Option<TaskTracker>,
    ) -> Self {
        Self {
            mux,
            remote,
            shown: Arc::new(shown),
            carriers,
            _dropped: Arc::new(dropped.drop_guard()),
        }
    }

    /// The peer's address, or that of the proxy before it.
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// Keying material of this connection alone (RFC 9266).
    pub fn channel_binding(&self) -> Result<[u8; 32], Lost> {
        Ok(self.shown.binding)
    }

    /// The fingerprint of the certificate that the peer has shown to be its own, if it has.
    pub fn peer_certificate(&self) -> Option<Fingerprint> {
        self.shown.certificate
    }

    /// Lets a peer that has logged in open as many flows, and send as much, as any may.
    pub fn admit(&self) {
        self.mux.admit();
    }

    /// Opens a stream, waiting until the peer allows one more. Cancel-safe.
    pub async fn open(&self) -> Result<(Sender, Receiver), Lost> {
        Ok(self.halves(self.mux.open().await?))
    }

    /// Waits for a stream of the peer's. Cancel-safe.
    pub async fn accept(&self) -> Result<(Sender, Receiver), Lost> {
        Ok(self.halves(self.mux.accept().await?))
    }

    fn halves(&self, id: u64) -> (Sender, Receiver) {
        let sender = Sender::new(id, self.mux.clone());
        (sender, Receiver::new(id, self.mux.clone()))
    }

    /// The largest datagram that is sent, in bytes.
    pub fn max_datagram(&self) -> usize {
        MAX_DATAGRAM
    }

    /// Sends a datagram, unless too many wait for the connection: then the oldest of them are dropped.
    pub fn send_datagram(&self, datagram: Bytes) {
        self.mux.send_datagram(datagram);
    }

    /// Waits for a datagram of the peer's. Cancel-safe.
    pub async fn read_datagram(&self) -> Result<Bytes, Lost> {
        self.mux.read_datagram().await
    }

    /// What the connection has measured and counted so far; of its packets, which are the system's, it
    /// knows nothing.
    pub fn stats(&self) -> Stats {
        let (datagrams_sent, datagrams_received, datagrams_wait) = self.mux.datagrams();
        Stats {
            transport: "tcp",
            rtt: self.mux.rtt(),
            window: 0,
            udp_payload: 0,
            packets_sent: 0,
            packets_lost: 0,
            datagrams_sent,
            datagrams_received,
            datagrams_wait,
        }
    }

    /// Waits for the end of the connection: what each flow may send is a matter of its frames.
    pub async fn exchange_credit(&self) {
        self.mux.closed().await;
    }

    /// Asks the peer for a sign of life.
    pub fn probe(&self) {
        self.mux.ping();
    }

    /// A probe needs no end.
    pub fn relax(&self) {}

    /// A TCP connection keeps to its socket.
    pub fn rebind(&self) -> io::Result<()> {
        Ok(())
    }

    /// What the connection works with.
    pub fn describe(&self) -> Description {
        Description {
            transport: Transport::Tcp,
            udp_payload: None,
            congestion: None,
        }
    }

    /// The time to the peer and back, when that was measured last.
    pub fn rtt(&self) -> Duration {
        self.mux.rtt()
    }

    /// How often something has come from the peer so far.
    pub fn heard(&self) -> u64 {
        self.mux.heard()
    }

    /// What its flows keep in memory.
    pub fn account(&self) -> &Account {
        self.mux.growth.account()
    }

    /// Waits for the end of the connection, and tells its reason. Cancel-safe.
    pub async fn closed(&self) -> Lost {
        self.mux.closed().await
    }

    /// Closes the connection at once, with all of its flows; the reason reaches the peer.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        self.mux.part(Lost::Local, code, reason);
        if let Some(carriers) = &self.carriers {
            let _ = timeout(GOODBYE, carriers.wait()).await;
        }
    }
}

/// What the end of a handshake means to a client.
fn no_handshake(error: &io::Error) -> Lost {
    use rustls::Error::{AlertReceived, InvalidCertificate, NoApplicationProtocol};

    match (tls_error(error), error.kind()) {
        (Some(e @ InvalidCertificate(_)), _) => Lost::Certificate(e.to_string()),
        (Some(NoApplicationProtocol), _)
        | (Some(AlertReceived(AlertDescription::NoApplicationProtocol)), _) => Lost::Version,
        // It was accepted, and closed without a word.
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => Lost::TurnedAway,
        _ => Lost::Failed(error.to_string()),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
