//! All servers of a client: a session with one of them or with each, as [`Failover`] decides.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ClientError;
use super::failover::{Failover, Outlook, Policy};
use super::keeper::{Keeper, News, Outcome};
use super::terms::Current;
use super::tunnels::Book;
use crate::config::ClientConfig;
use crate::metrics::Account;
use crate::session::{Opener, SessionError};
use crate::transport::Connection;
use crate::tunnel::HostPort;

/// Time between two looks at how near the servers are.
const LOOK: Duration = Duration::from_secs(5);

/// The sessions with all servers of a list.
#[derive(Debug)]
pub(super) struct Servers {
    keepers: Vec<Keeper>,
    policy: Policy,
    terms: Current,
    stop: CancellationToken,
    /// The session that new flows go through, at any time.
    current: watch::Sender<Option<Opener>>,
}

impl Servers {
    /// Those of a configuration, none of which has been tried, with these tunnels and terms. They are left
    /// when `stop` is cancelled. What is carried counts in this account.
    pub(super) fn new(
        config: ClientConfig,
        book: &Book,
        terms: &Current,
        stop: CancellationToken,
        account: &Arc<Account>,
    ) -> Self {
        let config = Arc::new(config);
        let keeper = |upstream| {
            let (config, book, terms) = (config.clone(), book.clone(), terms.clone());
            Keeper::new(upstream, config, book, terms, stop.clone(), account.clone())
        };
        Self {
            keepers: config.servers.iter().cloned().map(keeper).collect(),
            terms: terms.clone(),
            policy: match config.all_servers {
                true => Policy::All,
                false => Policy::First,
            },
            stop,
            current: watch::Sender::new(None),
        }
    }

    /// The session that new flows go through, at any time.
    pub(super) fn session(&self) -> watch::Receiver<Option<Opener>> {
        self.current.subscribe()
    }

    /// Keeps sessions up until told to stop; without `again`, the first one until its end. It fails
    /// when trying again is of no use. When it returns, there is no session any more.
    pub(super) async fn run(self, again: bool) -> Result<(), ClientError> {
        let (tell, mut news) = mpsc::unbounded_channel();
        let mut running = Running::new(self, again, tell);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut terms = running.servers.terms.clone();
        loop {
            running.settle()?;
            let stopping = running.servers.stop.is_cancelled();
            if stopping && running.stays.is_empty() {
                for keeper in &running.servers.keepers {
                    keeper.retired().await;
                }
                return Ok(());
            }
            let wake = running.failover.wake().map(Instant::from_std);
            tokio::select! {
                // What is told of a stay comes before its end.
                biased;
                () = running.servers.stop.cancelled(), if !stopping => {}
                Some((stay, news)) = news.recv() => running.hear(stay, news),
                Some(ended) = running.stays.join_next() => running.end(ended)?,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() && !stopping => {}
                Ok(()) = terms.changed() => running.failover.forgive(Instant::now().into_std()),
                _ = looks.tick(), if running.servers.policy == Policy::All => running.measure(),
            }
        }
    }
}

/// A stay with a server: which one, and which of all stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StayId {
    server: usize,
    number: u64,
}

/// The stay with a server that counts. Others there may be still have flows to finish.
#[derive(Debug)]
struct Stay {
    number: u64,
    session: Option<Opener>,
    retire: CancellationToken,
}

/// Servers while they are used.
#[derive(Debug)]
struct Running {
    servers: Servers,
    failover: Failover,
    again: bool,
    tell: mpsc::UnboundedSender<(StayId, News)>,
    stays: JoinSet<(StayId, Outcome)>,
    /// By server.
    current: Vec<Option<Stay>>,
    /// Why there is no session, by server.
    reasons: Vec<Option<String>>,
    /// How many stays there have been.
    count: u64,
    /// The server of the session that new flows go through.
    used: Option<usize>,
    /// Whether there has been a session.
    has_begun: bool,
}

impl Running {
    fn new(servers: Servers, again: bool, tell: mpsc::UnboundedSender<(StayId, News)>) -> Self {
        let n = servers.keepers.len();
        Self {
            failover: Failover::new(servers.policy, n, Instant::now().into_std()),
            servers,
            again,
            tell,
            stays: JoinSet::new(),
            current: (0..n).map(|_| None).collect(),
            reasons: vec![None; n],
            count: 0,
            used: None,
            has_begun: false,
        }
    }

    /// Does what follows from all that is known. Fails when no server will have us.
    fn settle(&mut self) -> Result<(), ClientError> {
        if !self.servers.stop.is_cancelled() {
            let now = Instant::now().into_std();
            while let Some(server) = self.failover.next(now) {
                self.begin(server, None);
            }
            while let Some(server) = self.failover.spare(now) {
                self.leave(server);
            }
            if self.failover.is_hopeless() && self.stays.is_empty() {
                let reasons = mem::take(&mut self.reasons).into_iter().flatten();
                let reasons = reasons.collect::<Vec<_>>().join("\n");
                return Err(ClientError::NoSession(reasons));
            }
        }
        self.publish();
        Ok(())
    }

    /// Begins a stay with a server, over a connection that there is already or a new one.
    fn begin(&mut self, server: usize, connection: Option<Connection>) {
        if self.reasons[server].is_none() {
            info!("connecting to {}", self.name(server));
        }
        self.count += 1;
        let id = StayId {
            server,
            number: self.count,
        };
        let retire = CancellationToken::new();
        let (keeper, tell) = (self.servers.keepers[server].clone(), self.tell.clone());
        let lenient = self.is_lenient();
        let stay = keeper.stay(connection, lenient, retire.clone(), move |news| {
            // Nobody listens only where all is being dropped.
            let _ = tell.send((id, news));
        });
        self.stays.spawn(async move { (id, stay.await) });
        self.current[server] = Some(Stay {
            number: id.number,
            session: None,
            retire,
        });
    }

