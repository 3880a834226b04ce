//! A flow from the side that listens.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, debug, debug_span, field};

use super::changes::Change;
use super::counted::Counted;
use super::datagram::{Association, Datagrams, Tunnel};
use super::http::Stream;
use super::lanes::Lanes;
use super::local::{Local, Speaks};
use super::{http, socks5};
use crate::listener::{Listener, UdpListener, Visitor};
use crate::metrics::{Look, Probe};
use crate::proxy::socks5::Malformed;
use crate::relay::{Broken, relay};
use crate::socket::Socket;
use crate::transport::{Connection, Description, Receiver, ResetCode, Sender, StreamError};
use crate::tunnel::{ProxyHeader, Target};
use crate::wire::{CONNECTED, FlowHeader, NO_TUNNEL};

/// Longest that a visitor waits for the peer to allow one more stream, and that a peer may take to
/// send a flow's header.
pub(super) const OPENING: Duration = Duration::from_secs(10);

/// Longest wait for the peer to reach what a visitor asked for: it tries each address of a name.
const ANSWER: Duration = Duration::from_secs(30);

/// Most bytes of a visitor's that go into the first packet with the header.
const FIRST_BYTES: usize = 4 * 1024;

/// Why a visitor was not served to the end.
#[derive(Debug, Error)]
pub enum FlowError {
    /// The peer allows no more flows.
    #[error("too many flows are open")]
    TooMany,
    /// Memory is short on this side.
    #[error("memory is short")]
    NoMemory,
    /// There is no session to go through.
    #[error("there is no connection to the server")]
    NoSession,
    /// A visitor of a proxy's was not understood.
    #[error("the visitor was not understood: {0}")]
    Socks5(#[from] Malformed),
    /// A visitor of a proxy's did what it should not, or not what it should.
    #[error("the visitor was not served: {0}")]
    Visitor(String),
    /// The flow broke, or was refused at the far side.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl From<StreamError> for FlowError {
    fn from(error: StreamError) -> Self {
        Self::Broken(error.into())
    }
}

impl From<io::Error> for FlowError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.into())
    }
}

/// The field of a flow's span for its tunnel's name, which is known a little later.
pub(super) const TUNNEL: &str = "tunnel";

/// What all lines about one flow have in common: a number of its own, and its tunnel. Where no debug
/// lines are wanted there is none.
pub(super) fn span() -> Span {
    static LAST: AtomicU64 = AtomicU64::new(0);
    debug_span!(
        "flow",
        number = LAST.fetch_add(1, Relaxed) + 1,
        tunnel = field::Empty
    )
}

/// Opens flows through a session, for visitors that were accepted on this side.
#[derive(Clone, Debug)]
pub struct Opener {
    connection: Connection,
    datagrams: Arc<Datagrams>,
    flows: TaskTracker,
    token: CancellationToken,
    draining: CancellationToken,
    deaf: watch::Receiver<bool>,
    shared: Arc<Shared>,
}

/// What all openers of a session share; apart, for each flow has an opener.
#[derive(Debug)]
pub(super) struct Shared {
    /// What the flows of each tunnel have in common.
    pub(super) lanes: Lanes,
    /// What the client wants changed.
    pub(super) changes: mpsc::Sender<Change>,
    /// What stands for flows of no tunnel.
    pub(super) without: Local,
}

impl Opener {
    pub(super) fn new(
        connection: Connection,
        datagrams: Arc<Datagrams>,
        flows: TaskTracker,
        token: CancellationToken,
        draining: CancellationToken,
        deaf: watch::Receiver<bool>,
        shared: Shared,
    ) -> Self {
        Self {
            connection,
            datagrams,
            flows,
            token,
            draining,
            deaf,
            shared: Arc::new(shared),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether this is of the same session as another.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.datagrams, &other.datagrams)
    }

    /// Whether new flows are still taken.
    pub fn is_open(&self) -> bool {
        !self.draining.is_cancelled() && !self.token.is_cancelled()
    }

    /// Whether the peer is out of hearing, so that a new flow would only wait.
    pub fn is_deaf(&self) -> bool {
        *self.deaf.borrow()
    }

    /// Asks the peer for a sign of life, now.
    pub fn probe(&self) {
        self.connection.probe();
    }

    /// Waits until the peer is out of hearing, or is not. Cancel-safe. Does not return after the
    /// session's end.
    pub async fn deaf(&self, wanted: bool) {
        let mut deaf = self.deaf.clone();
        if deaf.wait_for(|deaf| *deaf == wanted).await.is_err() {
            std::future::pending().await
        }
    }

