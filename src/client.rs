//! The client: binds its listeners, and hands their visitors to the best of the sessions that are kept
//! up.

mod backoff;
#[cfg(unix)]
mod callers;
mod connecting;
mod entry;
mod failover;
mod keeper;
mod servers;
mod terms;
mod tunnels;
mod visitors;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use self::callers::Desk;
use self::servers::Servers;
use self::terms::Terms;
use self::tunnels::{Changed, Order, Tunnels};
use crate::config::{ClientConfig, Source};
#[cfg(unix)]
use crate::control::{ControlSocket, Greeting};
use crate::metrics::{Account, Metrics};
use crate::reload::{self, Occasions};
use crate::session::{FlowError, Opener};
use crate::status::{Observed, Role};
use crate::web::Web;

pub(crate) use self::connecting::connect;

/// Why nothing is done any more.
const ENDING: &str = "the client is about to end";

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
    config: ClientConfig,
    tunnels: Tunnels,
    orders: mpsc::Sender<Order>,
    terms: watch::Sender<Arc<Terms>>,
    #[cfg(unix)]
    control: Option<(ControlSocket, Desk)>,
    stop: CancellationToken,
    status: Observed,
    web: Web,
    servers: Servers,
}

impl Client {
    /// Binds all local listeners; must be called within a runtime. It stops when `stop` is
    /// cancelled.
    pub fn bind(config: ClientConfig, stop: CancellationToken) -> Result<Self> {
        let metrics = Arc::<Metrics>::default();
        let account = Account::new(&metrics, "");
        let (tunnels, orders) =
            Tunnels::bind(config.tunnels.clone(), &account).map_err(Error::msg)?;
        let drain = config.drain;
        #[cfg(unix)]
        let greeting = greeting(&config);
        let status = Observed::new(Role::Client, metrics, stop.clone());
        let web = Web::bind(&config.web, false)?;
        let terms = watch::Sender::new(Terms::new(&config)?);
        let (book, current) = (tunnels.book(), terms.subscribe());
        let servers = Servers::new(config.clone(), &book, &current, stop.clone(), &account);
        #[cfg(unix)]
        let desk = Desk::new(
            servers.session(),
            (orders.clone(), book),
            &stop,
            drain,
            status.clone(),
        );
        Ok(Self {
            config,
            tunnels,
            status,
            web,
            orders,
            terms,
            #[cfg(unix)]
            control: greeting
                .and_then(ControlSocket::bind)
                .map(|socket| (socket, desk)),
            servers,
            stop,
        })
    }

    /// The addresses of the local listeners that have one, in the order of their tunnels.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.tunnels.local_addrs().collect()
    }

    /// The session that there is at any time.
    pub fn session(&self) -> watch::Receiver<Option<Opener>> {
        self.servers.session()
    }

    /// Keeps a session up until told to stop; fails when trying again is of no use.
    ///
    /// With a tunnel for standard input and output it ends with their flow, and fails if that does:
    /// then nothing is tried twice.
    ///
    /// What it was told is read again on occasion, if it comes from anywhere.
    pub async fn run(self, source: Option<Source>) -> Result<(), ClientError> {
        let (session, stdio) = (self.session(), self.tunnels.stdio());
        let files = source.as_ref().map_or_else(Vec::new, Source::files);
        let (ask, occasions) = Occasions::new(files);
        // They end with this, and their visitors' flows with their session.
        let mut tasks = JoinSet::new();
        tasks.spawn(self.tunnels.run(self.servers.session(), self.stop.clone()));
        if let Some(source) = source {
            let (mut current, orders, terms) = (self.config, self.orders, self.terms);
            let reread = async move || reread(&source, &mut current, &orders, &terms).await;
            tasks.spawn(occasions.follow(reread));
        }
        #[cfg(unix)]
        if let Some((control, desk)) = self.control {
            // To the very end: until then somebody may ask how far it is.
            let answer = move |caller| desk.clone().answer(caller, ask.clone());
            tasks.spawn(async move { control.serve(answer).await });
        }
        let (web, status) = (self.web, self.status);
        tasks.spawn(async move {
            tokio::join!(
                web.serve(status.clone(), CancellationToken::new()),
                status.keep_pace()
            );
        });
        let Some((number, local)) = stdio else {
            return self.servers.run(true).await;
        };
        let carried = async {
            let carried = visitors::carry_stdio(number, local, session).await;
            self.stop.cancel();
            carried
        };
        let (kept, carried) = tokio::join!(self.servers.run(false), carried);
        // Why there is no session says more than that there is none.
        kept.and(carried)
    }
}

/// Reads the configuration again, and goes over to its tunnels and to what logins are made by. Returns
/// what has changed.
async fn reread(
    source: &Source,
    current: &mut ClientConfig,
    orders: &mpsc::Sender<Order>,
    terms: &watch::Sender<Arc<Terms>>,
) -> Result<Vec<String>> {
    let source = source.clone();
    let new = reload::read(move || source.client()).await?;
    let changes = current.changes(&new);
    if changes.login {
        terms.send_replace(Terms::new(&new)?);
    }
    let (answer, answered) = oneshot::channel();
    let order = Order::Change(changes.gone, changes.new, answer);
    orders.send(order).await.context(ENDING)?;
    let Changed { mut lines, missing } = answered.await.context(ENDING)?;
    *current = new;
    // What could not be had is tried again the next time.
    for tunnel in missing {
        let mut tunnels = current.tunnels.iter();
        if let Some(at) = tunnels.position(|known| *known == tunnel) {
            current.tunnels.remove(at);
        }
    }
    lines.extend(changes.lines);
    Ok(lines)
}

/// How others on this machine tell whether this is the client that they want to go through, if it is to
/// be found.
#[cfg(unix)]
fn greeting(config: &ClientConfig) -> Option<Greeting> {
    let addrs = config.servers.iter().map(|server| &server.addr);
    config
        .control
        .then(|| Greeting::client(addrs, config.trust()))
}
