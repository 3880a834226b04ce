//! QUIC through quinn. This file and its children are the only ones that name quinn.

mod congestion;
mod credit;
mod generation;
mod moderation;
mod narrowing;
mod own;
mod path;
mod ports;
mod probe;
mod punctual;
mod reassembly;
mod slumber;
mod socket;
mod stream;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use quinn::congestion::{Cubic, NewReno};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{AsyncUdpSocket, ConnectionError, EndpointConfig, TransportErrorCode, VarInt};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use tracing::trace;

use self::credit::Credit;
use self::generation::Ids;
use self::moderation::Bulk;
use self::own::Own;
use self::path::{Hints, Path};
use self::ports::ManyPorts;
use self::punctual::Punctual;
use self::socket::BatchSocket;
use super::credit::{FIRST_WINDOW, GROWTH};
use super::{
    CloseCode, Congestion, Description, EXPORTER_LABEL, GOODBYE, Lost, MAX_FLOWS, Stats, Transport,
    Tuning, printable,
};
use crate::memory::Account;
use crate::tls::Fingerprint;
use crate::tunnel::ListenAddr;

#[doc(hidden)]
pub use congestion::BareController;
pub use generation::Generation;
pub(super) use own::connect;
pub(super) use stream::{Receiver, Sender};

/// Bytes that a connection may have on the way, over all flows, before login.
const RECEIVE_WINDOW_BEFORE_LOGIN: u64 = 64 * 1024;

/// The same after login: what our own flow control allows, so that it is this that decides.
const RECEIVE_WINDOW: u64 = GROWTH + FIRST_WINDOW * MAX_FLOWS as u64;

/// What TLS tells a server whose certificate is not trusted (RFC 8446, section 6.2).
const UNTRUSTED: [AlertDescription; 7] = [
    AlertDescription::AccessDenied,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    // It has the certificate, and not its key.
    AlertDescription::DecryptError,
    AlertDescription::UnknownCA,
];

/// A server's socket, and the connections through it.
#[derive(Debug)]
pub(super) struct Endpoint {
    inner: quinn::Endpoint,
    server: Mutex<quinn::ServerConfig>,
    tuning: Tuning,
    bulk: Arc<Bulk>,
    addr: SocketAddr,
    /// Its sockets once more, and which of two servers at their ports it is.
    sockets: Vec<UdpSocket>,
    generation: Generation,
    /// Whether there is no other.
    alone: Arc<AtomicBool>,
}

impl Endpoint {
    /// Binds a server's UDP socket, or takes one that is bound already.
    ///
    /// From `secret` come the keys of connection ids and stateless resets (RFC 9000, section
    /// 10.3), so that a server with the same secret can end the connections of one that died.
    pub(super) fn bind(
        addr: ListenAddr,
        (bound, generation): (Vec<UdpSocket>, Generation),
        tls: rustls::ServerConfig,
        secret: [u8; 32],
        tuning: Tuning,
    ) -> io::Result<Self> {
        let sockets = match bound.is_empty() {
            false => bound.into_iter().map(socket::tune).collect(),
            true => bind_all(addr, tuning.hop.more_ports)?,
        };
        let held = sockets.iter().map(UdpSocket::try_clone);
        let held = held.collect::<io::Result<Vec<_>>>()?;
        let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
        let addr = sockets[0].local_addr()?;
        let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)));
        let cid_key = u64::from_le_bytes(std::array::from_fn(|i| secret[i]));
        let alone = Arc::new(AtomicBool::new(generation.is_alone()));
        let ids = alone.clone();
        config.cid_generator(move || Box::new(Ids::new(cid_key, generation, ids.clone())));
        config
            .max_udp_payload_size(path::LARGEST_PAYLOAD)
            .map_err(io::Error::other)?;
        let server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let bulk = Arc::default();
        Ok(Self {
            sockets: held,
            inner: quinn::Endpoint::new_with_abstract_socket(
                config,
                Some(server.clone()),
                joined(sockets, &bulk)?,
                Arc::new(Punctual),
            )?,
            server: Mutex::new(server),
            tuning,
            bulk,
            addr,
            generation,
            alone,
        })
    }

    /// A second socket at each port, and the generation of whoever gets them. Until
    /// [`Endpoint::steer`] nothing arrives there.
    pub(super) fn second_sockets(&self) -> io::Result<(Vec<UdpSocket>, Generation)> {
        let sockets = self.sockets.iter().map(generation::second_socket);
        Ok((sockets.collect::<io::Result<_>>()?, self.generation.next()))
    }

    /// Lets new connections arrive at the second sockets.
    pub(super) fn steer(&self) -> io::Result<()> {
        let mut sockets = self.sockets.iter();
        sockets.try_for_each(|socket| generation::steer(socket, self.generation))
    }

    /// Whether no other process has the port too.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Takes the whole port, after the other socket there is closed.
    pub(super) fn claim(&self) {
        self.sockets.iter().for_each(generation::claim);
        self.alone.store(true, Ordering::Relaxed);
    }

    /// The address that was bound, with its real port.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next client; none when the endpoint is closed. Cancel-safe.
    pub(super) async fn accept(&self) -> Option<Attempt> {
        Some(Attempt {
            incoming: self.inner.accept().await?,
            server: self.server().clone(),
            tuning: self.tuning,
            bulk: self.bulk.clone(),
        })
    }

    /// Goes through the next handshakes with this. Connections that there are know nothing of it, and
    /// proofs of addresses stay valid.
    pub(super) fn set_tls(&self, tls: rustls::ServerConfig) -> io::Result<()> {
        let tls = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
        self.server().crypto = Arc::new(tls);
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, quinn::ServerConfig> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all connections, and waits up to a second until their peers can know.
    pub(super) async fn close(&self, code: CloseCode, reason: &str) {
        self.inner
            .close(VarInt::from_u32(code as u32), reason.as_bytes());
        let _ = tokio::time::timeout(GOODBYE, self.inner.wait_idle()).await;
    }
}

