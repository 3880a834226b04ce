//! How fast it goes: looked at once a second, for a rate is the difference between two looks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Metrics;

/// Time between two looks.
pub const PACE: Duration = Duration::from_secs(1);

/// Looks whose rates over all tunnels are kept: two minutes.
pub const HISTORY: usize = 120;

impl Metrics {
    /// Takes a look, so much after the last one.
    pub fn tick(&self, elapsed: Duration) {
        let mut sum = [0; 2];
        for tunnel in self.accounts().iter().flat_map(|account| account.tunnels()) {
            let totals = tunnel.totals();
            for (way, bytes) in [totals.sent, totals.received].into_iter().enumerate() {
                let before = tunnel.seen[way].swap(bytes, Ordering::Relaxed);
                let rate = (bytes - before) as f64 / elapsed.as_secs_f64().max(0.001);
                tunnel.rate[way].store(rate as u64, Ordering::Relaxed);
                sum[way] += rate as u64;
            }
        }
        let history = &mut self.live().history;
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(sum);
    }

    /// Bytes a second over all tunnels, sent and received, the oldest first, a [`PACE`] apart.
    pub fn history(&self) -> Vec<[u64; 2]> {
        self.live().history.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Account;
    use super::*;

    #[test]
    fn a_rate_is_what_went_since_the_last_look() {
        let metrics = Arc::new(Metrics::default());
        let account = Account::new(&metrics, "");
        let tunnel = account.listened("t");
        tunnel.sent(1000);
        tunnel.received(10);
        metrics.tick(Duration::from_secs(2));
        assert_eq!(tunnel.rate(), [500, 5]);
        metrics.tick(PACE);
        assert_eq!(tunnel.rate(), [0, 0]);
        assert_eq!(metrics.history(), [[500, 5], [0, 0]]);
        (0..HISTORY).for_each(|_| metrics.tick(PACE));
        assert_eq!(metrics.history().len(), HISTORY);
    }
}
