//! Packets that find out whether the peer can be heard again, let past the congestion window.
//!
//! When a path swallows everything, what is in flight stays there: it fills the window, and quinn's
//! own probes (RFC 9002, section 6.2) come at intervals that double, so that after a minute's outage
//! the next may be a minute away. Here the window is opened by a little for each probe, over
//! whatever controller there is. The first acknowledgement of one shows quinn what was lost.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

use super::narrowing::Narrowing;

/// Packets that a probe opens the window by: quinn's own probes, which are in flight too, are made up
/// for by it, and what else goes out with it is no load on any path.
const ROOM: u64 = 16;

/// By how many packets the window of a connection is open beyond what its controller says.
#[derive(Debug, Default)]
pub(super) struct Leeway(AtomicU64);

impl Leeway {
    /// Lets one more probe go.
    pub(super) fn widen(&self) {
        self.0.fetch_add(ROOM, Relaxed);
    }

    /// Leaves the window to the controller, now that the peer is heard.
    pub(super) fn close(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Builds controllers that heed the leeway of their connection, and the narrowing of its path.
pub(super) struct Probing {
    pub(super) inner: Arc<dyn ControllerFactory + Send + Sync>,
    pub(super) leeway: Arc<Leeway>,
    /// Bytes that a packet may have on every path.
    pub(super) smallest: u16,
}

impl ControllerFactory for Probing {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Probed {
            inner: self.inner.clone().build(now, current_mtu),
            mtu: current_mtu,
            leeway: self.leeway.clone(),
            used: 0,
            narrowing: Narrowing::new(now, self.smallest, current_mtu),
        })
    }
}

/// A controller, and what its window is opened by.
struct Probed {
    inner: Box<dyn Controller>,
    /// Bytes.
    mtu: u16,
    leeway: Arc<Leeway>,
    /// The leeway when a packet was last sent.
    used: u64,
    narrowing: Narrowing,
}

impl fmt::Debug for Probing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probing").field(&self.leeway).finish()
    }
}

impl Controller for Probed {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.used = self.leeway.0.load(Relaxed);
        self.narrowing.on_sent(now, bytes, last_packet_number);
        if !self.narrowing.is_suspected() {
            self.inner.on_sent(now, bytes, last_packet_number);
        }
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.narrowing.on_ack(now, sent, bytes, rtt.conservative());
        if !self.narrowing.is_suspected() {
            self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.narrowing.on_end_acks(in_flight);
        if !self.narrowing.is_suspected() {
            self.inner
                .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.narrowing.on_lost(lost_bytes);
        if !self.narrowing.is_suspected() {
            self.inner
                .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.narrowing.on_mtu(new_mtu);
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let leeway = self.leeway.0.load(Relaxed);
        match self.narrowing.window(leeway > self.used) {
            Some(window) => window,
            None => self.inner.window() + leeway * u64::from(self.mtu),
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            mtu: self.mtu,
            leeway: self.leeway.clone(),
            used: self.used,
            narrowing: self.narrowing.elsewhere(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self.inner.into_any()
    }
}

#[cfg(test)]
mod tests {
    use quinn::congestion::NewRenoConfig;

    use super::*;

    #[test]
    fn a_probe_opens_the_window_until_the_peer_is_heard() {
        let leeway = Arc::new(Leeway::default());
        let factory = Arc::new(Probing {
            inner: Arc::new(NewRenoConfig::default()),
            leeway: leeway.clone(),
            smallest: 1200,
        });
        let controller = factory.build(Instant::now(), 1200);
        let window = controller.window();
        leeway.widen();
        leeway.widen();
        // A path that is made from another shares it.
        for controller in [&controller, &controller.clone_box()] {
            assert_eq!(controller.window(), window + 2 * ROOM * 1200);
        }
        leeway.close();
        assert_eq!(controller.window(), window);
    }
}
