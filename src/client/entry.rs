//! One tunnel that a client is to have, and what servers say of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::metrics;
use crate::tunnel::{Host, HostPort, Tunnel};

/// Longest wait for what a server says of a tunnel: it may look up a name, and see whether another
/// session is dead.
const ANSWER: Duration = Duration::from_secs(15);

/// Longest wait for a server to say that it listens no more: it may be deciding on something else.
const CLOSING: Duration = Duration::from_secs(5);

/// A tunnel that a client is to have.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number with every server, which no other tunnel of this process ever has.
    pub(super) number: u32,
    pub(super) tunnel: Tunnel,
    /// Its numbers, for those who look.
    pub(super) count: Arc<metrics::Tunnel>,
    /// Where this side listens, if it does.
    pub(super) near: Option<String>,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// What the servers say of it, by their names, as far as they have been asked.
    verdicts: watch::Sender<BTreeMap<String, Verdict>>,
    /// How many servers listen for it, as far as is known.
    listening: watch::Sender<usize>,
}

/// Where a tunnel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The configuration as it was at first.
    Beginning,
    /// The configuration as it has become since.
    Reload,
    /// Somebody who wanted it beside that.
    Added,
}

/// What a server says of a tunnel: where it listens, if it does, or why it does not want it.
pub(super) type Verdict = Result<Option<String>, String>;

impl Entry {
    /// One that no server has been asked for.
    pub(super) fn new(
        number: u32,
        tunnel: Tunnel,
        count: Arc<metrics::Tunnel>,
        near: Option<String>,
        origin: Origin,
    ) -> Self {
        Self {
            number,
            tunnel,
            count,
            near,
            origin,
            verdicts: watch::Sender::default(),
            listening: watch::Sender::default(),
        }
    }

    /// Takes what a server says, and tells it to those who read the log. Where the server listens is
    /// shown for as long as what this returns is kept.
    pub(super) fn take(&self, judge: &Judge, verdict: Verdict) -> Option<Whereabouts> {
        let (tunnel, server) = (&self.tunnel, &judge.name);
        match &verdict {
            Ok(Some(addr)) => {
                let reached = judge.reached(addr);
                info!("{tunnel}: {server} listens on {addr}{reached}");
            }
            Ok(None) if self.is_refused_by(judge) => info!("{tunnel}: {server} allows it now"),
            Ok(None) => {}
            Err(why) => self.complain(judge, why),
        }
        let addr = verdict.as_ref().ok().cloned().flatten();
        self.verdicts.send_modify(|verdicts| {
            verdicts.insert(server.clone(), verdict);
        });
        self.count.refused(self.refusals());
        addr.map(|addr| Whereabouts::new(self, addr))
    }

    /// Warns that a server does not want it, once for each reason: it is asked again and again.
    fn complain(&self, judge: &Judge, why: &str) {
        let (number, tunnel, server) = (self.number, &self.tunnel, &judge.name);
        let known = self.verdicts.borrow().get(server).cloned();
        match known {
            Some(Err(known)) if known == why => debug!("{server} refused {tunnel} again: {why}"),
            _ if self.stays() => warn!(
                "{server} refused {tunnel}: {why}; all else goes on, and it is tried again. Change \
                 what is in its way, or remove it: rstun tunnel remove {number}"
            ),
            _ => warn!("{server} refused {tunnel}: {why}"),
        }
    }

    /// Whether it is to be there whatever a server says of it now: not while somebody adds it and waits
    /// for the answer.
    fn stays(&self) -> bool {
        self.origin != Origin::Added || self.verdicts.borrow().values().any(Verdict::is_ok)
    }

    /// Whether it may be part of a login, which fails if any of its tunnels is refused: those may that
    /// were there from the beginning or that a server has taken before, unless this one refused them
    /// since.
    pub(super) fn is_certain(&self, judge: &Judge) -> bool {
        let verdicts = self.verdicts.borrow();
        match verdicts.get(&judge.name) {
            Some(verdict) => verdict.is_ok(),
            None => self.origin == Origin::Beginning || verdicts.values().any(Verdict::is_ok),
        }
    }

