//! A flow's place among the others: of its tunnel, and of its client where somebody limits that.

use std::ops::Deref;
use std::sync::Arc;

use crate::access::Held;
use crate::metrics;
use crate::pace::Pace;

/// A flow that is counted as open until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    flow: metrics::Flow,
    /// Room among those that the client may have, at the server.
    held: Option<Held>,
}

impl Counted {
    pub(super) fn new(tunnel: &Arc<metrics::Tunnel>, held: Option<Held>) -> Self {
        let flow = tunnel.begin();
        Self { flow, held }
    }

    /// How fast it may be, together with the client's other flows.
    pub(super) fn pace(&self) -> Option<&Pace> {
        self.held.as_ref().map(Held::pace)
    }
}

impl Deref for Counted {
    type Target = metrics::Tunnel;

    fn deref(&self) -> &metrics::Tunnel {
        &self.flow
    }
}
