//! Which server to connect to, and which one new flows go to. Pure: it has no clock of its own, and no
//! chance.
//!
//! Servers are known by their places in the list. A server that is left, or never answered, is not
//! tried again before its wait is over, which doubles each time. Those where a person has to change
//! something are left alone for long.

use std::time::{Duration, Instant};

use super::backoff::Backoff;

/// Head start of one server over the next while none is there.
const HEAD_START: Duration = Duration::from_secs(2);

/// How long a server that failed is left alone while another one is used that comes after it in the
/// list.
const RETURN: Duration = Duration::from_secs(60);

/// How long a server that refuses us is left alone: longer than servers hold failures against anyone.
const REFUSED: Duration = Duration::from_secs(15 * 60);

/// Least advantage in round-trip time for which one server is left for another: a quarter, and this
/// much.
const ADVANTAGE: Duration = Duration::from_millis(1);

/// With which servers there is to be a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// With the first that can be had; the others stand by.
    First,
    /// With each; new flows go to the nearest.
    All,
}

/// Where a new flow may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// To this server.
    Use(usize),
    /// There may be one soon.
    Wait,
    /// There is none but this one, which is out of hearing.
    Silent(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no session, nor an attempt at one before then.
    Away(Instant),
    /// A person has to change something there; it may have happened by then.
    Refused(Instant),
    /// A session is being made.
    Coming,
    /// There is one.
    Up,
    /// There is one, and the server is out of hearing.
    Deaf,
}

#[derive(Debug)]
struct Server {
    state: State,
    backoff: Backoff,
    /// When it was left last.
    left: Option<Instant>,
    rtt: Duration,
}

/// What is known of all servers.
#[derive(Debug)]
pub(super) struct Failover {
    policy: Policy,
    servers: Vec<Server>,
    used: Option<usize>,
    last_try: Option<Instant>,
}

impl Failover {
    /// So many servers, none of which has been tried.
    pub(super) fn new(policy: Policy, servers: usize, now: Instant) -> Self {
        let server = |_| Server {
            state: State::Away(now),
            backoff: Backoff::new(),
            left: None,
            rtt: Duration::MAX,
        };
        Self {
            policy,
            servers: (0..servers).map(server).collect(),
            used: None,
            last_try: None,
        }
    }

    /// A server to connect to now, which counts as [`State::Coming`] from then on.
    pub(super) fn next(&mut self, now: Instant) -> Option<usize> {
        let is_due = |i: &usize| self.due(*i).is_some_and(|due| due <= now);
        let next = (0..self.servers.len()).find(is_due)?;
        self.servers[next].state = State::Coming;
        self.last_try = Some(now);
        Some(next)
    }

    /// When there may be a next one, if nothing happens until then.
    pub(super) fn wake(&self) -> Option<Instant> {
        (0..self.servers.len()).filter_map(|i| self.due(i)).min()
    }

    /// When a server is to be tried, as things are.
    fn due(&self, i: usize) -> Option<Instant> {
        let server = &self.servers[i];
        let due = match server.state {
            State::Away(until) | State::Refused(until) => until,
            State::Coming | State::Up | State::Deaf => return None,
        };
        let coming = self.servers.iter().any(|s| s.state == State::Coming);
        match (self.policy, self.used) {
            (Policy::All, _) => Some(due),
            // Back to those that come first, one at a time.
            (Policy::First, Some(used)) if i < used && !coming => {
                Some(server.left.map_or(due, |left| due.max(left + RETURN)))
            }
            (Policy::First, Some(_)) => None,
            (Policy::First, None) => {
                let before = self.last_try.filter(|_| coming);
                Some(before.map_or(due, |before| due.max(before + HEAD_START)))
            }
        }
    }

    /// There is a session with a server, whose round-trip time is this.
    pub(super) fn up(&mut self, i: usize, rtt: Duration) {
        let server = &mut self.servers[i];
        server.state = State::Up;
        server.rtt = rtt;
        server.backoff.reset();
        self.choose();
    }

