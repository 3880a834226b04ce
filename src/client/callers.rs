//! What others on this machine ask of a running client, through its control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::entry::View;
use super::tunnels::{Book, Order, Pick};
use super::visitors::next_session;
use crate::config;
use crate::control::{self, Caller, Mappings, Reply, Request, TunnelView};
use crate::reload::Answer;
use crate::session::Opener;
use crate::socket::Socket;
use crate::status::Observed;
use crate::tunnel::{Target, Tunnel};

/// What a client has for those who call.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    current: watch::Receiver<Option<Opener>>,
    orders: mpsc::Sender<Order>,
    book: Book,
    stop: CancellationToken,
    drain: Duration,
    status: Observed,
}

/// What is done for a caller, or why it is not.
type Done<T> = Result<T, String>;

impl Desk {
    /// For the session that there is at any time, of a client that has these tunnels and takes these
    /// orders, stops by `stop`, and then has so long to finish.
    pub(super) fn new(
        current: watch::Receiver<Option<Opener>>,
        (orders, book): (mpsc::Sender<Order>, Book),
        stop: &CancellationToken,
        drain: Duration,
        status: Observed,
    ) -> Self {
        let stop = stop.clone();
        Self {
            current,
            orders,
            book,
            stop,
            drain,
            status,
        }
    }

    /// Answers one who calls.
    pub(super) async fn answer(
        self,
        caller: Caller,
        reload: mpsc::Sender<Answer>,
    ) -> io::Result<()> {
        let (request, passed) = caller.request().await?;
        let tunnels = match request {
            Request::Connect { target } => return self.connect(caller, &target, passed).await,
            Request::Status => {
                let snapshot = Box::new(self.status.snapshot());
                return caller.reply(&Reply::Status { snapshot }).await;
            }
            Request::Stop => {
                self.stop.cancel();
                let seconds = self.drain.as_secs();
                caller.reply(&Reply::Stopping { seconds }).await?;
                caller.gone().await;
                return Ok(());
            }
            Request::Reload => return caller.reload(&reload).await,
            // At once, whatever order is being carried out.
            Request::Tunnels => Ok(self.book.borrow().iter().map(|e| e.view()).collect()),
            Request::Add(mappings) => self.add(&mappings).await,
            Request::Remove { numbers, mappings } => self.remove(&numbers, &mappings).await,
        };
        match tunnels {
            Ok(views) => {
                let tunnels = views.into_iter().map(TunnelView::from).collect();
                caller.reply(&Reply::Tunnels { tunnels }).await
            }
            Err(why) => caller.fail(why).await,
        }
    }

    async fn add(&self, mappings: &Mappings) -> Done<Vec<View>> {
        let tunnels = read(mappings)?;
        self.order(|answer| Order::Add(tunnels, answer)).await?
    }

    async fn remove(&self, numbers: &[u32], mappings: &Mappings) -> Done<Vec<View>> {
        let tunnels = read(mappings)?;
        let tunnels = tunnels.into_iter().map(Pick::Tunnel);
        let picks = numbers.iter().map(|n| Pick::Number(*n)).chain(tunnels);
        let picks = picks.collect();
        self.order(|answer| Order::Remove(picks, answer)).await?
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Done<T> {
        let (answer, answered) = oneshot::channel();
        let stopped = "the client is about to end";
        let sent = self.orders.send(order(answer)).await;
        sent.map_err(|_| stopped)?;
        Ok(answered.await.map_err(|_| stopped)?)
    }

    /// Opens a flow for a caller's socket, in a task of the session's.
    async fn connect(
        self,
        caller: Caller,
        target: &str,
        passed: Option<OwnedFd>,
    ) -> io::Result<()> {
        let target: Target = match target.parse() {
            Ok(target) => target,
            Err(e) => return caller.fail(format!("{target}: {e}")).await,
        };
        let Some(passed) = passed else {
            return caller.fail("a socket has to come with the request").await;
        };
        let socket = control::passed(passed)?;
        let Some(opener) = next_session(self.current).await else {
            let why = "the running client has no connection to its server";
            return caller.fail(why).await;
        };
        opener.clone().spawn(async move {
            let flow = connect(&caller, &opener, target, socket).await;
            if let Err(e) = flow {
                debug!("control socket: {e}");
            }
        });
        Ok(())
    }
}

fn read(mappings: &Mappings) -> Done<Vec<Tunnel>> {
    let Mappings {
        tunnel_out,
        tunnel_in,
        dynamic,
    } = mappings;
    config::mappings(tunnel_out, tunnel_in, dynamic).map_err(|e| e.to_string())
}

impl From<View> for TunnelView {
    fn from(view: View) -> Self {
        let View {
            number,
            tunnel,
            listening,
            added,
            refused,
        } = view;
        Self {
            number,
            tunnel,
            listening,
            added,
            refused,
        }
    }
}

/// Carries the caller's flow, unless the caller goes before its target has been reached.
async fn connect(
    caller: &Caller,
    opener: &Opener,
    target: Target,
    socket: Socket,
) -> io::Result<()> {
    let name = target.to_string();
    let reached = tokio::select! {
        reached = opener.connect(target) => reached,
        () = caller.gone() => return Ok(()),
    };
    let outcome = match reached {
        Ok(reached) => reached.carry(socket).await,
        Err(e) => Err(e),
    };
    match outcome {
        Ok(()) => caller.reply(&Reply::Ended).await,
        Err(e) => caller.fail(format!("{name}: {e}")).await,
    }
}
