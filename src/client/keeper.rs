//! A stay with one server: from connecting to it to the end of the session, over as many connections as
//! that takes.

mod book;
mod login;
mod replacement;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::entry::{Judge, Whereabouts};
use super::terms::{Current, Terms};
use super::tunnels::Book;
use crate::config::{ClientConfig, Upstream};
use crate::metrics::Account;
use crate::session::{self, Former, Instance, Opener, Session, SessionError, Summons};
use crate::transport::{Connection, Lost};

/// What connects to one server and carries sessions with it.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    /// The server.
    pub(super) upstream: Upstream,
    config: Arc<ClientConfig>,
    terms: Current,
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
        terms: Current,
        stop: CancellationToken,
        account: Arc<Account>,
    ) -> Self {
        Self {
            upstream,
            account,
            book,
            connected: Arc::default(),
            config,
            terms,
            instance: new_instance(),
            stop,
            retiring: TaskTracker::new(),
        }
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
    ///
    /// A tunnel that the server refuses ends it, unless it is `lenient` or has had a session.
    pub(super) async fn stay(
        self,
        mut next: Option<Connection>,
        mut lenient: bool,
        retire: CancellationToken,
        mut tell: impl FnMut(News),
    ) -> Outcome {
        let mut moved = None;
        loop {
            let log_in = async {
                match moved.take() {
                    Some(logged_in) => logged_in,
                    None => self.log_in(next.take(), Former::Breaks, lenient).await,
                }
            };
            let log_in = self.stop.run_until_cancelled(log_in);
            let logged_in = match retire.run_until_cancelled(log_in).await.flatten() {
                None => return Outcome::Stopped,
                Some(Err(e)) => return Outcome::Failed(e),
                Some(Ok(logged_in)) => logged_in,
            };
            lenient = true;
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

    /// Runs a session to its end, and shows it for as long.
    async fn carry(
        &self,
        begun: Begun,
        retire: &CancellationToken,
        tell: &mut impl FnMut(News),
    ) -> Ended {
        if self.connected.swap(true, Ordering::Relaxed) {
            self.account.metrics().reconnect();
        }
        let _listed = begun.session.list(&self.upstream.addr.to_string());
        self.run(begun, retire, tell).await
    }

    /// Keeps in mind why there is no session.
    pub(super) fn fault(&self, why: &str) {
        self.account.metrics().fault(why);
    }

    /// Runs a session to its end. One that has become deaf ends when another connection can be had
    /// before it is heard again, unless it takes no new flows any more.
    async fn run(
        &self,
        Begun {
            session,
            open,
            terms,
        }: Begun,
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
            moved = self.another(&opener, &terms) => {
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
}

/// A session that has begun, with the tunnels of these numbers.
struct Begun {
    session: Session,
    open: Given,
    /// What the login was made by.
    terms: Arc<Terms>,
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
