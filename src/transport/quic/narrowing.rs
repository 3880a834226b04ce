//! A path that has become too narrow for large packets, in the middle of a connection.
//!
//! Quinn finds that out by itself: once four bursts of large packets are lost, while small ones of a
//! later time arrive, it goes back to the size that every path carries. But it learns of a burst only
//! when it hears of its own probes (RFC 9002, section 6.2.4), which alone are small while there is
//! data to send, and until then it answers each acknowledgement with another window of large packets.
//! In these go its own acknowledgements too, and so does the peer; each then waits for the other's
//! next probe, whose intervals double, and are put off by whatever is sent in between. That took from
//! one to four seconds, and one time in ten for ever.
//!
//! So when a whole window of large packets is silent, until one of them is acknowledged, one batch
//! goes after each of quinn's probes and nothing else: each probe then brings the peer what we have to
//! acknowledge, comes in time, and ends a burst.

use std::time::{Duration, Instant};

/// Large packets in flight from which on their silence says something. With fewer, as at the end of
/// a short transfer, it is more likely that all were lost by chance.
const MANY: u64 = 8;

/// Packets of a batch that goes after a probe; quinn takes up to ten at once.
const BATCH: u64 = 2;

/// How much later than after one and a half round trips an acknowledgement is to be expected: peers put
/// them off by up to 25 ms.
const ACK_DELAY: Duration = Duration::from_millis(30);

/// What is taken for a round trip until one was seen (RFC 9002, section 6.2.2).
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(333);

/// What is known of a path's way with large packets. Pure: it has no clock of its own.
#[derive(Debug)]
pub(super) struct Narrowing {
    /// What every path carries, in bytes.
    small: u64,
    /// What a full packet has now, in bytes.
    mtu: u64,
    /// Bytes, as far as known.
    in_flight: u64,
    /// Those of them that are in large packets, or somewhat less.
    large: u64,
    last_packet: u64,
    /// Since when large packets wait for the first acknowledgement of one.
    waiting_since: Instant,
    round_trip: Duration,
    suspicion: Option<Suspicion>,
}

/// Large packets are not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    since: Instant,
    /// A probe has gone, and no large packet after it.
    batch_is_due: bool,
}

impl Narrowing {
    /// For a path that carries packets of `small` bytes in any case, and of `mtu` bytes so far.
    pub(super) fn new(now: Instant, small: u16, mtu: u16) -> Self {
        Self {
            small: small.into(),
            mtu: mtu.into(),
            in_flight: 0,
            large: 0,
            last_packet: 0,
            waiting_since: now,
            round_trip: UNKNOWN_ROUND_TRIP,
            suspicion: None,
        }
    }

    /// For another path, that nothing is in flight on yet.
    pub(super) fn elsewhere(&self) -> Self {
        Self {
            in_flight: 0,
            large: 0,
            suspicion: None,
            ..*self
        }
    }