    /// The peer's address as of now.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The time to the peer and back, as of now.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// What the connection works with as of now.
    pub fn describe(&self) -> Description {
        self.connection.describe()
    }

    /// Carries all visitors of a listener's, for ever. Cancel-safe: the flows go on.
    pub(super) async fn carry_all(&self, number: u32, tunnel: Local, listener: Arc<Listener>) {
        let tunnel = Arc::new(tunnel);
        if let Listener::Udp(listener) = &*listener {
            return self.carry_packets(number, &tunnel, listener).await;
        }
        loop {
            let visitor = listener.accept().await;
            if self.is_deaf() {
                let tunnel = tunnel.clone();
                self.spawn(async move { tunnel.turn_away(visitor).await });
            } else {
                drop(self.carry(number, &tunnel, visitor));
            }
        }
    }

    /// Carries the packets of all visitors of a UDP port, until the session takes no more.
    /// Cancel-safe: their flows end.
    pub async fn carry_packets(&self, number: u32, tunnel: &Arc<Local>, listener: &UdpListener) {
        let header = FlowHeader::Fixed(number);
        let tunnel = Tunnel::new(tunnel.clone(), header, listener.timeout);
        let carry = self
            .datagrams
            .carry_all(tunnel, &listener.port, listener.timeout);
        let lane = self.shared.lanes.get(number);
        let carry = lane.draining.run_until_cancelled(carry);
        lane.token.run_until_cancelled(carry).await;
    }

    /// Carries one visitor through the tunnel of this number, in a task of the session's.
    pub fn carry(
        &self,
        number: u32,
        tunnel: &Arc<Local>,
        visitor: Visitor,
    ) -> JoinHandle<Result<(), FlowError>> {
        let lane = self.shared.lanes.get(number);
        let (token, counted) = (lane.token.clone(), lane.flows.token());
        let opener = Self {
            token: lane.token,
            draining: lane.draining,
            ..self.clone()
        };
        let tunnel = tunnel.clone();
        let span = span();
        span.record(TUNNEL, &tunnel.name);
        let carried = async move {
            let (from, _counted) = (visitor.from, counted);
            // A future holds what it is given a second time; in a box that costs a pointer.
            let flow = Box::pin(opener.serve(number, &tunnel, visitor));
            let outcome = token.run_until_cancelled(flow).await;
            let outcome = outcome.unwrap_or(Err(StreamError::Lost.into()));
            tunnel.tell(from, &outcome);
            outcome
        };
        self.flows.spawn(carried.instrument(span))
    }

    async fn serve(
        &self,
        number: u32,
        tunnel: &Arc<Local>,
        visitor: Visitor,
    ) -> Result<(), FlowError> {
        // In boxes of their own, for every flow would have room for the largest of these otherwise.
        match &tunnel.speaks {
            Speaks::Anything(proxy) => {
                let counted = self.datagrams.count(&tunnel.count)?;
                carry(&self.connection, number, *proxy, visitor, counted).await
            }
            Speaks::Socks5(auth) => {
                Box::pin(socks5::serve(
                    Some(self),
                    number,
                    tunnel,
                    auth.as_ref(),
                    visitor,
                ))
                .await
            }
            Speaks::Http(auth) => {
                Box::pin(http::serve(
                    Some(self),
                    number,
                    tunnel,
                    auth.as_ref(),
                    visitor,
                ))
                .await
            }
        }
    }

    /// Waits until no new flows are taken. Cancel-safe.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Runs what serves one visitor as a flow of the session's: the session waits for its end, or
    /// cancels it.
    pub fn spawn(&self, visit: impl Future<Output = ()> + Send + 'static) {
        let (token, visit) = (self.token.clone(), Box::pin(visit));
        self.flows.spawn(async move {
            token.run_until_cancelled(visit).await;
        });
    }

    /// Opens a flow to what a visitor asked for, through the tunnel of this number, and waits until the
    /// far side has reached it. Cancel-safe: the flow is given up.
    ///
    /// If it fails by [`StreamError::Reset`], the code says why.
    pub async fn reach(
        &self,
        number: u32,
        tunnel: &Local,
        target: Target,
    ) -> Result<Reached, FlowError> {
        let counted = self.datagrams.count(&tunnel.count)?;
        let (mut tx, mut rx) = open(&self.connection).await?;
        let header = FlowHeader::Asked(number, target).encode();
        tx.write(header.into()).await?;
        match timeout(ANSWER, rx.read_some(1)).await {
            Ok(Ok(Some(answer))) if answer[..] == [CONNECTED] => Ok(Reached { tx, rx, counted }),
            Ok(Ok(_)) => Err(StreamError::Reset(ResetCode::Broken).into()),
            Ok(Err(e)) => Err(e.into()),
            Err(_) => Err(StreamError::Reset(ResetCode::TimedOut).into()),
        }
    }

