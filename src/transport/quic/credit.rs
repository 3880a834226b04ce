//! How much a flow may have on the way: flow control of our own, above QUIC's.
//!
//! QUIC as quinn has it gives all streams one window of one size. If that is large enough for one
//! flow over a long path, readers that have stopped hold a great deal of memory; if it is small, no
//! flow is fast. Ours begins small and grows for a flow whose reader keeps up, as TCP's does.
//!
//! For each direction of each stream the receiver sets a limit, the offset that the sender must not
//! pass. It begins at [`FIRST_WINDOW`] and is raised as bytes are taken. The new limits travel on a
//! unidirectional stream from each side, 16 bytes each: the stream's id and the limit. QUIC's own
//! windows are wide enough never to matter to a peer that keeps to this.
//!
//! The last limit of a stream is [`SETTLED`]: a sender that has it knows that closing the
//! connection cuts nothing short.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use quinn::{RecvStream, SendStream, VarInt};
use tokio::sync::Notify;

use super::MAX_FLOWS;
use super::moderation::Bulk;
use crate::memory;

/// Bytes that each direction of a flow may have on the way at first.
pub(super) const FIRST_WINDOW: u64 = 512 * 1024;

/// Where a round trip is long the receiver makes more of it at once, bytes per second of round trip
/// up to a bound: a page or a picture is to come in one, and growth is to keep ahead of a sender that
/// starts by doubling. No more than half of [`GROWTH`] goes there.
const FIRST_RATE: f64 = 40e6;
const LONG_PATH_WINDOW: u64 = 8 * 1024 * 1024;

/// Bytes that one direction of a flow may ever have on the way: 300 Mbit/s over 200 ms is 7.5 MB,
/// and a lost packet holds up what follows it for another round trip or two.
pub(super) const LARGEST_WINDOW: u64 = 32 * 1024 * 1024;

/// Bytes by which all windows of a connection's receiver together may exceed the first ones.
///
/// A peer's readers that have stopped can thus hold at most this, and [`FIRST_WINDOW`] a flow.
pub(super) const GROWTH: u64 = 64 * 1024 * 1024;

/// The limit that says that all has been passed on, the end too.
pub(super) const SETTLED: u64 = u64::MAX;

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
    /// What our receivers may have in all, [`GROWTH`] or less where memory has a limit.
    growth: u64,
    /// What they have of it.
    grown: AtomicU64,
    bulk: Arc<Bulk>,
}

impl Credit {
    /// For a connection through a socket that wants to hear of bulk transfers.
    pub(super) fn new(bulk: Arc<Bulk>) -> Self {
        Self {
            allowances: Mutex::default(),
            grants: Mutex::default(),
            granted: Notify::new(),
            growth: memory::share(GROWTH),
            grown: AtomicU64::new(0),
            bulk,
        }
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

    /// Has the peer told a stream's new limit.
    pub(super) fn grant(&self, stream: u64, limit: u64) {
        lock(&self.grants).insert(stream, limit);
        self.granted.notify_one();
    }

    /// Takes so many bytes of what is left for growth, if they are no more than half of it: what
    /// comes later is to find something too. None grows when memory is short.
    fn grow(&self, bytes: u64) -> bool {
        let fits = |grown: u64| (bytes <= (self.growth - grown) / 2).then(|| grown + bytes);
        !memory::is_short() && self.grown.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// The same for a flow that has not shown yet what it needs.
    fn head_start(&self, bytes: u64) -> bool {
        let fits = |grown: u64| (grown + bytes <= self.growth / 2).then(|| grown + bytes);
        !memory::is_short() && self.grown.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    fn shrink(&self, bytes: u64) {
        self.grown.fetch_sub(bytes, Relaxed);
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
        allowance.limit.fetch_max(limit, Relaxed);
        allowance.raised.notify_one();
    }
}

/// Which side has opened a stream, from the least bit of its id (RFC 9000, section 2.1).
fn initiator(stream: u64) -> usize {
    (stream & 1) as usize
}

/// What bounds the sender of one stream.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: AtomicU64,
    raised: Notify,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            limit: AtomicU64::new(FIRST_WINDOW),
            raised: Notify::new(),
        }
    }
}

impl Allowance {
    /// Waits until more may be sent than so many bytes, and tells how many more. Cancel-safe.
    pub(super) async fn beyond(&self, offset: u64) -> u64 {
        loop {
            let limit = self.limit.load(Relaxed);
            if limit > offset {
                return limit - offset;
            }
            self.raised.notified().await;
        }
    }

    /// Waits until the receiver has passed on all that was sent. Cancel-safe.
    pub(super) async fn settled(&self) {
        self.beyond(SETTLED - 1).await;
    }
}

/// The window of the receiver of one stream.
#[derive(Debug)]
pub(super) struct Window {
    credit: Arc<Credit>,
    size: u64,
    /// The offset that the sender must not pass.
    limit: u64,
    /// Bytes that the reader has taken.
    taken: u64,
    raised: Option<Instant>,
}