    /// A server with a session is out of hearing, or is heard again.
    pub(super) fn deaf(&mut self, i: usize, deaf: bool) {
        self.servers[i].state = match deaf {
            true => State::Deaf,
            false => State::Up,
        };
        self.choose();
    }

    /// A new session is being made with a server that is out of hearing.
    pub(super) fn again(&mut self, i: usize) {
        self.servers[i].state = State::Coming;
        self.choose();
    }

    /// The round-trip time to a server, as of now.
    pub(super) fn measured(&mut self, i: usize, rtt: Duration) {
        self.servers[i].rtt = rtt;
        self.choose();
    }

    /// A server could not be reached, its session has ended, or takes no more flows. Tells how long
    /// it is not tried again; `random` is from 0 to 1 and spreads that.
    pub(super) fn left(&mut self, i: usize, now: Instant, random: f64) -> Duration {
        let server = &mut self.servers[i];
        let wait = server.backoff.wait(random);
        server.state = State::Away(now + wait);
        server.left = Some(now);
        self.choose();
        wait
    }

    /// A server does not give us what we want, and will not before a person has changed something.
    pub(super) fn refused(&mut self, i: usize, now: Instant) {
        self.servers[i].state = State::Refused(now + REFUSED);
        self.servers[i].left = Some(now);
        self.choose();
    }

    /// A person has changed something, so that servers which refused us may not do so any more.
    pub(super) fn forgive(&mut self, now: Instant) {
        for server in &mut self.servers {
            if let State::Refused(_) = server.state {
                server.state = State::Away(now);
                server.left = None;
            }
        }
    }

    /// A server that was being stopped is gone, so that another may be there soon in its place.
    pub(super) fn gone(&mut self, i: usize, now: Instant, random: f64) {
        let server = &mut self.servers[i];
        if let State::Away(_) = server.state {
            server.backoff.reset();
            server.state = State::Away(now + server.backoff.wait(random));
        }
    }

    /// A server whose session is not needed any more, as another one is used that is preferred to
    /// it. It stands by from then on.
    pub(super) fn spare(&mut self, now: Instant) -> Option<usize> {
        let (Policy::First, Some(used)) = (self.policy, self.used) else {
            return None;
        };
        let mut servers = self.servers.iter();
        let spare = servers.rposition(|s| s.state == State::Up)?;
        (spare != used).then(|| {
            self.servers[spare].state = State::Away(now);
            spare
        })
    }

    /// Where a new flow may go.
    pub(super) fn outlook(&self) -> Outlook {
        if let Some(used) = self.used {
            return Outlook::Use(used);
        }
        let hopeful = |s: &Server| match s.state {
            State::Away(_) | State::Coming => s.backoff.is_fresh(),
            _ => false,
        };
        let mut servers = self.servers.iter();
        match servers.clone().position(|s| s.state == State::Deaf) {
            Some(silent) if !servers.any(hopeful) => Outlook::Silent(silent),
            _ => Outlook::Wait,
        }
    }

    /// Whether all servers refuse us.
    pub(super) fn is_hopeless(&self) -> bool {
        let refuses = |s: &Server| matches!(s.state, State::Refused(_));
        self.servers.iter().all(refuses)
    }

    /// Decides where new flows go.
    fn choose(&mut self) {
        let servers = &self.servers;
        let up = |i: &usize| servers[*i].state == State::Up;
        let rtt = |i: &usize| servers[*i].rtt;
        let all = (0..servers.len()).filter(up);
        self.used = match self.policy {
            Policy::First => all.min(),
            Policy::All => {
                let nearest = all.min_by_key(rtt);
                let used = self.used.filter(up);
                used.filter(|used| nearest.is_none_or(|n| !is_nearer(rtt(&n), rtt(used))))
                    .or(nearest)
            }
        };
    }
}

/// Whether the one is so much less than the other that it is worth a change.
fn is_nearer(one: Duration, other: Duration) -> bool {
    one.saturating_mul(5) / 4 + ADVANTAGE < other
}

#[cfg(test)]
mod tests;
