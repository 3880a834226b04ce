//! UDP flows, which go in datagrams and not in streams: nothing of them waits for anything else.
//!
//! A flow is known by a number that the side which listens has chosen, and that is never used again
//! in the session. There is no opening of a flow that its first packet would have to wait for:
//! packets come with an introduction until the far side is known to know the flow.

mod accepted;
mod association;
mod opened;
mod reassembly;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::accepted::Accepted;
use self::opened::Opened;
use self::reassembly::{Piece, Reassembly};
use super::counted::Counted;
use super::dial::Dialing;
use super::flow::FlowError;
use crate::access::Identity;
use crate::metrics::{self, Dropped, Kind};
use crate::pace::Way;
use crate::transport::{Connection, Stats};
use crate::wire::{Carried, Content, Datagram, Envelope, FlowId, Word};

pub use association::Association;
pub(super) use opened::Tunnel;

/// Most flows that a session has open in either direction. Each is a descriptor where it is dialed.
const MAX_FLOWS: usize = 16_384;

/// How long a refusal holds, before a flow's target is asked for again.
const REFUSAL: Duration = Duration::from_secs(1);

/// Least time between two words to the same effect about a flow.
const QUIET: Duration = Duration::from_millis(10);

/// All UDP flows of a session.
#[derive(Debug)]
pub(super) struct Datagrams {
    connection: Connection,
    /// What the peer may have dialed here.
    dialing: Arc<Dialing>,
    /// Silence after which a flow is over, unless it says something else itself.
    idle: Duration,
    /// A flow that is silent is as good as ended, so nobody waits for these tasks to finish.
    tasks: TaskTracker,
    token: CancellationToken,
    /// Whose the flows are, at the server.
    identity: Option<Arc<Identity>>,
    flows: Mutex<Flows>,
}

#[derive(Debug, Default)]
struct Flows {
    /// Those whose visitors are on this side, and those of the peer's visitors.
    opened: Opened,
    accepted: Accepted,
    reassembly: Reassembly,
    last_unknown: Option<(FlowId, Instant)>,
    count: Count,
}

/// What became of datagrams and packets.
#[derive(Debug, Default)]
struct Count {
    /// Datagrams given to the connection, and taken from it.
    given: u64,
    taken: u64,
    /// Of those given, the ones that were dropped, as of when none waited.
    unsent: u64,
    /// Of those that have come, the ones that had not been taken when this was last looked at, and the
    /// ones that never will be.
    missing: u64,
    unread: u64,
    /// Packets that a socket or a queue of this side had no room for.
    no_room: u64,
    /// Datagrams that were none of the protocol's.
    malformed: u64,
    /// Packets beyond the rate that the client may have.
    too_fast: u64,
}

impl Datagrams {
    pub(super) fn new(
        connection: Connection,
        dialing: Arc<Dialing>,
        idle: Duration,
        token: CancellationToken,
        identity: Option<Arc<Identity>>,
    ) -> Self {
        Self {
            connection,
            dialing,
            idle,
            tasks: TaskTracker::new(),
            token,
            identity,
            flows: Mutex::default(),
        }
    }

    /// Counts a flow as one of a tunnel, and of its client where those are limited; none when memory is
    /// short.
    pub(super) fn count(&self, tunnel: &Arc<metrics::Tunnel>) -> Result<Counted, FlowError> {
        if self.connection.account().turns_away() {
            return Err(FlowError::NoMemory);
        }
        let held = |identity: &Arc<Identity>| identity.take_flow().ok_or(FlowError::TooMany);
        let held = self.identity.as_ref().map(held).transpose()?;
        Ok(Counted::new(tunnel, held))
    }

    /// Whether so many bytes may go now: packets that are too fast are lost, as they would be on any
    /// link.
    fn may_go(&self, way: Way, bytes: usize) -> bool {
        let pace = self.identity.as_ref().map(|identity| identity.pace());
        pace.is_none_or(|pace| pace.try_take(way, bytes))
    }

    /// Takes what the peer sends, in a task that ends with the session.
    pub(super) fn start(self: &Arc<Self>) {
        let datagrams = self.clone();
        let token = self.token.clone();
        self.tasks.spawn(async move {
            let take_all = async {
                while let Ok(datagram) = datagrams.connection.read_datagram().await {
                    datagrams.take(datagram);
                }
            };
            token.run_until_cancelled(take_all).await;
        });
    }