impl Window {
    /// A window for a path with this round trip.
    pub(super) fn new(credit: Arc<Credit>, rtt: Duration) -> Self {
        let wanted = (FIRST_RATE * rtt.as_secs_f64()) as u64;
        let wanted = wanted.clamp(FIRST_WINDOW, LONG_PATH_WINDOW);
        let size = if credit.head_start(wanted - FIRST_WINDOW) {
            wanted
        } else {
            FIRST_WINDOW
        };
        Self {
            credit,
            size,
            limit: size,
            taken: 0,
            raised: None,
        }
    }

    /// The offset that the sender must not pass.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Notes that so many bytes were taken, and tells the new limit if there is one.
    ///
    /// A quarter of the window taken raises the limit. If that takes less than a round trip the window
    /// is what holds the sender up, and doubles, if the connection has any growth left: so it ends at
    /// some four times bandwidth x round trip. To wait for more would stop a sender that starts by
    /// doubling, whenever a lost packet keeps what follows it from the reader.
    pub(super) fn take(
        &mut self,
        bytes: u64,
        now: Instant,
        rtt: impl FnOnce() -> Duration,
    ) -> Option<u64> {
        self.taken += bytes;
        if self.limit - self.taken > self.size / 4 * 3 {
            return None;
        }
        let rtt = rtt();
        self.credit.bulk.note(now, rtt);
        let keeps_up = match self.raised.replace(now) {
            Some(before) => now - before < rtt,
            None => true,
        };
        let more = self.size.min(LARGEST_WINDOW - self.size);
        if keeps_up && self.credit.grow(more) {
            self.size += more;
        }
        self.limit = self.taken + self.size;
        Some(self.limit)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.credit.shrink(self.size - FIRST_WINDOW);
    }
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

    const RTT: Duration = Duration::from_millis(100);

    /// Lets a reader take all that its window allows, again and again, with this time between;
    /// returns the last limit's distance.
    fn read(credit: &Arc<Credit>, window: &mut Window, pause: Duration, times: u32) -> u64 {
        let mut now = Instant::now();
        for _ in 0..times {
            now += pause;
            let bytes = window.limit - window.taken;
            assert!(window.take(bytes, now, || RTT).is_some());
        }
        assert!(credit.grown.load(Relaxed) <= GROWTH);
        window.limit - window.taken
    }

    #[test]
    fn a_reader_that_keeps_up_gets_the_largest_window() {
        let credit = Arc::new(Credit::new(Arc::default()));
        let mut window = Window::new(credit.clone(), Duration::ZERO);
        assert_eq!(read(&credit, &mut window, RTT / 2, 12), LARGEST_WINDOW);
    }

    #[test]
    fn a_slow_reader_keeps_a_small_window() {
        let credit = Arc::new(Credit::new(Arc::default()));
        let mut window = Window::new(credit.clone(), Duration::ZERO);
        // Only the first raise cannot know the pace.
        assert_eq!(read(&credit, &mut window, RTT * 3, 50), FIRST_WINDOW * 2);
    }

    #[test]
    fn a_limit_is_raised_when_a_quarter_of_the_window_is_taken() {
        let credit = Arc::new(Credit::new(Arc::default()));
        let mut window = Window::new(credit, Duration::ZERO);
        let now = Instant::now();
        assert_eq!(window.take(FIRST_WINDOW / 4 - 1, now, || RTT), None);
        assert!(window.take(1, now, || RTT).is_some());
    }

    #[test]
    fn growth_is_bounded_over_all_flows_and_given_back() {
        let credit = Arc::new(Credit::new(Arc::default()));
        let mut windows: Vec<_> = (0..200).map(|_| Window::new(credit.clone(), RTT)).collect();
        assert!(windows[0].size > FIRST_WINDOW && windows[199].size == FIRST_WINDOW);
        assert!(credit.grown.load(Relaxed) <= GROWTH / 2);
        for window in &mut windows {
            read(&credit, window, RTT / 2, 20);
        }
        assert!(credit.grown.load(Relaxed) > GROWTH / 2);
        windows.clear();
        assert_eq!(credit.grown.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_limit_may_overtake_its_stream_but_not_outlive_it() {
        let credit = Credit::new(Arc::default());
        lock(&credit.allowances).raise(4, FIRST_WINDOW * 2);
        assert_eq!(credit.allow(4).beyond(0).await, FIRST_WINDOW * 2);
        credit.forget(4);
        lock(&credit.allowances).raise(4, SETTLED);
        assert!(lock(&credit.allowances).by_stream.is_empty());
    }

    #[tokio::test]
    async fn a_sender_waits_for_its_allowance() {
        let credit = Credit::new(Arc::default());
        let allowance = credit.allow(4);
        assert_eq!(allowance.beyond(0).await, FIRST_WINDOW);
        let waiting = allowance.beyond(FIRST_WINDOW);
        tokio::pin!(waiting);
        assert!(futures_poll(&mut waiting).await.is_none());
        allowance.limit.store(FIRST_WINDOW + 7, Relaxed);
        allowance.raised.notify_one();
        assert_eq!(waiting.await, 7);
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
