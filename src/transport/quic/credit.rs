//! How flow control of our own, above QUIC's, goes over the wire.
//!
//! QUIC as quinn has it gives all streams one window of one size. If that is large enough for one
//! flow over a long path, readers that have stopped hold a great deal of memory; if it is small, no
//! flow is fast. Ours begins small and grows for a flow whose reader keeps up, as TCP's does.
//!
//! So each stream has limits of ours ([`super::super::credit`]). New ones travel on a unidirectional
//! stream from each side, 16 bytes each: the stream's id and the limit. QUIC's own windows are wide
//! enough never to matter to a peer that keeps to this.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use quinn::{RecvStream, SendStream, VarInt};
use tokio::sync::Notify;

use super::moderation::Bulk;
use crate::transport::MAX_FLOWS;
use crate::transport::credit::{Allowance, FIRST_WINDOW, Growth, LARGEST_WINDOW};

/// Limits that are kept, also for streams that have not come yet: both sides' flows.
const MAX_KEPT: usize = 2 * MAX_FLOWS as usize;

/// Bytes of one new limit on the wire.
const RECORD: usize = 8 + 8;

/// The limits of one connection, in both directions.
#[derive(Debug)]
pub(super) struct Credit {
    /// What bounds us, by stream.
    allowances: Mutex<Allowances>,
    /// What is to be told to the peer, by stream: the latest limit alone matters.
    grants: Mutex<HashMap<u64, u64>>,
    granted: Notify,
    growth: Arc<Growth>,
    bulk: Arc<Bulk>,
}

impl Credit {
    /// For a connection through a socket that wants to hear of bulk transfers.
    pub(super) fn new(bulk: Arc<Bulk>) -> Self {
        Self {
            allowances: Mutex::default(),
            grants: Mutex::default(),
            granted: Notify::new(),
            growth: Arc::default(),
            bulk,
        }
    }

    /// What the windows of all receivers share.
    pub(super) fn growth(&self) -> &Arc<Growth> {
        &self.growth
    }

    /// The allowance of a stream that we send on.
    pub(super) fn allow(&self, stream: u64) -> Arc<Allowance> {
        let mut allowances = lock(&self.allowances);
        let next = &mut allowances.next[initiator(stream)];
        *next = (*next).max(stream + 1);
        allowances.by_stream.entry(stream).or_default().clone()
    }

    /// Forgets a stream that is done.
    pub(super) fn forget(&self, stream: u64) {
        lock(&self.allowances).by_stream.remove(&stream);
    }

    /// Has the peer told a stream's new limit, after its reader has taken a quarter of its window.
    pub(super) fn go_on(&self, stream: u64, limit: u64, now: Instant, rtt: Duration) {
        self.bulk.note(now, rtt);
        self.grant(stream, limit);
    }

    /// Has the peer told a stream's new limit.
    pub(super) fn grant(&self, stream: u64, limit: u64) {
        lock(&self.grants).insert(stream, limit);
        self.granted.notify_one();
    }

    /// Tells the peer of new limits until the connection is lost.
    pub(super) async fn tell(&self, mut stream: SendStream) {
        loop {
            self.granted.notified().await;
            let grants = std::mem::take(&mut *lock(&self.grants));
            let mut records = Vec::with_capacity(grants.len() * RECORD);
            for (stream, limit) in grants {
                records.extend(stream.to_be_bytes());
                records.extend(limit.to_be_bytes());
            }
            // Before all data: a sender that waits for its credit is idle.
            let _ = stream.set_priority(i32::MAX);
            if stream.write_all(&records).await.is_err() {
                return;
            }
        }
    }

    /// Hears of new limits until the connection is lost, or the peer ends the stream, which it must
    /// not.
    pub(super) async fn hear(&self, mut stream: RecvStream) {
        let mut record = [0; RECORD];
        while stream.read_exact(&mut record).await.is_ok() {
            let (stream, limit) = record.split_at(8);
            let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b));
            lock(&self.allowances).raise(number(stream), number(limit));
        }
    }
}

/// What bounds the senders of a connection.
#[derive(Debug, Default)]
struct Allowances {
    by_stream: HashMap<u64, Arc<Allowance>>,
    /// For streams of either initiator, the least number that has not been seen yet.
    next: [u64; 2],
}

impl Allowances {
    fn raise(&mut self, stream: u64, limit: u64) {
        let allowance = match self.by_stream.get(&stream) {
            Some(allowance) => allowance,
            // It has overtaken the stream itself; but a peer may not have us keep any number.
            None if stream >= self.next[initiator(stream)] && self.by_stream.len() < MAX_KEPT => {
                self.by_stream.entry(stream).or_default()
            }
            // The stream is done: its last limits have crossed its end.
            None => return,
        };
        allowance.raise(limit);
    }
}

/// Which side has opened a stream, from the least bit of its id (RFC 9000, section 2.1).
fn initiator(stream: u64) -> usize {
    (stream & 1) as usize
}

/// QUIC's window for one stream, which a peer that keeps to our limits never fills.
pub(super) fn stream_window() -> VarInt {
    VarInt::from_u32((LARGEST_WINDOW + FIRST_WINDOW) as u32)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::credit::SETTLED;

    #[tokio::test]
    async fn a_limit_may_overtake_its_stream_but_not_outlive_it() {
        let credit = Credit::new(Arc::default());
        lock(&credit.allowances).raise(4, FIRST_WINDOW * 2);
        assert_eq!(credit.allow(4).beyond(0).await, FIRST_WINDOW * 2);
        credit.forget(4);
        lock(&credit.allowances).raise(4, SETTLED);
        assert!(lock(&credit.allowances).by_stream.is_empty());
    }
}
