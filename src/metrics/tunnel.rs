//! What goes through tunnels.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Fault, Metrics, OTHERS, Refusal, labelled};

/// The tunnels of one owner: of a client process, or of a session at the server.
#[derive(Debug)]
pub struct Account {
    metrics: Arc<Metrics>,
    /// Whose they are where the process has several; empty at a client.
    peer: String,
    tunnels: Mutex<Vec<Arc<Tunnel>>>,
}

/// Numbers of one tunnel. They end with the last flow that counts here.
#[derive(Debug)]
pub struct Tunnel {
    metrics: Arc<Metrics>,
    /// As it is written, with its direction.
    pub text: String,
    /// Whether visitors arrive on this side.
    pub listens: bool,
    /// Whether it is there without anybody having asked for it.
    pub implied: bool,
    now: Numbers,
    /// What all tunnels with the same label, and gone by now, have counted.
    past: Arc<Sum>,
    open: AtomicU64,
    pub(super) seen: [AtomicU64; 2],
    pub(super) rate: [AtomicU64; 2],
    told: Mutex<Told>,
}

/// What is said of a tunnel in words.
#[derive(Debug, Default)]
struct Told {
    listening: Vec<String>,
    refused: Option<String>,
    fault: Option<Fault>,
}

/// What only grows.
#[derive(Debug, Default)]
struct Numbers {
    sent: AtomicU64,
    received: AtomicU64,
    flows: AtomicU64,
    refused: AtomicU64,
}

/// What tunnels that are gone have counted.
#[derive(Debug, Default)]
pub struct Sum(Numbers);

/// The numbers of a tunnel, or of several, at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of payload from this side into the tunnel.
    pub sent: u64,
    /// Bytes of payload out of the tunnel to this side.
    pub received: u64,
    /// Flows that were begun.
    pub flows: u64,
    /// Flows that were not to be had.
    pub refused: u64,
    /// Flows that are open.
    pub open: u64,
}

impl Totals {
    fn plus(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.flows += other.flows;
        self.refused += other.refused;
        self.open += other.open;
    }
}

impl Numbers {
    fn load(&self) -> Totals {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Totals {
            sent: load(&self.sent),
            received: load(&self.received),
            flows: load(&self.flows),
            refused: load(&self.refused),
            open: 0,
        }
    }

    fn add(&self, other: Totals) {
        let add = |n: &AtomicU64, more| n.fetch_add(more, Ordering::Relaxed);
        add(&self.sent, other.sent);
        add(&self.received, other.received);
        add(&self.flows, other.flows);
        add(&self.refused, other.refused);
    }
}

impl Account {
    /// An account for the tunnels with a peer; without a name at a client, whose tunnels are its own.
    pub fn new(metrics: &Arc<Metrics>, peer: &str) -> Arc<Self> {
        let account = Arc::new(Self {
            metrics: metrics.clone(),
            peer: peer.to_owned(),
            tunnels: Mutex::default(),
        });
        let mut live = metrics.live();
        live.accounts.retain(|account| account.strong_count() > 0);
        live.accounts.push(Arc::downgrade(&account));
        account
    }

    /// What is counted beside tunnels.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The numbers of a tunnel whose visitors arrive on this side.
    pub fn listened(&self, text: &str) -> Arc<Tunnel> {
        self.tunnel(text, true, false)
    }

    /// The numbers of a tunnel whose targets this side dials.
    pub fn dialed(&self, text: &str) -> Arc<Tunnel> {
        self.tunnel(text, false, false)
    }

    /// The numbers of what is carried without a tunnel that anybody asked for.
    pub fn implied(&self, text: &str, listens: bool) -> Arc<Tunnel> {
        self.tunnel(text, listens, true)
    }

    fn tunnel(&self, text: &str, listens: bool, implied: bool) -> Arc<Tunnel> {
        let mut tunnels = self.lock();
        if let Some(known) = tunnels.iter().find(|known| known.text == text) {
            return known.clone();
        }
        let key = (self.peer.clone(), text.to_owned());
        let others = (OTHERS.to_owned(), OTHERS.to_owned());
        let past = labelled(&mut self.metrics.live().tunnels, key, others);
        let tunnel = Arc::new(Tunnel {
            metrics: self.metrics.clone(),
            text: text.to_owned(),
            listens,
            implied,
            now: Numbers::default(),
            past,
            open: AtomicU64::new(0),
            seen: Default::default(),
            rate: Default::default(),
            told: Mutex::default(),
        });
        tunnels.push(tunnel.clone());
        tunnel
    }

