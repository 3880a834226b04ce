//! A flow from the side that dials.

use std::collections::HashMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec::IntoIter;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug};

use super::counted::Counted;
use super::flow::{OPENING, TUNNEL};
use super::guest::Guest;
use super::local::Complaints;
use crate::access::{Access, is_bench};
use crate::connector::{self, DialError};
use crate::metrics;
use crate::relay::relay;
use crate::socket::{Socket, UdpPort};
use crate::transport::{Receiver, ResetCode, Sender};
use crate::tunnel::{HostPort, Target};
use crate::wire::{CONNECTED, Decoded, FlowHeader, NO_TUNNEL};

/// What the peer may have dialed here as of now, by the tunnel's number.
#[derive(Debug)]
pub(super) struct Dialing(Mutex<HashMap<u32, Arc<Dialed>>>);

impl Dialing {
    pub(super) fn new(dialed: impl IntoIterator<Item = (u32, Dialed)>) -> Self {
        let dialed = dialed.into_iter().map(|(n, dialed)| (n, Arc::new(dialed)));
        Self(Mutex::new(dialed.collect()))
    }

    /// Adds one, of a number that never was there.
    pub(super) fn insert(&self, number: u32, dialed: Dialed) {
        self.lock().insert(number, Arc::new(dialed));
    }

    /// The tunnel of this number.
    pub(super) fn get(&self, number: u32) -> Option<Arc<Dialed>> {
        self.lock().get(&number).cloned()
    }

    /// The tunnel that a flow's header means.
    pub(super) fn find(&self, header: &FlowHeader) -> Option<Arc<Dialed>> {
        match header {
            FlowHeader::Fixed(number) | FlowHeader::Asked(number, _) => self.get(*number),
        }
    }

    /// Takes one out. Its flows go on.
    pub(super) fn remove(&self, number: u32) -> Option<Arc<Dialed>> {
        self.lock().remove(&number)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Dialed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tunnel whose targets this side dials.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) count: Arc<metrics::Tunnel>,
    target: Target,
    /// The client that it is for, which bounds the targets; none where the tunnel is our own.
    guest: Option<Arc<Guest>>,
    /// Breaks its flows where it is our own, for a client need not say so.
    closed: CancellationToken,
    complaints: Complaints,
}

/// Why a target is not connected: for the peer, and for our log.
pub(super) type Refusal = (ResetCode, String);

impl Dialed {
    pub(super) fn new(
        count: Arc<metrics::Tunnel>,
        target: Target,
        guest: Option<Arc<Guest>>,
    ) -> Self {
        Self {
            count,
            target,
            guest,
            closed: CancellationToken::new(),
            complaints: Complaints::default(),
        }
    }

    /// Breaks its flows, where it is our own tunnel.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// What stands for flows of a client's own, with the number that goes with them.
    pub(super) fn without_tunnel(count: Arc<metrics::Tunnel>, guest: Arc<Guest>) -> (u32, Self) {
        let dialed = Self::new(count, Target::Asked, Some(guest));
        (NO_TUNNEL, dialed)
    }

    /// What bounds the targets as of now.
    fn access(&self) -> Option<Arc<Access>> {
        self.guest.as_ref().map(|guest| guest.identity.access())
    }

    /// Keeps for the audit what a client asked for and may not have.
    fn deny(&self, target: &Target, why: &str) {
        if let Some(guest) = &self.guest {
            guest.deny(&target.to_string(), why);
        }
    }

    async fn dial(&self, target: &Target) -> Result<Socket, Refusal> {
        match target {
            Target::Tcp(addr) => self.dial_tcp(target, addr).await,
            Target::Unix(path) => {
                if let Some(access) = self.access()
                    && !access.names(target)
                {
                    return Err((ResetCode::NotAllowed, access.refusal(target)));
                }
                connector::dial_unix(path).await.map_err(explain)
            }
            Target::Udp(_) | Target::Asked => {
                let why = "it is not reached by a stream of bytes";
                Err((ResetCode::NotAllowed, why.to_owned()))
            }
        }
    }

    /// A new socket for packets to a target, connected to one of its addresses, and those that are
    /// left to try.
    pub(super) async fn dial_udp(
        &self,
        target: &Target,
    ) -> Result<(UdpPort, IntoIter<SocketAddr>), Refusal> {
        let Target::Udp(addr) = target else {
            let why = "it is not reached by packets";
            return Err((ResetCode::NotAllowed, why.to_owned()));
        };
        let mut addrs = self.resolve(target, addr).await?.into_iter();
        let port = connector::dial_udp(&mut addrs).map_err(explain)?;
        Ok((port, addrs))
    }

    async fn dial_tcp(&self, target: &Target, addr: &HostPort) -> Result<Socket, Refusal> {
        if let Some(addr) = self.access().and_then(|access| access.bench)
            && is_bench(target)
        {
            return connector::dial(&[addr]).await.map_err(explain);
        }
        let addrs = self.resolve(target, addr).await?;
        connector::dial(&addrs).await.map_err(explain)
    }

