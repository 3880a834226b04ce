//! One tunnel that a client is to have, and what servers say of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::metrics;
use crate::tunnel::{Host, HostPort, Tunnel};

/// Longest wait for what a server says of a tunnel: it may look up a name, and see whether another
/// session is dead.
const ANSWER: Duration = Duration::from_secs(15);

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
    /// What the server says of it, as far as it has been asked.
    pub(super) verdict: watch::Sender<Option<Verdict>>,
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
            verdict: watch::Sender::default(),
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
            Ok(None) => {}
            Err(why) => warn!("{server} refused {tunnel}: {why}"),
        }
        let addr = verdict.as_ref().ok().cloned().flatten();
        self.verdict.send_replace(Some(verdict));
        addr.map(|addr| Whereabouts::new(&self.count, addr))
    }

    /// Whether it may be part of a login, which fails if any of its tunnels is refused: those may that
    /// were there from the beginning, and those that a server has taken before.
    pub(super) fn is_certain(&self) -> bool {
        match &*self.verdict.borrow() {
            Some(verdict) => verdict.is_ok(),
            None => self.origin == Origin::Beginning,
        }
    }

    /// Waits for what a server says of it.
    pub(super) async fn verdict(&self) -> Result<(), String> {
        let mut verdict = self.verdict.subscribe();
        let judged = timeout(ANSWER, verdict.wait_for(Option::is_some)).await;
        match judged.ok().and_then(|verdict| verdict.ok()?.clone()) {
            Some(Ok(_)) => Ok(()),
            Some(Err(why)) => Err(format!("the server refused it: {why}")),
            None => Err("the server did not answer in time".into()),
        }
    }

    /// What of it is shown to people.
    pub(super) fn view(&self) -> View {
        let (listening, refused) = match self.verdict.borrow().clone() {
            Some(Ok(far)) => (far, None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        View {
            number: self.number,
            tunnel: self.tunnel.to_string(),
            listening: self.near.clone().or(listening),
            added: self.origin == Origin::Added,
            refused,
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
    addr: String,
}

impl Whereabouts {
    fn new(count: &Arc<metrics::Tunnel>, addr: String) -> Self {
        count.listens_at(&addr);
        let count = count.clone();
        Self { count, addr }
    }
}

impl Drop for Whereabouts {
    fn drop(&mut self) {
        self.count.listens_no_more_at(&self.addr);
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
