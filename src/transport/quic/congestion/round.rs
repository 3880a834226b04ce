//! What a round trip's worth of acknowledgements showed: loss and round-trip time.

use std::time::{Duration, Instant};

/// Losses and round trips of the packets sent since a moment. Packets sent before are not counted:
/// what they met was the work of an older window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) since: Instant,
    /// Bytes.
    acked: u64,
    /// Bytes.
    lost: u64,
    min_rtt: Duration,
    rtt_samples: u32,
}

impl Observation {
    /// Fewer samples than this say little about the round trip. A small window has two in two rounds.
    const MIN_RTT_SAMPLES: u32 = 2;
    /// Fewer lost packets than this are no burst (the draft's BBR.StartupFullLossCnt).
    const MIN_LOST_PACKETS: u64 = 6;
    /// Standard deviations of the loss rate that chance may explain.
    const CHANCE: f64 = 2.5;

    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            acked: 0,
            lost: 0,
            min_rtt: Duration::MAX,
            rtt_samples: 0,
        }
    }

    pub(super) fn on_acked(&mut self, sent: Instant, bytes: u64) {
        if sent >= self.since {
            self.acked += bytes;
        }
    }

    pub(super) fn on_lost(&mut self, sent: Instant, bytes: u64) {
        if sent >= self.since {
            self.lost += bytes;
        }
    }

    pub(super) fn on_rtt(&mut self, sent: Instant, rtt: Duration) {
        if sent >= self.since {
            self.min_rtt = self.min_rtt.min(rtt);
            self.rtt_samples += 1;
        }
    }

    /// The lowest round trip, once there are samples enough to trust it.
    pub(super) fn min_rtt(&self) -> Option<Duration> {
        (self.rtt_samples >= Self::MIN_RTT_SAMPLES).then_some(self.min_rtt)
    }

    /// The share lost, from 0 to 1.
    pub(super) fn loss(&self) -> f64 {
        self.lost as f64 / ((self.acked + self.lost) as f64).max(1.0)
    }

    /// Packets observed.
    pub(super) fn packets(&self, mtu: u64) -> f64 {
        (self.acked + self.lost) as f64 / mtu as f64
    }

    /// How far chance alone may have moved `loss`.
    fn chance(&self, mtu: u64) -> f64 {
        let loss = self.loss();
        Self::CHANCE * (loss * (1.0 - loss) / self.packets(mtu).max(1.0)).sqrt()
    }

    /// Whether more than `share` was lost, and not by chance.
    pub(super) fn loses_more_than(&self, share: f64, mtu: u64) -> bool {
        self.lost >= Self::MIN_LOST_PACKETS * mtu && self.loss() - self.chance(mtu) > share
    }

    /// Whether less than `share` was lost, and not by chance.
    pub(super) fn loses_less_than(&self, share: f64, mtu: u64) -> bool {
        self.loss() + self.chance(mtu) < share
    }

    /// Moves `estimate` towards this observation, the more so the more packets stand behind it.
    pub(super) fn blend_loss(&self, estimate: f64, mtu: u64) -> f64 {
        /// Observed packets that outweigh the estimate.
        const PRIOR_PACKETS: f64 = 100.0;
        let packets = self.packets(mtu);
        estimate + (self.loss() - estimate) * packets / (packets + PRIOR_PACKETS)
    }
}

/// The lowest round trip of the last moments: over two stretches, each of at least eight samples and
/// an eighth of the base. So a stall of a process, whose samples come all at once, is no queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecentRtt {
    /// Packets sent before do not count.
    since: Instant,
    /// When the stretch under way began.
    start: Instant,
    samples: u32,
    current: Duration,
    previous: Option<Duration>,
}

impl RecentRtt {
    /// As in HyStart++ (RFC 9406 section 4.2).
    const MIN_SAMPLES: u32 = 8;

    pub(super) fn new(since: Instant) -> Self {
        Self {
            since,
            start: since,
            samples: 0,
            current: Duration::MAX,
            previous: None,
        }
    }

    pub(super) fn on_rtt(&mut self, now: Instant, sent: Instant, rtt: Duration, base: Duration) {
        if sent < self.since {
            return;
        }
        if self.samples == 0 {
            self.start = now;
        }
        self.samples += 1;
        self.current = self.current.min(rtt);
        let length = now.saturating_duration_since(self.start);
        if self.samples >= Self::MIN_SAMPLES && length >= base / 8 {
            self.previous = Some(self.current);
            self.samples = 0;
            self.current = Duration::MAX;
        }
    }

    /// `None` before the first stretch has ended.
    pub(super) fn min(&self) -> Option<Duration> {
        self.previous.map(|previous| previous.min(self.current))
    }
}

/// The round under way: it ends when a packet sent after its start is acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Round {
    start: Instant,
    ended: bool,
    /// Whether the application had too little to send at some time in it.
    pub(super) app_limited: bool,
    /// What it showed.
    pub(super) seen: Observation,
}

impl Round {
    /// Starts a round now; packets sent before `since` are not its matter.
    pub(super) fn new(now: Instant, since: Instant) -> Self {
        Self {
            start: now,
            ended: false,
            app_limited: false,
            seen: Observation::new(since),
        }
    }

    pub(super) fn on_acked(&mut self, sent: Instant, bytes: u64) {
        self.ended |= sent >= self.start;
        self.seen.on_acked(sent, bytes);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}
