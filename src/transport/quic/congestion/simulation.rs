//! A simulated path, so that the controller can be tried without a clock or a network: discrete
//! events, a pacer as quinn's, delayed acknowledgements, random loss and a drop-tail queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::Controller;

use super::Model;
use super::demand::Offered;
use super::path::GAP_DANGER_PACKETS;

const MTU: u64 = 1452;
/// IP and UDP headers, which take link time too.
const HEADERS: u64 = 28;
/// What quinn asks the peer for with an ACK frequency threshold of 10.
const ACK_EVERY: u32 = 11;
const ACK_DELAY: Duration = Duration::from_millis(25);
const REORDERING: u64 = 3;

/// One direction of a path. The way back only delays and loses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Mbit/s, headers included.
    pub(super) rate: f64,
    /// Without queueing.
    pub(super) rtt: Duration,
    /// From 0 to 1, before the queue.
    pub(super) loss: f64,
    /// How long a packet may wait.
    pub(super) queue: Duration,
}

/// What a flow has to send.
#[derive(Debug, Clone)]
pub(super) enum Demand {
    Endless,
    /// Bytes at times, in order.
    Bursts(VecDeque<(Duration, u64)>),
}

enum Event {
    /// The sender may send again.
    Wake(usize),
    /// A packet reaches the receiver.
    Arrival(usize, u64),
    /// The receiver's delayed acknowledgement is due, if this many were sent before.
    AckTimer(usize, u64),
    /// An acknowledgement of these reaches the sender.
    Ack(usize, Vec<u64>),
    /// Nothing was acknowledged for the probe timeout, if this many acknowledgements came before.
    Probe(usize, u64),
    Change(Link),
}

/// Who controls a flow.
pub(super) enum Control {
    Model(Box<Model>),
    Cubic(Cubic),
}

/// Cubic as in RFC 9438, as far as a competitor needs it. The window is in bytes.
pub(super) struct Cubic {
    window: f64,
    slow_start: bool,
    window_max: f64,
    reduced_at: Instant,
}

impl Cubic {
    const BETA: f64 = 0.7;

    fn on_ack(&mut self, now: Instant, bytes: u64) {
        if self.slow_start {
            self.window += bytes as f64;
            return;
        }
        let mtu = MTU as f64;
        let elapsed = now.saturating_duration_since(self.reduced_at).as_secs_f64();
        let k = (self.window_max / mtu * (1.0 - Self::BETA) / 0.4).cbrt();
        let target = mtu * 0.4 * (elapsed - k).powi(3) + self.window_max;
        let cubic = (target - self.window).clamp(0.0, self.window / 2.0);
        // The Reno-friendly region (section 4.3), as increment per window.
        let reno = mtu * 3.0 * (1.0 - Self::BETA) / (1.0 + Self::BETA);
        self.window += cubic.max(reno) * bytes as f64 / self.window;
    }

    fn on_loss(&mut self, now: Instant, sent: Instant) {
        if sent > self.reduced_at {
            self.reduced_at = now;
            self.slow_start = false;
            self.window_max = self.window;
            self.window = (self.window * Self::BETA).max(2.0 * MTU as f64);
        }
    }
}

struct Flow {
    control: Control,
    demand: Demand,
    /// Bytes asked for and not yet sent.
    backlog: u64,
    largest_backlog: u64,
    /// What is asked for goes in datagrams: nothing is sent again.
    datagrams: Option<Arc<Offered>>,
    app_limited: bool,
    next_packet: u64,
    sent: BTreeMap<u64, (Instant, u64)>,
    in_flight: u64,
    srtt: Duration,
    acks: u64,
    // The pacer, as quinn's.
    tokens: f64,
    tokens_at: Instant,
    wake: Option<Instant>,
    // The receiver.
    unacked: Vec<u64>,
    since_ack: u32,
    largest_received: u64,
    acks_sent: u64,
    // The figures.
    packets_sent: u64,
    packets_lost: u64,
    last_ack: Instant,
    /// Bytes acknowledged in each tenth of a second.
    delivered: Vec<u64>,
}

