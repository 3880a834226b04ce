//! Our congestion controller: a model of the path instead of a reflex to loss.
//!
//! It follows draft-ietf-ccwg-bbr (BBRv3) in spirit: the window is bandwidth x round trip, both
//! measured, and a cycle of small probes keeps the two figures fresh. It differs where quinn does:
//!
//! - Quinn paces at 1.25 x window / smoothed RTT whatever we say, so the window is the only lever and
//!   its gain stays near 1 outside start-up.
//! - Loss alone says little on the paths we are made for. The loss seen while our own queue is
//!   drained is held to be the path's and is made up for; only what exceeds it counts as congestion.
//! - The round trip is not forgotten after a fixed time. If it stays high although we drained our
//!   queue, it is probed once with half a window, and what is seen then becomes the new base. One
//!   rule thus covers a longer route and a competitor that keeps the queue full.
//!
//! Everything is driven by the caller's clock; there is no I/O and no randomness.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

use self::delivery::{DeliverySampler, RateSample};
use self::demand::Demand;
use self::path::{MIN_PACKETS, Path};
use self::round::{Observation, Round};

pub use bare::BareController;
pub(super) use demand::Offered;

mod bare;
mod delivery;
mod demand;
mod path;
mod round;
#[cfg(test)]
mod simulation;

/// Packets in flight before anything is known.
const INITIAL_PACKETS: u64 = 64;
/// The rate taken for granted once the round trip is known, in bytes per second (16 Mbit/s): the pacer
/// spreads the first window over the round trip, so a long path may begin with a larger one. A smaller
/// start costs a whole round trip for each halving.
const INITIAL_RATE: f64 = 2e6;
/// The initial window in bytes stops here, unless that were fewer than `MIN_PACKETS`.
const MAX_INITIAL_WINDOW: u64 = 512 * 1024;
/// The bound on start-up, a little above the doubling that one round's measure allows the next; once
/// the bandwidth stops growing, the queue is at most 1.25 x BDP.
const STARTUP_GAIN: f64 = 2.25;
/// What an acknowledged byte adds in start-up. Behind quinn's pacer 1.0 makes 1.93 x per round trip at
/// best, and less as samples lag; with this it is about 2 x, as measured.
const STARTUP_GROWTH: f64 = 1.5;
/// When a queue first shows, the bandwidth seen is that of a round ago; this covers the difference.
const SETTLE_GAIN: f64 = 1.5;
/// While probing for bandwidth; raised by `UP_STEP` for each round that found more, to `MAX_UP_GAIN`.
const UP_GAIN: f64 = 1.25;
const UP_STEP: f64 = 0.25;
const MAX_UP_GAIN: f64 = 2.0;
/// At rest. What exceeds 1 covers what acknowledgements under way hold back: a constant window of
/// 1.06 x BDP reached 92 % of a 50 Mbit/s link, one of 1.3 x all of it.
const CRUISE_GAIN: f64 = 1.06;
/// While draining what probing left behind (the draft's ProbeBW_DOWN).
const DOWN_GAIN: f64 = 0.9;
/// The draft's BBR.ProbeRTTCwndGain.
const PROBE_RTT_GAIN: f64 = 0.5;
/// What a congestion mark leaves (RFC 8511 section 3.1: less than a loss would take).
const MARKED_CUT: f64 = 0.85;
/// Growth by which start-up holds that the pipe is not full yet (the draft's "Estimating Full").
const FULL_PIPE_GROWTH: f64 = 1.25;
const FULL_PIPE_ROUNDS: u32 = 3;
/// Growth by which a probe holds that there is still more; below it may be a noisy sample.
const UP_GROWTH: f64 = 1.15;
/// Time between two probes for bandwidth; `cruise_time` adds up to half of it. The draft has 2 to 3 s;
/// a probe here is smaller, and a lost bandwidth is found sooner.
const CRUISE: Duration = Duration::from_millis(1000);

/// With so many packets the loss of a drained path is known to about two points in a hundred.
const OBSERVED_PACKETS: f64 = 300.0;

