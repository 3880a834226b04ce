//! How fast the path delivers: rate samples, their windowed maximum, and how bursty the
//! acknowledgements are. Rates are in bytes per second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Delivery-rate samples after draft-ietf-ccwg-bbr, "Delivery Rate Samples".
///
/// Quinn's acknowledgements name a packet only by its send time, so the state at sending is kept by
/// send time, and one record serves all packets of a burst.
#[derive(Debug, Clone)]
pub(super) struct DeliverySampler {
    /// Bytes acknowledged over the connection's life.
    delivered: u64,
    /// When `delivered` last grew, or sending began after silence.
    delivered_at: Instant,
    /// Send time of the packet that the newest acknowledgement was for.
    first_sent_at: Instant,
    /// Send time of the newest packet acknowledged in the current batch.
    newest_acked: Option<Instant>,
    /// What was known when packets were sent, oldest first.
    sent: VecDeque<SendRecord>,
}

/// The sampler's state when a burst was sent.
#[derive(Debug, Clone, Copy)]
struct SendRecord {
    sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
}

/// The rate at which bytes arrived over about one round trip.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateSample {
    /// Bytes per second.
    pub(super) rate: f64,
    /// What the rate was taken over.
    pub(super) interval: Duration,
    /// When the newest acknowledged packet was sent.
    pub(super) sent_at: Instant,
    /// From then to its acknowledgement.
    pub(super) rtt: Duration,
}

impl DeliverySampler {
    /// Bounds the memory of a peer that sends and is never acknowledged, as one that only
    /// acknowledges. With `RECORDS_PER_RTT` it spans several round trips.
    const MAX_RECORDS: usize = 1024;
    /// Records closer than this part of the round trip are merged: the sample stays exact for the
    /// record's own time, only its interval is up to 1/128 longer.
    const RECORDS_PER_RTT: u32 = 128;
    /// Packets up to quinn's reordering threshold behind the newest may still be acknowledged.
    const REORDERING: usize = 3;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            newest_acked: None,
            sent: VecDeque::new(),
        }
    }

    /// Notes a burst. `silent` says that next to nothing was in flight before it: then the interval
    /// starts anew, or idle time would count as slow delivery.
    pub(super) fn on_sent(&mut self, now: Instant, silent: bool, rtt: Duration) {
        if silent {
            self.delivered_at = now;
            self.first_sent_at = now;
        }
        let spacing = rtt / Self::RECORDS_PER_RTT;
        if let Some(last) = self.sent.back()
            && !silent
            && now.saturating_duration_since(last.sent_at) < spacing
        {
            return;
        }
        if self.sent.len() >= Self::MAX_RECORDS {
            self.sent.pop_front();
        }
        self.sent.push_back(SendRecord {
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
        });
    }

    /// Counts one acknowledged packet.
    pub(super) fn on_ack(&mut self, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        if self.newest_acked.is_none_or(|newest| newest < sent) {
            self.newest_acked = Some(sent);
        }
    }

    /// Ends a batch of acknowledgements and yields its sample, taken from the newest packet.
    ///
    /// The interval is the longer of the sending and the acknowledging one, so that
    /// acknowledgements that come bunched do not feign speed.
    pub(super) fn on_end_acks(&mut self, now: Instant) -> Option<RateSample> {
        let newest = self.newest_acked.take()?;
        self.delivered_at = now;
        let index = self
            .sent
            .partition_point(|record| record.sent_at <= newest)
            .checked_sub(1)?;
        let record = *self.sent.get(index)?;
        self.first_sent_at = record.sent_at;
        self.sent.drain(..index.saturating_sub(Self::REORDERING));
        let sending = record
            .sent_at
            .saturating_duration_since(record.first_sent_at);
        let acking = now.saturating_duration_since(record.delivered_at);
        let interval = sending.max(acking);
        (!interval.is_zero()).then(|| RateSample {
            rate: (self.delivered - record.delivered) as f64 / interval.as_secs_f64(),
            interval,
            sent_at: newest,
            rtt: now.saturating_duration_since(newest),
        })
    }
}