/// A client at the door: its first packet has come, and nothing has been answered.
#[derive(Debug)]
pub struct Attempt {
    incoming: quinn::Incoming,
    server: quinn::ServerConfig,
    tuning: Tuning,
    bulk: Arc<Bulk>,
}

impl Attempt {
    /// Where it says it comes from.
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.incoming.remote_address())
    }

    /// Whether it has shown that this is its address.
    pub fn is_proved(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Asks for proof of its address (RFC 9000, section 8.1.2), at no cost of memory, unless it has
    /// given it already.
    pub fn retry(self) {
        if let Err(e) = self.incoming.retry() {
            e.into_incoming().ignore();
        }
    }

    /// Turns it away with CONNECTION_REFUSED, before any handshake.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Drops it without an answer.
    pub fn ignore(self) {
        self.incoming.ignore();
    }

    /// Goes through the handshake. It has no deadline of its own. Not cancel-safe: the connection
    /// is closed.
    pub async fn handshake(self) -> Result<Connection, Lost> {
        let remote = self.incoming.remote_address();
        let mut config = self.server;
        let path = Path::to(remote);
        let hints = Hints::default();
        let window = RECEIVE_WINDOW_BEFORE_LOGIN;
        let transport = path.config(self.tuning, &hints, window, 1, 0);
        config.transport_config(Arc::new(transport));
        let connecting = self.incoming.accept_with(Arc::new(config)).map_err(lost)?;
        let connection = connecting.await.map_err(lost)?;
        Ok(Connection::new(connection, None, self.bulk, hints))
    }
}

/// An encrypted connection to a peer. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: quinn::Connection,
    /// At the client.
    own: Option<Arc<Own>>,
    credit: Arc<Credit>,
    hints: Arc<Hints>,
    /// Datagrams that are nobody's payload: sent, and received.
    probes: Arc<[AtomicU64; 2]>,
    /// Room for datagrams to wait in while none does, in bytes.
    datagram_room: usize,
}

impl Connection {
    fn new(inner: quinn::Connection, own: Option<Own>, bulk: Arc<Bulk>, hints: Hints) -> Self {
        Self {
            datagram_room: inner.datagram_send_buffer_space(),
            inner,
            own: own.map(Arc::new),
            credit: Arc::new(Credit::new(bulk)),
            hints: Arc::new(hints),
            probes: Arc::default(),
        }
    }