/// A path shared by flows.
pub(super) struct Simulation {
    begin: Instant,
    now: Instant,
    link: Link,
    line_free: Instant,
    flows: Vec<Flow>,
    events: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    pending: BTreeMap<usize, Event>,
    scheduled: usize,
    random: u64,
    /// When a packet was queued, and for how long.
    waits: Vec<(Instant, Duration)>,
}

impl Simulation {
    pub(super) fn new(link: Link, seed: u64) -> Self {
        let begin = Instant::now();
        Self {
            begin,
            now: begin,
            link,
            line_free: begin,
            flows: Vec::new(),
            events: BinaryHeap::new(),
            pending: BTreeMap::new(),
            scheduled: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            waits: Vec::new(),
        }
    }

    pub(super) fn with_model(self, demand: Demand) -> Self {
        let model = Model::new(self.begin, MTU as u16, Arc::default());
        self.with(Control::Model(Box::new(model)), demand)
    }

    /// A UDP program that sends a packet now and then, and from a time on so many each millisecond.
    pub(super) fn with_datagrams(self, from: u64, until: u64, packets: u64) -> Self {
        let ms = Duration::from_millis;
        let offered = Arc::<Offered>::default();
        let model = Model::new(self.begin, MTU as u16, offered.clone());
        let before = (0..from).step_by(5).map(|at| (ms(at), MTU));
        let load = (from..until).map(|at| (ms(at), packets * MTU));
        let demand = Demand::Bursts(before.chain(load).collect());
        let mut simulation = self.with(Control::Model(Box::new(model)), demand);
        if let Some(flow) = simulation.flows.last_mut() {
            flow.datagrams = Some(offered);
        }
        simulation
    }

    pub(super) fn with_cubic(self) -> Self {
        let cubic = Cubic {
            window: 10.0 * MTU as f64,
            slow_start: true,
            window_max: 0.0,
            reduced_at: self.begin,
        };
        self.with(Control::Cubic(cubic), Demand::Endless)
    }

    fn with(mut self, control: Control, demand: Demand) -> Self {
        self.flows.push(Flow {
            control,
            backlog: if matches!(demand, Demand::Endless) {
                u64::MAX / 2
            } else {
                0
            },
            largest_backlog: 0,
            datagrams: None,
            demand,
            app_limited: false,
            next_packet: 0,
            sent: BTreeMap::new(),
            in_flight: 0,
            srtt: self.link.rtt,
            acks: 0,
            tokens: 0.0,
            tokens_at: self.begin,
            wake: None,
            unacked: Vec::new(),
            since_ack: 0,
            largest_received: 0,
            acks_sent: 0,
            packets_sent: 0,
            packets_lost: 0,
            last_ack: self.begin,
            delivered: Vec::new(),
        });
        let flow = self.flows.len() - 1;
        if let Demand::Bursts(bursts) = self.flows[flow].demand.clone() {
            for (at, _) in bursts {
                self.schedule(self.begin + at, Event::Wake(flow));
            }
        }
        self.schedule(self.begin, Event::Wake(flow));
        self
    }

    /// The link becomes another at a time.
    pub(super) fn changing(mut self, at: Duration, link: Link) -> Self {
        self.schedule(self.begin + at, Event::Change(link));
        self
    }