    /// A target's addresses, of which this one may be dialed.
    async fn resolve(&self, target: &Target, addr: &HostPort) -> Result<Vec<SocketAddr>, Refusal> {
        let mut addrs = connector::resolve(addr).await.map_err(explain)?;
        if let Some(access) = self.access() {
            // Asked anew for each flow: what a name stands for may have changed since login, and the
            // client's entry too.
            addrs = access.reachable(target, addrs);
            if addrs.is_empty() {
                return Err((ResetCode::NotAllowed, access.refusal(target)));
            }
        }
        Ok(addrs)
    }

    /// Waits until a target that was dialed may not be reached any more, and says why. Cancel-safe.
    pub(super) async fn barred(&self, target: &Target, dialed: Option<SocketAddr>) -> Refusal {
        let Some(guest) = &self.guest else {
            self.closed.cancelled().await;
            return (ResetCode::Broken, "the tunnel was closed".to_owned());
        };
        let mut changes = guest.identity.changes();
        loop {
            let access = changes.borrow_and_update().clone();
            if !access.still_reaches(target, dialed) {
                return (ResetCode::NotAllowed, access.refusal(target));
            }
            if changes.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// Logs that a target was not reached, or may not be any more.
    pub(super) fn complain(&self, target: &Target, code: ResetCode, why: &str) {
        match code {
            ResetCode::NotAllowed => self.deny(target, why),
            // As it was told to.
            ResetCode::Broken => return debug!("cut: {why}"),
            _ => {}
        }
        self.count.refuse(code.into());
        self.complaints
            .say(&self.count, || format!("cannot reach {target}: {why}"));
    }
}

impl Dialed {
    /// The target that the header of a flow through this tunnel means.
    pub(super) fn target<'a>(&'a self, header: &'a FlowHeader) -> Option<&'a Target> {
        match (&self.target, header) {
            (Target::Asked, FlowHeader::Asked(_, target)) | (target, FlowHeader::Fixed(_)) => {
                Some(target)
            }
            (_, FlowHeader::Asked(..)) => None,
        }
    }
}

fn explain(error: DialError) -> Refusal {
    let code = match &error {
        DialError::NoSuchName(_) => ResetCode::NoSuchName,
        DialError::Refused => ResetCode::Refused,
        DialError::TimedOut => ResetCode::TimedOut,
        DialError::Overloaded(_) => ResetCode::Overloaded,
        DialError::Unreachable(_) => ResetCode::Unreachable,
    };
    (code, error.to_string())
}

/// Reads the header of a peer's stream, and connects it to its target.
pub(super) async fn accept(mut tx: Sender, mut rx: Receiver, dialing: &Dialing) {
    let header = match timeout(OPENING, read_header(&mut rx)).await {
        Ok(Some(header)) => header,
        _ => return refuse(tx, rx, ResetCode::BadHeader),
    };
    let dialed = dialing.find(&header);
    let found = dialed.as_ref();
    let Some((dialed, target)) = found.and_then(|it| Some((it, it.target(&header)?))) else {
        return refuse(tx, rx, ResetCode::NotAllowed);
    };
    Span::current().record(TUNNEL, &dialed.count.text);
    if rx.kept().turns_away() {
        dialed.complain(target, ResetCode::Overloaded, "memory is short");
        return refuse(tx, rx, ResetCode::Overloaded);
    }
    let held = match &dialed.guest {
        None => None,
        Some(guest) => match guest.identity.take_flow() {
            None => {
                dialed.count.refuse(metrics::Refusal::TooMany);
                return refuse(tx, rx, ResetCode::TooMany);
            }
            held => held,
        },
    };
    let counted = Counted::new(&dialed.count, held);
    let socket = tokio::select! {
        // In a box, for it is larger than what comes after it, and soon over.
        socket = Box::pin(dialed.dial(target)) => socket,
        // A visitor that has gone needs no target.
        reset = rx.broken() => return debug!("{reset}"),
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err((code, why)) => {
            dialed.complain(target, code, &why);
            return refuse(tx, rx, code);
        }
    };
    let asked = matches!(header, FlowHeader::Asked(..));
    if asked && tx.write(Bytes::from_static(&[CONNECTED])).await.is_err() {
        return;
    }
    let peer = socket.peer_addr();
    tokio::select! {
        biased;
        outcome = relay(socket, tx, rx, counted.pace(), &counted) => match outcome {
            Ok(()) => debug!("done"),
            Err(e) => debug!("{e}"),
        },
        (code, why) = dialed.barred(target, peer) => dialed.complain(target, code, &why),
    }
}

/// Reads a flow's header, and not a byte more; none if there is none.
async fn read_header(rx: &mut Receiver) -> Option<FlowHeader> {
    let mut header = Vec::new();
    loop {
        match FlowHeader::decode(&header).ok()? {
            Decoded::Whole(header) => return Some(header),
            Decoded::Missing(n) => header.extend_from_slice(&rx.read_some(n).await.ok()??),
        }
    }
}

fn refuse(mut tx: Sender, mut rx: Receiver, code: ResetCode) {
    tx.reset(code);
    rx.stop(code);
}
