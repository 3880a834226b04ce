//! How a session gives what it listens on to one that goes on with its client's tunnels, so that no
//! visitor finds a port closed in between.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::listener::Listener;
use crate::tunnel::Listen;

/// A port with what it is bound for.
type Port = (Listen, Arc<Listener>);

/// What a session listens on for one tunnel.
#[derive(Debug)]
pub(super) struct Listening {
    /// The port's visitors.
    visitors: JoinSet<()>,
    port: Option<Port>,
}

impl Listening {
    /// Has a port's visitors carried.
    pub(super) fn new(port: Port, carry: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut visitors = JoinSet::new();
        visitors.spawn(carry);
        let port = Some(port);
        Self { visitors, port }
    }

    /// Takes no new visitors from now on.
    pub(super) fn abort(&mut self) {
        self.visitors.abort_all();
        self.port = None;
    }

    /// The same, and waits until the port is free.
    pub(super) async fn close(mut self) {
        self.visitors.shutdown().await;
    }

    async fn give(mut self) -> Option<Port> {
        self.visitors.shutdown().await;
        self.port
    }
}

/// Where a session leaves what it listens on.
#[derive(Debug, Default)]
pub struct Succession {
    wanted: CancellationToken,
    given: CancellationToken,
    ports: Mutex<Vec<Port>>,
}

impl Succession {
    /// Waits for what the session listens on; for ever if that has ended. Cancel-safe.
    pub async fn inherit(&self) -> Inheritance {
        self.wanted.cancel();
        self.given.cancelled().await;
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        Inheritance(std::mem::take(&mut *ports))
    }

    /// Waits until another session is to go on with the tunnels. Cancel-safe.
    pub(super) async fn wanted(&self) {
        self.wanted.cancelled().await;
    }

    /// Whether one does.
    pub(super) fn is_given(&self) -> bool {
        self.given.is_cancelled()
    }

    /// Gives it these.
    pub(super) async fn give(&self, all: impl IntoIterator<Item = Listening>) {
        for listening in all {
            let port = listening.give().await;
            let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.extend(port);
        }
        self.given.cancel();
    }
}

/// What a former session listened on.
#[derive(Debug, Default)]
pub struct Inheritance(Vec<Port>);

impl Inheritance {
    /// Takes the first that was bound for this.
    pub(super) fn find(&mut self, listen: &Listen) -> Option<Arc<Listener>> {
        let at = self.0.iter().position(|(bound, _)| bound == listen)?;
        Some(self.0.remove(at).1)
    }
}