/// What start-up allows beyond bandwidth x round trip to the packets of UDP programs: twice what they
/// lose, and what acknowledgements under way hold back.
const DEMAND_GAIN: f64 = 1.5;

/// Builds a [`Model`] for each path.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelConfig {
    pub(super) offered: Arc<Offered>,
}

impl ControllerFactory for ModelConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Model::new(now, current_mtu, self.offered.clone()))
    }
}

/// What the controller is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// About doubles the window each round until the pipe is full.
    Startup,
    /// The pipe is full; stops growing for a round, so that the bandwidth is seen in full.
    Settle,
    /// Below BDP: empties our queue, then observes the path's own loss and round trip.
    Down,
    /// As `Down`, at half BDP, to find a new base round trip.
    ProbeRtt,
    /// At BDP until the time given.
    Cruise(Instant),
    /// Above BDP by the gain given: looks for more bandwidth.
    Up(f64),
}

/// The controller of one path.
#[derive(Debug, Clone)]
struct Model {
    /// Bytes.
    mtu: u64,
    /// Bytes.
    window: u64,
    /// Bytes: quinn's figure at the last acknowledgement, plus and minus what happened since.
    in_flight: u64,
    sampler: DeliverySampler,
    path: Path,
    /// The round trip that led to the last probe for it, and the rate then (bytes per second).
    drained_rtt: Duration,
    drained_rate: f64,
    phase: Phase,
    /// Rounds ended in this phase or, when it drains, since it had drained.
    phase_rounds: u32,
    /// Whether this phase has seen the packets in flight fit its window.
    drained: bool,
    round: Round,
    /// What became of the packets sent since the phase began or, when it drains, had drained.
    phase_seen: Observation,
    /// The highest rate sampled in this phase (bytes per second).
    phase_rate: f64,
    /// Whether the application has too little to send, and had at some time in this phase.
    app_limited: bool,
    phase_limited: bool,
    /// Bandwidth when it last grew (bytes per second), and the rounds since.
    full_bandwidth: f64,
    full_rounds: u32,
    cycles: u32,
    /// Bytes acknowledged in the batch under way.
    batch: u64,
    /// Quinn's smoothed round trip, which leaves out the peer's delay.
    smoothed_rtt: Duration,
    demand: Demand,
    /// Bytes: the window that demand opens, while nothing speaks against it.
    demanded: u64,
    /// Everything sent for long was lost, since when nothing goes on demand alone.
    collapsed: bool,
}

