//! How long to wait before the next attempt to connect. Pure: it has no clock of its own.

use std::time::Duration;

/// First and longest wait.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double with each failure, with jitter so that many clients do not come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self::between(FIRST, LONGEST)
    }

    /// With another first and longest wait.
    pub(super) fn between(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Back to the first wait, after a success.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Whether there has been no failure since the last success.
    pub(super) fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// The wait before the next attempt; `random` is from 0 to 1 and spreads it by a quarter
    /// either way.
    pub(super) fn wait(&mut self, random: f64) -> Duration {
        let wait = self.next.mul_f64(0.75 + 0.5 * random);
        self.next = (self.next * 2).min(self.longest);
        wait.clamp(self.first, self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_again_after_a_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..8).map(|_| backoff.wait(0.5).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.wait(0.5), FIRST);
    }

    #[test]
    fn jitter_stays_within_the_bounds() {
        for random in [0.0, 1.0] {
            let mut backoff = Backoff::new();
            for _ in 0..10 {
                let wait = backoff.wait(random);
                assert!((FIRST..=LONGEST).contains(&wait));
            }
        }
    }
}
