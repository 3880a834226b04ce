//! A stay with one server: from connecting to it to the end of the session, over as many connections as
//! that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::backoff::Backoff;
use super::connecting::{self, CONNECT_DEADLINE};
use super::tunnels::{Book, Entry, Judge, Whereabouts};
use crate::config::{ClientConfig, Upstream, Ways};
use crate::metrics::{Account, Login};
use crate::session::{
    self, ALPN, Former, Instance, LoggedIn, OpenError, Opener, Session, SessionError, Summons,
};
use crate::transport::{CloseCode, Connection, Lost, Transport};

/// Head start of a connection that was out of hearing over one made since: the older has the flows. It
/// is looked at each second whether it is heard.
const SECOND_CHANCE: Duration = Duration::from_millis(2200);

/// The same over one by TCP, which says nothing of whether the older one's UDP gets through again: a look,
/// and the answer to a probe before it.
const SECOND_CHANCE_OVER_TCP: Duration = Duration::from_millis(1500);

/// Time between attempts to connect beside a connection that is out of hearing.
const ANOTHER_TRY: Duration = Duration::from_secs(1);

/// First and longest wait between attempts to go back to QUIC from TCP.
const FIRST_RETURN: Duration = Duration::from_secs(5);
const LONGEST_RETURN: Duration = Duration::from_secs(300);

/// What connects to one server and carries sessions with it.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    /// The server.
    pub(super) upstream: Upstream,
    config: Arc<ClientConfig>,
    tls: Arc<rustls::ClientConfig>,
    instance: Instance,
    /// The tunnels that there are to be.
    book: Book,
    account: Arc<Account>,
    /// Whether there has been a session with this server.
    connected: Arc<AtomicBool>,
    stop: CancellationToken,
    /// Sessions by TCP that finish their flows while another goes on by QUIC.
    retiring: TaskTracker,
}

/// What happens during a stay.
#[derive(Debug)]
pub(super) enum News {
    /// There is a session.
    Up(Box<Opener>),
    /// The server is out of hearing, or is heard again.
    Deaf(bool),
    /// The session takes no new flows any more, and lasts as long as those that are open.
    Draining,
    /// The server is out of hearing, and by another address it is not: that may be another machine.
    Elsewhere(Connection),
}

/// How a stay ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// In order, as it was told to.
    Stopped,
    /// With the connection.
    Lost(Lost),
    /// Without a session.
    Failed(SessionError),
}

impl Keeper {
    /// One that stays until `stop` is cancelled, and counts in this account.
    pub(super) fn new(
        upstream: Upstream,
        config: Arc<ClientConfig>,
        book: Book,
        stop: CancellationToken,
        account: Arc<Account>,
    ) -> Result<Self> {
        let tls = upstream.trust.config(ALPN, config.credential.key())?;
        Ok(Self {
            upstream,
            account,
            book,
            connected: Arc::default(),
            config,
            tls: Arc::new(tls),
            instance: new_instance(),
            stop,
            retiring: TaskTracker::new(),
        })
    }

    /// Waits, once stopped, for what is left of sessions that others have replaced.
    pub(super) async fn retired(&self) {
        self.retiring.close();
        self.retiring.wait().await;
    }

    /// Takes what comes next for another client than the one so far: a new session replaces one of the
    /// same client's, with all of its flows.
    pub(super) fn begin_anew(&mut self) {
        self.instance = new_instance();
    }

    /// Connects, if there is no connection yet, logs in and carries flows until the session is lost, or
    /// until told to stop. On `retire` it takes no new flows, and ends with the last that is open.
    pub(super) async fn stay(
        self,
        mut next: Option<Connection>,
        retire: CancellationToken,
        mut tell: impl FnMut(News),
    ) -> Outcome {
        let mut moved = None;
        loop {
            let log_in = async {
                match moved.take() {
                    Some(logged_in) => logged_in,
                    None => self.log_in(next.take(), Former::Breaks).await,
                }
            };
            let log_in = self.stop.run_until_cancelled(log_in);
            let logged_in = match retire.run_until_cancelled(log_in).await.flatten() {
                None => return Outcome::Stopped,
                Some(Err(e)) => return Outcome::Failed(e),
                Some(Ok(logged_in)) => logged_in,
            };
            match self.carry(logged_in, &retire, &mut tell).await {
                Ended::Superseded(connection) => next = Some(connection),
                Ended::Moved(logged_in) => moved = Some(*logged_in),
                Ended::Stopped => return Outcome::Stopped,
                Ended::Lost(lost) => return Outcome::Lost(lost),
            }
        }
    }

    /// How the server is told of.
    fn judge(&self) -> Judge {
        let addr = &self.upstream.addr;
        Judge {
            name: match self.config.servers.len() {
                1 => "the server".to_owned(),
                _ => addr.to_string(),
            },
            host: addr.host.clone(),
        }
    }

