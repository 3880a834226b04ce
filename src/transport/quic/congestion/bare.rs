//! The controller without a connection around it, for `benches/congestion.rs` to count what its
//! calls cost.
//!
//! Through quinn's trait they cannot be made: nobody but quinn can make the estimator of round
//! trips that `on_ack` takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::Controller;

use super::Model;

/// Our congestion controller; each method is the one of quinn's [`Controller`] with that name.
#[derive(Clone, Debug)]
pub struct BareController(Model);

impl BareController {
    /// The controller of a new path that carries payloads of `mtu` bytes.
    pub fn new(now: Instant, mtu: u16) -> Self {
        Self(Model::new(now, mtu, Arc::default()))
    }

    /// A burst of so many bytes was sent.
    pub fn on_sent(&mut self, now: Instant, bytes: u64) {
        self.0.on_sent(now, bytes, 0);
    }

    /// One packet was acknowledged.
    pub fn on_ack(&mut self, sent: Instant, bytes: u64, smoothed_rtt: Duration) {
        self.0.smoothed_rtt = smoothed_rtt;
        self.0.on_packet_acked(sent, bytes);
    }

    /// The packets that came with one acknowledgement have all been told of.
    pub fn on_end_acks(&mut self, now: Instant, in_flight: u64) {
        self.0.on_end_acks(now, in_flight, false, None);
    }

    /// So many bytes were lost, the newest of them sent at `sent`.
    pub fn on_congestion_event(&mut self, now: Instant, sent: Instant, lost_bytes: u64) {
        self.0.on_congestion_event(now, sent, false, lost_bytes);
    }

    /// Bytes that may be in flight.
    pub fn window(&self) -> u64 {
        self.0.window()
    }
}
