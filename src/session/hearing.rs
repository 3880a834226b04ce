//! Whether the peer can be heard, which is judged apart from the connection's end.
//!
//! A connection outlives long silence, so that its flows survive an outage. That there is one is to
//! be known much sooner, for new visitors and for whoever could take over; and its end at once. So
//! a peer that is silent is asked for a sign of life again and again, at a steady pace.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::Role;
use crate::roaming::Roaming;
use crate::transport::Connection;

/// Time between two looks, and so between two probes.
const PACE: Duration = Duration::from_secs(1);

/// Silence from which on the client asks for a sign of life: at every look, so that NATs remember the
/// connection, and a server that was started anew can tell so.
const CLIENT_PATIENCE: Duration = Duration::from_millis(500);

/// The same for the server, which has heard of its clients by then.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);

/// Silence from which on the peer is out of hearing: some probes were lost, or all are.
const DEAF_AFTER: Duration = Duration::from_secs(7);

/// What a look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    /// Whether the peer is to be asked for a sign of life.
    probe: bool,
    /// Whether it is time to try a new local address too.
    rebind: bool,
    /// Whether the peer is out of hearing.
    deaf: bool,
}

/// What has been heard of a peer. Pure: it has no clock of its own.
#[derive(Debug)]
struct Hearing {
    patience: Duration,
    packets: u64,
    /// Time without any, in which this process was awake.
    silence: Duration,
    last_look: Instant,
    /// Probes without an answer.
    unanswered: u32,
}

impl Hearing {
    fn new(patience: Duration, packets: u64, now: Instant) -> Self {
        Self {
            patience,
            packets,
            silence: Duration::ZERO,
            last_look: now,
            unanswered: 0,
        }
    }

    /// Takes in how many packets have come so far.
    fn look(&mut self, packets: u64, now: Instant) -> Look {
        if packets != self.packets {
            // At some time since the last look; the peer is given the benefit of it.
            *self = Self::new(self.patience, packets, now);
        }
        // A look that comes late says that we were asleep, and nothing of the peer.
        self.silence += (now - self.last_look).min(2 * PACE);
        self.last_look = now;
        let probe = self.silence >= self.patience;
        self.unanswered += u32::from(probe);
        Look {
            probe,
            // Not with each: an answer on a slow path finds its socket replaced but once.
            rebind: probe && self.unanswered > 2 && self.unanswered % 2 == 1,
            deaf: self.silence >= DEAF_AFTER,
        }
    }
}

/// Listens for the peer, for ever, and tells whether it is out of hearing.
pub(super) async fn listen(connection: &Connection, role: &Role, deaf: &watch::Sender<bool>) {
    let (patience, peer) = match role {
        Role::Client => (CLIENT_PATIENCE, "the server"),
        Role::Server(_) => (SERVER_PATIENCE, "the client"),
    };
    let from = connection.remote_address();
    let mut looks = interval(PACE);
    // After a stop of the whole process the first look is as good as all that were missed.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = Instant::now();
    let mut hearing = Hearing::new(patience, connection.heard(), now);
    let mut since = now;
    let mut roaming = matches!(role, Role::Client).then(Roaming::watch);
    loop {
        let now = tokio::select! {
            now = looks.tick() => now,
            () = moved(&mut roaming) => {
                // The server is to know as soon as it can where we are now.
                debug!("{from}: this machine's network has changed");
                connection.probe();
                continue;
            }
        };
        let slept = roaming.as_mut().is_some_and(Roaming::slept);
        let was_silent = hearing.unanswered > 0;
        let look = hearing.look(connection.heard(), now);
        match (look.probe || slept, was_silent) {
            // Also when it is heard again: what was sent to it in vain shows by the answer.
            (true, _) | (false, true) => connection.probe(),
            (false, false) => connection.relax(),
        }
        if look.rebind
            && let Err(e) = connection.rebind()
        {
            debug!("{from}: no new local socket: {e}");
        }
        if deaf.send_if_modified(|deaf| std::mem::replace(deaf, look.deaf) != look.deaf) {
            match look.deaf {
                true => {
                    since = now - hearing.silence;
                    let s = hearing.silence.as_secs();
                    warn!("{from}: nothing heard from {peer} for {s} s; open flows wait for it");
                }
                false => info!(
                    "{from}: {peer} is heard again, after {} s",
                    (now - since).as_secs()
                ),
            }
        }
    }
}

/// Waits until this machine's network has changed, if that matters.
async fn moved(roaming: &mut Option<Roaming>) {
    match roaming {
        Some(roaming) => roaming.moved().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What looks show that are a second apart, while so many packets come before each.
    fn looks(packets: &[u64]) -> Vec<Look> {
        let start = Instant::now();
        let mut hearing = Hearing::new(CLIENT_PATIENCE, 0, start);
        let mut sum = 0;
        (1..)
            .zip(packets)
            .map(|(second, n)| {
                sum += n;
                hearing.look(sum, start + second * PACE)
            })
            .collect()
    }

    #[test]
    fn a_peer_that_is_heard_is_left_alone() {
        assert!(looks(&[3, 1, 1]).iter().all(|look| !look.probe));
    }

    #[test]
    fn silence_is_probed_each_second_and_told_of_in_time() {
        let looks = looks(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0]);
        assert!(looks[1..10].iter().all(|look| look.probe));
        assert_eq!(looks.iter().position(|look| look.deaf), Some(7));
        assert!(looks[1..4].iter().filter(|look| look.rebind).count() <= 1);
        assert!(looks[..10].iter().filter(|look| look.rebind).count() >= 3);
        assert!(!looks[10].deaf && !looks[10].probe);
        assert!(looks[11].probe && !looks[11].rebind);
    }

    #[test]
    fn sleep_is_no_silence() {
        let start = Instant::now();
        let mut hearing = Hearing::new(CLIENT_PATIENCE, 0, start);
        let look = hearing.look(0, start + Duration::from_secs(3600));
        assert!(look.probe && !look.deaf);
    }
}
