//! Who may come in and prove who they are: places before login, and waits after failures.
//!
//! Pure state, told the time by its caller. A client takes a place with its first packet and leaves
//! it with its login, or without. Places are capped in all and for each source, and from a
//! share of either on an address has to be proved first, so that made-up addresses can take no more
//! than that share from anyone.
//!
//! A source that fails waits, longer each time, in the manner of OpenSSH's PerSourcePenalties. It
//! is only told of failures that came with a proved address: nobody can have another locked out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Places, and from how many taken ones on an address has to be proved.
const PLACES: Share = Share {
    all: 512,
    unproved: 64,
};

/// The same for one source.
const PLACES_OF_SOURCE: Share = Share {
    all: 32,
    unproved: 8,
};

/// Failures that cost nothing: people mistype, and one address may stand for many of them.
const FREE_FAILURES: u32 = 3;

/// The wait after the first failure that costs something; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// Longest wait, and how long after the end of its wait a source is remembered.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

/// Sources with failures that are remembered: 1 MiB of them.
const MAX_SOURCES: usize = 16_384;

#[derive(Clone, Copy, Debug)]
struct Share {
    all: usize,
    unproved: usize,
}

/// Those who are taken for one: an IPv4 address, or an IPv6 network of 64 bits, which is what one
/// customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(addr: IpAddr) -> Self {
        Self(match addr.to_canonical() {
            IpAddr::V6(addr) => {
                let network = u128::from(addr) >> 64 << 64;
                Ipv6Addr::from(network).into()
            }
            v4 => v4,
        })
    }
}

/// What becomes of one who knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is a place for it.
    Enter,
    /// There may be one when it has proved its address.
    Prove,
    /// It has to wait for so long after its failures.
    Wait(Duration),
    /// There is no place now.
    Full,
}

/// The places and the waits of a server.
#[derive(Debug, Default)]
pub(super) struct Door {
    inside: HashMap<Source, usize>,
    all: usize,
    failures: HashMap<Source, Failures>,
}

/// What is remembered of a source that failed.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// The end of its wait.
    until: Instant,
}

impl Failures {
    fn wait(self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    fn are_forgotten(self, now: Instant) -> bool {
        now.saturating_duration_since(self.until) >= LONGEST_WAIT
    }
}

impl Door {
    /// Answers one who knocks, and whose address is proved or not. With [`Answer::Enter`] it has a
    /// place, until [`leave`](Self::leave).
    pub(super) fn knock(&mut self, from: IpAddr, proved: bool, now: Instant) -> Answer {
        let source = Source::from(from);
        if let Some(failures) = self.failures.get(&source) {
            let wait = failures.wait(now);
            if !wait.is_zero() {
                return Answer::Wait(wait);
            }
        }
        let inside = self.inside.get(&source).copied().unwrap_or(0);
        if self.all >= PLACES.all || inside >= PLACES_OF_SOURCE.all {
            return Answer::Full;
        }
        let many = self.all >= PLACES.unproved || inside >= PLACES_OF_SOURCE.unproved;
        if many && !proved {
            return Answer::Prove;
        }
        self.all += 1;
        self.inside.insert(source, inside + 1);
        Answer::Enter
    }

    /// Frees a place.
    pub(super) fn leave(&mut self, from: IpAddr) {
        let source = Source::from(from);
        let Some(inside) = self.inside.get_mut(&source) else {
            return;
        };
        self.all -= 1;
        *inside -= 1;
        if *inside == 0 {
            self.inside.remove(&source);
        }
    }

    /// Notes that one whose address is proved failed to log in, and tells the wait of its source if
    /// it has one from now on.
    pub(super) fn fail(&mut self, from: IpAddr, now: Instant) -> Option<Duration> {
        let source = Source::from(from);
        let before = self.failures.get(&source);
        let before = before.filter(|failures| !failures.are_forgotten(now));
        let count = before.map_or(0, |failures| failures.count) + 1;
        let doublings = count.checked_sub(FREE_FAILURES + 1);
        let wait = doublings.map(|n| {
            let factor = 1u32.checked_shl(n).unwrap_or(u32::MAX);
            FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
        });
        if before.is_none() {
            self.make_room(now);
        }
        let until = now + wait.unwrap_or_default();
        self.failures.insert(source, Failures { count, until });
        wait
    }

