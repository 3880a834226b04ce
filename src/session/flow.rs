//! One flow, from the side that listens and from the side that dials.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::access::{Access, is_bench};
use crate::connector::{self, DialError};
use crate::listener::Listener;
use crate::relay::{Broken, relay};
use crate::transport::{Connection, Description, Receiver, ResetCode, Sender, StreamError};
use crate::tunnel::Tunnel;
use crate::wire::{FLOW_HEADER, decode_flow_header, encode_flow_header};

/// Longest that a visitor waits for the peer to allow one more stream, and that a peer may take to
/// send a flow's header.
const OPENING: Duration = Duration::from_secs(10);

/// Most bytes of a visitor's that go into the first packet with the header.
const FIRST_BYTES: usize = 4 * 1024;

/// Least time between two complaints about the same tunnel.
const QUIET: Duration = Duration::from_secs(1);

/// Opens flows through a session, for visitors that were accepted on this side.
#[derive(Clone, Debug)]
pub struct Opener {
    connection: Connection,
    flows: TaskTracker,
    token: CancellationToken,
    draining: CancellationToken,
}

impl Opener {
    pub(super) fn new(
        connection: Connection,
        flows: TaskTracker,
        token: CancellationToken,
        draining: CancellationToken,
    ) -> Self {
        Self {
            connection,
            flows,
            token,
            draining,
        }
    }

    /// Whether new flows are still taken.
    pub fn is_open(&self) -> bool {
        !self.draining.is_cancelled() && !self.token.is_cancelled()
    }

    /// What the connection works with as of now.
    pub fn describe(&self) -> Description {
        self.connection.describe()
    }

    /// Carries all visitors of a listener's, for ever. Cancel-safe: the flows go on.
    pub(super) async fn carry_all(&self, number: u32, tunnel: Tunnel, listener: Listener) {
        let tunnel = Arc::new(Local::new(tunnel));
        loop {
            let (visitor, from) = listener.accept().await;
            self.carry(number, &tunnel, visitor, from);
        }
    }

    /// Carries one visitor through the tunnel of this number, in a task of the session's.
    pub fn carry(&self, number: u32, tunnel: &Arc<Local>, visitor: TcpStream, from: SocketAddr) {
        let (connection, tunnel) = (self.connection.clone(), tunnel.clone());
        let token = self.token.clone();
        self.flows.spawn(async move {
            let flow = open(&connection, number, &tunnel, visitor, from);
            token.run_until_cancelled(flow).await;
        });
    }
}

/// A tunnel whose visitors arrive on this side.
#[derive(Debug)]
pub struct Local {
    tunnel: Tunnel,
    complaints: Complaints,
}

impl Local {
    /// A tunnel to carry visitors through.
    pub fn new(tunnel: Tunnel) -> Self {
        Self {
            tunnel,
            complaints: Complaints::default(),
        }
    }
}

/// A tunnel whose targets this side dials.
#[derive(Debug)]
pub(super) struct Dialed {
    tunnel: Tunnel,
    /// What bounds the targets; none where the tunnel is our own.
    access: Option<Arc<Access>>,
    complaints: Complaints,
}

impl Dialed {
    pub(super) fn new(tunnel: Tunnel, access: Option<Arc<Access>>) -> Self {
        Self {
            tunnel,
            access,
            complaints: Complaints::default(),
        }
    }

    async fn dial(&self) -> Result<TcpStream, (ResetCode, String)> {
        let target = &self.tunnel.target;
        let explain = |e: DialError| {
            let code = match &e {
                DialError::NoSuchName(_) => ResetCode::NoSuchName,
                DialError::Refused => ResetCode::Refused,
                DialError::TimedOut => ResetCode::TimedOut,
                DialError::Overloaded(_) => ResetCode::Overloaded,
                DialError::Unreachable(_) => ResetCode::Unreachable,
            };
            (code, e.to_string())
        };
        if let Some(addr) = self.access.as_ref().and_then(|a| a.bench)
            && is_bench(target)
        {
            return connector::dial(&[addr]).await.map_err(explain);
        }
        let mut addrs = connector::resolve(target).await.map_err(explain)?;
        if let Some(access) = &self.access {
            // Asked anew for each flow: what a name stands for may have changed since login.
            addrs = access.reachable(target, addrs);
            if addrs.is_empty() {
                return Err((ResetCode::NotAllowed, "not in --downstream".into()));
            }
        }
        connector::dial(&addrs).await.map_err(explain)
    }
}