impl Controller for Model {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        let rtt = self.path.base_rtt().unwrap_or_default();
        // A few bytes in flight do not make a busy path: they may be a lone acknowledgement.
        let silent = self.in_flight <= 2 * self.mtu;
        self.sampler.on_sent(now, silent, rtt);
        self.in_flight += bytes;
        self.demand.look(now);
        self.demanded = self.demanded_window(rtt);
    }

    fn on_ack(
        &mut self,
        _now: Instant,
        sent: Instant,
        bytes: u64,
        _app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.smoothed_rtt = rtt.get();
        self.on_packet_acked(sent, bytes);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        _largest_packet_num_acked: Option<u64>,
    ) {
        self.in_flight = in_flight;
        self.app_limited = app_limited;
        self.round.app_limited |= app_limited;
        self.phase_limited |= app_limited;
        let acked = std::mem::take(&mut self.batch);
        if let Some(sample) = self.sampler.on_end_acks(now) {
            self.learn(now, &sample, acked);
            self.advance(now, sample.rate);
            self.set_window(if app_limited { 0 } else { acked });
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        if is_persistent_congestion {
            self.restart(now);
        } else if lost_bytes == 0 {
            self.on_marked(now, sent);
        } else {
            self.round.seen.on_lost(sent, lost_bytes);
            self.phase_seen.on_lost(sent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        let untouched = self.window == initial_window(self.mtu);
        self.mtu = u64::from(new_mtu);
        self.path.set_mtu(self.mtu);
        if untouched {
            self.window = initial_window(self.mtu);
        }
        self.set_window(0);
    }

    fn window(&self) -> u64 {
        self.window.max(self.demanded)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window;
        metrics.pacing_rate = Some((self.path.bandwidth() * 8.0) as u64);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        initial_window(self.mtu)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Model {
    fn new(now: Instant, mtu: u16, offered: Arc<Offered>) -> Self {
        let mtu = u64::from(mtu);
        Self {
            mtu,
            window: initial_window(mtu),
            in_flight: 0,
            sampler: DeliverySampler::new(now),
            path: Path::new(now, mtu),
            drained_rtt: Duration::ZERO,
            drained_rate: 0.0,
            phase: Phase::Startup,
            phase_rounds: 0,
            drained: false,
            round: Round::new(now, now),
            phase_seen: Observation::new(now),
            phase_rate: 0.0,
            app_limited: false,
            phase_limited: false,
            full_bandwidth: 0.0,
            full_rounds: 0,
            cycles: 0,
            batch: 0,
            smoothed_rtt: Duration::MAX,
            demand: Demand::new(now, offered),
            demanded: 0,
            collapsed: false,
        }
    }

    /// Counts one packet; all judgement waits for the end of the batch.
    fn on_packet_acked(&mut self, sent: Instant, bytes: u64) {
        self.batch += bytes;
        self.sampler.on_ack(sent, bytes);
        self.round.on_acked(sent, bytes);
        self.phase_seen.on_acked(sent, bytes);
    }

    /// Takes a batch's sample into the model.
    fn learn(&mut self, now: Instant, sample: &RateSample, acked: u64) {
        let first = self.path.base_rtt().is_none();
        let rtt = self.path.learn(now, sample, acked, self.smoothed_rtt);
        if first {
            let taken_for_granted = (INITIAL_RATE * rtt.as_secs_f64()) as u64;
            self.window = self.window.max(taken_for_granted.min(MAX_INITIAL_WINDOW));
        }
        self.phase_seen.on_rtt(sample.sent_at, rtt);
        if Some(sample.interval) >= self.path.base_rtt() {
            self.phase_rate = self.phase_rate.max(sample.rate);
        }
    }

    /// Ends the round if it is over, and moves through the phases. `rate` is the newest sample.
    fn advance(&mut self, now: Instant, rate: f64) {
        let ended = self.round.has_ended();
        if ended {
            self.phase_rounds += 1;
            self.path.on_round();
        }
        if self.has_excess_loss() {
            self.on_excess_loss(now, rate);
        } else {
            self.advance_phase(now, ended);
        }
        if ended && self.round.has_ended() {
            self.new_round(now, self.round.seen.since);
        }
    }

    fn advance_phase(&mut self, now: Instant, round_ended: bool) {
        match self.phase {
            Phase::Startup => self.advance_startup(now, round_ended),
            Phase::Settle if self.phase_rounds >= 1 => self.enter_down(now),
            Phase::Settle => {}
            Phase::Down | Phase::ProbeRtt if !self.drained => self.drain(now),
            Phase::Down if self.has_observed() => self.leave_down(now),
            Phase::ProbeRtt if self.phase_rounds >= 2 || self.phase_seen.min_rtt().is_some() => {
                self.leave_probe_rtt(now);
            }
            Phase::Down | Phase::ProbeRtt => {}
            Phase::Cruise(until) if round_ended => self.advance_cruise(now, until),
            Phase::Cruise(_) => {}
            Phase::Up(gain) => self.advance_up(now, gain, round_ended),
        }
    }

    /// Leaves start-up when a queue shows or the bandwidth stops growing.
    fn advance_startup(&mut self, now: Instant, round_ended: bool) {
        // What only trickles raises no queue; that its acknowledgements are delayed looks like one.
        if self.path.queue_stands() && !self.app_limited {
            return self.enter(now, Phase::Settle);
        }
        if !round_ended {
            return;
        }
        self.path.set_loss(self.phase_seen.loss());
        if !self.round.app_limited
            && self.bandwidth_has_stopped(FULL_PIPE_GROWTH) >= FULL_PIPE_ROUNDS
        {
            self.enter_down(now);
        }
    }

    /// Stops growing once a queue shows, the link is left, or nothing more is found for two rounds.
    fn advance_up(&mut self, now: Instant, gain: f64, round_ended: bool) {
        if self.phase_rounds >= 2 && self.path.queue_stands() {
            return self.end_cycle(now);
        }
        if !round_ended || self.phase_rounds < 2 {
            return;
        }
        if self.round.app_limited {
            return self.enter_cruise(now);
        }
        match self.bandwidth_has_stopped(UP_GROWTH) {
            0 => self.phase = Phase::Up((gain + UP_STEP).min(MAX_UP_GAIN)),
            1 => {}
            _ => self.end_cycle(now),
        }
    }

    /// Counts the rounds since the bandwidth last grew by `growth`.
    fn bandwidth_has_stopped(&mut self, growth: f64) -> u32 {
        let bandwidth = self.path.bandwidth();
        if bandwidth >= self.full_bandwidth * growth {
            self.full_bandwidth = bandwidth;
            self.full_rounds = 0;
        } else {
            self.full_rounds += 1;
        }
        self.full_rounds
    }

    fn advance_cruise(&mut self, now: Instant, until: Instant) {
        if self.round.seen.loses_less_than(self.path.loss(), self.mtu) {
            self.path.observe_loss(&self.round.seen);
        }
        if now >= until && !self.round.app_limited {
            self.path.lift_cut();
            self.full_bandwidth = self.path.bandwidth();
            self.full_rounds = 0;
            self.enter(now, Phase::Up(UP_GAIN));
        }
    }

    /// Begins to observe once what is in flight fits the window.
    fn drain(&mut self, now: Instant) {
        if self.in_flight <= self.window {
            self.drained = true;
            self.observe_anew(now);
        }
    }

    /// Whether enough was seen since the queue was drained: a full round's packets, or many.
    fn has_observed(&self) -> bool {
        let many = self.phase_seen.packets(self.mtu) >= OBSERVED_PACKETS;
        self.phase_rounds >= 2 || self.phase_rounds == 1 && many
    }

    /// Takes over what was seen without a queue of ours.
    fn leave_down(&mut self, now: Instant) {
        self.path.observe_loss(&self.phase_seen);
        match self.phase_seen.min_rtt() {
            // Too little to send raises no queue, and its delayed acknowledgements are no route.
            Some(rtt) if self.path.is_stale(rtt) && !self.phase_limited => {
                self.drained_rtt = rtt;
                self.drained_rate = self.phase_rate;
                self.enter(now, Phase::ProbeRtt);
            }
            _ => self.enter_cruise(now),
        }
    }

    /// If half a window does not bring the round trip down either, the queue is not ours or the route
    /// is longer: then what was seen with nearly a full window is the base. To take the lower figure
    /// would yield to a competitor a little more in each cycle. If it does, the queue was ours, and the
    /// bandwidth we held for true is gone.
    fn leave_probe_rtt(&mut self, now: Instant) {
        match self.phase_seen.min_rtt() {
            Some(rtt) if self.path.is_stale(rtt) => self.path.set_base_rtt(self.drained_rtt),
            Some(_) if self.drained_rate > 0.0 => self.path.set_bandwidth(self.drained_rate),
            _ => {}
        }
        self.enter_cruise(now);
    }

    /// Ends a probe for bandwidth that filled the pipe: older cycles no longer count.
    fn end_cycle(&mut self, now: Instant) {
        if !self.round.app_limited {
            self.path.end_cycle();
        }
        self.enter_down(now);
    }

    fn enter_down(&mut self, now: Instant) {
        self.enter(now, Phase::Down);
    }

    fn enter_cruise(&mut self, now: Instant) {
        self.cycles = self.cycles.wrapping_add(1);
        self.enter(now, Phase::Cruise(now + self.cruise_time()));
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.demanded = 0;
        self.drained = false;
        self.observe_anew(now);
    }

    /// From here on only packets sent from now on count.
    fn observe_anew(&mut self, now: Instant) {
        self.phase_rounds = 0;
        self.phase_rate = 0.0;
        self.phase_limited = false;
        self.phase_seen = Observation::new(now);
        self.new_round(now, now);
        self.path.observe_anew(now);
    }

    fn new_round(&mut self, now: Instant, since: Instant) {
        self.path.note_loss(&self.round.seen);
        self.round = Round::new(now, since);
    }

    /// Flows that began together must not probe together, so the time varies with figures that two
    /// connections hardly share.
    fn cruise_time(&self) -> Duration {
        let mixed = (u64::from(self.cycles) ^ u64::from(self.smoothed_rtt.subsec_nanos()))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        CRUISE + CRUISE.mul_f64((mixed >> 40) as f64 / (1u64 << 25) as f64)
    }

    fn has_excess_loss(&self) -> bool {
        let share = self.path.tolerable_loss();
        self.round.seen.loses_more_than(share, self.mtu)
    }

    /// More was lost than the path loses by itself.
    fn on_excess_loss(&mut self, now: Instant, rate: f64) {
        match self.phase {
            Phase::Startup | Phase::Settle => self.enter_down(now),
            Phase::Up(_) => self.end_cycle(now),
            Phase::Cruise(_) => self.cut(now, rate),
            // Drained and without a queue it is the path's own: `leave_down` takes it over.
            Phase::Down | Phase::ProbeRtt if self.path.queue_stands() => self.cut(now, rate),
            Phase::Down | Phase::ProbeRtt => self.advance_phase(now, self.round.has_ended()),
        }
    }

    /// Falls back to what is being delivered, until the next probe.
    fn cut(&mut self, now: Instant, rate: f64) {
        self.path.cut(rate);
        self.enter_down(now);
    }

    /// A router marked a packet: once per round, that counts as a congested round.
    fn on_marked(&mut self, now: Instant, sent: Instant) {
        if sent >= self.round.seen.since && self.path.bandwidth() > 0.0 {
            self.cut(now, MARKED_CUT * self.path.bandwidth());
        }
    }

    /// After an outage nothing known holds; the path may be another one.
    fn restart(&mut self, now: Instant) {
        self.path.forget();
        self.full_bandwidth = 0.0;
        self.full_rounds = 0;
        self.window = initial_window(self.mtu);
        self.collapsed = true;
        self.demanded = 0;
        self.enter(now, Phase::Startup);
    }

    /// Sets the window for the phase. `acked` bytes were acknowledged while the window was in use.
    fn set_window(&mut self, acked: u64) {
        let window = match self.phase {
            Phase::Startup => self.startup_window(acked),
            Phase::Settle => self.window.min(self.path.inflight(SETTLE_GAIN)),
            Phase::Down => self.path.inflight(DOWN_GAIN),
            Phase::ProbeRtt => self.path.inflight(PROBE_RTT_GAIN),
            Phase::Cruise(_) => self.path.inflight(CRUISE_GAIN),
            Phase::Up(gain) => self.path.inflight(gain),
        };
        self.window = window
            .min(self.path.max_window())
            .max(self.path.min_window());
    }

    /// What lets the packets of UDP programs go as they come, while nothing is known of the path.
    fn demanded_window(&self, rtt: Duration) -> u64 {
        if self.phase != Phase::Startup || self.collapsed {
            return 0;
        }
        let window = DEMAND_GAIN * self.demand.rate() * rtt.as_secs_f64();
        (window as u64).min(MAX_INITIAL_WINDOW)
    }

    /// Doubles each round, up to a multiple of what was delivered.
    fn startup_window(&self, acked: u64) -> u64 {
        let bound = self.path.inflight(STARTUP_GAIN);
        if self.path.bandwidth() > 0.0 && self.window >= bound {
            self.window
        } else {
            self.window + (acked as f64 * STARTUP_GROWTH) as u64
        }
    }
}

fn initial_window(mtu: u64) -> u64 {
    (INITIAL_PACKETS * mtu).min(MAX_INITIAL_WINDOW.max(MIN_PACKETS * mtu))
}