    pub(super) fn run(mut self, length: Duration) -> Self {
        while let Some(Reverse((at, _, id))) = self.events.pop() {
            if at > self.begin + length {
                break;
            }
            self.now = at;
            if let Some(event) = self.pending.remove(&id) {
                self.handle(event);
            }
        }
        self
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.scheduled += 1;
        self.pending.insert(self.scheduled, event);
        self.events
            .push(Reverse((at, self.scheduled as u64, self.scheduled)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake(flow) => self.send(flow),
            Event::Arrival(flow, packet) => self.receive(flow, packet),
            Event::AckTimer(flow, acks_sent) => {
                if self.flows[flow].acks_sent == acks_sent {
                    self.acknowledge(flow);
                }
            }
            Event::Ack(flow, packets) => self.on_ack(flow, packets),
            Event::Probe(flow, acks) => self.on_probe_timeout(flow, acks),
            Event::Change(link) => self.link = link,
        }
    }

    fn window(&self, flow: usize) -> u64 {
        match &self.flows[flow].control {
            Control::Model(model) => model.window(),
            Control::Cubic(cubic) => cubic.window as u64,
        }
    }

    /// Sends what window, pacer and demand allow, in bursts of up to ten.
    fn send(&mut self, flow: usize) {
        self.draw_demand(flow);
        loop {
            let mut burst = 0;
            while burst < 10 && self.may_send(flow) {
                self.transmit(flow);
                burst += 1;
            }
            let state = &mut self.flows[flow];
            if burst == 0 {
                state.largest_backlog = state.largest_backlog.max(state.backlog);
                let blocked = state.in_flight + MTU >= self.window(flow);
                let state = &mut self.flows[flow];
                state.app_limited = state.backlog == 0 && !blocked;
                return;
            }
            if let Control::Model(model) = &mut state.control {
                model.on_sent(self.now, burst * MTU, state.next_packet - 1);
            }
        }
    }

    fn draw_demand(&mut self, flow: usize) {
        let elapsed = self.now - self.begin;
        let state = &mut self.flows[flow];
        if let Demand::Bursts(bursts) = &mut state.demand {
            while let Some((_, bytes)) = bursts.front().copied().filter(|(at, _)| *at <= elapsed) {
                state.backlog += bytes;
                if let Some(offered) = &state.datagrams {
                    offered.add(bytes as usize);
                }
                bursts.pop_front();
            }
        }
    }

    fn may_send(&mut self, flow: usize) -> bool {
        let window = self.window(flow);
        let state = &mut self.flows[flow];
        if state.backlog == 0 || state.in_flight + MTU >= window {
            return false;
        }
        let rate = window as f64 * 1.25 / state.srtt.as_secs_f64();
        let capacity = (rate / 1.25 * 0.002).clamp(10.0 * MTU as f64, 256.0 * MTU as f64);
        let elapsed = (self.now - state.tokens_at).as_secs_f64();
        state.tokens = (state.tokens + rate * elapsed).min(capacity);
        state.tokens_at = self.now;
        if state.tokens >= MTU as f64 {
            return true;
        }
        let wait = Duration::from_secs_f64((capacity - state.tokens) / rate);
        let at = self.now + wait;
        if state.wake.is_none_or(|wake| wake <= self.now) {
            state.wake = Some(at);
            self.schedule(at, Event::Wake(flow));
        }
        false
    }

    /// One packet onto the link.
    fn transmit(&mut self, flow: usize) {
        let now = self.now;
        let state = &mut self.flows[flow];
        let packet = state.next_packet;
        state.next_packet += 1;
        state.packets_sent += 1;
        state.tokens -= MTU as f64;
        state.backlog = state.backlog.saturating_sub(MTU);
        state.in_flight += MTU;
        state.sent.insert(packet, (now, MTU));
        if state.sent.len() == 1 {
            let timeout = state.srtt * 2 + ACK_DELAY;
            let acks = state.acks;
            self.schedule(now + timeout, Event::Probe(flow, acks));
        }
        let wait = self.line_free.saturating_duration_since(now);
        if self.uniform() < self.link.loss || wait > self.link.queue {
            return;
        }
        self.waits.push((now, wait));
        let time = (MTU + HEADERS) as f64 * 8e-6 / self.link.rate;
        self.line_free = now + wait + Duration::from_secs_f64(time);
        self.schedule(
            self.line_free + self.link.rtt / 2,
            Event::Arrival(flow, packet),
        );
    }

    fn receive(&mut self, flow: usize, packet: u64) {
        let state = &mut self.flows[flow];
        let gap = packet > state.largest_received + 1;
        state.largest_received = state.largest_received.max(packet);
        state.unacked.push(packet);
        state.since_ack += 1;
        if gap || state.since_ack >= ACK_EVERY {
            self.acknowledge(flow);
        } else if state.since_ack == 1 {
            let sent = state.acks_sent;
            self.schedule(self.now + ACK_DELAY, Event::AckTimer(flow, sent));
        }
    }

    /// Acknowledgements are lost too; the next one then names these packets again.
    fn acknowledge(&mut self, flow: usize) {
        let lost = self.uniform() < self.link.loss;
        let state = &mut self.flows[flow];
        state.acks_sent += 1;
        state.since_ack = 0;
        if !lost && !state.unacked.is_empty() {
            let packets = std::mem::take(&mut state.unacked);
            self.schedule(self.now + self.link.rtt / 2, Event::Ack(flow, packets));
        }
    }

    fn on_ack(&mut self, flow: usize, packets: Vec<u64>) {
        let now = self.now;
        let slot = ((now - self.begin).as_millis() / 100) as usize;
        let state = &mut self.flows[flow];
        let mut largest = None;
        let mut acked = 0;
        for packet in packets {
            if let Some((sent, bytes)) = state.sent.remove(&packet) {
                state.in_flight -= bytes;
                acked += bytes;
                largest = Some((packet, sent));
                if let Control::Model(model) = &mut state.control {
                    model.smoothed_rtt = state.srtt;
                    model.on_packet_acked(sent, bytes);
                }
            }
        }
        state
            .delivered
            .resize(state.delivered.len().max(slot + 1), 0);
        state.delivered[slot] += acked;
        let Some((largest, sent)) = largest else {
            return;
        };
        state.acks += 1;
        state.last_ack = now;
        match &mut state.control {
            Control::Model(model) => {
                model.on_end_acks(now, state.in_flight, state.app_limited, None)
            }
            Control::Cubic(cubic) => cubic.on_ack(now, acked),
        }
        let rtt = now - sent;
        state.srtt = if state.acks == 1 {
            rtt
        } else {
            (state.srtt * 7 + rtt) / 8
        };
        self.detect_losses(flow, largest);
        let state = &self.flows[flow];
        let (timeout, acks) = (state.srtt * 2 + ACK_DELAY, state.acks);
        self.schedule(now + timeout, Event::Probe(flow, acks));
        self.send(flow);
    }

    fn detect_losses(&mut self, flow: usize, largest: u64) {
        let now = self.now;
        let state = &mut self.flows[flow];
        let (mut lost, mut bytes) = (0, 0);
        let mut first = None;
        let mut last = now;
        while let Some((&packet, &(sent, size))) = state.sent.first_key_value() {
            let late = packet < largest && now - sent > state.srtt * 9 / 8;
            if packet + REORDERING > largest && !late {
                break;
            }
            state.sent.remove(&packet);
            lost += 1;
            bytes += size;
            first.get_or_insert(sent);
            last = sent;
        }
        let Some(first) = first else { return };
        state.in_flight -= bytes;
        state.packets_lost += lost;
        if state.datagrams.is_none() {
            state.backlog += bytes;
        }
        let persistent = last - first > (state.srtt * 2 + ACK_DELAY) * 3;
        match &mut state.control {
            Control::Model(model) => model.on_congestion_event(now, last, persistent, bytes),
            Control::Cubic(cubic) => cubic.on_loss(now, last),
        }
    }

    /// Sends a packet past the window, as quinn does with its loss probes.
    fn on_probe_timeout(&mut self, flow: usize, acks: u64) {
        let state = &mut self.flows[flow];
        if state.acks != acks || state.sent.is_empty() {
            return;
        }
        state.backlog += MTU;
        let timeout = state.srtt * 2 + ACK_DELAY;
        self.transmit(flow);
        let state = &mut self.flows[flow];
        if let Control::Model(model) = &mut state.control {
            model.on_sent(self.now, MTU, state.next_packet - 1);
        }
        self.schedule(self.now + timeout, Event::Probe(flow, acks));
    }

    /// A number in [0, 1), from xorshift64*.
    fn uniform(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mbit/s of packets acknowledged to a flow between two times.
    pub(super) fn throughput(&self, flow: usize, from: Duration, to: Duration) -> f64 {
        let (from, to) = (
            from.as_millis() as usize / 100,
            to.as_millis() as usize / 100,
        );
        let delivered = self.flows[flow].delivered.iter().take(to).skip(from);
        delivered.sum::<u64>() as f64 * 8e-6 / ((to - from) as f64 / 10.0)
    }

    /// When a flow last had anything acknowledged.
    pub(super) fn finished_at(&self, flow: usize) -> Duration {
        self.flows[flow].last_ack - self.begin
    }

    /// The most that a flow had to send at a time and could not.
    pub(super) fn largest_backlog(&self, flow: usize) -> u64 {
        self.flows[flow].largest_backlog
    }

    /// The share of a flow's packets that was lost.
    pub(super) fn lost(&self, flow: usize) -> f64 {
        self.flows[flow].packets_lost as f64 / self.flows[flow].packets_sent.max(1) as f64
    }

    /// The queueing delay that one packet in twenty exceeded between two times.
    pub(super) fn queueing(&self, from: Duration, to: Duration) -> Duration {
        let (from, to) = (self.begin + from, self.begin + to);
        let within = self.waits.iter().filter(|(at, _)| (from..to).contains(at));
        let mut waits: Vec<Duration> = within.map(|(_, wait)| *wait).collect();
        waits.sort();
        waits
            .get(waits.len() * 95 / 100)
            .copied()
            .unwrap_or_default()
    }
}

mod tests {
    use super::*;

    /// The share of the link's rate that is payload.
    const PAYLOAD: f64 = MTU as f64 / (MTU + HEADERS) as f64;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    const fn link(rate: f64, rtt: u64, loss: f64, queue: u64) -> Link {
        Link {
            rate,
            rtt: ms(rtt),
            loss,
            queue: ms(queue),
        }
    }

    const PLAIN: Link = link(50.0, 50, 0.0, 50);

    fn alone(link: Link, length: Duration) -> Simulation {
        Simulation::new(link, 7)
            .with_model(Demand::Endless)
            .run(length)
    }

    /// One flow on `PLAIN`, which becomes `then` at 4 s and is itself again at `until`.
    fn through(then: Link, until: u64, length: u64) -> Simulation {
        Simulation::new(PLAIN, 7)
            .with_model(Demand::Endless)
            .changing(s(4), then)
            .changing(s(until), PLAIN)
            .run(s(length))
    }

    fn usage(simulation: &Simulation, link: Link, from: u64, to: u64) -> f64 {
        simulation.throughput(0, s(from), s(to)) / (link.rate * PAYLOAD)
    }

    #[test]
    fn links_are_filled_and_queues_are_not() {
        // The link; its use in the first three seconds and the next three; queueing delay in those.
        let table = [
            (link(100.0, 50, 0.01, 50), 0.89, 0.96, 15),
            (link(50.0, 100, 0.05, 100), 0.85, 0.95, 40),
            (link(50.0, 200, 0.001, 100), 0.70, 0.94, 60),
            (link(100.0, 10, 0.0, 20), 0.96, 0.97, 6),
            (link(50.0, 50, 0.0, 200), 0.93, 0.96, 16),
            (link(10.0, 40, 0.0, 100), 0.93, 0.95, 25),
            (link(20.0, 100, 0.15, 100), 0.70, 0.90, 40),
            (link(2.0, 40, 0.0, 300), 0.85, 0.95, 90),
            (link(50.0, 50, 0.1, 5), 0.80, 0.90, 10),
            (link(100.0, 1, 0.0, 10), 0.97, 0.97, 5),
        ];
        for (link, early, late, queue) in table {
            let simulation = alone(link, s(6));
            let used = usage(&simulation, link, 0, 3);
            assert!(used >= early, "{link:?}: {used:.3} of the link at first");
            let used = usage(&simulation, link, 3, 6);
            assert!(used >= late, "{link:?}: {used:.3} of the link later");
            let waited = simulation.queueing(s(2), s(6));
            assert!(waited <= ms(queue), "{link:?}: queued {waited:?}");
        }
    }

    #[test]
    fn startup_loses_little() {
        // The link, and the share of packets that may be lost beyond the link's own loss.
        let table = [
            (link(100.0, 50, 0.01, 50), 0.05),
            (link(50.0, 200, 0.0, 100), 0.12),
            (link(50.0, 50, 0.0, 200), 0.001),
            (link(50.0, 50, 0.0, 5), 0.25),
            (link(5.0, 50, 0.0, 100), 0.10),
        ];
        for (link, bound) in table {
            let simulation = alone(link, ms(400) + link.rtt * 9);
            let lost = simulation.lost(0) - link.loss;
            assert!(lost <= bound, "{link:?}: lost {lost:.3}");
        }
    }

    /// A fetch of 1 MB each 500 ms: the first in start-up, the later ones nearly at the link's rate.
    #[test]
    fn bursts_after_silence_go_out_at_the_known_bandwidth() {
        let fetches = |first: u64, n: u64| (first..n).map(|i| (ms(i * 500), 1_000_000)).collect();
        let measured = link(100.0, 50, 0.0, 50);
        for (bursts, bound) in [(fetches(0, 1), ms(330)), (fetches(0, 6), ms(2500 + 170))] {
            let simulation = Simulation::new(measured, 7)
                .with_model(Demand::Bursts(bursts))
                .run(s(5));
            let finished = simulation.finished_at(0);
            assert!(finished <= bound, "finished at {finished:?}, not {bound:?}");
        }
    }

    /// What trickles for ten seconds does not drag the estimate down.
    #[test]
    fn a_trickle_does_not_hide_the_bandwidth() {
        let bulk = (Duration::ZERO, 12_000_000);
        let trickle = (0..200).map(|i| (s(3) + ms(i * 50), 1_000));
        let burst = (s(14), 1_000_000);
        let bursts = std::iter::once(bulk).chain(trickle).chain([burst]);
        let simulation = Simulation::new(PLAIN, 7)
            .with_model(Demand::Bursts(bursts.collect()))
            .run(s(16));
        // 50 ms of path, 163 ms of link, and what a delayed acknowledgement adds.
        let finished = simulation.finished_at(0);
        assert!(finished <= s(14) + ms(260), "finished at {finished:?}");
    }

    /// 47 Mbit/s that begin at once are carried from the first packet on, whatever is lost on the way.
    #[test]
    fn packets_of_a_program_do_not_wait_for_startup() {
        const PER_MS: u64 = 4;
        for loss in [0.0, 0.05] {
            for rtt in [10, 50, 80] {
                let simulation = Simulation::new(link(100.0, rtt, loss, 50), 7)
                    .with_datagrams(500, 2500, PER_MS)
                    .run(s(3));
                let waited = simulation.largest_backlog(0) / (PER_MS * MTU);
                assert!(waited <= 8, "{rtt} ms, {loss}: {waited} ms");
            }
        }
    }

    /// What a link does not carry is found out within some round trips, and from then on it goes at the
    /// link's rate, as little as that may be.
    #[test]
    fn what_a_link_does_not_carry_is_held_back() {
        let narrow = link(10.0, 50, 0.0, 50);
        let simulation = Simulation::new(narrow, 7)
            .with_datagrams(500, 6000, 8)
            .run(s(6));
        let used = usage(&simulation, narrow, 3, 6);
        assert!(used >= 0.9, "{used:.3} of the link");
        let waited = simulation.queueing(s(2), s(6));
        assert!(waited <= ms(25), "queued {waited:?}");
        let lost = simulation.lost(0);
        assert!(lost <= 0.1, "{lost:.3} lost");
    }

    #[test]
    fn a_changed_rate_is_tracked() {
        for rate in [25.0, 12.5, 200.0] {
            let then = Link { rate, ..PLAIN };
            let simulation = through(then, 8, 8);
            let used = usage(&simulation, then, 6, 8);
            assert!(used >= 0.93, "{rate} Mbit/s: {used:.3} used");
            let waited = simulation.queueing(s(6), s(8));
            assert!(waited <= ms(25), "{rate} Mbit/s: queued {waited:?}");
        }
    }

    #[test]
    fn a_changed_route_is_tracked() {
        for rtt in [20, 120] {
            let then = Link {
                rtt: ms(rtt),
                ..PLAIN
            };
            let simulation = through(then, 9, 9);
            let used = usage(&simulation, then, 7, 9);
            assert!(used >= 0.9, "{rtt} ms: {used:.3} used");
            let waited = simulation.queueing(s(7), s(9));
            assert!(waited <= ms(rtt / 3), "{rtt} ms: queued {waited:?}");
        }
    }

    #[test]
    fn heavy_loss_leaves_a_usable_window() {
        let simulation = through(Link { loss: 0.3, ..PLAIN }, 14, 17);
        let used = usage(&simulation, PLAIN, 4, 14);
        assert!(used >= 0.6, "{used:.3} used while 30 % were lost");
        let used = usage(&simulation, PLAIN, 15, 17);
        assert!(used >= 0.94, "{used:.3} used a second later");
        let waited = simulation.queueing(s(16), s(17));
        assert!(waited <= ms(25), "queued {waited:?} two seconds later");
    }

    #[test]
    fn heavy_loss_bounds_the_packets_in_flight() {
        let wide = link(200.0, 300, 0.0, 100);
        let simulation = Simulation::new(wide, 7)
            .with_model(Demand::Endless)
            .changing(s(3), Link { loss: 0.3, ..wide })
            .run(s(5));
        let window = simulation.window(0);
        assert!(window <= GAP_DANGER_PACKETS * MTU, "window {window}");
        assert!(window >= GAP_DANGER_PACKETS * MTU / 4, "window {window}");
    }

    /// Acknowledgements that stop for three seconds: nothing may wait for more than the probe's.
    #[test]
    fn a_blackout_does_not_freeze() {
        let simulation = through(Link { loss: 1.0, ..PLAIN }, 7, 11);
        let used = usage(&simulation, PLAIN, 5, 7);
        assert!(used < 0.01, "there was a blackout");
        let used = usage(&simulation, PLAIN, 9, 11);
        assert!(used >= 0.93, "{used:.3} used two seconds later");
    }

    #[test]
    fn cubic_beside_it_gets_its_share_and_leaves_ours() {
        for queue in [25, 40, 100, 200] {
            let shared = link(25.0, 40, 0.0, queue);
            let simulation = Simulation::new(shared, 7)
                .with_model(Demand::Endless)
                .with_cubic()
                .run(s(30));
            for flow in 0..2 {
                let share = simulation.throughput(flow, s(0), s(30)) / shared.rate;
                assert!(
                    share >= 0.25,
                    "queue {queue} ms: flow {flow} has {share:.2}"
                );
            }
        }
    }

    #[test]
    fn two_of_ours_share_evenly() {
        let simulation = Simulation::new(PLAIN, 7)
            .with_model(Demand::Endless)
            .with_model(Demand::Endless)
            .run(s(15));
        for flow in 0..2 {
            let share = simulation.throughput(flow, s(3), s(15)) / PLAIN.rate;
            assert!((0.35..0.65).contains(&share), "flow {flow} has {share:.2}");
        }
        let waited = simulation.queueing(s(5), s(15));
        assert!(waited <= ms(35), "queued {waited:?}");
    }
}
