//! The client: binds its listeners, and hands their visitors to the best of the sessions that are kept
//! up.

mod backoff;
#[cfg(unix)]
mod callers;
mod connecting;
mod failover;
mod keeper;
mod servers;
mod visitors;

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

#[cfg(unix)]
use self::callers::Desk;
use self::servers::Servers;
use crate::config::ClientConfig;
#[cfg(unix)]
use crate::control::{ControlSocket, Greeting};
use crate::listener::Listener;
use crate::session::{FlowError, Local, Opener};
use crate::tunnel::{Half, Listen};

/// Why a client ended.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no session, nor will there be one without a person's doing, or one was all that was
    /// wanted. Of several reasons each has a line.
    #[error("{0}")]
    NoSession(String),
    /// The flow of standard input and output failed.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> Self {
        Self::Flow(error.into())
    }
}

/// A client whose listeners are bound.
#[derive(Debug)]
pub struct Client {
    listeners: Vec<(u32, Local, Listener)>,
    /// The tunnel whose one visitor is this process's standard input and output.
    stdio: Option<(u32, Local)>,
    #[cfg(unix)]
    control: Option<(ControlSocket, Desk)>,
    stop: CancellationToken,
    servers: Servers,
}

impl Client {
    /// Binds all local listeners; must be called within a runtime. It stops when `stop` is
    /// cancelled.
    pub fn bind(config: ClientConfig, stop: CancellationToken) -> Result<Self> {
        let (mut listeners, mut failures, mut stdio) = (Vec::new(), Vec::new(), None);
        for (number, tunnel) in (0..).zip(&config.tunnels) {
            let Half::Listen(listen, proxy) = tunnel.near() else {
                continue;
            };
            let local = Local::new(tunnel.to_string(), &listen, proxy);
            if listen == Listen::Stdio {
                stdio = Some((number, local));
                continue;
            }
            match Listener::bind(&listen) {
                Ok(listener) => {
                    info!("{tunnel}: listening on {listener}");
                    listeners.push((number, local, listener));
                }
                Err(e) => failures.push(format!("{tunnel}: cannot listen on {listen}: {e}")),
            }
        }
        ensure!(failures.is_empty(), failures.join("\n"));
        #[cfg(unix)]
        let drain = config.drain;
        #[cfg(unix)]
        let greeting = greeting(&config);
        let servers = Servers::new(config, stop.clone())?;
        Ok(Self {
            listeners,
            stdio,
            #[cfg(unix)]
            control: greeting
                .and_then(ControlSocket::bind)
                .map(|socket| (socket, Desk::new(servers.session(), &stop, drain))),
            servers,
            stop,
        })
    }

    /// The addresses of the local listeners that have one, in the order of their tunnels.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let addrs = self.listeners.iter().filter_map(|l| l.2.local_addr());
        addrs.collect()
    }

    /// The session that there is at any time.
    pub fn session(&self) -> watch::Receiver<Option<Opener>> {
        self.servers.session()
    }

    /// Keeps a session up until told to stop; fails when trying again is of no use.
    ///
    /// With a tunnel for standard input and output it ends with their flow, and fails if that does:
    /// then nothing is tried twice.
    pub async fn run(mut self) -> Result<(), ClientError> {
        // It ends with this, and its visitors' flows with their session.
        let _listening = self.listen();
        let Some((number, local)) = self.stdio.take() else {
            return self.servers.run(true).await;
        };
        let carry = visitors::carry_stdio(number, local, self.session());
        let carried = async {
            let carried = carry.await;
            self.stop.cancel();
            carried
        };
        let (kept, carried) = tokio::join!(self.servers.run(false), carried);
        // Why there is no session says more than that there is none.
        kept.and(carried)
    }

    /// Receives all visitors until told to stop.
    fn listen(&mut self) -> JoinSet<()> {
        let mut listening = JoinSet::new();
        for (number, tunnel, listener) in std::mem::take(&mut self.listeners) {
            let receive = visitors::receive(number, tunnel, listener, self.session());
            let stop = self.stop.clone();
            listening.spawn(async move { stop.run_until_cancelled(receive).await.unwrap_or(()) });
        }
        #[cfg(unix)]
        if let Some((control, desk)) = self.control.take() {
            // To the very end: until then somebody may ask how far it is.
            let answer = move |caller| desk.clone().answer(caller);
            listening.spawn(async move { control.serve(answer).await });
        }
        listening
    }
}

/// How others on this machine tell whether this is the client that they want to go through, if it is to
/// be found.
#[cfg(unix)]
fn greeting(config: &ClientConfig) -> Option<Greeting> {
    // All are trusted by the same.
    let trust = &config.servers.first()?.trust;
    let addrs = config.servers.iter().map(|server| &server.addr);
    config.control.then(|| Greeting::client(addrs, trust))
}