    /// Notes a batch of packets, of which all but the last are of one size.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, last_packet: u64) {
        let packets = last_packet.saturating_sub(self.last_packet).max(1);
        self.last_packet = last_packet;
        let is_small = bytes <= packets * self.small;
        // What is small though so much is on the way is a probe.
        if is_small && self.suspicion.is_none() && self.is_silent(now) {
            self.suspicion = Some(Suspicion {
                since: now,
                batch_is_due: true,
            });
        } else if is_small && self.large == 0 {
            // There is nothing large to send any more.
            self.suspicion.take_if(|suspicion| suspicion.batch_is_due);
        }
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.batch_is_due = is_small;
        }
        self.in_flight += bytes;
        if !is_small {
            if self.large == 0 {
                self.waiting_since = now;
            }
            self.large += bytes;
        }
    }

    /// Whether none of many large packets was acknowledged when that was to be expected.
    fn is_silent(&self, now: Instant) -> bool {
        let silence = now.saturating_duration_since(self.waiting_since);
        let patience = (self.round_trip * 3 / 2).saturating_add(ACK_DELAY);
        self.mtu > self.small && self.large >= MANY * self.mtu && silence > patience
    }

    /// Notes the acknowledgement of a packet.
    pub(super) fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, round_trip: Duration) {
        self.round_trip = round_trip;
        if bytes > self.small {
            self.waiting_since = now;
            self.large = self.large.saturating_sub(bytes);
            // Of an older one it says how the path was then: it came late, with a probe of the peer's.
            self.suspicion.take_if(|suspicion| sent >= suspicion.since);
        }
    }

    /// Takes over what is in flight.
    pub(super) fn on_end_acks(&mut self, in_flight: u64) {
        self.in_flight = in_flight;
        self.large = self.large.min(in_flight);
    }

    /// Notes what was lost.
    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.large = self.large.saturating_sub(bytes);
        if let Some(suspicion) = &mut self.suspicion
            && self.in_flight == 0
        {
            suspicion.batch_is_due = true;
        }
    }

    /// Notes what a full packet has from now on.
    pub(super) fn on_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
        if self.mtu <= self.small {
            self.suspicion = None;
        }
    }

    /// Whether large packets are not acknowledged. What is lost meanwhile says nothing of how much the
    /// path carries, and what is acknowledged has waited for a probe.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspicion.is_some()
    }

    /// The bytes that may be in flight, in place of what a controller would say; none where there is
    /// no suspicion. Somebody may have `asked` for a batch.
    ///
    /// There always is a way on: a batch is due until it goes, and while one is in flight that went
    /// after all else, quinn's timer runs for the next probe.
    pub(super) fn window(&self, asked: bool) -> Option<u64> {
        let suspicion = self.suspicion?;
        // What is in flight may be known too well by an MTU probe that was lost, which only quinn
        // knows of; so this errs on the side of too much.
        Some(match suspicion.batch_is_due || asked {
            true => self.in_flight + (BATCH + 1) * self.mtu,
            false => 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LARGE: u64 = 1472;
    const SMALL: u64 = 1200;

    /// A path with so many large packets in flight since `start`.
    fn full(start: Instant, packets: u64) -> Narrowing {
        let mut path = Narrowing::new(start, SMALL as u16, LARGE as u16);
        path.on_ack(start, start, LARGE, 20 * MS);
        path.on_sent(start, packets * LARGE, packets);
        path
    }

    fn allows(path: &Narrowing, bytes: u64) -> bool {
        path.window(false)
            .is_none_or(|window| path.in_flight + bytes < window)
    }

    #[test]
    fn after_each_probe_one_batch_goes_and_nothing_else() {
        let start = Instant::now();
        let mut path = full(start, 100);
        assert!(!path.is_suspected());
        path.on_sent(start + 100 * MS, 2 * SMALL, 102);
        assert!(path.is_suspected() && allows(&path, BATCH * LARGE));
        path.on_sent(start + 101 * MS, BATCH * LARGE, 104);
        assert!(!allows(&path, 1));
        // What was in flight is lost, which shows when a probe is acknowledged.
        path.on_ack(start + 150 * MS, start + 100 * MS, SMALL, 20 * MS);
        path.on_lost(100 * LARGE);
        assert!(path.is_suspected() && !allows(&path, 1));
        path.on_sent(start + 200 * MS, 2 * SMALL, 106);
        assert!(allows(&path, LARGE));
    }

    #[test]
    fn a_large_packet_of_later_is_acknowledged_and_all_is_as_before() {
        let start = Instant::now();
        let mut path = full(start, 100);
        path.on_sent(start + 100 * MS, 2 * SMALL, 102);
        path.on_sent(start + 101 * MS, BATCH * LARGE, 104);
        path.on_ack(start + 110 * MS, start, LARGE, 20 * MS);
        assert!(path.is_suspected());
        path.on_ack(start + 121 * MS, start + 101 * MS, LARGE, 20 * MS);
        assert_eq!(path.window(false), None);
    }

    #[test]
    fn it_is_over_when_all_packets_are_small() {
        let start = Instant::now();
        let mut path = full(start, 100);
        path.on_sent(start + 100 * MS, 2 * SMALL, 102);
        path.on_mtu(SMALL as u16);
        assert_eq!(path.window(false), None);
        path.on_sent(start + 200 * MS, 100 * SMALL, 202);
        path.on_sent(start + 400 * MS, 2 * SMALL, 204);
        assert!(!path.is_suspected());
    }

    #[test]
    fn with_nothing_in_flight_something_may_go() {
        let start = Instant::now();
        let mut path = full(start, 100);
        path.on_sent(start + 100 * MS, 2 * SMALL, 102);
        path.on_sent(start + 101 * MS, BATCH * LARGE, 104);
        path.on_end_acks(BATCH * LARGE);
        path.on_lost(BATCH * LARGE);
        assert!(allows(&path, LARGE));
    }

    #[test]
    fn little_in_flight_or_a_small_packet_in_time_is_no_reason() {
        let start = Instant::now();
        let mut short = full(start, MANY - 1);
        short.on_sent(start + 100 * MS, 2 * SMALL, MANY + 1);
        let mut prompt = full(start, 100);
        prompt.on_sent(start + 25 * MS, 100, 101);
        assert!(!short.is_suspected() && !prompt.is_suspected());
    }

    #[test]
    fn packets_that_were_small_always_are_no_reason_nor_is_an_end_of_large_ones() {
        let start = Instant::now();
        let mut path = Narrowing::new(start, SMALL as u16, LARGE as u16);
        for n in 1..100 {
            path.on_sent(start + n as u32 * 10 * MS, SMALL, n);
        }
        assert!(!path.is_suspected());
        let mut path = full(start, 100);
        path.on_sent(start + 100 * MS, 2 * SMALL, 102);
        path.on_ack(start + 150 * MS, start + 100 * MS, SMALL, 20 * MS);
        path.on_lost(100 * LARGE);
        path.on_sent(start + 160 * MS, 100, 103);
        assert!(!path.is_suspected());
    }

    #[test]
    fn another_path_is_not_suspected() {
        let start = Instant::now();
        let mut path = full(start, 100);
        path.on_sent(start + 100 * MS, 2 * SMALL, 102);
        assert_eq!(path.elsewhere().window(false), None);
    }

    #[test]
    fn who_asks_for_a_batch_gets_one() {
        let start = Instant::now();
        let mut path = full(start, 100);
        path.on_sent(start + 100 * MS, 2 * SMALL, 102);
        path.on_sent(start + 101 * MS, BATCH * LARGE, 104);
        assert!(path.window(true) > Some(path.in_flight + LARGE));
    }
}