    /// Forgets a tunnel that is no more; what it has counted stays in the sums.
    pub fn forget(&self, text: &str) {
        self.lock().retain(|known| known.text != text);
    }

    /// All of its tunnels.
    pub fn tunnels(&self) -> Vec<Arc<Tunnel>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Tunnel>>> {
        self.tunnels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tunnel {
    /// Begins a flow, which is open until it is dropped.
    pub fn begin(self: &Arc<Self>) -> Flow {
        self.now.flows.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Flow(self.clone())
    }

    /// Counts payload that goes into the tunnel.
    pub fn sent(&self, bytes: usize) {
        self.now.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts payload that comes out of the tunnel.
    pub fn received(&self, bytes: usize) {
        self.now.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a flow that was not to be had.
    pub fn refuse(&self, why: Refusal) {
        self.now.refused.fetch_add(1, Ordering::Relaxed);
        self.metrics.refuse(why);
    }

    /// Keeps what went wrong last.
    pub fn fault(&self, what: impl Into<String>) {
        self.told().fault = Some(Fault::now(what));
    }

    /// What went wrong last.
    pub fn last_fault(&self) -> Option<Fault> {
        self.told().fault.clone()
    }

    /// Tells where visitors are received from now on, on whichever side.
    pub fn listens_at(&self, addr: &str) {
        let listening = &mut self.told().listening;
        if !listening.iter().any(|known| known == addr) {
            listening.push(addr.to_owned());
        }
    }

    /// Takes back what [`Tunnel::listens_at`] has told.
    pub fn listens_no_more_at(&self, addr: &str) {
        self.told().listening.retain(|known| known != addr);
    }

    /// Where visitors are received.
    pub fn listening(&self) -> Vec<String> {
        self.told().listening.clone()
    }

    /// Tells why the other side does not want it, if it does not.
    pub fn refused(&self, why: Option<String>) {
        self.told().refused = why;
    }

    /// Why the other side does not want it, if it does not.
    pub fn why_refused(&self) -> Option<String> {
        self.told().refused.clone()
    }

    /// Its numbers as of now.
    pub fn totals(&self) -> Totals {
        Totals {
            open: self.open.load(Ordering::Relaxed),
            ..self.now.load()
        }
    }

    /// Bytes a second, sent and received, of late.
    pub fn rate(&self) -> [u64; 2] {
        [0, 1].map(|way| self.rate[way].load(Ordering::Relaxed))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.past.0.add(self.now.load());
    }
}

/// A flow that is open.
#[derive(Debug)]
pub struct Flow(Arc<Tunnel>);

impl Deref for Flow {
    type Target = Tunnel;

    fn deref(&self) -> &Tunnel {
        &self.0
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// All accounts that there are.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let live = self.live();
        live.accounts
            .iter()
            .filter_map(std::sync::Weak::upgrade)
            .collect()
    }

    /// The sums over all tunnels that there are or have been, by peer and tunnel.
    pub fn tunnel_sums(&self) -> BTreeMap<(String, String), Totals> {
        let tunnels: Vec<_> = self.accounts().iter().flat_map(|a| a.tunnels()).collect();
        let live = self.live();
        let sum = |past: &Arc<Sum>| {
            let mut totals = past.0.load();
            let same = tunnels
                .iter()
                .filter(|tunnel| Arc::ptr_eq(&tunnel.past, past));
            same.for_each(|tunnel| totals.plus(tunnel.totals()));
            totals
        };
        let sums = live.tunnels.iter();
        sums.map(|(label, past)| (label.clone(), sum(past)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_on_over_sessions_and_hold_what_is_open() {
        let metrics = Arc::new(Metrics::default());
        let label = ("laptop".to_owned(), "TunnelIn 1^2".to_owned());
        for n in 1..=3 {
            let account = Account::new(&metrics, "laptop");
            let tunnel = account.listened("TunnelIn 1^2");
            assert!(Arc::ptr_eq(&tunnel, &account.listened("TunnelIn 1^2")));
            let flow = tunnel.begin();
            flow.sent(10);
            flow.received(1);
            tunnel.refuse(Refusal::Refused);
            let sum = metrics.tunnel_sums()[&label];
            assert_eq!((sum.sent, sum.received), (10 * n, n));
            assert_eq!((sum.flows, sum.refused, sum.open), (n, n, 1));
        }
        assert_eq!(metrics.tunnel_sums()[&label].open, 0);
        assert_eq!(metrics.tunnel_sums()[&label].sent, 30);
        assert_eq!(metrics.refused().of(Refusal::Refused), 3);
        assert!(metrics.accounts().is_empty());
    }
}
