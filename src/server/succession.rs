//! A server in place of another, at the same ports, without a moment in which nobody is there
//! (SIGUSR2).
//!
//! The old process starts the new one by its own name, gives it a socket of its own at the same UDP
//! port, and waits until it serves. Then it gives it a second hold on all that it listens on for
//! clients, lets new connections arrive there, and tells its clients that it is going: they connect
//! anew, and so to the new one, and ask it for what it has already. What is open ends in the old one,
//! as far as there is time.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::Server;
use crate::control::{Offer, Successor};
use crate::systemd;
use crate::transport::{Bound, Generation};

pub use crate::control::Predecessor;

/// Longest that a new process may take to serve.
const BEGINNING: Duration = Duration::from_secs(20);

/// Longest that a client may take to come for what it listened on.
const UNCLAIMED: Duration = Duration::from_secs(30);

/// The sockets that a server of before has for this one.
pub async fn sockets(predecessor: &Predecessor) -> Result<Bound> {
    let mut bound = Bound::default();
    let take = |offer, passed: Option<OwnedFd>| {
        let socket = passed.ok_or(io::ErrorKind::InvalidData)?;
        match offer {
            Offer::Udp { generation } => {
                bound.udp.push(socket.into());
                bound.generation = Generation::second(generation);
            }
            Offer::Tcp => bound.tcp = Some(socket.into()),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(())
    };
    let taken = predecessor.take(take).await;
    taken.context("the process whose place this one was to take is gone")?;
    Ok(bound)
}

impl Server {
    /// Takes over what clients listen on, and at last the port alone. Does not return.
    pub(super) async fn succeed(&self, predecessor: Option<Predecessor>) {
        let Some(predecessor) = predecessor else {
            return pending().await;
        };
        let ports = &self.shared.ports;
        let take_over = async {
            predecessor.begun().await?;
            let take = |offer, passed: Option<OwnedFd>| match (offer, passed) {
                (Offer::Port { owner, place }, Some(socket)) => {
                    ports.inherit(owner, place, socket);
                    Ok(())
                }
                (Offer::All, None) => Ok(()),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
            predecessor.take(take).await
        };
        if let Err(e) = take_over.await {
            warn!("what clients listen on was not passed on: {e}");
        }
        let forget = async {
            sleep(UNCLAIMED).await;
            ports.forget();
        };
        let claim = async {
            predecessor.gone().await;
            self.endpoint.claim();
            info!("the process before this one has ended");
        };
        tokio::join!(forget, claim);
        pending().await
    }

    /// Waits until another process has taken this one's place, which is to be kept for as long as this
    /// one lives: it waits for that. Cancel-safe, but a process that was under way goes on alone.
    pub(super) async fn replaced(&self) -> Successor {
        loop {
            let successor = self.successor().await;
            if let Some(successor) = self.pass_on(successor).await {
                self.left.cancel();
                return successor;
            }
        }
    }

    /// Waits until a process is to take this one's place, and serves.
    async fn successor(&self) -> Successor {
        let Ok(mut asked) = signal(SignalKind::user_defined2()) else {
            return pending().await;
        };
        loop {
            // None comes after the runtime's end.
            if asked.recv().await.is_none() {
                return pending().await;
            }
            match self.start_successor().await {
                Ok(successor) => return successor,
                Err(e) => error!("no process takes this one's place, which goes on: {e:#}"),
            }
        }
    }

    async fn start_successor(&self) -> Result<Successor> {
        ensure!(
            self.endpoint.is_alone(),
            "the process before this one has not ended yet"
        );
        let successor = Successor::start().context("cannot start another")?;
        info!(
            "process {} is to take the place of this one",
            successor.id()
        );
        let begun = timeout(BEGINNING, self.begin(&successor)).await;
        let begun = begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match begun {
            Ok(()) => Ok(successor),
            Err(e) => {
                self.abandon(successor);
                Err(e).context("the new one does not serve")
            }
        }
    }

    /// Has a new process serve, where no client arrives yet.
    async fn begin(&self, successor: &Successor) -> io::Result<()> {
        let bound = self.endpoint.for_successor()?;
        for udp in bound.udp {
            let generation = bound.generation.to_byte();
            let offer = Offer::Udp { generation };
            successor.offer(&offer, Some(udp.into())).await?;
        }
        if let Some(tcp) = bound.tcp {
            successor.offer(&Offer::Tcp, Some(tcp.into())).await?;
        }
        successor.offer(&Offer::Begin, None).await
    }

    /// Passes on what clients listen on, and lets them arrive at the new process from now on.
    async fn pass_on(&self, successor: Successor) -> Option<Successor> {
        let pass_on = async {
            for (owner, place, socket) in self.shared.ports.pass_on()? {
                let offer = Offer::Port { owner, place };
                successor.offer(&offer, Some(socket)).await?;
            }
            successor.offer(&Offer::All, None).await?;
            self.endpoint.steer()
        };
        let passed = timeout(BEGINNING, pass_on).await;
        let passed = passed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(e) = passed {
            error!("no process takes this one's place, which goes on: {e}");
            self.abandon(successor);
            return None;
        }
        info!("process {} serves new clients from now on", successor.id());
        systemd::succeeded_by(successor.id());
        Some(successor)
    }

    fn abandon(&self, successor: Successor) {
        successor.abandon();
        self.endpoint.claim();
    }
}
