//! What is kept for whoever has to know later: who came in or did not, from where, and to what.
//!
//! Each line is an event of the tracing target `audit` with the same fields throughout: `event`,
//! then `identity` where one is known, `from`, and what it is about. Nothing here is secret.

mod json;

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

pub use json::AuditLog;

/// What tells these lines from others.
const TARGET: &str = "audit";

/// A client has logged in.
pub fn login(identity: &str, from: SocketAddr) {
    info!(target: TARGET, event = "login", identity, %from, "client logged in");
}

/// A session is over.
pub fn logout(identity: &str, from: SocketAddr, why: &str) {
    info!(target: TARGET, event = "logout", identity, %from, why, "client gone");
}

/// A login was refused. What the client said of itself is not told: it may be anything.
pub fn refused(from: SocketAddr, why: &str) {
    warn!(target: TARGET, event = "refused", %from, why, "login refused");
}

/// A tunnel may be used from now on.
pub fn tunnel_up(identity: &str, from: SocketAddr, tunnel: &str) {
    info!(target: TARGET, event = "tunnel-up", identity, %from, tunnel, "tunnel up");
}

/// A tunnel is no more.
pub fn tunnel_down(identity: &str, from: SocketAddr, tunnel: &str) {
    info!(target: TARGET, event = "tunnel-down", identity, %from, tunnel, "tunnel down");
}

/// A client asked for what it may not have: a tunnel, or a flow to a target.
pub fn denied(identity: &str, from: SocketAddr, what: &str, why: &str) {
    warn!(target: TARGET, event = "denied", identity, %from, what, why, "denied");
}

/// A source has failed too often, and is not let in for so long.
pub fn penalty(from: SocketAddr, wait: Duration) {
    let seconds = wait.as_secs();
    warn!(target: TARGET, event = "penalty", %from, seconds, "not let in, after too many failures");
}
