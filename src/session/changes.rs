//! Tunnels that come and go while a session runs.
//!
//! The client asks, and the server answers each request in its turn: while it works on one it reads
//! no further message, so that a client can have it do no more than one thing at a time.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::SessionError;
use super::control::Control;
use super::flow::Opener;
use super::guest::Asked;
use super::lanes::Lane;
use crate::tunnel::Tunnel;
use crate::wire::Message;

/// Changes that wait to be taken up.
const WAITING: usize = 16;

/// Time that one tunnel more takes of a client's allowance, and the most that it may have taken: so
/// many at once, and after that one each time.
const COST: Duration = Duration::from_millis(50);
const ALLOWANCE: Duration = Duration::from_secs(20);

/// Why there is no such tunnel.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The server does not allow it, for this reason.
    #[error("{0}")]
    Refused(String),
    /// The session has ended before there was an answer, or takes nothing new.
    #[error("the connection to the server was lost before it had answered")]
    Lost,
}

/// Where the server listens for a tunnel; nowhere if it dials.
pub(super) type Opened = Result<Option<String>, OpenError>;

/// What a client wants of its own session.
#[derive(Debug)]
pub(super) enum Change {
    Open {
        number: u32,
        tunnel: Tunnel,
        answer: oneshot::Sender<Opened>,
    },
    /// No new flows through this tunnel, and so long for those that are open. Where the server listens,
    /// it says when it does so no more.
    Close(u32, Duration, oneshot::Sender<()>),
}

impl Opener {
    /// Opens one more tunnel, of a number that no other of the session's ever had; returns where the
    /// server listens for it, if it does. It waits as long as the session lasts: a path that is silent for
    /// a while only delays the answer.
    pub async fn open_tunnel(&self, number: u32, tunnel: &Tunnel) -> Opened {
        let (answer, answered) = oneshot::channel();
        let change = Change::Open {
            number,
            tunnel: tunnel.clone(),
            answer,
        };
        self.shared()
            .changes
            .send(change)
            .await
            .map_err(|_| OpenError::Lost)?;
        answered.await.unwrap_or(Err(OpenError::Lost))
    }

    /// Has a tunnel take no new flows, and breaks those that are open after `drain`. Does not wait for
    /// them, nor for the server: what is returned ends when nobody listens for the tunnel any more.
    pub async fn close_tunnel(&self, number: u32, drain: Duration) -> oneshot::Receiver<()> {
        let (closed, listens_no_more) = oneshot::channel();
        // A session that has ended has no tunnels.
        let _ = self
            .shared()
            .changes
            .send(Change::Close(number, drain, closed))
            .await;
        listens_no_more
    }
}

/// What happens to the tunnels of a session.
pub(super) enum Event {
    /// The peer says something.
    Message(Message),
    /// This side wants something changed.
    Change(Change),
    /// What was asked of this side has been decided.
    Decided(Box<Asked>),
    /// A tunnel of ours has no flows any more.
    Drained(u32),
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Changes {
    wanted: mpsc::Receiver<Change>,
    /// Those that the server has not answered yet.
    pub(super) unanswered: HashMap<u32, (Tunnel, oneshot::Sender<Opened>)>,
    /// Those that the server was told of to close, and who waits for that.
    pub(super) closing: HashMap<u32, Option<oneshot::Sender<()>>>,
    /// What the client has asked for and is not decided yet: one at most.
    deciding: JoinSet<Asked>,
    draining: JoinSet<Option<u32>>,
    /// Until when the client has used up its allowance.
    spent: Instant,
}

impl Changes {
    /// None yet, and how they get here.
    pub(super) fn new() -> (mpsc::Sender<Change>, Self) {
        let (sender, wanted) = mpsc::channel(WAITING);
        let changes = Self {
            wanted,
            unanswered: HashMap::new(),
            closing: HashMap::new(),
            deciding: JoinSet::new(),
            draining: JoinSet::new(),
            spent: Instant::now(),
        };
        (sender, changes)
    }

    /// Waits for the next event. Cancel-safe.
    pub(super) async fn next(&mut self, control: &mut Control) -> Result<Event, SessionError> {
        let idle = self.deciding.is_empty();
        loop {
            return tokio::select! {
                message = control.read(), if idle => Ok(Event::Message(message?)),
                Some(change) = self.wanted.recv() => Ok(Event::Change(change)),
                Some(decided) = self.deciding.join_next() => match decided {
                    Ok(asked) => Ok(Event::Decided(Box::new(asked))),
                    Err(_) => pending().await,
                },
                Some(drained) = self.draining.join_next() => match drained {
                    Ok(Some(number)) => Ok(Event::Drained(number)),
                    // There may be another one, of which something is to be told.
                    Ok(None) | Err(_) => continue,
                },
            };
        }
    }

    /// Begins to decide on what a client asks for, as soon as it has the allowance for it.
    pub(super) fn decide(&mut self, decide: impl Future<Output = Asked> + Send + 'static) {
        let now = Instant::now();
        self.spent = self.spent.max(now) + COST;
        let from = self.spent - ALLOWANCE.min(self.spent - now);
        self.deciding.spawn(async move {
            sleep_until(from).await;
            decide.await
        });
    }

    /// Waits for the end of what is left of a tunnel, or makes one after so long, and then tells of it.
    pub(super) fn drain(&mut self, number: u32, lane: Lane, time: Duration) {
        self.draining.spawn(async move {
            let _ = timeout(time, lane.flows.wait()).await;
            lane.token.cancel();
            Some(number)
        });
    }

    /// Does something of which nothing is to be told.
    pub(super) fn later(&mut self, act: impl Future<Output = ()> + Send + 'static) {
        self.draining.spawn(async move {
            act.await;
            None
        });
    }
}
