//! A session: an authenticated client on a connection, seen from either side.
//!
//! After [login] both sides do the same: carry flows, and end in order. Each tunnel
//! is known by its number, its place in the client's login. The side that listens opens a stream
//! for each visitor; the other side dials.

mod control;
mod datagram;
mod dial;
mod flow;
mod hearing;
mod login;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::control::Control;
use self::datagram::Datagrams;
use self::dial::Dialed;
use crate::access::Access;
use crate::listener::Listener;
use crate::transport::{CloseCode, Connection, Lost, Receiver, ResetCode, Sender, StreamError};
use crate::tunnel::Target;
use crate::wire::{DecodeError, Message};

pub use crate::wire::{ALPN, NO_TUNNEL};
pub use datagram::Association;
pub use flow::{FlowError, Local, Opener, Reached};
pub use login::{Instance, LoggedIn, Newcomer, greet, login};

/// Why there is no session.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The connection was lost, or the peer closed it.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The peer sent what is no message.
    #[error("the peer broke the protocol: {0}")]
    Decode(#[from] DecodeError),
    /// The peer sent a message that has no place here.
    #[error("the peer broke the protocol: an unexpected message, or the end of the control stream")]
    Unexpected,
    /// The proof is not one of our password.
    #[error("wrong password: the server has another one")]
    WrongPassword,
    /// The server does not give us tunnels: each with its reason, on a line of its own.
    #[error("{}", list(.0))]
    Refused(Vec<(String, String)>),
}

impl SessionError {
    /// Whether trying again is of no use, because a person has to change something first.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(_) | Self::WrongPassword => true,
            Self::Lost(Lost::Certificate) => true,
            Self::Lost(_) | Self::Decode(_) | Self::Unexpected => false,
        }
    }
}

fn list(refused: &[(String, String)]) -> String {
    let each = refused
        .iter()
        .map(|(tunnel, why)| format!("the server refused {tunnel}: {why}"));
    each.collect::<Vec<_>>().join("\n")
}

impl From<StreamError> for SessionError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Lost => Self::Lost(Lost::Failed(error.to_string())),
            StreamError::Reset(_) => Self::Unexpected,
        }
    }
}

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// We were told to stop, and did so in order.
    Stopped,
    /// The connection is no more.
    Lost(Lost),
    /// We were told to leave at once.
    Superseded,
}

/// Which side of a session this is.
#[derive(Clone, Debug)]
enum Role {
    Client,
    Server(Arc<Access>),
}

/// A session that is up.
#[derive(Debug)]
pub struct Session {
    role: Role,
    connection: Connection,
    control: Control,
    /// What the peer may have dialed here, by the tunnel's number.
    dialed: Arc<HashMap<u32, Dialed>>,
    /// Where this side listens for the session's own sake, by the tunnel's number.
    listeners: Vec<(u32, Local, Listener)>,
    opener: Opener,
    datagrams: Arc<Datagrams>,
    flows: TaskTracker,
    /// Breaks all flows.
    token: CancellationToken,
    /// Tells that no new flow may be opened, because one side drains.
    draining: CancellationToken,
    /// Tells that the peer is out of hearing.
    deaf: watch::Sender<bool>,
}

impl Session {
    fn new(
        role: Role,
        connection: Connection,
        control: Control,
        dialed: impl IntoIterator<Item = (u32, String, Target)>,
        listeners: Vec<(u32, Local, Listener)>,
        udp_idle: Duration,
    ) -> Self {
        let (token, draining) = (CancellationToken::new(), CancellationToken::new());
        let (flows, deaf) = (TaskTracker::new(), watch::Sender::new(false));
        let access = match &role {
            Role::Client => None,
            Role::Server(access) => Some(access.clone()),
        };
        let own = access.clone().map(Dialed::without_tunnel);
        let dialed = dialed.into_iter().map(|(number, name, target)| {
            let dialed = Dialed::new(name, target, access.clone());
            (number, dialed)
        });
        let dialed = Arc::new(dialed.chain(own).collect());
        let datagrams = Datagrams::new(
            connection.clone(),
            Arc::clone(&dialed),
            udp_idle,
            token.clone(),
        );
        let datagrams = Arc::new(datagrams);
        let opener = Opener::new(
            connection.clone(),
            datagrams.clone(),
            flows.clone(),
            token.clone(),
            draining.clone(),
            deaf.subscribe(),
        );
        Self {
            role,
            connection,
            control,
            dialed,
            listeners,
            opener,
            datagrams,
            flows,
            token,
            draining,
            deaf,
        }
    }

