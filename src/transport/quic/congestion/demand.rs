//! What UDP programs send, whose rate is theirs and not ours.
//!
//! A stream waits for start-up to find the path's rate, and loses little by that. A packet that waits
//! is late. Without the tunnel it would have gone at once, so at the beginning it does, up to a bound:
//! what is acknowledged of a round trip's packets then tells whether the path carries them (RFC 8085,
//! section 3.1.11, leaves the rate of what a tunnel carries to those who send it).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Time over which the rate is measured: little of what waits for the measure gets late by it, and a
/// timer's two milliseconds do not hide it.
const LOOK: Duration = Duration::from_millis(4);

/// Bytes of datagrams that were given to a connection so far.
#[derive(Debug, Default)]
pub(in crate::transport::quic) struct Offered(AtomicU64);

impl Offered {
    pub(in crate::transport::quic) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Relaxed);
    }
}

/// The rate at which they are given.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    offered: Arc<Offered>,
    /// What was offered by then.
    seen: u64,
    since: Instant,
    /// Bytes per second.
    rate: f64,
}

impl Demand {
    pub(super) fn new(now: Instant, offered: Arc<Offered>) -> Self {
        Self {
            offered,
            seen: 0,
            since: now,
            rate: 0.0,
        }
    }

    /// Looks at what was offered since the last look, if that was some time ago.
    pub(super) fn look(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= LOOK {
            let offered = self.offered.0.load(Relaxed);
            self.rate = (offered - self.seen) as f64 / elapsed.as_secs_f64();
            self.seen = offered;
            self.since = now;
        }
    }

    /// Bytes per second, as of the last look.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_seen_within_milliseconds_and_forgotten_as_soon() {
        let offered = Arc::<Offered>::default();
        let begin = Instant::now();
        let mut demand = Demand::new(begin, offered.clone());
        let ms = |n| begin + Duration::from_millis(n);
        let mut rate_at = |n, bytes| {
            offered.add(bytes);
            demand.look(ms(n));
            demand.rate().round()
        };
        // After silence a first packet tells nothing.
        assert_eq!(rate_at(1000, 1_000), 1_000.0);
        assert_eq!(rate_at(1002, 10_000), 1_000.0);
        assert_eq!(rate_at(1004, 10_000), 5_000_000.0);
        assert_eq!(rate_at(1009, 0), 0.0);
    }
}
