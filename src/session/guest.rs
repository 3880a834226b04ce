//! A client as the server sees it for as long as its session lasts: who it is, and what it was given.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tracing::warn;

use super::welcome::{Unreachable, may_reach};
use crate::access::{Access, Held, Identity};
use crate::audit;
use crate::quota::Quota;
use crate::tunnel::Half;
use crate::wire::Request;

/// A client whose tunnels are up.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) identity: Arc<Identity>,
    /// Where it logged in from.
    pub(super) from: SocketAddr,
    tunnels: Vec<Request>,
    /// What it may do, as far as that has changed since it was given its tunnels.
    changes: watch::Receiver<Arc<Access>>,
    /// Of what it was denied: it could fill a disk with that otherwise.
    denials: Mutex<Quota>,
    /// Its tunnels' places among those of its identity; none once they are another session's.
    held: Mutex<Option<Held>>,
}

impl Guest {
    pub(super) fn new(
        identity: Arc<Identity>,
        from: SocketAddr,
        tunnels: Vec<Request>,
        changes: watch::Receiver<Arc<Access>>,
        held: Held,
    ) -> Self {
        for tunnel in &tunnels {
            audit::tunnel_up(identity.name(), from, &tunnel.to_string());
        }
        Self {
            identity,
            from,
            tunnels,
            changes,
            denials: Mutex::default(),
            held: Mutex::new(Some(held)),
        }
    }

    /// Gives its tunnels up, which another session of the same client goes on with.
    pub(super) fn retire(&self) {
        let held = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if held.is_none() {
            return;
        }
        for tunnel in &self.tunnels {
            audit::tunnel_down(self.identity.name(), self.from, &tunnel.to_string());
        }
    }

    /// Keeps for the audit what the client asked for and may not have, unless that was much of late.
    pub(super) fn deny(&self, what: &str, why: &str) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left_out) = denials.take(Instant::now()) else {
            return;
        };
        let name = self.identity.name();
        if left_out > 0 {
            warn!("{left_out} denials of {name} were left out");
        }
        audit::denied(name, self.from, what, why);
    }

    /// Waits until the client may not go on as it is, and says why. Cancel-safe.
    pub(super) async fn unwelcome(&self) -> String {
        let changed = async {
            let mut changes = self.changes.clone();
            while changes.changed().await.is_ok() {
                let access = changes.borrow_and_update().clone();
                if let Err(why) = self.may_stay(&access).await {
                    return why;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = self.identity.revoked() => "the client's entry is not valid any more".into(),
            why = changed => why,
        }
    }

    async fn may_stay(&self, access: &Access) -> Result<(), String> {
        if self.tunnels.len() > access.max_tunnels {
            return Err(format!(
                "the client may have {} tunnels",
                access.max_tunnels
            ));
        }
        for tunnel in &self.tunnels {
            match &tunnel.half {
                Half::Dial(target) => match may_reach(access, target).await {
                    Err(Unreachable::Unlisted(why)) => return Err(why),
                    // Its name may resolve again, and each flow is looked at then.
                    Ok(()) | Err(Unreachable::Unknown(_)) => {}
                },
                Half::Listen(listen, _) => access.may_listen(listen)?,
            }
        }
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.retire();
    }
}
