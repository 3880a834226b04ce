//! A client as the server sees it for as long as its session lasts: who it is, and what it was given.

use std::net::SocketAddr;
use std::sync::Arc;

use super::welcome::may_reach;
use crate::access::{Access, Held, Identity};
use crate::audit;
use crate::tunnel::Half;
use crate::wire::Request;

/// A client whose tunnels are up.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) identity: Arc<Identity>,
    /// Where it logged in from.
    pub(super) from: SocketAddr,
    tunnels: Vec<Request>,
    _held: Held,
}

impl Guest {
    pub(super) fn new(
        identity: Arc<Identity>,
        from: SocketAddr,
        tunnels: Vec<Request>,
        held: Held,
    ) -> Self {
        for tunnel in &tunnels {
            audit::tunnel_up(identity.name(), from, &tunnel.to_string());
        }
        Self {
            identity,
            from,
            tunnels,
            _held: held,
        }
    }

    /// Waits until the client may not go on as it is, and says why. Cancel-safe.
    pub(super) async fn unwelcome(&self) -> String {
        let changed = async {
            let mut changes = self.identity.changes();
            loop {
                // What changed between the login and now counts too.
                let access = changes.borrow_and_update().clone();
                if let Err(why) = self.may_stay(&access).await {
                    return why;
                }
                if changes.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
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
                Half::Dial(target) => may_reach(access, target).await?,
                Half::Listen(listen, _) => access.may_listen(listen)?,
            }
        }
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        for tunnel in &self.tunnels {
            audit::tunnel_down(self.identity.name(), self.from, &tunnel.to_string());
        }
    }
}
