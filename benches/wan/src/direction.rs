//! One direction of a link: what becomes of each packet, and when. Pure: told the time, it does no I/O.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::{Conditions, Counts};

/// Longest that a packet is held back for others to overtake it.
const HELD_BACK: Duration = Duration::from_millis(10);

/// The packets of one direction that are on their way.
pub(crate) struct Direction {
    random: fastrand::Rng,
    /// When the last packet that was accepted has left at the link's rate.
    free: Instant,
    /// By the time of their arrival, and among equals in the order in which they came.
    on_the_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    taken: u64,
}

impl Direction {
    /// A direction with nothing on the way. The same seed has the same packets lost.
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            free: now,
            on_the_way: BinaryHeap::new(),
            taken: 0,
        }
    }

    /// Takes a packet in and decides what becomes of it.
    pub(crate) fn take(
        &mut self,
        packet: &[u8],
        now: Instant,
        link: &Conditions,
        counts: &mut Counts,
    ) {
        if packet.len() > usize::from(link.mtu) || self.random.f64() < link.loss {
            counts.lost += 1;
            return;
        }
        let start = self.free.max(now);
        if start - now > link.queue {
            counts.overflowed += 1;
            return;
        }
        let bits = packet.len() as f64 * 8.0;
        let sending = link.rate.map(|rate| Duration::from_secs_f64(bits / rate));
        self.free = start + sending.unwrap_or_default();
        if self.random.f64() < link.duplicate {
            counts.duplicated += 1;
            self.send(packet, link, counts);
        }
        self.send(packet, link, counts);
    }

    fn send(&mut self, packet: &[u8], link: &Conditions, counts: &mut Counts) {
        let mut arrival = self.free + link.delay;
        if self.random.f64() < link.reorder {
            counts.held_back += 1;
            arrival += HELD_BACK.mul_f64(self.random.f64());
        }
        counts.sent += 1;
        let packet = Reverse((arrival, self.taken, packet.to_vec()));
        self.on_the_way.push(packet);
        self.taken += 1;
    }

    /// When the next packet arrives, if there is one on the way.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way
            .peek()
            .map(|Reverse((arrival, ..))| *arrival)
    }

    /// The next packet that has arrived by now.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.next_arrival().filter(|arrival| *arrival <= now)?;
        self.on_the_way.pop().map(|Reverse((.., packet))| packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends so many packets of 1250 bytes, this far apart; returns each one's number and time on the
    /// way, in the order of arrival, and the counts.
    fn send(words: &str, packets: u32, apart: Duration) -> (Vec<(u32, Duration)>, Counts) {
        let link: Conditions = words.parse().unwrap();
        let begin = Instant::now();
        let mut direction = Direction::new(7, begin);
        let mut counts = Counts::default();
        for n in 0..packets {
            let mut packet = vec![0; 1250];
            packet[..4].copy_from_slice(&n.to_be_bytes());
            direction.take(&packet, begin + apart * n, &link, &mut counts);
        }
        let mut seen = Vec::new();
        while let Some(arrival) = direction.next_arrival() {
            let packet = direction.arrived(arrival).expect("it has arrived");
            let n = u32::from_be_bytes(packet[..4].try_into().unwrap());
            seen.push((n, arrival - (begin + apart * n)));
        }
        (seen, counts)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_as_fast_as_nothing() {
        let (seen, counts) = send("", 100, Duration::ZERO);
        assert!(seen.iter().map(|(_, time)| *time).eq([Duration::ZERO; 100]));
        assert!(seen.iter().map(|(n, _)| *n).eq(0..100));
        assert_eq!((counts.sent, counts.lost, counts.overflowed), (100, 0, 0));
    }

    #[test]
    fn a_rate_spreads_and_a_delay_shifts() {
        // 1250 bytes at 10 Mbit/s take 1 ms.
        let (seen, _) = send("rate=10 delay=20 queue=1000", 10, Duration::ZERO);
        let times = seen.iter().map(|(_, time)| *time);
        assert!(times.eq((1..=10).map(|n| 20 * MS + n * MS)));
    }

    #[test]
    fn a_full_queue_drops_what_comes_last() {
        let (seen, counts) = send("rate=10 queue=5", 100, Duration::ZERO);
        assert!(seen.iter().map(|(n, _)| *n).eq(0..6));
        assert_eq!((counts.sent, counts.overflowed), (6, 94));
    }

    #[test]
    fn shares_are_about_what_they_say() {
        let (seen, counts) = send("loss=30 duplicate=5", 10_000, MS);
        assert!((2_800..3_200).contains(&counts.lost), "{counts:?}");
        assert!((300..400).contains(&counts.duplicated), "{counts:?}");
        assert_eq!(counts.sent, 10_000 - counts.lost + counts.duplicated);
        assert_eq!(seen.len() as u64, counts.sent);
        assert_eq!(send("loss=100", 100, MS).1.lost, 100);
    }

    #[test]
    fn some_are_overtaken() {
        let (seen, counts) = send("reorder=5 delay=20", 1000, MS);
        let late = seen.windows(2).filter(|pair| pair[0].0 > pair[1].0);
        assert!((20..100).contains(&late.count()));
        assert!((20..100).contains(&counts.held_back));
        let allowed = 20 * MS..=20 * MS + HELD_BACK;
        assert!(seen.iter().all(|(_, time)| allowed.contains(time)));
    }

    #[test]
    fn what_is_too_large_is_lost() {
        assert_eq!(send("mtu=1249", 3, MS).1.lost, 3);
        assert_eq!(send("mtu=1250", 3, MS).1.sent, 3);
    }
}