    /// What carries visitors that others accepted through this session.
    pub fn opener(&self) -> Opener {
        self.opener.clone()
    }

    /// Carries flows until the connection is lost, or `stop` is cancelled.
    ///
    /// On `stop` no new flows are taken, and those that are open have so long to finish, but for those
    /// of UDP, which never do; on `leave`
    /// all is broken off at once. When it returns, no flow and no listener is left. Not
    /// cancel-safe: flows are broken, but may outlive it for a moment.
    pub async fn run(
        mut self,
        stop: &CancellationToken,
        leave: &CancellationToken,
        drain: Duration,
    ) -> Ended {
        // However this ends, no flow outlives it.
        let _guard = self.token.clone().drop_guard();
        let mut listening = JoinSet::new();
        for (number, tunnel, listener) in std::mem::take(&mut self.listeners) {
            let opener = self.opener.clone();
            listening.spawn(async move { opener.carry_all(number, tunnel, listener).await });
        }
        self.datagrams.start();
        let connection = self.connection.clone();
        let mut credit = std::pin::pin!(connection.exchange_credit());
        let role = self.role.clone();
        let deaf = self.deaf.clone();
        let mut hearing = std::pin::pin!(hearing::listen(&connection, &role, &deaf));
        let mut deadline = None;
        let ended = loop {
            let stopping = deadline.is_some();
            tokio::select! {
                // The end of the connection ends all the others too, and knows why.
                biased;
                lost = connection.closed() => break Ended::Lost(lost),
                () = stop.cancelled(), if !stopping => {
                    let end = Instant::now() + drain;
                    deadline = Some(end);
                    self.drain(&mut listening);
                    self.flows.close();
                    // It fails with the connection, of which the first branch will tell; and it may
                    // take as long as a peer likes that reads nothing.
                    let _ = timeout_at(end, self.control.write(&Message::Drain)).await;
                }
                () = leave.cancelled() => break Ended::Superseded,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if stopping => {
                    debug!("{} flows did not finish in time", self.flows.len());
                    break Ended::Stopped;
                }
                () = self.flows.wait(), if stopping => break Ended::Stopped,
                message = self.control.read() => match message {
                    Ok(Message::Drain) => self.drain(&mut listening),
                    Ok(_) => break self.give_up(&SessionError::Unexpected).await,
                    Err(e) => break self.give_up(&e).await,
                },
                () = &mut credit => break self.give_up(&SessionError::Unexpected).await,
                () = &mut hearing => unreachable!("it listens for ever"),
                Ok((tx, rx)) = connection.accept() => self.accept(tx, rx, stopping),
            }
        };
        listening.shutdown().await;
        self.token.cancel();
        self.flows.close();
        self.flows.wait().await;
        self.datagrams.end().await;
        let (code, reason) = match (&ended, self.role) {
            (Ended::Lost(_), _) => return ended,
            (Ended::Superseded, _) => (CloseCode::Superseded, "the client has connected anew"),
            (Ended::Stopped, Role::Client) => (CloseCode::Done, "the client was stopped"),
            (Ended::Stopped, Role::Server(_)) => (CloseCode::Shutdown, "the server was stopped"),
        };
        self.connection.close(code, reason).await;
        ended
    }

    /// Takes no new flows from now on.
    fn drain(&self, listening: &mut JoinSet<()>) {
        self.draining.cancel();
        listening.abort_all();
    }

    fn accept(&self, mut tx: Sender, mut rx: Receiver, stopping: bool) {
        if stopping {
            tx.reset(ResetCode::Draining);
            rx.stop(ResetCode::Draining);
            return;
        }
        let dialed = self.dialed.clone();
        let token = self.token.clone();
        self.flows.spawn(async move {
            // A future holds what it is given a second time; in a box that costs a pointer.
            let flow = Box::pin(dial::accept(tx, rx, &dialed));
            token.run_until_cancelled(flow).await;
        });
    }

    /// Closes a connection whose peer does what it must not.
    async fn give_up(&self, error: &SessionError) -> Ended {
        if let SessionError::Lost(_) = error {
            return Ended::Lost(self.connection.closed().await);
        }
        self.connection
            .close(CloseCode::Protocol, &error.to_string())
            .await;
        Ended::Lost(Lost::Failed(error.to_string()))
    }
}
