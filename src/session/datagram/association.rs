//! UDP flows of visitors who ask for their targets, packet by packet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::Datagrams;
use super::opened::{Tunnel, Way};
use crate::session::flow::FlowError;
use crate::transport::{ResetCode, StreamError};

/// Most bytes that wait to be received, each packet counted with its bookkeeping.
const MAX_QUEUED: usize = 256 * 1024;
const BOOKKEEPING: usize = 64;

/// A UDP flow between its owner, for one visitor, and one target at the far side. It ends when
/// dropped.
#[derive(Debug)]
pub struct Association {
    datagrams: Arc<Datagrams>,
    number: u64,
    idle: Duration,
    queue: Arc<Queue>,
}

impl Association {
    /// Opens a flow; none if there are too many.
    pub(in crate::session) fn open(datagrams: &Arc<Datagrams>, tunnel: Tunnel) -> Option<Self> {
        let queue = Arc::new(Queue::default());
        let way = Way::Queue(queue.clone());
        let number = datagrams.open(&mut datagrams.flows(), Arc::new(tunnel), way)?;
        Some(Self {
            datagrams: datagrams.clone(),
            number,
            idle: datagrams.idle,
            queue,
        })
    }

    /// Sends a packet of at most 65,507 bytes to the target. It does not wait, and like any packet
    /// it may be lost.
    pub fn send(&self, packet: &[u8]) {
        let flows = &mut *self.datagrams.flows();
        self.datagrams.forward(flows, self.number, &[packet]);
    }

    /// Waits for a packet from the target; none when nothing has been sent nor received for the
    /// time that a flow may be silent (`--udp-timeout`). Cancel-safe.
    ///
    /// It fails when the connection is lost, or by [`StreamError::Reset`] when the target is
    /// refused, with the reason in its code. What waits longer than there is room for is dropped,
    /// the oldest first.
    pub async fn recv(&self) -> Result<Option<Bytes>, FlowError> {
        loop {
            let arrived = self.queue.arrived.notified();
            if let Some(packet) = self.queue.pop()? {
                return Ok(Some(packet));
            }
            let active = self.datagrams.flows().last_active(self.number);
            let Some(over) = active.map(|active| active + self.idle) else {
                return Ok(None);
            };
            tokio::select! {
                () = arrived => {}
                () = self.datagrams.token.cancelled() => return Err(StreamError::Lost.into()),
                () = sleep_until(over) => {
                    let active = self.datagrams.flows().last_active(self.number);
                    if active.is_none_or(|active| active + self.idle <= over) {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        let flows = &mut *self.datagrams.flows();
        self.datagrams.close(flows, self.number);
    }
}

/// Packets that have come for an association.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<Queued>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queued {
    packets: VecDeque<Bytes>,
    bytes: usize,
    refused: Option<ResetCode>,
}

impl Queue {
    /// Adds packets of one size, and tells how many older ones had to go.
    pub(super) fn push(&self, size: usize, bytes: Bytes) -> usize {
        let mut queued = self.queued();
        let mut dropped = 0;
        for start in (0..bytes.len().max(1)).step_by(size.max(1)) {
            // A copy, for a small packet would hold all of the QUIC packet that it came in.
            let packet = Bytes::copy_from_slice(&bytes[start..start + size]);
            queued.bytes += packet.len() + BOOKKEEPING;
            queued.packets.push_back(packet);
            while queued.bytes > MAX_QUEUED {
                dropped += usize::from(queued.pop().is_some());
            }
        }
        self.arrived.notify_one();
        dropped
    }

    pub(super) fn refuse(&self, code: ResetCode) {
        self.queued().refused = Some(code);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Result<Option<Bytes>, StreamError> {
        let mut queued = self.queued();
        match (queued.pop(), queued.refused.take()) {
            (None, Some(code)) => Err(StreamError::Reset(code)),
            (packet, refused) => {
                queued.refused = refused;
                Ok(packet)
            }
        }
    }

    fn queued(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Queued {
    fn pop(&mut self) -> Option<Bytes> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len() + BOOKKEEPING;
        Some(packet)
    }
}
