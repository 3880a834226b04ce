//! What the flows of one tunnel have in common at the side that listens, so that they can end before
//! those of others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The lanes of all tunnels whose visitors are on this side.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Breaks all flows of the session, and tells that it takes no new ones.
    token: CancellationToken,
    draining: CancellationToken,
    lanes: Mutex<HashMap<u32, Lane>>,
}

/// One tunnel's.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Breaks its flows.
    pub(super) token: CancellationToken,
    /// Tells that it takes no new ones.
    pub(super) draining: CancellationToken,
    /// Counts those that are open.
    pub(super) flows: TaskTracker,
}

impl Lanes {
    /// Lanes of a session, which end with it.
    pub(super) fn new(token: &CancellationToken, draining: &CancellationToken) -> Self {
        let (token, draining) = (token.clone(), draining.clone());
        Self {
            token,
            draining,
            lanes: Mutex::default(),
        }
    }

    /// The lane of a tunnel.
    pub(super) fn get(&self, number: u32) -> Lane {
        let lane = || Lane {
            token: self.token.child_token(),
            draining: self.draining.child_token(),
            flows: TaskTracker::new(),
        };
        self.lock().entry(number).or_insert_with(lane).clone()
    }

    /// Has a tunnel take no new flows; what is left of it, if it ever had any.
    pub(super) fn close(&self, number: u32) -> Option<Lane> {
        let lane = self.lock().remove(&number)?;
        lane.draining.cancel();
        lane.flows.close();
        Some(lane)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