    /// The peer's address as of now.
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.inner.remote_address())
    }

    /// Keying material of this connection alone (RFC 9266).
    pub fn channel_binding(&self) -> Result<[u8; 32], Lost> {
        let mut material = [0; 32];
        self.inner
            .export_keying_material(&mut material, EXPORTER_LABEL, b"")
            .map_err(|_| Lost::Failed("TLS exports no keying material".into()))?;
        Ok(material)
    }

    /// The fingerprint of the certificate that the peer has shown to be its own, if it has.
    pub fn peer_certificate(&self) -> Option<Fingerprint> {
        let chain = self.inner.peer_identity()?;
        let chain = chain.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        chain.first().map(Fingerprint::of)
    }

    /// Lets a peer that has logged in open as many flows, and send as much, as any may.
    pub fn admit(&self) {
        self.inner.set_max_concurrent_bi_streams(MAX_FLOWS.into());
        self.inner.set_max_concurrent_uni_streams(1u32.into());
        self.inner.set_receive_window(varint(RECEIVE_WINDOW));
    }

    /// Opens a stream, waiting until the peer allows one more. Cancel-safe.
    ///
    /// The peer knows of it as soon as something is written.
    pub async fn open(&self) -> Result<(Sender, Receiver), Lost> {
        let (send, recv) = self.inner.open_bi().await.map_err(lost)?;
        Ok(self.halves(send, recv))
    }

    /// Waits for a stream of the peer's. Cancel-safe.
    pub async fn accept(&self) -> Result<(Sender, Receiver), Lost> {
        let (send, recv) = self.inner.accept_bi().await.map_err(lost)?;
        Ok(self.halves(send, recv))
    }

    /// The largest datagram that can be sent as of now, in bytes; 0 if the peer takes none.
    pub fn max_datagram(&self) -> usize {
        self.inner.max_datagram_size().unwrap_or(0)
    }

    /// Sends a datagram when the path has room for it. Until then it is kept; when too much is kept,
    /// the oldest are dropped.
    ///
    /// One that is larger than [`Connection::max_datagram`] is dropped too, which that may be
    /// lowered to any time.
    pub fn send_datagram(&self, datagram: Bytes) {
        self.hints.offered.add(datagram.len());
        if let Err(e) = self.inner.send_datagram(datagram) {
            trace!("a datagram was not sent: {e}");
        }
    }

    /// Waits for a datagram of the peer's. Cancel-safe.
    pub async fn read_datagram(&self) -> Result<Bytes, Lost> {
        loop {
            let datagram = self.inner.read_datagram().await.map_err(lost)?;
            // An empty one is a probe: its acknowledgement was all that it was for.
            if !datagram.is_empty() {
                return Ok(datagram);
            }
            self.probes[1].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What it has measured and counted so far.
    pub fn stats(&self) -> Stats {
        let stats = self.inner.stats();
        let probes = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Stats {
            transport: "quic",
            rtt: stats.path.rtt,
            window: stats.path.cwnd,
            udp_payload: stats.path.current_mtu,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            datagrams_sent: stats
                .frame_tx
                .datagram
                .saturating_sub(probes(&self.probes[0])),
            datagrams_received: stats
                .frame_rx
                .datagram
                .saturating_sub(probes(&self.probes[1])),
            datagrams_wait: self.inner.datagram_send_buffer_space() < self.datagram_room,
        }
    }

    fn halves(&self, send: quinn::SendStream, recv: quinn::RecvStream) -> (Sender, Receiver) {
        let sender = Sender::new(send, self.inner.clone(), self.credit.clone());
        let receiver = Receiver::new(recv, self.inner.clone(), self.credit.clone());
        (sender, receiver)
    }

    /// Exchanges with the peer how much each flow may send, and hops if it is to. It has to run for as
    /// long as there are flows, and ends when the peer breaks the protocol, or the connection is lost.
    pub async fn exchange_credit(&self) {
        let tell = async {
            if let Ok(stream) = self.inner.open_uni().await {
                self.credit.tell(stream).await;
            }
        };
        let hear = async {
            if let Ok(stream) = self.inner.accept_uni().await {
                self.credit.hear(stream).await;
            }
        };
        tokio::select! {
            () = tell => {}
            () = hear => {}
            () = self.hop() => {}
        }
    }

    /// At a client that is to hop, does so for ever.
    async fn hop(&self) {
        match &self.own {
            Some(own) => own.hop(&self.inner).await,
            None => std::future::pending().await,
        }
    }

    /// Sends something small that the peer has to acknowledge, whatever is in flight.
    pub fn probe(&self) {
        self.hints.leeway.widen();
        self.probes[0].fetch_add(1, Ordering::Relaxed);
        // Only a connection that is lost takes none.
        let _ = self.inner.send_datagram(Bytes::new());
    }

    /// Ends what [`Connection::probe`] began: the peer is heard.
    pub fn relax(&self) {
        self.hints.leeway.close();
    }

    /// At a client, goes on from a new local socket, in case that a NAT, a firewall or a route holds
    /// something against the old one. At a server it does nothing.
    pub fn rebind(&self) -> io::Result<()> {
        let Some(own) = &self.own else {
            return Ok(());
        };
        own.rebind(self.inner.remote_address())
    }

    /// What the connection works with as of now.
    pub fn describe(&self) -> Description {
        let controller = self.inner.congestion_state().into_any();
        Description {
            transport: Transport::Quic,
            udp_payload: Some(self.inner.stats().path.current_mtu),
            congestion: Some(if controller.is::<Cubic>() {
                Congestion::Cubic
            } else if controller.is::<NewReno>() {
                Congestion::NewReno
            } else {
                Congestion::Bbr
            }),
        }
    }

    /// The time to the peer and back, smoothed (RFC 9002, section 5.3).
    pub fn rtt(&self) -> Duration {
        self.inner.rtt()
    }

    /// How many packets have come from the peer so far, whatever was in them.
    pub fn heard(&self) -> u64 {
        self.inner.stats().udp_rx.datagrams
    }

    /// What its flows keep in memory.
    pub fn account(&self) -> &Account {
        self.credit.growth().account()
    }

    /// Waits for the end of the connection, and tells its reason. Cancel-safe.
    pub async fn closed(&self) -> Lost {
        lost(self.inner.closed().await)
    }

    /// Closes the connection at once, with all of its flows; the reason reaches the peer.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        self.inner
            .close(VarInt::from_u32(code as u32), reason.as_bytes());
        if let Some(own) = &self.own {
            let _ = tokio::time::timeout(GOODBYE, own.endpoint.wait_idle()).await;
        }
    }
}