    /// Whether this is the last that a server has said of it.
    pub(super) fn is_refused_by(&self, judge: &Judge) -> bool {
        let verdicts = self.verdicts.borrow();
        verdicts.get(&judge.name).is_some_and(Verdict::is_err)
    }

    /// Waits for what a server says of it: one that takes it is enough.
    pub(super) async fn verdict(&self) -> Result<(), String> {
        let mut verdicts = self.verdicts.subscribe();
        let _ = timeout(ANSWER, verdicts.wait_for(|verdicts| !verdicts.is_empty())).await;
        let verdicts = self.verdicts.borrow();
        if verdicts.values().any(Verdict::is_ok) {
            return Ok(());
        }
        match verdicts.values().find_map(|verdict| verdict.clone().err()) {
            Some(why) => Err(format!("the server refused it: {why}")),
            None => Err("the server did not answer in time".into()),
        }
    }

    /// Waits until no server listens for it any more. Fails if one is silent about it.
    pub(super) async fn closed(&self) -> Result<(), String> {
        let mut listening = self.listening.subscribe();
        let closed = timeout(CLOSING, listening.wait_for(|n| *n == 0)).await;
        let silent = |_| {
            format!(
                "removed, but the server has not said in {} s that it listens there no more",
                CLOSING.as_secs()
            )
        };
        closed.map(drop).map_err(silent)
    }

    /// Whether any server has said anything of it.
    pub(super) fn is_judged(&self) -> bool {
        !self.verdicts.borrow().is_empty()
    }

    /// Why servers do not want it, if any does not.
    fn refusals(&self) -> Option<String> {
        let verdicts = self.verdicts.borrow();
        let refusals = verdicts.iter().filter_map(|(server, verdict)| {
            let why = verdict.as_ref().err()?;
            Some(match verdicts.len() {
                1 => why.clone(),
                _ => format!("{server}: {why}"),
            })
        });
        let refusals: Vec<_> = refusals.collect();
        (!refusals.is_empty()).then(|| refusals.join("; "))
    }

    /// What of it is shown to people.
    pub(super) fn view(&self) -> View {
        let verdicts = self.verdicts.borrow();
        let far = verdicts.values().find_map(|far| far.clone().ok().flatten());
        View {
            number: self.number,
            tunnel: self.tunnel.to_string(),
            listening: self.near.clone().or(far),
            added: self.origin == Origin::Added,
            refused: self.refusals(),
        }
    }
}

/// A server, as it is told of.
pub(super) struct Judge {
    pub(super) name: String,
    pub(super) host: Host,
}

impl Judge {
    /// Where visitors find what it listens on, if that is not said by its address alone.
    fn reached(&self, listening: &str) -> String {
        match listening.parse::<SocketAddr>() {
            Ok(addr) if addr.ip().is_unspecified() => {
                let (host, port) = (self.host.clone(), addr.port());
                format!(", reached at {}", HostPort { host, port })
            }
            _ => String::new(),
        }
    }
}

/// Where a server listens for a tunnel, shown until this is dropped.
#[derive(Debug)]
pub(super) struct Whereabouts {
    count: Arc<metrics::Tunnel>,
    listening: watch::Sender<usize>,
    addr: String,
}

impl Whereabouts {
    fn new(entry: &Entry, addr: String) -> Self {
        entry.count.listens_at(&addr);
        entry.listening.send_modify(|n| *n += 1);
        Self {
            count: entry.count.clone(),
            listening: entry.listening.clone(),
            addr,
        }
    }
}

impl Drop for Whereabouts {
    fn drop(&mut self) {
        self.count.listens_no_more_at(&self.addr);
        self.listening.send_modify(|n| *n -= 1);
    }
}

/// A tunnel, as people see it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) number: u32,
    pub(super) tunnel: String,
    /// Where visitors go in, as far as that is known.
    pub(super) listening: Option<String>,
    pub(super) added: bool,
    /// Why the server does not want it.
    pub(super) refused: Option<String>,
}
