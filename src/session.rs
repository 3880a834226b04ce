//! A session: an authenticated client on a connection, seen from either side.
//!
//! After [login] both sides do the same: carry flows, and end in order. Each tunnel is known by a
//! number that the client has chosen. The side that listens opens a stream for each visitor; the other
//! side dials. Tunnels come and go while it runs (`changes`).

mod changes;
mod control;
mod counted;
mod datagram;
mod dial;
mod error;
mod flow;
mod guest;
mod hearing;
mod http;
mod lanes;
mod local;
mod login;
mod socks5;
mod succession;
mod tunnels;
mod welcome;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug};

use self::changes::Changes;
use self::control::Control;
use self::datagram::Datagrams;
use self::dial::{Dialed, Dialing};
use self::flow::Shared;
use self::guest::Guest;
use self::lanes::Lanes;
use self::succession::Listening;
use crate::listener::Listener;
use crate::metrics::{Account, Listed};
use crate::transport::{CloseCode, Connection, Lost, Receiver, ResetCode, Sender};
use crate::tunnel::{Listen, Target};
use crate::wire::Message;

pub use crate::wire::{ALPN, Former};
pub use changes::OpenError;
pub use datagram::Association;
pub use error::{NotGiven, SessionError};
pub use flow::{FlowError, Opener, Reached};
pub use local::Local;
pub use login::{Instance, LoggedIn, greet, login};
pub use succession::{Inheritance, Succession};
pub use welcome::{MakeRoom, Newcomer};

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// We were told to stop, and did so in order.
    Stopped,
    /// The connection is no more.
    Lost(Lost),
    /// We were told to leave at once.
    Superseded,
    /// The client may not go on, for this reason.
    Unwelcome(String),
    /// The client was asked for a sign of life and gave none.
    Dead,
}

/// What flows are called that are of no tunnel.
const WITHOUT_TUNNEL: &str = "rstun connect";

/// Longest that a client may take to give a sign of life when it is asked for one: time for a packet
/// and its answer, and for a lost one to be sent again.
pub const PROBE: Duration = Duration::from_secs(1);

/// Time for a peer to do what it was told: a busy one is not there at once.
const HASTE: Duration = Duration::from_millis(20);

/// What a session may be asked for from elsewhere.
#[derive(Debug, Default)]
pub struct Summons {
    /// To break off all at once.
    pub leave: CancellationToken,
    /// To take no new flows, and to end with the last that is open.
    pub retire: CancellationToken,
    /// To give away what the session listens on, and to go on without.
    pub succession: Succession,
    /// To see whether the peer lives, and to end if it gives no sign of it within [`PROBE`].
    pub probe: Notify,
}

/// Which side of a session this is.
#[derive(Clone, Debug)]
enum Role {
    Client,
    Server(Arc<Guest>),
}

impl Role {
    /// The client at the other side, where this side is the server.
    fn guest(&self) -> Option<&Arc<Guest>> {
        match self {
            Self::Client => None,
            Self::Server(guest) => Some(guest),
        }
    }

    /// Waits until the client may not go on as it is, and says why. Cancel-safe.
    async fn unwelcome(&self) -> String {
        match self {
            Self::Client => std::future::pending().await,
            Self::Server(guest) => guest.unwelcome().await,
        }
    }
}