    /// Connects to the server as it can be reached now. Cancel-safe.
    async fn connect(&self) -> Result<Connection, SessionError> {
        self.connect_by(&self.upstream.ways).await
    }

    async fn connect_by(&self, ways: &Ways) -> Result<Connection, SessionError> {
        let mut tuning = self.config.tuning;
        tuning.hop.more_ports = self.upstream.more_ports;
        let connecting = connecting::connect(&self.upstream.addr, ways, &self.tls, tuning);
        connecting.await.map_err(|lost| match lost {
            Lost::Certificate(why) => SessionError::Untrusted(self.upstream.trust.complaint(&why)),
            lost => SessionError::Lost(lost),
        })
    }

    /// Logs in to the server, over this connection or a new one.
    async fn log_in(
        &self,
        connection: Option<Connection>,
        former: Former,
    ) -> Result<Begun, SessionError> {
        let logged_in = self.try_to_log_in(connection, former).await;
        let failed = logged_in.as_ref().err();
        let how = failed.map_or(Login::Accepted, SessionError::kind);
        self.account.metrics().login(how);
        logged_in
    }

    async fn try_to_log_in(
        &self,
        connection: Option<Connection>,
        former: Former,
    ) -> Result<Begun, SessionError> {
        let connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let remote = connection.remote_address();
        let mut entries = self.book.borrow().clone();
        entries.retain(|entry| entry.is_certain());
        let tunnels = entries.iter().map(|e| (e.number, e.tunnel.clone()));
        let tunnels: Vec<_> = tunnels.collect();
        let credential = &self.config.credential;
        let idle = self.config.udp_idle;
        let login = session::login(
            connection,
            credential,
            (self.instance, former),
            &tunnels,
            idle,
            self.account.clone(),
        );
        let logged_in = timeout(CONNECT_DEADLINE, login)
            .await
            .map_err(|_| SessionError::Lost(Lost::TimedOut))??;
        let LoggedIn { session, listening } = logged_in;
        match session.opener().describe().transport {
            Transport::Quic => info!("connected to {remote}"),
            Transport::Tcp => info!("connected to {remote} by TCP"),
        }
        let judge = self.judge();
        let open = entries.iter().zip(listening).map(|(entry, listening)| {
            let whereabouts = entry.take(&judge, Ok(listening));
            (entry.number, whereabouts)
        });
        let open = open.collect();
        Ok(Begun { session, open })
    }

    /// Runs a session to its end, and shows it for as long.
    async fn carry(
        &self,
        Begun { session, open }: Begun,
        retire: &CancellationToken,
        tell: &mut impl FnMut(News),
    ) -> Ended {
        if self.connected.swap(true, Ordering::Relaxed) {
            self.account.metrics().reconnect();
        }
        let _listed = session.list(&self.upstream.addr.to_string());
        self.run(session, open, retire, tell).await
    }

    /// Keeps in mind why there is no session.
    pub(super) fn fault(&self, why: &str) {
        self.account.metrics().fault(why);
    }

    /// Runs a session to its end. One that has become deaf ends when another connection can be had
    /// before it is heard again, unless it takes no new flows any more.
    async fn run(
        &self,
        session: Session,
        open: Given,
        retire: &CancellationToken,
        tell: &mut impl FnMut(News),
    ) -> Ended {
        let opener = session.opener();
        tell(News::Up(Box::new(opener.clone())));
        let summons = Arc::new(Summons {
            retire: retire.child_token(),
            ..Summons::default()
        });
        let (stop, drain, summoned) = (self.stop.clone(), self.config.drain, summons.clone());
        let mut run = Box::pin(async move { session.run(&stop, &summoned, drain).await });
        let connection = tokio::select! {
            ended = &mut run => return ended.into(),
            () = self.keep_to_the_book(&opener, open) => unreachable!("it never ends"),
            () = follow(&opener, tell) => unreachable!("it follows for ever"),
            connection = self.replacement(&opener) => connection,
            moved = self.back_to_quic(&opener) => {
                // Its flows go on where they are, and new ones do not wait for that.
                summons.retire.cancel();
                self.retiring.spawn(run);
                return Ended::Moved(Box::new(moved));
            }
        };
        if connection.remote_address().ip() != opener.remote_address().ip() {
            // What is open can go on when the server is heard again.
            tell(News::Elsewhere(connection));
            return run.await.into();
        }
        summons.leave.cancel();
        match run.await {
            session::Ended::Superseded => Ended::Superseded(connection),
            ended => ended.into(),
        }
    }

