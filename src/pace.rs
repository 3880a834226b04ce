//! How fast bytes may go: a bucket of tokens for each way, shared by all that go through it.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What may go at once after a pause, as time at the full rate. Long enough for a timer to be late,
/// and short enough that a second never sees much more than its share.
const BURST: Duration = Duration::from_millis(100);

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// From a socket into the tunnel.
    Up,
    /// From the tunnel to a socket.
    Down,
}

/// A rate that may change, kept each way by itself.
#[derive(Debug)]
pub struct Pace {
    /// Bytes per second; 0 for no limit.
    rate: AtomicU64,
    /// When all that was taken will have been paid for, each way.
    paid: [Mutex<Instant>; 2],
}

impl Pace {
    /// A rate in bytes per second, or none for no limit.
    pub fn new(rate: Option<NonZeroU64>) -> Self {
        let now = Instant::now();
        Self {
            rate: AtomicU64::new(rate.map_or(0, NonZeroU64::get)),
            paid: [now, now].map(Mutex::new),
        }
    }

    /// Sets another rate, which goes for all that is taken from now on.
    pub fn set(&self, rate: Option<NonZeroU64>) {
        let rate = rate.map_or(0, NonZeroU64::get);
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Most bytes to take at once, at least one.
    pub fn most(&self) -> usize {
        match self.rate.load(Ordering::Relaxed) {
            0 => usize::MAX,
            rate => {
                let burst = u128::from(rate) * BURST.as_millis() / 1000;
                usize::try_from(burst).unwrap_or(usize::MAX).max(1)
            }
        }
    }

    /// Takes so many bytes, and waits until they may go; those who come later wait longer. If it is
    /// cancelled, they have been taken all the same.
    pub async fn take(&self, way: Way, bytes: usize) {
        if let Some(due) = self.charge(way, bytes) {
            // A timer is large, and seldom needed; in a box it costs a waiting flow alone.
            Box::pin(sleep_until(due)).await;
        }
    }

    /// Takes so many bytes if they may go soon, for those who cannot wait.
    pub fn try_take(&self, way: Way, bytes: usize) -> bool {
        if self.rate.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let paid = *self.paid(way);
        let soon = paid <= Instant::now() + BURST;
        if soon {
            self.charge(way, bytes);
        }
        soon
    }

    fn paid(&self, way: Way) -> MutexGuard<'_, Instant> {
        let paid = self.paid[way as usize].lock();
        paid.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many bytes, and tells when they may go; none for now.
    pub fn charge(&self, way: Way, bytes: usize) -> Option<Instant> {
        let rate = match self.rate.load(Ordering::Relaxed) {
            0 => return None,
            rate => rate,
        };
        let now = Instant::now();
        let mut paid = self.paid(way);
        let from = now
            .checked_sub(BURST)
            .map_or(*paid, |saved| saved.max(*paid));
        *paid = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        (*paid > now).then_some(*paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace::new(NonZeroU64::new(rate))
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_go_at_the_rate_after_a_burst() {
        let pace = pace(1000);
        let start = Instant::now();
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..30 {
            pace.take(Way::Up, pace.most()).await;
        }
        let took = start.elapsed() - Duration::from_secs(60);
        assert!(took >= Duration::from_millis(2900), "{took:?}");
        assert!(took <= Duration::from_millis(3000), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_way_is_by_itself_and_all_that_share_one_share_its_rate() {
        let pace = pace(1000);
        let start = Instant::now();
        let up = async {
            tokio::join!(pace.take(Way::Up, 1000), pace.take(Way::Up, 1000));
        };
        tokio::join!(up, pace.take(Way::Down, 1900));
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1890), "{took:?}");
        assert!(took <= Duration::from_millis(2100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_wait_gets_the_rate_and_no_more() {
        let pace = pace(1000);
        let mut went = 0;
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            went += usize::from(pace.try_take(Way::Down, 100)) * 100;
        }
        assert!((9_800..=10_300).contains(&went), "{went}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits_and_another_rate_goes_at_once() {
        let pace = pace(0);
        let start = Instant::now();
        assert_eq!(pace.most(), usize::MAX);
        pace.take(Way::Up, usize::MAX).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.set(NonZeroU64::new(10));
        assert_eq!(pace.most(), 1);
        pace.take(Way::Up, 20).await;
        assert!(start.elapsed() >= Duration::from_millis(1890));
    }
}
