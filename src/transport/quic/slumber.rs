//! Whether the process has just been asleep, as when it is stopped by a signal.
//!
//! What has come meanwhile and lies in the socket is stale: acknowledged now, it would show both sides
//! a round trip as long as the sleep, and for seconds they would send at the pace of that.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A client that is awake sends or receives each second, so this is no silence of the peer's.
const LONG: Duration = Duration::from_secs(4);

/// When a socket was last used.
#[derive(Debug)]
pub(super) struct Slumber(Mutex<Instant>);

impl Slumber {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Notes a use, and tells whether it is the first after a sleep.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let slept = now.saturating_duration_since(*last) >= LONG;
        *last = now;
        slept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_pause_shows_once() {
        let slumber = Slumber::new();
        let start = Instant::now();
        assert!(!slumber.is_over(start + LONG / 2));
        let woke = start + LONG * 2;
        assert!(slumber.is_over(woke));
        assert!(!slumber.is_over(woke));
    }
}