    /// Has a session open and close tunnels as the book says, for ever; it begins with these.
    async fn keep_to_the_book(&self, opener: &Opener, mut open: Given) {
        let (mut book, judge) = (self.book.clone(), self.judge());
        let mut refused = BTreeSet::new();
        loop {
            let wanted = book.borrow_and_update().clone();
            let is_wanted = |number: &u32| wanted.iter().any(|entry| entry.number == *number);
            let (kept, gone) = open.into_iter().partition(|(number, _)| is_wanted(number));
            open = kept;
            for (number, _) in Given::from_iter(gone) {
                opener.close_tunnel(number, self.config.drain).await;
            }
            let new = |entry: &&Arc<Entry>| {
                !open.contains_key(&entry.number) && !refused.contains(&entry.number)
            };
            let new: Vec<_> = wanted.iter().filter(new).collect();
            for entry in new {
                // A session that takes nothing new is not to be asked, nor for what nobody may want any
                // more.
                if !opener.is_open() || book.has_changed().unwrap_or(true) {
                    break;
                }
                match opener.open_tunnel(entry.number, &entry.tunnel).await {
                    Ok(listening) => {
                        open.insert(entry.number, entry.take(&judge, Ok(listening)));
                    }
                    Err(OpenError::Refused(why)) => {
                        refused.insert(entry.number);
                        entry.take(&judge, Err(why));
                    }
                    Err(OpenError::Lost) => {}
                }
            }
            if book.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for a connection to take the place of one that is out of hearing. Cancel-safe.
    async fn replacement(&self, opener: &Opener) -> Connection {
        tokio::select! {
            connection = self.other_connection(opener) => connection,
            () = opener.draining() => std::future::pending().await,
        }
    }

    /// Logs in by QUIC as soon as that works, where the session so far goes by TCP though it need not. The
    /// server hands to the new session what it listens on. Cancel-safe.
    async fn back_to_quic(&self, opener: &Opener) -> Result<Begun, SessionError> {
        let ways = &self.upstream.ways;
        if opener.describe().transport == Transport::Quic || !ways.quic {
            return std::future::pending().await;
        }
        let ways = Ways {
            quic: true,
            tcp: None,
        };
        let mut backoff = Backoff::between(FIRST_RETURN, LONGEST_RETURN);
        loop {
            sleep(backoff.wait(fastrand::f64())).await;
            if opener.is_deaf() || !opener.is_open() {
                continue;
            }
            match self.connect_by(&ways).await {
                Ok(connection) => return self.log_in(Some(connection), Former::Retires).await,
                Err(e) => debug!("no QUIC yet to {}: {e}", self.upstream.addr),
            }
        }
    }

    async fn other_connection(&self, opener: &Opener) -> Connection {
        loop {
            opener.deaf(true).await;
            match self.connect().await {
                Ok(connection) => {
                    // The way is open, so the older one is heard too if it lives.
                    opener.probe();
                    let chance = match connection.describe().transport {
                        Transport::Quic => SECOND_CHANCE,
                        Transport::Tcp => SECOND_CHANCE_OVER_TCP,
                    };
                    if timeout(chance, opener.deaf(false)).await.is_err() {
                        return connection;
                    }
                    connection.close(CloseCode::Done, "not needed").await;
                }
                Err(e) => {
                    debug!("no other connection to {}: {e}", self.upstream.addr);
                    sleep(ANOTHER_TRY).await;
                }
            }
        }
    }
}

/// A session that has begun, with the tunnels of these numbers.
struct Begun {
    session: Session,
    open: Given,
}

/// The tunnels that a server has given us, by their numbers, and where it listens for them.
type Given = BTreeMap<u32, Option<Whereabouts>>;

/// How a session of the client's ended.
enum Ended {
    /// In order, as it was told to.
    Stopped,
    /// With its connection.
    Lost(Lost),
    /// In favour of this connection.
    Superseded(Connection),
    /// In favour of another session, if there is one; its flows go on.
    Moved(Box<Result<Begun, SessionError>>),
}

impl From<session::Ended> for Ended {
    fn from(ended: session::Ended) -> Self {
        match ended {
            session::Ended::Lost(lost) => Self::Lost(lost),
            session::Ended::Stopped => Self::Stopped,
            // These are the server's, and the first is told of otherwise.
            session::Ended::Superseded | session::Ended::Unwelcome(_) | session::Ended::Dead => {
                Self::Stopped
            }
        }
    }
}

/// Tells what becomes of a session's peer, for ever.
async fn follow(opener: &Opener, tell: &mut impl FnMut(News)) {
    let mut deaf = false;
    loop {
        tokio::select! {
            () = opener.deaf(!deaf) => {
                deaf = !deaf;
                tell(News::Deaf(deaf));
            }
            () = opener.draining() => break,
        }
    }
    tell(News::Draining);
    std::future::pending().await
}

fn new_instance() -> Instance {
    std::array::from_fn(|_| fastrand::u8(..))
}