    /// Whether a session without some of the tunnels is better than none: not at the beginning, when
    /// somebody looks, nor where another server stands in meanwhile.
    fn is_lenient(&self) -> bool {
        let replaced = matches!(self.failover.outlook(), Outlook::Use(_));
        self.has_begun && (self.servers.policy == Policy::All || !replaced)
    }

    /// Has a stay end with the flows that are open; the next one with this server is to leave those
    /// alone.
    fn leave(&mut self, server: usize) {
        if let Some(stay) = self.current[server].take() {
            stay.retire.cancel();
        }
        self.servers.keepers[server].begin_anew();
    }

    /// Takes in what happens during a stay.
    fn hear(&mut self, id: StayId, news: News) {
        let server = id.server;
        let Some(stay) = self.current_stay(id) else {
            return;
        };
        match news {
            News::Up(opener) => {
                let rtt = opener.rtt();
                stay.session = Some(*opener);
                self.reasons[server] = None;
                self.has_begun = true;
                self.failover.up(server, rtt);
            }
            News::Deaf(deaf) => self.failover.deaf(server, deaf),
            // As it was told to.
            News::Draining | News::Elsewhere(_) if self.servers.stop.is_cancelled() => {}
            News::Elsewhere(connection) => {
                self.leave(server);
                self.failover.again(server);
                self.begin(server, Some(connection));
            }
            News::Draining => {
                info!(
                    "{} is being stopped; open flows can finish",
                    self.name(server)
                );
                self.reasons[server] = Some(format!("{} is being stopped", self.name(server)));
                self.leave(server);
                let now = Instant::now().into_std();
                self.failover.left(server, now, fastrand::f64());
            }
        }
    }

    fn current_stay(&mut self, id: StayId) -> Option<&mut Stay> {
        let stay = self.current[id.server].as_mut();
        stay.filter(|stay| stay.number == id.number)
    }

    /// Takes in how a stay has ended.
    fn end(&mut self, ended: Result<(StayId, Outcome), JoinError>) -> Result<(), ClientError> {
        let now = Instant::now().into_std();
        let (id, outcome) =
            ended.map_err(|e| ClientError::NoSession(format!("a session failed: {e}")))?;
        let server = id.server;
        if self.current_stay(id).is_none() {
            self.failover.gone(server, now, fastrand::f64());
            return Ok(());
        }
        let stay = self.current[server].take();
        if let Outcome::Stopped = outcome {
            return Ok(());
        }
        let why = self.explain(server, &outcome);
        self.servers.keepers[server].fault(&why);
        self.reasons[server] = Some(why.clone());
        let is_final = match &outcome {
            Outcome::Failed(SessionError::Refused(_)) => !self.has_begun,
            Outcome::Failed(e) => e.is_final(),
            _ => false,
        };
        if !self.again && stay.is_some_and(|stay| stay.session.is_some()) {
            return Err(ClientError::NoSession(why));
        }
        if is_final || !self.again {
            self.failover.refused(server, now);
            if !self.failover.is_hopeless() {
                warn!("{why}; going on with the other servers");
            }
            return Ok(());
        }
        let wait = self.failover.left(server, now, fastrand::f64());
        match self.failover.outlook() {
            _ if self.servers.stop.is_cancelled() => {}
            Outlook::Use(used) => warn!("{why}; {} is used meanwhile", self.name(used)),
            Outlook::Wait | Outlook::Silent(_) => {
                warn!("{why}; retry in {:.1} s", wait.as_secs_f64())
            }
        }
        Ok(())
    }

    /// Why there is no session, in lines that say which server it is where there are several.
    fn explain(&self, server: usize, outcome: &Outcome) -> String {
        let (name, alone) = (self.name(server), self.current.len() == 1);
        let why = match outcome {
            Outcome::Stopped => "stopped as we were told".to_owned(),
            Outcome::Lost(lost) => format!("connection lost: {lost}"),
            Outcome::Failed(e) if !e.is_final() => return format!("cannot connect to {name}: {e}"),
            Outcome::Failed(e) => e.to_string(),
        };
        match alone {
            true => why,
            false => {
                let lines = why.lines().map(|line| format!("{name}: {line}"));
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    }

    fn measure(&mut self) {
        for (server, stay) in self.current.iter().enumerate() {
            if let Some(opener) = stay.as_ref().and_then(|stay| stay.session.as_ref()) {
                self.failover.measured(server, opener.rtt());
            }
        }
    }

    /// Shows to visitors which session they are to go through.
    fn publish(&mut self) {
        let (server, used) = match self.failover.outlook() {
            Outlook::Use(server) => (Some(server), Some(server)),
            Outlook::Silent(server) => (Some(server), None),
            Outlook::Wait => (None, None),
        };
        let stay = server.and_then(|server| self.current[server].as_ref());
        let opener = stay.and_then(|stay| stay.session.clone());
        self.servers.current.send_if_modified(|current| {
            let same = match (&*current, &opener) {
                (Some(current), Some(opener)) => current.is(opener),
                (None, None) => true,
                _ => false,
            };
            if !same {
                *current = opener;
            }
            !same
        });
        if let Some(server) = used.filter(|_| self.current.len() > 1 && self.used != used) {
            info!("new flows go through {}", self.name(server));
        }
        self.used = used.or(self.used);
    }

    fn name(&self, server: usize) -> &HostPort {
        &self.servers.keepers[server].upstream.addr
    }
}
