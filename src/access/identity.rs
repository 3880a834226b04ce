//! An identity: what a client that is known may do, and what it has taken of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Access;
use crate::pace::Pace;
use crate::quota::Ration;

/// Lines about an identity's tunnels that may be written at once: those of some clients with all the
/// tunnels that one may have.
const TUNNEL_LINES: u32 = 1000;

/// A client as the server knows it, over all of its sessions.
#[derive(Debug)]
pub struct Identity {
    name: String,
    access: watch::Sender<Arc<Access>>,
    pub(super) revoked: CancellationToken,
    tunnels: AtomicUsize,
    flows: AtomicUsize,
    pace: Pace,
    /// Of lines about its tunnels, and about what it was denied: it could fill a disk with them.
    tunnel_lines: Ration,
    denials: Ration,
}

impl Identity {
    pub(super) fn new(name: &str, access: Access) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            pace: Pace::new(access.rate),
            access: watch::Sender::new(Arc::new(access)),
            revoked: CancellationToken::new(),
            tunnels: AtomicUsize::new(0),
            flows: AtomicUsize::new(0),
            tunnel_lines: Ration::with_store(
                format!("lines about tunnels of {name}"),
                TUNNEL_LINES,
            ),
            denials: Ration::new(format!("denials of {name}")),
        })
    }

    /// Has a line about its tunnels written, unless there have been many of late.
    pub(crate) fn tell_tunnel(&self, line: impl FnOnce()) {
        self.tunnel_lines.say(line);
    }

    /// Has a line about what it was denied written, unless there have been many of late.
    pub(crate) fn tell_denial(&self, line: impl FnOnce()) {
        self.denials.say(line);
    }

    /// Lets it do this from now on.
    pub(super) fn allow(&self, access: Access) {
        self.pace.set(access.rate);
        self.access.send_if_modified(|current| {
            let changed = **current != access;
            if changed {
                *current = Arc::new(access);
            }
            changed
        });
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may do as of now.
    pub fn access(&self) -> Arc<Access> {
        self.access.borrow().clone()
    }

    /// What it may do at any time.
    pub fn changes(&self) -> watch::Receiver<Arc<Access>> {
        self.access.subscribe()
    }

    /// Waits until it is nobody any more. Cancel-safe.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// How fast all of its flows together may be.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Takes room for so many tunnels, if they are not too many.
    pub fn take_tunnels(self: &Arc<Self>, count: usize) -> Option<Held> {
        Held::take(
            self,
            Counted::Tunnels,
            count,
            self.access.borrow().max_tunnels,
        )
    }

    /// Takes room for a flow, if it is not one too many.
    pub fn take_flow(self: &Arc<Self>) -> Option<Held> {
        Held::take(self, Counted::Flows, 1, self.access.borrow().max_flows)
    }
}

/// Room of an identity's that is taken until this is dropped.
#[derive(Debug)]
pub struct Held {
    identity: Arc<Identity>,
    counted: Counted,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    Tunnels,
    Flows,
}

impl Held {
    fn take(identity: &Arc<Identity>, counted: Counted, count: usize, max: usize) -> Option<Self> {
        // Atomic, so that nothing else need be: no other memory hangs on these numbers.
        let more = |held: usize| held.checked_add(count).filter(|sum| *sum <= max);
        let held = identity.counter(counted);
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Self {
            identity: identity.clone(),
            counted,
            count,
        })
    }

    /// Takes the room for one out of this, if there is any left in it.
    pub fn split(&mut self) -> Option<Self> {
        self.count = self.count.checked_sub(1)?;
        Some(Self {
            identity: self.identity.clone(),
            counted: self.counted,
            count: 1,
        })
    }

    /// How fast all of the identity's flows together may be.
    pub fn pace(&self) -> &Pace {
        self.identity.pace()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.identity.counter(self.counted);
        held.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Identity {
    fn counter(&self, counted: Counted) -> &AtomicUsize {
        match counted {
            Counted::Tunnels => &self.tunnels,
            Counted::Flows => &self.flows,
        }
    }
}
