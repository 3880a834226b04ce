//! Which server to try, and when. Pure: it has no clock of its own, and no dice.
//!
//! One server is used and the others stand by. It is the one that was used last for as long as it
//! can be had, so that clients do not wander; where it cannot, the first of the list that can.

use std::time::{Duration, Instant};

/// First and longest wait before a server is tried again that could not be reached.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// What is known of the servers.
#[derive(Debug)]
pub(super) struct Failover {
    servers: Vec<State>,
    /// The one that was used last.
    favourite: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The wait after its next failure.
    wait: Duration,
    /// When it may be tried again; none for any time.
    retry: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            wait: FIRST,
            retry: None,
        }
    }
}

impl Failover {
    /// So many servers, at least one, of which nothing is known.
    pub(super) fn new(servers: usize) -> Self {
        Self {
            servers: vec![State::default(); servers],
            favourite: 0,
        }
    }

    /// The servers that may be tried now, the favourite first; none until [`Failover::wait`] is over.
    pub(super) fn candidates(&self, now: Instant) -> Vec<usize> {
        let others = (0..self.servers.len()).filter(|n| *n != self.favourite);
        let mut all = std::iter::once(self.favourite)
            .chain(others)
            .collect::<Vec<_>>();
        all.retain(|n| self.servers[*n].retry.is_none_or(|retry| retry <= now));
        all
    }

    /// Time until a server may be tried.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let until = |state: &State| {
            state
                .retry
                .map_or(Duration::ZERO, |retry| retry.saturating_duration_since(now))
        };
        self.servers
            .iter()
            .map(until)
            .min()
            .unwrap_or(Duration::ZERO)
    }

    /// A server could not be reached, or refused us. `random`, from 0 to 1, spreads its wait by a
    /// quarter either way, so that many clients do not come back at once.
    pub(super) fn failed(&mut self, server: usize, now: Instant, random: f64) {
        let state = &mut self.servers[server];
        let wait = state.wait.mul_f64(0.75 + 0.5 * random);
        state.retry = Some(now + wait.clamp(FIRST, LONGEST));
        state.wait = (state.wait * 2).min(LONGEST);
    }

    /// A server is in use.
    pub(super) fn connected(&mut self, server: usize) {
        self.servers[server] = State::default();
        self.favourite = server;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits of a lone server that fails again and again.
    fn waits(random: f64) -> Vec<Duration> {
        let mut now = Instant::now();
        let mut failover = Failover::new(1);
        let mut wait = || {
            assert_eq!(failover.candidates(now), [0]);
            failover.failed(0, now, random);
            assert!(failover.candidates(now).is_empty());
            let wait = failover.wait(now);
            now += wait;
            wait
        };
        (0..8).map(|_| wait()).collect()
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let millis: Vec<_> = waits(0.5).iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }

    #[test]
    fn jitter_stays_within_the_bounds() {
        for random in [0.0, 1.0] {
            for wait in waits(random) {
                assert!((FIRST..=LONGEST).contains(&wait), "{wait:?}");
            }
        }
    }

    #[test]
    fn the_favourite_is_tried_first_and_the_others_stand_by() {
        let now = Instant::now();
        let mut failover = Failover::new(3);
        assert_eq!(failover.candidates(now), [0, 1, 2]);
        failover.connected(2);
        assert_eq!(failover.candidates(now), [2, 0, 1]);
        failover.failed(2, now, 0.5);
        assert_eq!(failover.candidates(now), [0, 1]);
        assert_eq!(failover.wait(now), Duration::ZERO);
        assert_eq!(failover.candidates(now + FIRST), [2, 0, 1]);
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let mut now = Instant::now();
        let mut failover = Failover::new(2);
        for _ in 0..5 {
            failover.failed(0, now, 0.5);
            failover.failed(1, now, 0.5);
            now += failover.wait(now);
        }
        failover.connected(1);
        failover.failed(1, now, 0.5);
        assert_eq!(failover.wait(now), FIRST);
    }
}
