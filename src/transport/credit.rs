//! How much a flow may have on the way: windows that begin small, and grow for a flow whose reader
//! keeps up, as TCP's do.
//!
//! For each direction of each stream the receiver sets a limit, the offset that the sender must not
//! pass. It begins at [`FIRST_WINDOW`] and is raised as bytes are taken.
//!
//! The last limit of a stream is [`SETTLED`]: a sender that has it knows that closing the
//! connection cuts nothing short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::memory::{self, Account, Kept};

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

/// The window of a flow whose reader keeps up, when memory is short.
const SHORT_WINDOW: u64 = 64 * 1024;

/// What the receivers of one connection have of [`GROWTH`], or of less where memory has a limit; and
/// what its flows keep.
#[derive(Debug)]
pub(super) struct Growth {
    most: u64,
    grown: AtomicU64,
    account: Arc<Account>,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            most: memory::share(GROWTH),
            grown: AtomicU64::new(0),
            account: memory::account(),
        }
    }
}

impl Growth {
    /// What the connection's flows keep.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Takes so many bytes of what is left for growth, if they are no more than half of it: what
    /// comes later is to find something too. Nothing grows when memory is short.
    fn grow(&self, bytes: u64) -> bool {
        let fits = |grown: u64| (bytes <= (self.most - grown) / 2).then(|| grown + bytes);
        !self.account.is_short() && self.grown.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// The same for a flow that has not shown yet what it needs.
    fn head_start(&self, bytes: u64) -> bool {
        let fits = |grown: u64| (grown + bytes <= self.most / 2).then(|| grown + bytes);
        !self.account.is_short() && self.grown.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    fn shrink(&self, bytes: u64) {
        self.grown.fetch_sub(bytes, Relaxed);
    }
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
    /// Notes a new limit; one that is lower than another before it counts for nothing.
    pub(super) fn raise(&self, limit: u64) {
        self.limit.fetch_max(limit, Relaxed);
        self.raised.notify_one();
    }

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
    growth: Arc<Growth>,
    size: u64,
    /// The offset that the sender must not pass.
    limit: u64,
    /// Bytes that the reader has taken.
    taken: u64,
    raised: Option<Instant>,
    kept: Arc<Kept>,
}

impl Window {
    /// A window for a path with this round trip.
    pub(super) fn new(growth: Arc<Growth>, rtt: Duration) -> Self {
        let wanted = (FIRST_RATE * rtt.as_secs_f64()) as u64;
        let wanted = wanted.clamp(FIRST_WINDOW, LONG_PATH_WINDOW);
        let size = if growth.head_start(wanted - FIRST_WINDOW) {
            wanted
        } else {
            FIRST_WINDOW
        };
        Self {
            kept: growth.account.flow(),
            growth,
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

    /// What the flow keeps.
    pub(super) fn kept(&self) -> &Arc<Kept> {
        &self.kept
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
        self.kept.pass(bytes);
        self.taken += bytes;
        if self.limit - self.taken > self.size / 4 * 3 {
            return None;
        }
        let short = self.growth.account.is_short();
        if short && self.limit - self.taken > SHORT_WINDOW / 4 * 3 {
            return None;
        }
        let keeps_up = match self.raised.replace(now) {
            Some(before) => now - before < rtt(),
            None => true,
        };
        let more = self.size.min(LARGEST_WINDOW - self.size);
        if keeps_up && self.growth.grow(more) {
            self.size += more;
        }
        self.limit = self.taken + if short { SHORT_WINDOW } else { self.size };
        Some(self.limit)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.growth.shrink(self.size - FIRST_WINDOW);
        self.kept.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// Lets a reader take all that its window allows, again and again, with this time between;
    /// returns the last limit's distance.
    fn read(growth: &Growth, window: &mut Window, pause: Duration, times: u32) -> u64 {
        let mut now = Instant::now();
        for _ in 0..times {
            now += pause;
            let bytes = window.limit - window.taken;
            assert!(window.take(bytes, now, || RTT).is_some());
        }
        assert!(growth.grown.load(Relaxed) <= GROWTH);
        window.limit - window.taken
    }

    #[test]
    fn a_reader_that_keeps_up_gets_the_largest_window() {
        let growth = Arc::<Growth>::default();
        let mut window = Window::new(growth.clone(), Duration::ZERO);
        assert_eq!(read(&growth, &mut window, RTT / 2, 12), LARGEST_WINDOW);
    }

    #[test]
    fn a_slow_reader_keeps_a_small_window() {
        let growth = Arc::<Growth>::default();
        let mut window = Window::new(growth.clone(), Duration::ZERO);
        // Only the first raise cannot know the pace.
        assert_eq!(read(&growth, &mut window, RTT * 3, 50), FIRST_WINDOW * 2);
    }

    #[test]
    fn a_limit_is_raised_when_a_quarter_of_the_window_is_taken() {
        let growth = Arc::<Growth>::default();
        let mut window = Window::new(growth, Duration::ZERO);
        let now = Instant::now();
        assert_eq!(window.take(FIRST_WINDOW / 4 - 1, now, || RTT), None);
        assert!(window.take(1, now, || RTT).is_some());
    }

    #[test]
    fn growth_is_bounded_over_all_flows_and_given_back() {
        let growth = Arc::<Growth>::default();
        let mut windows: Vec<_> = (0..200).map(|_| Window::new(growth.clone(), RTT)).collect();
        assert!(windows[0].size > FIRST_WINDOW && windows[199].size == FIRST_WINDOW);
        assert!(growth.grown.load(Relaxed) <= GROWTH / 2);
        for window in &mut windows {
            read(&growth, window, RTT / 2, 20);
        }
        assert!(growth.grown.load(Relaxed) > GROWTH / 2);
        windows.clear();
        assert_eq!(growth.grown.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_sender_waits_for_its_allowance() {
        let allowance = Allowance::default();
        assert_eq!(allowance.beyond(0).await, FIRST_WINDOW);
        let waiting = allowance.beyond(FIRST_WINDOW);
        tokio::pin!(waiting);
        assert!(futures_poll(&mut waiting).await.is_none());
        allowance.raise(FIRST_WINDOW + 7);
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