/// The highest sample of the current and the previous probing cycle, as the draft's
/// "BBR.MaxBwFilter" keeps it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MaxBandwidth {
    previous: f64,
    current: f64,
}

impl MaxBandwidth {
    pub(super) fn update(&mut self, rate: f64) {
        self.current = self.current.max(rate);
    }

    /// Starts a new cycle and forgets the one before the last.
    pub(super) fn rotate(&mut self) {
        self.previous = self.current;
        self.current = 0.0;
    }

    /// Forgets all samples for one rate.
    pub(super) fn replace(&mut self, rate: f64) {
        self.previous = rate;
        self.current = rate;
    }

    /// Bytes per second; 0 before the first sample.
    pub(super) fn value(&self) -> f64 {
        self.current.max(self.previous)
    }
}

/// How many bytes acknowledgements run ahead of the bandwidth: the draft's "extra_acked". The
/// window needs that much above bandwidth x RTT, or the path runs dry between two bunches.
#[derive(Debug, Clone)]
pub(super) struct AckAggregation {
    since: Instant,
    acked: u64,
    previous: f64,
    current: f64,
    rounds: u32,
}

impl AckAggregation {
    /// Half the rounds for which a bunch is remembered.
    const ROUNDS: u32 = 5;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            acked: 0,
            previous: 0.0,
            current: 0.0,
            rounds: 0,
        }
    }

    /// Notes `acked` bytes against what `bandwidth` would have brought.
    pub(super) fn on_ack(&mut self, now: Instant, acked: u64, bandwidth: f64) {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        let expected = bandwidth * elapsed;
        if self.acked as f64 <= expected {
            self.acked = 0;
            self.since = now;
        }
        self.acked += acked;
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        self.current = self.current.max(self.acked as f64 - bandwidth * elapsed);
    }

    pub(super) fn on_round(&mut self) {
        self.rounds += 1;
        if self.rounds >= Self::ROUNDS {
            self.rounds = 0;
            self.previous = self.current;
            self.current = 0.0;
        }
    }

    /// Bytes.
    pub(super) fn value(&self) -> f64 {
        self.current.max(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn sample(sampler: &mut DeliverySampler, sent: Instant, bytes: u64) -> f64 {
        sampler.on_ack(sent, bytes);
        let sample = sampler.on_end_acks(sent + RTT);
        sample.map_or(0.0, |sample| sample.rate)
    }

    #[test]
    fn silence_is_no_slow_delivery() {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(10);
        let mut sampler = DeliverySampler::new(begin);
        sampler.on_sent(begin, true, RTT);
        assert_eq!(sample(&mut sampler, begin, 10_000).round(), 200_000.0);
        sampler.on_sent(later, true, RTT);
        assert_eq!(sample(&mut sampler, later, 10_000).round(), 200_000.0);
    }

    /// 60 kB sent over 50 ms and acknowledged at once, 100 ms after the first: 600 kB/s.
    #[test]
    fn bunched_acknowledgements_feign_no_speed() {
        let begin = Instant::now();
        let mut sampler = DeliverySampler::new(begin);
        let times = [0, 10, 20, 30, 40, 50].map(|ms| begin + Duration::from_millis(ms));
        for (i, at) in times.into_iter().enumerate() {
            sampler.on_sent(at, i == 0, RTT);
        }
        for at in times {
            sampler.on_ack(at, 10_000);
        }
        let rate = sampler.on_end_acks(begin + RTT * 2).map(|s| s.rate);
        assert_eq!(rate.map(f64::round), Some(600_000.0));
    }

    #[test]
    fn who_is_never_acknowledged_takes_bounded_memory() {
        let begin = Instant::now();
        let mut sampler = DeliverySampler::new(begin);
        for i in 0..100_000 {
            sampler.on_sent(begin + Duration::from_millis(i), false, RTT);
        }
        assert_eq!(sampler.sent.len(), DeliverySampler::MAX_RECORDS);
    }
}
