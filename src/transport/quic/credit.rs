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

/// Bytes that each direction of a flow may have on the way at first.
pub(super) const FIRST_WINDOW: u64 = 128 * 1024;

/// Bytes that one direction of a flow may ever have on the way: 300 Mbit/s over 200 ms is 7.5 MB,
/// and a lost packet holds up what follows it for another round trip or two.
pub(super) const LARGEST_WINDOW: u64 = 32 * 1024 * 1024;

/// Bytes by which all windows of a connection's receiver together may exceed the first ones.
///
/// A peer's readers that have stopped can thus hold at most this, and [`FIRST_WINDOW`] a flow.
pub(super) const GROWTH: u64 = 64 * 1024 * 1024;

/// The limit that says that all has been passed on, the end too.
pub(super) const SETTLED: u64 = u64::MAX;

/// Bytes of one new limit on the wire.
const RECORD: usize = 8 + 8;

/// The limits of one connection, in both directions.
#[derive(Debug, Default)]
pub(super) struct Credit {
    /// What bounds us, by stream.
    allowances: Mutex<HashMap<u64, Arc<Allowance>>>,
    /// What is to be told to the peer, by stream: the latest limit alone matters.
    grants: Mutex<HashMap<u64, u64>>,
    granted: Notify,
    /// What our receivers have of [`GROWTH`].
    grown: AtomicU64,
}

impl Credit {
    /// The allowance of a stream that we send on.
    pub(super) fn allow(&self, stream: u64) -> Arc<Allowance> {
        let allowance = Arc::new(Allowance {
            limit: AtomicU64::new(FIRST_WINDOW),
            raised: Notify::new(),
        });
        lock(&self.allowances).insert(stream, allowance.clone());
        allowance
    }

    /// Forgets a stream that is done.
    pub(super) fn forget(&self, stream: u64) {
        lock(&self.allowances).remove(&stream);
    }

    /// Has the peer told a stream's new limit.
    pub(super) fn grant(&self, stream: u64, limit: u64) {
        lock(&self.grants).insert(stream, limit);
        self.granted.notify_one();
    }

    /// Takes so many bytes of what is left for growth, if they are no more than half of it: what
    /// comes later is to find something too.
    fn grow(&self, bytes: u64) -> bool {
        let fits = |grown: u64| (bytes <= (GROWTH - grown) / 2).then(|| grown + bytes);
        self.grown.fetch_update(Relaxed, Relaxed, fits).is_ok()
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
            // A stream that is not there is done: its last limits crossed its end.
            if let Some(allowance) = lock(&self.allowances).get(&number(stream)) {
                allowance.limit.fetch_max(number(limit), Relaxed);
                allowance.raised.notify_one();
            }
        }
    }
}

/// What bounds the sender of one stream.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: AtomicU64,
    raised: Notify,
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
    pub(super) fn new(credit: Arc<Credit>) -> Self {
        Self {
            credit,
            size: FIRST_WINDOW,
            limit: FIRST_WINDOW,
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
    /// Half a window taken raises the limit. If that takes less than two round trips the window is
    /// what holds the sender up, and doubles, if the connection has any growth left: so it ends at
    /// some four times bandwidth x round trip.
    pub(super) fn take(
        &mut self,
        bytes: u64,
        now: Instant,
        rtt: impl FnOnce() -> Duration,
    ) -> Option<u64> {
        self.taken += bytes;
        if self.limit - self.taken > self.size / 2 {
            return None;
        }
        let keeps_up = match self.raised.replace(now) {
            Some(before) => now - before < 2 * rtt(),
            None => true,
        };
        if keeps_up && self.size < LARGEST_WINDOW && self.credit.grow(self.size) {
            self.size *= 2;
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
        let credit = Arc::new(Credit::default());
        let mut window = Window::new(credit.clone());
        assert_eq!(read(&credit, &mut window, RTT, 12), LARGEST_WINDOW);
    }

    #[test]
    fn a_slow_reader_keeps_a_small_window() {
        let credit = Arc::new(Credit::default());
        let mut window = Window::new(credit.clone());
        // Only the first raise cannot know the pace.
        assert_eq!(read(&credit, &mut window, RTT * 3, 50), FIRST_WINDOW * 2);
    }

    #[test]
    fn a_limit_is_raised_when_half_of_the_window_is_taken() {
        let credit = Arc::new(Credit::default());
        let mut window = Window::new(credit);
        let now = Instant::now();
        assert_eq!(window.take(FIRST_WINDOW / 2 - 1, now, || RTT), None);
        assert!(window.take(1, now, || RTT).is_some());
    }

    #[test]
    fn growth_is_bounded_over_all_flows_and_given_back() {
        let credit = Arc::new(Credit::default());
        let mut windows: Vec<_> = (0..200).map(|_| Window::new(credit.clone())).collect();
        for window in &mut windows {
            read(&credit, window, RTT, 20);
        }
        assert!(credit.grown.load(Relaxed) > GROWTH / 2);
        windows.clear();
        assert_eq!(credit.grown.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_sender_waits_for_its_allowance() {
        let credit = Credit::default();
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