/// The side that listens: a stream for a visitor, its header, and then the visitor's bytes.
async fn open(
    connection: &Connection,
    number: u32,
    local: &Local,
    visitor: TcpStream,
    from: SocketAddr,
) {
    let tunnel = &local.tunnel;
    let (mut tx, rx) = match timeout(OPENING, connection.open()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return,
        Err(_) => {
            local
                .complaints
                .say(|| format!("{tunnel}: too many flows are open; a visitor was turned away"));
            return;
        }
    };
    let first = match first_packet(number, &visitor) {
        Ok(first) => first,
        Err(e) => return debug!("{tunnel}: {from}: {e}"),
    };
    if tx.write(first).await.is_err() {
        return;
    }
    debug!("{tunnel}: {from} arrived");
    match relay(visitor, tx, rx).await {
        Ok(()) => debug!("{tunnel}: {from} is done"),
        Err(Broken::Remote(StreamError::Reset(code))) if code != ResetCode::Broken => local
            .complaints
            .say(|| format!("{tunnel}: the far side reports: {code}")),
        Err(e) => debug!("{tunnel}: {from}: {e}"),
    }
}

/// A flow's header with what the visitor has sent already, so that both make one packet.
///
/// Fails for a visitor that has broken off: the system tells that once, and shows an end from then on.
fn first_packet(number: u32, visitor: &TcpStream) -> io::Result<Bytes> {
    let mut early = [0; FIRST_BYTES];
    // Not through tokio, which knows nothing of a new socket's readiness before the next poll.
    let n = match (&*SockRef::from(visitor)).read(&mut early) {
        Ok(n) => n,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
        Err(e) => return Err(e),
    };
    let mut packet = BytesMut::with_capacity(FLOW_HEADER + n);
    packet.extend_from_slice(&encode_flow_header(number));
    packet.extend_from_slice(&early[..n]);
    Ok(packet.freeze())
}

/// The side that dials: reads the header of a peer's stream, and connects it to its target.
pub(super) async fn accept(mut tx: Sender, mut rx: Receiver, dialed: &HashMap<u32, Dialed>) {
    let mut header = [0; FLOW_HEADER];
    let number = match timeout(OPENING, rx.read_exact(&mut header)).await {
        Ok(Ok(true)) => decode_flow_header(&header).ok(),
        _ => None,
    };
    let refused = match number.map(|n| dialed.get(&n)) {
        None => ResetCode::BadHeader,
        Some(None) => ResetCode::NotAllowed,
        Some(Some(dialed)) => {
            let tunnel = &dialed.tunnel;
            let target = tokio::select! {
                target = dialed.dial() => target,
                // A visitor that has gone needs no target.
                reset = rx.broken() => return debug!("{tunnel}: {reset}"),
            };
            match target {
                Ok(target) => {
                    return match relay(target, tx, rx).await {
                        Ok(()) => debug!("{tunnel}: a flow is done"),
                        Err(e) => debug!("{tunnel}: {e}"),
                    };
                }
                Err((code, why)) => {
                    dialed
                        .complaints
                        .say(|| format!("{tunnel}: cannot reach {}: {why}", tunnel.target));
                    code
                }
            }
        }
    };
    tx.reset(refused);
    rx.stop(refused);
}

/// Warnings about one tunnel, at most one in a second: visitors could fill the log otherwise.
#[derive(Debug, Default)]
struct Complaints {
    last: Mutex<Option<Instant>>,
}

impl Complaints {
    fn say(&self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        if last.is_none_or(|last| now - last >= QUIET) {
            *last = Some(now);
            warn!("{}", text());
        } else {
            debug!("{}", text());
        }
    }
}