    /// The same without a tunnel, for the client's own sake.
    pub async fn connect(&self, target: Target) -> Result<Reached, FlowError> {
        self.reach(NO_TUNNEL, &self.shared.without, target).await
    }

    /// Opens a UDP flow to a target ([`Target::Udp`]) that a visitor asked for, through the tunnel
    /// of this number or none, whose complaints go to `tunnel`. It waits for nothing, and the far side
    /// knows of it with the first packet.
    ///
    /// Fails by [`FlowError::TooMany`], or when the session takes no new flows.
    pub fn associate(
        &self,
        number: u32,
        tunnel: &Arc<Local>,
        target: Target,
    ) -> Result<Association, FlowError> {
        if !self.is_open() {
            return Err(StreamError::Lost.into());
        }
        let header = FlowHeader::Asked(number, target);
        let tunnel = Tunnel::new(tunnel.clone(), header, None);
        Association::open(&self.datagrams, tunnel).ok_or(FlowError::TooMany)
    }
}

impl Probe for Opener {
    fn look(&self) -> Look {
        let stats = self.connection.stats();
        Look {
            from: self.connection.remote_address(),
            transport: stats.transport,
            rtt: stats.rtt,
            mtu: stats.udp_payload.into(),
            cwnd: stats.window,
            packets: [stats.packets_sent, stats.packets_lost],
            deaf: self.is_deaf(),
            draining: !self.is_open(),
            dropped: self.datagrams.dropped(&stats),
        }
    }
}

/// A flow whose target has been reached.
#[derive(Debug)]
pub struct Reached {
    tx: Sender,
    rx: Receiver,
    counted: Counted,
}

impl Reached {
    /// Sends what a visitor has said already. Not cancel-safe: the flow is to be dropped.
    pub(super) async fn send(&mut self, mut early: Bytes) -> Result<(), FlowError> {
        while !early.is_empty() {
            let room = self.tx.allowance().await.min(early.len());
            self.tx.write(early.split_to(room)).await?;
            self.counted.sent(room);
        }
        Ok(())
    }

    /// As bytes to read and write.
    pub(super) fn into_stream(self) -> Stream {
        Stream::new(self.tx, self.rx, self.counted)
    }

    /// Carries a visitor to its end. Not cancel-safe: the flow is broken.
    pub async fn carry(self, visitor: Socket) -> Result<(), FlowError> {
        let counted = &self.counted;
        Ok(relay(visitor, self.tx, self.rx, counted.pace(), counted).await?)
    }
}

impl From<Stream> for Reached {
    fn from(stream: Stream) -> Self {
        let Stream {
            tx, rx, counted, ..
        } = stream;
        Self { tx, rx, counted }
    }
}

/// A stream for a visitor, its header, and then the visitor's bytes.
async fn carry(
    connection: &Connection,
    number: u32,
    proxy: Option<ProxyHeader>,
    visitor: Visitor,
    counted: Counted,
) -> Result<(), FlowError> {
    let (mut tx, rx) = open(connection).await?;
    let (packet, early) = first_packet(number, proxy, &visitor)?;
    tx.write(packet).await?;
    counted.sent(early);
    debug!("{} arrived", visitor.from);
    Ok(relay(visitor.socket, tx, rx, counted.pace(), &counted).await?)
}

async fn open(connection: &Connection) -> Result<(Sender, Receiver), FlowError> {
    match timeout(OPENING, connection.open()).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) => Err(StreamError::Lost.into()),
        Err(_) => Err(FlowError::TooMany),
    }
}

/// A flow's header with what the visitor has sent already, so that both make one packet, and how many
/// bytes that is.
///
/// Fails for a visitor that has broken off: the system tells that once, and shows an end from then on.
fn first_packet(
    number: u32,
    proxy: Option<ProxyHeader>,
    visitor: &Visitor,
) -> io::Result<(Bytes, usize)> {
    let mut early = [0; FIRST_BYTES];
    let n = visitor.socket.read_at_once(&mut early)?;
    let mut packet = FlowHeader::Fixed(number).encode();
    if let Some(version) = proxy {
        packet.extend(visitor.introduction(version));
    }
    packet.extend_from_slice(&early[..n]);
    Ok((packet.into(), n))
}
