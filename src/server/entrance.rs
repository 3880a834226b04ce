//! Strangers: who may try to log in, and what is said of those who fail.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::{debug, warn};

use super::door::{Answer, Door};
use crate::audit;
use crate::memory;
use crate::metrics::{Login, Metrics};
use crate::quota::Ration;
use crate::session::{ALPN, SessionError};
use crate::transport::{Attempt, Lost};

/// Where all clients come in.
#[derive(Debug)]
pub(super) struct Entrance {
    metrics: Arc<Metrics>,
    door: Mutex<Door>,
    /// Of warnings about strangers, who could fill a disk with them otherwise.
    warnings: Ration,
}

impl Entrance {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            door: Mutex::default(),
            warnings: Ration::new("warnings about strangers"),
        }
    }

    /// Gives a client a place, or answers for want of one as far as it is answered.
    pub(super) fn receive(self: &Arc<Self>, attempt: Attempt) -> Option<(Attempt, Place)> {
        let from = attempt.remote_address();
        let (proved, now) = (attempt.is_proved(), Instant::now());
        let answer = match memory::turns_away() {
            true => {
                self.warnings
                    .say(|| warn!("{from}: not let in, memory is short"));
                Answer::Full
            }
            false => lock(&self.door).knock(from.ip(), proved, now),
        };
        match answer {
            Answer::Enter => {
                let entrance = self.clone();
                let place = Place {
                    entrance,
                    from,
                    proved: false,
                };
                return Some((attempt, place));
            }
            Answer::Prove => attempt.retry(),
            Answer::Wait(wait) => {
                self.metrics.login(Login::TurnedAway);
                debug!("{from}: turned away for {} s more", wait.as_secs());
                attempt.refuse();
            }
            // Whoever is not answered asks again.
            Answer::Full => {
                self.metrics.login(Login::Full);
                attempt.ignore();
            }
        }
        None
    }
}

/// The place of one who has not logged in yet; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    entrance: Arc<Entrance>,
    from: SocketAddr,
    proved: bool,
}

impl Place {
    /// Notes that the handshake is complete, which shows that the client's address is its own.
    pub(super) fn prove(&mut self) {
        self.proved = true;
    }

    /// Says why a client was not let in, without an error if its time was up, and has its source
    /// wait if that happens too often.
    pub(super) fn fail(&self, error: Option<&SessionError>) {
        let from = self.from;
        let metrics = &self.entrance.metrics;
        metrics.login(error.map_or(Login::TimedOut, SessionError::kind));
        match error {
            Some(SessionError::Lost(Lost::Version)) => {
                let ours = String::from_utf8_lossy(ALPN);
                let why = format!("it speaks another version, this server {ours}");
                self.warn(|from| audit::refused(from, &why));
            }
            Some(SessionError::Lost(e)) => debug!("{from}: {e}"),
            Some(e) => self.warn(|from| audit::refused(from, &e.to_string())),
            None if self.proved => self.warn(|from| audit::refused(from, "no login in time")),
            None => debug!("{from}: no handshake in time"),
        }
        // An address that is not proved may be another's.
        if !self.proved {
            return;
        }
        let wait = lock(&self.entrance.door).fail(from.ip(), Instant::now());
        if let Some(wait) = wait {
            metrics.penalty();
            self.warn(|from| audit::penalty(from, wait));
        }
    }

    /// Warns of this one.
    fn warn(&self, say: impl FnOnce(SocketAddr)) {
        self.entrance.warnings.say(|| say(self.from));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.entrance.door).leave(self.from.ip());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
