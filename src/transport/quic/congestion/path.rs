//! What is known of the path, and the window that follows from it.

use std::time::{Duration, Instant};

use super::delivery::{AckAggregation, MaxBandwidth, RateSample};
use super::round::{Observation, RecentRtt};

/// The peer may acknowledge only every tenth packet; with fewer in flight each flight would wait for
/// its delayed acknowledgement.
pub(super) const MIN_PACKETS: u64 = 12;
/// Where much is lost and no queue stands, a smaller window than the initial one gains nothing and
/// waits for probe timeouts.
const LOSSY_MIN_PACKETS: u64 = 64;
/// Round trips below this are taken for this: quinn's pacer bursts for 2 ms and timers are precise to
/// one, so a shorter pipe runs dry. It is also the queue we may cause on a shorter path.
const MIN_MODEL_RTT: Duration = Duration::from_millis(2);
/// On a path this short the scheduler, not the link, sets the pace...
const LOCAL_RTT: Duration = Duration::from_millis(1);
/// ...and the window does not fall below this, which fits a default socket buffer.
const LOCAL_MIN_WINDOW: u64 = 192 * 1024;
/// ...nor rise above this: the queue there is the peer's socket buffer, of 4 MiB at best. On loopback
/// 1.6 MB were enough at any MTU, and 4 MB overflowed it.
const LOCAL_MAX_WINDOW: u64 = 2 * 1024 * 1024;

/// A round trip is raised by our queue when it exceeds the base by an eighth, within these bounds.
const QUEUE_NOISE: Duration = Duration::from_millis(4);
const MAX_QUEUE: Duration = Duration::from_millis(16);
/// Loss above the path's own that is congestion while the queue stands...
const EXCESS_LOSS_QUEUED: f64 = 0.03;
/// ...and while it does not, where it is more likely a worse radio link.
const EXCESS_LOSS: f64 = 0.10;
/// The most loss that is made up for: the window grows by 1 / (1 - loss).
const MAX_COMPENSATED_LOSS: f64 = 0.3;
/// Above this recent loss, quinn's reassembly is in danger: 1024 gaps in one stream end the
/// connection (quinn issue 2809), so the packets in flight are bounded.
const GAP_DANGER_LOSS: f64 = 0.10;
pub(super) const GAP_DANGER_PACKETS: u64 = 2048;

/// The most that one congested round takes away is the share above this.
const MAX_CUT: f64 = 0.5;

/// The model of one path.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Bytes.
    mtu: u64,
    aggregation: AckAggregation,
    max_bandwidth: MaxBandwidth,
    /// Bytes per second; bounds the bandwidth from a congested round to the next probe (the draft's
    /// BBR.bw_shortterm).
    short_term: f64,
    /// The round trip without our queue.
    base_rtt: Option<Duration>,
    recent_rtt: RecentRtt,
    /// The share of packets that the path loses without our doing.
    loss: f64,
    /// The share lost in the last rounds, whatever the cause.
    recent_loss: f64,
}

impl Path {
    pub(super) fn new(now: Instant, mtu: u64) -> Self {
        Self {
            mtu,
            aggregation: AckAggregation::new(now),
            max_bandwidth: MaxBandwidth::default(),
            short_term: f64::INFINITY,
            base_rtt: None,
            recent_rtt: RecentRtt::new(now),
            loss: 0.0,
            recent_loss: 0.0,
        }
    }

    /// Bytes that keep the path busy at `gain`: bandwidth x RTT, what the path loses on top, and what
    /// bunched acknowledgements hold back. 0 before the first sample.
    pub(super) fn inflight(&self, gain: f64) -> u64 {
        let rtt = self.base_rtt.unwrap_or_default().max(MIN_MODEL_RTT);
        let bdp = self.bandwidth() * rtt.as_secs_f64();
        let bunch = self.aggregation.value().min(bdp / 2.0);
        (gain * (bdp / (1.0 - self.loss) + bunch)) as u64
    }

    /// Bytes per second; 0 before the first sample.
    pub(super) fn bandwidth(&self) -> f64 {
        self.max_bandwidth.value().min(self.short_term)
    }

    /// `None` before the first sample.
    pub(super) fn base_rtt(&self) -> Option<Duration> {
        self.base_rtt
    }

    /// The share of packets that the path loses without our doing.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// Bytes.
    pub(super) fn max_window(&self) -> u64 {
        let gaps = GAP_DANGER_PACKETS * self.mtu;
        match (self.recent_loss > GAP_DANGER_LOSS, self.is_local()) {
            (false, false) => u64::MAX,
            (true, false) => gaps,
            (false, true) => LOCAL_MAX_WINDOW,
            (true, true) => gaps.min(LOCAL_MAX_WINDOW),
        }
    }

