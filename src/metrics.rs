//! What is counted, kept for whoever shows it. It knows nobody of ours.
//!
//! On the way of bytes that is one relaxed addition to a number of the flow's tunnel for each read or
//! write: no lock and no allocation, and no other memory hangs on these numbers.

mod kinds;
mod rate;
mod session;
mod tunnel;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use kinds::{Counts, Dropped, Kind, Login, Refusal};
pub use rate::{HISTORY, PACE};
pub use session::{Listed, Look, Probe, Session};
pub use tunnel::{Account, Flow, Sum, Totals, Tunnel};

use self::session::Packets;

/// Most tunnels, and most peers, that have numbers of their own for as long as the process lives. All
/// others share one: whoever reads the numbers keeps each of their names.
const MAX_LABELS: usize = 256;

/// What all who have no numbers of their own are called.
pub const OTHERS: &str = "other";

/// Errors that are kept to be shown.
const MAX_FAULTS: usize = 16;

/// All that a process counts, and the sessions and tunnels that it has now.
#[derive(Debug)]
pub struct Metrics {
    began: Instant,
    logins: Counts<Login>,
    refused: Counts<Refusal>,
    /// Of sessions that are over.
    dropped: Counts<Dropped>,
    penalties: AtomicU64,
    reconnects: AtomicU64,
    numbers: AtomicU64,
    live: Mutex<Live>,
}

/// What changes with sessions and tunnels, and not with flows.
#[derive(Debug, Default)]
struct Live {
    sessions: BTreeMap<u64, Session>,
    accounts: Vec<std::sync::Weak<Account>>,
    tunnels: BTreeMap<(String, String), Arc<Sum>>,
    peers: BTreeMap<String, Arc<Packets>>,
    faults: VecDeque<Fault>,
    history: VecDeque<[u64; 2]>,
}

/// Something that went wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// When.
    pub at: Instant,
    /// What, in words for people.
    pub what: String,
}

impl Fault {
    fn now(what: impl Into<String>) -> Self {
        Self {
            at: Instant::now(),
            what: what.into(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            logins: Counts::default(),
            refused: Counts::default(),
            dropped: Counts::default(),
            penalties: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            live: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts a login by how it ended.
    pub fn login(&self, how: Login) {
        self.logins.add(how, 1);
    }

    /// Counts a flow that was not to be had.
    pub fn refuse(&self, why: Refusal) {
        self.refused.add(why, 1);
    }

    /// Counts a source that has to wait after its failures.
    pub fn penalty(&self) {
        self.penalties.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session that came after another one.
    pub fn reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps what went wrong to be shown, in place of the oldest such.
    pub fn fault(&self, what: impl Into<String>) {
        let faults = &mut self.live().faults;
        if faults.len() == MAX_FAULTS {
            faults.pop_front();
        }
        faults.push_back(Fault::now(what));
    }

    /// Time since the process began.
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Logins by how they ended.
    pub fn logins(&self) -> &Counts<Login> {
        &self.logins
    }

    /// Flows that were not to be had.
    pub fn refused(&self) -> &Counts<Refusal> {
        &self.refused
    }

    /// Sources that had to wait.
    pub fn penalties(&self) -> u64 {
        self.penalties.load(Ordering::Relaxed)
    }

    /// Sessions that came after another one.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// The last errors, the newest first.
    pub fn faults(&self) -> Vec<Fault> {
        self.live().faults.iter().rev().cloned().collect()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has this label; if there is no room for one more, what all others have.
fn labelled<K: Ord, V: Default>(map: &mut BTreeMap<K, Arc<V>>, key: K, others: K) -> Arc<V> {
    let room = map.len() < MAX_LABELS || map.contains_key(&key);
    map.entry(if room { key } else { others })
        .or_default()
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let metrics = Arc::new(Metrics::default());
        for n in 0..MAX_LABELS + 100 {
            let account = Account::new(&metrics, "p");
            account.dialed(&format!("tunnel {n}")).begin().sent(1);
        }
        let sums = metrics.tunnel_sums();
        assert_eq!(sums.len(), MAX_LABELS + 1);
        let others = &sums[&(OTHERS.to_owned(), OTHERS.to_owned())];
        assert_eq!((others.sent, others.flows), (100, 100));
        assert_eq!(sums.values().map(|sum| sum.sent).sum::<u64>(), 356);
    }

    #[test]
    fn the_last_faults_are_kept() {
        let metrics = Metrics::default();
        for n in 0..100 {
            metrics.fault(n.to_string());
        }
        let faults = metrics.faults();
        assert_eq!(faults.len(), MAX_FAULTS);
        assert_eq!((&*faults[0].what, &*faults[15].what), ("99", "84"));
    }
}