    /// Waits until all tasks are over, which the session has cancelled, and says what was lost.
    pub(super) async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        let stats = self.connection.stats();
        let given = self.flows().count.given;
        let received = stats.datagrams_received;
        if given + received > 0 {
            let dropped = self.dropped(&stats);
            let dropped: Vec<_> = dropped
                .iter()
                .map(|(at, n)| format!("{} {n}", at.name()))
                .collect();
            debug!(
                "datagrams: {given} to send, {received} received; dropped: {}",
                dropped.join(", ")
            );
        }
    }

    /// Datagrams, and packets in them, that were lost on this side so far.
    pub(super) fn dropped(&self, stats: &Stats) -> Vec<(Dropped, u64)> {
        let flows = &mut *self.flows();
        let count = &mut flows.count;
        // What still waits is not lost.
        if !stats.datagrams_wait {
            let unsent = count.given.saturating_sub(stats.datagrams_sent);
            count.unsent = count.unsent.max(unsent);
        }
        // Some may be about to be taken now, and others at another time.
        let missing = stats.datagrams_received.saturating_sub(count.taken);
        let lost = missing.min(std::mem::replace(&mut count.missing, missing));
        count.unread = count.unread.max(lost);
        vec![
            (Dropped::Unsent, count.unsent),
            (Dropped::Unread, count.unread),
            (Dropped::NoRoom, count.no_room),
            (Dropped::TooFast, count.too_fast),
            (Dropped::Incomplete, flows.reassembly.dropped()),
            (Dropped::Malformed, count.malformed),
        ]
    }

    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn take(self: &Arc<Self>, datagram: Bytes) {
        let mut flows = self.flows();
        flows.count.taken += 1;
        match Datagram::decode(datagram) {
            Ok(Datagram { flow, content }) if flow.senders => {
                self.accept(&mut flows, flow, content);
            }
            Ok(Datagram { flow, content }) => self.answered(&mut flows, flow, content),
            // Another version's, perhaps.
            Err(_) => flows.count.malformed += 1,
        }
    }

    /// Sends packets of one size, which are counted for their flow unless they are too fast.
    fn send<P: AsRef<[u8]>>(
        &self,
        flow: &Counted,
        count: &mut Count,
        envelope: &Envelope<'_>,
        fragmented: &mut u16,
        packets: &[P],
    ) {
        let largest = self.connection.max_datagram();
        let size = packets.first().map_or(0, |packet| packet.as_ref().len());
        if !self.may_go(Way::Up, size * packets.len()) {
            count.too_fast += packets.len() as u64;
            return;
        }
        flow.sent(size * packets.len());
        let mut send = |datagram| {
            count.given += 1;
            self.connection.send_datagram(datagram);
        };
        match envelope.room(size, largest) {
            0 => {
                for packet in packets {
                    *fragmented = fragmented.wrapping_add(1);
                    let pieces = envelope.fragments(*fragmented, packet.as_ref(), largest);
                    pieces.for_each(&mut send);
                }
            }
            room => {
                for packets in packets.chunks(room) {
                    send(envelope.packets(packets.iter().map(AsRef::as_ref)));
                }
            }
        }
    }

    fn say(&self, count: &mut Count, flow: FlowId, word: Word) {
        count.given += 1;
        self.connection.send_datagram(Datagram::word(flow, word));
    }

    /// Tells the peer that a flow is none of ours.
    fn deny(&self, flows: &mut Flows, theirs: FlowId) {
        let flow = answer_to(theirs);
        let now = Instant::now();
        let just = flows.last_unknown.replace((flow, now));
        match just {
            Some((last, then)) if last == flow && now - then < QUIET => {
                flows.last_unknown = just;
            }
            _ => self.say(&mut flows.count, flow, Word::Unknown),
        }
    }
}

/// A flow, as a datagram in the other direction names it.
fn answer_to(flow: FlowId) -> FlowId {
    FlowId {
        senders: !flow.senders,
        ..flow
    }
}

/// Packets of one size, as soon as they are whole.
fn whole(
    reassembly: &mut Reassembly,
    flow: FlowId,
    carried: Carried,
    now: Instant,
) -> Option<(usize, Bytes)> {
    match carried {
        Carried::Packets { size, bytes } => Some((size, bytes)),
        Carried::Fragment {
            packet,
            index,
            count,
            bytes,
        } => {
            let piece = Piece {
                packet,
                index,
                count,
                bytes,
            };
            let packet = reassembly.add(flow, piece, now)?;
            Some((packet.len(), packet))
        }
    }
}