    /// Bytes.
    pub(super) fn min_window(&self) -> u64 {
        let packets = if self.recent_loss > GAP_DANGER_LOSS && !self.queue_stands() {
            LOSSY_MIN_PACKETS
        } else {
            MIN_PACKETS
        };
        let floor = if self.is_local() { LOCAL_MIN_WINDOW } else { 0 };
        floor.max(packets * self.mtu)
    }

    fn is_local(&self) -> bool {
        self.base_rtt.is_some_and(|base| base < LOCAL_RTT)
    }

    /// Takes in a batch's sample and its `acked` bytes; yields the sample's round trip.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        sample: &RateSample,
        acked: u64,
        smoothed_rtt: Duration,
    ) -> Duration {
        // The peer delays the acknowledgement of a lone packet; quinn's estimate leaves that out.
        let rtt = sample.rtt.min(smoothed_rtt);
        let base = self.base_rtt.map_or(rtt, |base| base.min(rtt));
        self.base_rtt = Some(base);
        self.recent_rtt
            .on_rtt(now, sample.sent_at, sample.rtt, base);
        self.aggregation
            .on_ack(now, acked, self.max_bandwidth.value());
        // Over less than a round trip a burst is measured, not the path.
        if sample.interval >= base {
            self.max_bandwidth.update(sample.rate);
        }
        rtt
    }

    /// Whether no round trip of late was near the base (the delay rule of HyStart++, RFC 9406).
    pub(super) fn queue_stands(&self) -> bool {
        match (self.recent_rtt.min(), self.base_rtt) {
            (Some(seen), Some(base)) => seen > base + (base / 8).clamp(QUEUE_NOISE, MAX_QUEUE),
            _ => false,
        }
    }

    /// Whether a drained path's round trip is too high for the base to be true still.
    pub(super) fn is_stale(&self, drained: Duration) -> bool {
        self.base_rtt
            .is_some_and(|base| drained > base + (base / 4).max(QUEUE_NOISE))
    }

    /// The share of a round's packets up to which loss is no congestion.
    pub(super) fn tolerable_loss(&self) -> f64 {
        let excess = if self.queue_stands() {
            EXCESS_LOSS_QUEUED
        } else {
            EXCESS_LOSS
        };
        self.loss + excess
    }

    /// Takes over what was lost where nothing was lost by our doing.
    pub(super) fn observe_loss(&mut self, seen: &Observation) {
        self.set_loss(seen.blend_loss(self.loss, self.mtu));
    }

    pub(super) fn set_loss(&mut self, loss: f64) {
        self.loss = loss.min(MAX_COMPENSATED_LOSS);
    }

    /// Notes what was lost in a round, whatever the cause.
    pub(super) fn note_loss(&mut self, seen: &Observation) {
        self.recent_loss = seen.blend_loss(self.recent_loss, self.mtu);
    }

    pub(super) fn on_round(&mut self) {
        self.aggregation.on_round();
    }

    /// From here on only round trips of packets sent from now on count as recent.
    pub(super) fn observe_anew(&mut self, now: Instant) {
        self.recent_rtt = RecentRtt::new(now);
    }

    /// Ends a probe for bandwidth: samples of the cycle before the last no longer count.
    pub(super) fn end_cycle(&mut self) {
        self.max_bandwidth.rotate();
    }

    /// Falls back to `rate` (bytes per second), though not by more than half. Without a queue only once
    /// in a cycle: the loss is then likely the path's, and a second cut would come before the first
    /// observation of it.
    pub(super) fn cut(&mut self, rate: f64) {
        if self.queue_stands() || self.short_term == f64::INFINITY {
            self.short_term = rate.max(MAX_CUT * self.bandwidth());
        }
    }

    pub(super) fn lift_cut(&mut self) {
        self.short_term = f64::INFINITY;
    }

    /// Bytes per second.
    pub(super) fn set_bandwidth(&mut self, rate: f64) {
        self.max_bandwidth.replace(rate);
    }

    pub(super) fn set_base_rtt(&mut self, rtt: Duration) {
        self.base_rtt = Some(rtt);
    }

    /// Bytes.
    pub(super) fn set_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
    }

    /// Forgets bandwidth and round trip.
    pub(super) fn forget(&mut self) {
        self.max_bandwidth = MaxBandwidth::default();
        self.short_term = f64::INFINITY;
        self.base_rtt = None;
    }
}