/// Binds a server's port, and so many that follow it.
fn bind_all(addr: ListenAddr, more: u16) -> io::Result<Vec<UdpSocket>> {
    let ports = addr.port..=addr.port + more;
    let bind = |port| {
        let at = ListenAddr { port, ..addr };
        let told = |e: io::Error| match more {
            0 => e,
            _ => io::Error::new(e.kind(), format!("port {port}: {e}")),
        };
        socket::bind(at).map_err(told)
    };
    ports.map(bind).collect()
}

/// A server's sockets as one.
fn joined(sockets: Vec<UdpSocket>, bulk: &Arc<Bulk>) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let largest = path::LARGEST_PAYLOAD.into();
    let wrap = |socket| {
        Ok(Arc::new(BatchSocket::new(
            socket,
            largest,
            bulk.clone(),
            true,
        )?))
    };
    let mut sockets: Vec<_> = sockets.into_iter().map(wrap).collect::<io::Result<_>>()?;
    Ok(match sockets.len() {
        1 => sockets.remove(0),
        _ => Arc::new(ManyPorts::new(sockets)),
    })
}

fn varint(n: u64) -> VarInt {
    VarInt::from_u64(n).unwrap_or(VarInt::MAX)
}

/// IPv4 clients of a socket that takes both families come with mapped addresses.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// What the end of a connection means to those above.
fn lost(error: ConnectionError) -> Lost {
    let crypto = |alert: AlertDescription| TransportErrorCode::crypto(alert.into());
    let no_protocol = crypto(AlertDescription::NoApplicationProtocol);
    match error {
        ConnectionError::VersionMismatch => Lost::Version,
        ConnectionError::TransportError(e) if e.code == no_protocol => Lost::Version,
        ConnectionError::ConnectionClosed(e) if e.error_code == no_protocol => Lost::Version,
        ConnectionError::ConnectionClosed(e)
            if e.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            Lost::TurnedAway
        }
        // The alerts that a refusal of our own turns into; a peer's would be the case below.
        ConnectionError::TransportError(e) if UNTRUSTED.map(crypto).contains(&e.code) => {
            Lost::Certificate(e.reason)
        }
        ConnectionError::ApplicationClosed(e) => Lost::Closed {
            code: CloseCode::from_wire(e.error_code.into_inner()),
            reason: printable(&e.reason),
        },
        ConnectionError::TransportError(e) => Lost::Failed(e.to_string()),
        ConnectionError::ConnectionClosed(e) => Lost::Failed(format!(
            "closed by the peer ({}): {}",
            e.error_code,
            printable(&e.reason)
        )),
        ConnectionError::Reset => Lost::Reset,
        ConnectionError::TimedOut => Lost::TimedOut,
        ConnectionError::LocallyClosed => Lost::Local,
        ConnectionError::CidsExhausted => Lost::Failed(error.to_string()),
    }
}