    /// Forgets what is old, and if that is nothing, the one whose wait ends first: who floods from
    /// many sources cannot so wash off the longest waits.
    fn make_room(&mut self, now: Instant) {
        if self.failures.len() < MAX_SOURCES {
            return;
        }
        self.failures.retain(|_, f| !f.are_forgotten(now));
        if self.failures.len() == MAX_SOURCES {
            let first = self.failures.iter().min_by_key(|(_, f)| f.until);
            if let Some(source) = first.map(|(source, _)| *source) {
                self.failures.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Fails once as soon as the door lets it.
    fn fail_when_let_in(door: &mut Door, from: IpAddr, now: &mut Instant) -> Option<Duration> {
        if let Answer::Wait(wait) = door.knock(from, true, *now) {
            *now += wait;
            assert_eq!(door.knock(from, true, *now), Answer::Enter);
        }
        door.leave(from);
        door.fail(from, *now)
    }

    #[test]
    fn three_failures_are_free_and_the_waits_of_others_grow_to_ten_minutes() {
        let (mut door, mut now, from) = (Door::default(), Instant::now(), ip("192.0.2.1"));
        let waits: Vec<_> = (0..13)
            .map(|_| fail_when_let_in(&mut door, from, &mut now).map_or(0, |w| w.as_secs()))
            .collect();
        assert_eq!(waits, [0, 0, 0, 5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(door.all, 0);
    }

    #[test]
    fn others_do_not_wait() {
        let (mut door, now) = (Door::default(), Instant::now());
        for _ in 0..100 {
            door.fail(ip("192.0.2.1"), now);
            door.fail(ip("2001:db8:0:1::1"), now);
        }
        let answer = |door: &mut Door, from| door.knock(ip(from), true, now);
        for waits in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8:0:1:ffff::2"] {
            assert_eq!(answer(&mut door, waits), Answer::Wait(LONGEST_WAIT));
        }
        for other in ["192.0.2.2", "2001:db8:0:2::1", "127.0.0.1"] {
            assert_eq!(answer(&mut door, other), Answer::Enter);
        }
    }

    #[test]
    fn a_failure_is_forgotten_ten_minutes_after_its_wait() {
        let (mut door, mut now, from) = (Door::default(), Instant::now(), ip("192.0.2.1"));
        for _ in 0..5 {
            door.fail(from, now);
        }
        now += 10 * SECOND;
        assert_eq!(door.knock(from, true, now), Answer::Enter);
        now += LONGEST_WAIT - SECOND;
        assert_eq!(door.fail(from, now), Some(20 * SECOND));
        now += 20 * SECOND + LONGEST_WAIT;
        assert_eq!(door.fail(from, now), None);
    }

    #[test]
    fn made_up_addresses_take_a_share_of_the_places_alone() {
        let (mut door, now) = (Door::default(), Instant::now());
        let made_up = |i: usize| IpAddr::from(std::net::Ipv4Addr::from(i as u32));
        let entered = (0..10_000).filter(|i| door.knock(made_up(*i), false, now) == Answer::Enter);
        assert_eq!(entered.count(), PLACES.unproved);
        let victim = ip("192.0.2.1");
        assert_eq!(door.knock(victim, false, now), Answer::Prove);
        assert_eq!(door.knock(victim, true, now), Answer::Enter);
    }

    #[test]
    fn nobody_takes_the_places_of_one_source_in_its_name() {
        let (mut door, now, from) = (Door::default(), Instant::now(), ip("192.0.2.1"));
        while door.knock(from, false, now) == Answer::Enter {}
        assert_eq!(door.all, PLACES_OF_SOURCE.unproved);
        while door.knock(from, true, now) == Answer::Enter {}
        assert_eq!(door.all, PLACES_OF_SOURCE.all);
        assert_eq!(door.knock(from, true, now), Answer::Full);
        assert_eq!(door.knock(ip("192.0.2.2"), false, now), Answer::Enter);
        for _ in 0..PLACES_OF_SOURCE.all {
            door.leave(from);
        }
        assert_eq!(door.knock(from, false, now), Answer::Enter);
        assert_eq!(door.inside.len(), 2);
    }

    #[test]
    fn all_places_together_are_capped() {
        let (mut door, now) = (Door::default(), Instant::now());
        let from = |i: usize| IpAddr::from(std::net::Ipv4Addr::from(i as u32));
        let entered = (0..10_000).filter(|i| door.knock(from(*i), true, now) == Answer::Enter);
        assert_eq!(entered.count(), PLACES.all);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_waits_stay() {
        let (mut door, now, worst) = (Door::default(), Instant::now(), ip("192.0.2.1"));
        for _ in 0..20 {
            door.fail(worst, now);
        }
        for i in 0..MAX_SOURCES as u32 + 100 {
            door.fail(std::net::Ipv4Addr::from(i).into(), now);
        }
        assert_eq!(door.failures.len(), MAX_SOURCES);
        assert_eq!(door.knock(worst, true, now), Answer::Wait(LONGEST_WAIT));
        // After a while there is room again.
        let later = now + LONGEST_WAIT;
        door.fail(ip("192.0.2.2"), later);
        assert_eq!(door.failures.len(), 2);
    }
}