/// A session that is up.
#[derive(Debug)]
pub struct Session {
    role: Role,
    account: Arc<Account>,
    connection: Connection,
    control: Control,
    /// What the peer may have dialed here.
    dialing: Arc<Dialing>,
    /// Where this side listens for the session's own sake, by the tunnel's number: at first what is to
    /// be listened to, then a task for each.
    listeners: Vec<(u32, Local, Listen, Arc<Listener>)>,
    listening: HashMap<u32, Listening>,
    changes: Changes,
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
        account: Arc<Account>,
        connection: Connection,
        control: Control,
        dialed: impl IntoIterator<Item = (u32, String, Target)>,
        listeners: Vec<(u32, Local, Listen, Arc<Listener>)>,
        udp_idle: Duration,
    ) -> Self {
        let (token, draining) = (CancellationToken::new(), CancellationToken::new());
        let (flows, deaf) = (TaskTracker::new(), watch::Sender::new(false));
        let guest = role.guest();
        let own = guest
            .cloned()
            .map(|guest| Dialed::without_tunnel(account.implied(WITHOUT_TUNNEL, false), guest));
        let dialed = dialed.into_iter().map(|(number, name, target)| {
            let dialed = Dialed::new(account.dialed(&name), target, guest.cloned());
            (number, dialed)
        });
        let dialing = Arc::new(Dialing::new(dialed.chain(own)));
        let (sender, changes) = Changes::new();
        let datagrams = Datagrams::new(
            connection.clone(),
            Arc::clone(&dialing),
            udp_idle,
            token.clone(),
            role.guest().map(|guest| guest.identity.clone()),
        );
        let datagrams = Arc::new(datagrams);
        let without = account.implied(WITHOUT_TUNNEL, guest.is_none());
        let opener = Opener::new(
            connection.clone(),
            datagrams.clone(),
            flows.clone(),
            token.clone(),
            draining.clone(),
            deaf.subscribe(),
            Shared {
                lanes: Lanes::new(&token, &draining),
                changes: sender,
                without: Local::new(without, &Listen::Stdio, None),
            },
        );
        Self {
            role,
            account,
            connection,
            control,
            dialing,
            listeners,
            listening: HashMap::new(),
            changes,
            opener,
            datagrams,
            flows,
            token,
            draining,
            deaf,
        }
    }

    /// Shows this session, until what is returned is dropped: by the peer's name, and with the tunnels
    /// of its account.
    pub fn list(&self, peer: &str) -> Listed {
        let metrics = self.account.metrics();
        metrics.list(peer, self.account.clone(), Arc::new(self.opener.clone()))
    }

    /// What carries visitors that others accepted through this session.
    pub fn opener(&self) -> Opener {
        self.opener.clone()
    }

    /// Carries flows until the connection is lost, or `stop` is cancelled.
    ///
    /// On `stop` no new flows are taken, and those that are open have so long to finish, but for those
    /// of UDP, which never do; when summoned to retire, as long as they like. When it returns, no flow
    /// and no listener is left. Not cancel-safe: flows are broken, but may outlive it for a moment.
    pub async fn run(
        mut self,
        stop: &CancellationToken,
        summons: &Summons,
        drain: Duration,
    ) -> Ended {
        // However this ends, no flow outlives it.
        let _guard = self.token.clone().drop_guard();
        self.listen();
        self.datagrams.start();
        let connection = self.connection.clone();
        let mut credit = std::pin::pin!(connection.exchange_credit());
        let (role, deaf) = (self.role.clone(), self.deaf.clone());
        let mut unwelcome = std::pin::pin!(role.unwelcome());
        let mut dead = std::pin::pin!(shows_dead(&connection, &summons.probe));
        let mut hearing = std::pin::pin!(hearing::listen(&connection, &role, &deaf));
        let flows = self.flows.clone();
        let mut deadline = None;
        // When the peer was told that no new flows are taken.
        let mut told = None;
        let ended = loop {
            tokio::select! {
                // The end of the connection ends all the others too, and knows why.
                biased;
                lost = connection.closed() => break Ended::Lost(lost),
                () = stop.cancelled(), if deadline.is_none() => {
                    let end = Instant::now() + drain;
                    deadline = Some(end);
                    told = Some(self.announce_end(end).await);
                }
                () = summons.retire.cancelled(), if told.is_none() => {
                    let soon = Instant::now() + PROBE;
                    told = Some(self.announce_end(soon).await);
                }
                () = summons.leave.cancelled() => break Ended::Superseded,
                () = summons.succession.wanted(), if !summons.succession.is_given() => {
                    self.hand_over(&summons.succession).await;
                }
                () = &mut dead => break Ended::Dead,
                why = &mut unwelcome => break Ended::Unwelcome(why),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    debug!("{} flows did not finish in time", self.flows.len());
                    break Ended::Stopped;
                }
                () = last_flow(&flows, &connection, told), if told.is_some() => break Ended::Stopped,
                event = self.changes.next(&mut self.control) => {
                    let taken = match event {
                        Ok(event) => self.take(event).await,
                        Err(e) => Err(e),
                    };
                    if let Err(e) = taken {
                        break self.give_up(&e).await;
                    }
                }
                () = &mut credit => break self.give_up(&SessionError::Unexpected).await,
                () = &mut hearing => unreachable!("it listens for ever"),
                Ok((tx, rx)) = connection.accept() => self.accept(tx, rx, told),
            }
        };
        for (_, listening) in self.listening.drain() {
            listening.close().await;
        }
        self.end(ended).await
    }

    /// Ends what is left, and tells the peer why.
    async fn end(&self, ended: Ended) -> Ended {
        self.token.cancel();
        self.flows.close();
        self.flows.wait().await;
        self.datagrams.end().await;
        let (code, reason) = match (&ended, &self.role) {
            (Ended::Lost(_), _) => return ended,
            (Ended::Superseded, _) => (CloseCode::Superseded, "the client has connected anew"),
            (Ended::Dead, _) => (CloseCode::Superseded, "the client gave no sign of life"),
            (Ended::Unwelcome(why), _) => (CloseCode::Unwelcome, why.as_str()),
            (Ended::Stopped, Role::Client) => (CloseCode::Done, "the client is done"),
            (Ended::Stopped, Role::Server(_)) => (CloseCode::Shutdown, "the server was stopped"),
        };
        self.connection.close(code, reason).await;
        ended
    }

    /// Carries the visitors of all that this side listens on for the session's sake.
    fn listen(&mut self) {
        for (number, tunnel, listen, listener) in std::mem::take(&mut self.listeners) {
            let (opener, port) = (self.opener.clone(), (listen, listener.clone()));
            let carry = async move { opener.carry_all(number, tunnel, listener).await };
            let listening = Listening::new(port, carry);
            self.listening.insert(number, listening);
        }
    }

    /// Takes no new flows from now on, and tells the peer, which may take until `end`. Returns when that
    /// was: what the peer opens before it can know is still served.
    async fn announce_end(&mut self, end: Instant) -> Instant {
        self.drain();
        self.flows.close();
        // It fails with the connection, whose end is waited for elsewhere; and it may take as long as
        // a peer likes that reads nothing.
        let _ = timeout_at(end, self.control.write(&Message::Drain)).await;
        Instant::now()
    }

    /// Takes no new flows from now on.
    fn drain(&mut self) {
        self.draining.cancel();
        self.listening.values_mut().for_each(Listening::abort);
    }

    /// Takes no new visitors from now on: they are another session's of the same client's.
    async fn hand_over(&mut self, succession: &Succession) {
        if let Some(guest) = self.role.guest() {
            guest.retire();
        }
        let listening = std::mem::take(&mut self.listening);
        succession.give(listening.into_values()).await;
    }

    /// Serves a flow of the peer's, unless it was told long ago that none is taken any more.
    fn accept(&self, mut tx: Sender, mut rx: Receiver, told: Option<Instant>) {
        if told.is_some_and(|told| told + PROBE <= Instant::now()) {
            tx.reset(ResetCode::Draining);
            rx.stop(ResetCode::Draining);
            return;
        }
        let dialing = self.dialing.clone();
        let token = self.token.clone();
        let carried = async move {
            // A future holds what it is given a second time; in a box that costs a pointer.
            let flow = Box::pin(dial::accept(tx, rx, &dialing));
            token.run_until_cancelled(flow).await;
        };
        self.flows.spawn(carried.instrument(flow::span()));
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

/// Waits for the end of the last flow of a peer that was told then that no more are taken. Cancel-safe.
async fn last_flow(flows: &TaskTracker, connection: &Connection, told: Option<Instant>) {
    // The word there, and a flow of that very moment back.
    let on_the_way = (2 * connection.rtt() + HASTE).min(PROBE);
    sleep_until(told.unwrap_or_else(Instant::now) + on_the_way).await;
    flows.wait().await;
}

/// Waits until the peer was asked for a sign of life and has given none. Cancel-safe, but for a question
/// that is being asked.
async fn shows_dead(connection: &Connection, asked: &Notify) {
    loop {
        asked.notified().await;
        let before = connection.heard();
        // Whatever acknowledges it is a sign of life.
        connection.probe();
        sleep(PROBE).await;
        if connection.heard() == before {
            return;
        }
    }
}
