//! The tunnels of a client, which come and go while it runs.
//!
//! What is wanted stands in a [`Book`]. Those who keep sessions up read it, and have each session do
//! what it says; here is the client's own side of it, its listeners.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::entry::{Entry, Origin, View};
use super::visitors;
use crate::listener::Listener;
use crate::metrics::Account;
use crate::session::{Local, Opener};
use crate::tunnel::{Half, Listen, MAX_TUNNELS, Tunnel};

/// All tunnels that there are to be, at any time; their numbers rise.
pub(super) type Book = watch::Receiver<Vec<Arc<Entry>>>;

/// What is to be done with the tunnels of a client that runs.
#[derive(Debug)]
pub(super) enum Order {
    /// To add these, all or none.
    Add(Vec<Tunnel>, oneshot::Sender<Result<Vec<View>, String>>),
    /// To remove those that fit any of these, each of which has to fit one.
    Remove(Vec<Pick>, oneshot::Sender<Result<Vec<View>, String>>),
    /// To have those of the configuration changed: without the first, and with the second.
    Change(Vec<Tunnel>, Vec<Tunnel>, oneshot::Sender<Changed>),
}

/// What became of a change of the configuration's tunnels.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// A line for each tunnel.
    pub(super) lines: Vec<String>,
    /// Those that were to be added, and could not be.
    pub(super) missing: Vec<Tunnel>,
}

/// Which tunnel is meant.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    Number(u32),
    Tunnel(Tunnel),
}

impl Pick {
    fn fits(&self, entry: &Entry) -> bool {
        match self {
            Self::Number(number) => *number == entry.number,
            Self::Tunnel(tunnel) => *tunnel == entry.tunnel,
        }
    }
}

impl std::fmt::Display for Pick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Tunnel(tunnel) => tunnel.fmt(f),
        }
    }
}

/// The client's own side of its tunnels.
#[derive(Debug)]
pub(super) struct Tunnels {
    book: watch::Sender<Vec<Arc<Entry>>>,
    next: u32,
    /// What is listened on here, by the tunnel's number: at first what is to be, then a task for each.
    bound: Vec<(u32, Local, Listener)>,
    listening: HashMap<u32, JoinSet<()>>,
    orders: mpsc::Receiver<Order>,
    account: Arc<Account>,
}

impl Tunnels {
    /// Binds what the tunnels listen on here, all or none; must be called within a runtime. Returns
    /// also how orders are given.
    pub(super) fn bind(
        tunnels: Vec<Tunnel>,
        account: &Arc<Account>,
    ) -> Result<(Self, mpsc::Sender<Order>), String> {
        let (sender, orders) = mpsc::channel(1);
        let mut new = Self {
            book: watch::Sender::default(),
            next: 0,
            bound: Vec::new(),
            listening: HashMap::new(),
            orders,
            account: account.clone(),
        };
        new.add(tunnels, Origin::Beginning)?;
        Ok((new, sender))
    }

    /// What there is to be at any time.
    pub(super) fn book(&self) -> Book {
        self.book.subscribe()
    }

    /// Where this side listens, in the order of the tunnels.
    pub(super) fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.bound
            .iter()
            .filter_map(|(.., listener)| listener.local_addr())
    }

    /// The tunnel whose one visitor is this process's standard input and output, and its number.
    pub(super) fn stdio(&self) -> Option<(u32, Local)> {
        let book = self.book.borrow();
        let entry = book.iter().find(|e| e.tunnel.listen == Listen::Stdio)?;
        let local = Local::new(entry.count.clone(), &Listen::Stdio, entry.tunnel.proxy);
        Some((entry.number, local))
    }

    /// Hands visitors to the session that there is, and does what it is told, until it is to stop.
    pub(super) async fn run(
        mut self,
        current: watch::Receiver<Option<Opener>>,
        stop: CancellationToken,
    ) {
        let run = async {
            self.listen(&current);
            while let Some(order) = self.orders.recv().await {
                // Who does not wait for the answer any more has what it asked for all the same.
                match order {
                    Order::Add(tunnels, answer) => {
                        let _ = answer.send(self.try_add(tunnels, &current).await);
                    }
                    Order::Change(gone, new, answer) => {
                        let _ = answer.send(self.change(gone, new, &current).await);
                    }
                    Order::Remove(picks, answer) => drop(answer.send(self.remove(&picks).await)),
                }
            }
            std::future::pending().await
        };
        stop.run_until_cancelled(run).await.unwrap_or(())
    }

    /// Carries the visitors of all that has been bound.
    fn listen(&mut self, current: &watch::Receiver<Option<Opener>>) {
        for (number, local, listener) in self.bound.drain(..) {
            let receive = visitors::receive(number, local, listener, current.clone());
            self.listening.entry(number).or_default().spawn(receive);
        }
    }

    /// Adds tunnels to the book, all or none.
    fn add(&mut self, tunnels: Vec<Tunnel>, origin: Origin) -> Result<Vec<Arc<Entry>>, String> {
        let (mut entries, mut bound, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        if self.book.borrow().len() + tunnels.len() > MAX_TUNNELS {
            return Err(format!("one client may have {MAX_TUNNELS} tunnels at most"));
        }
        for (number, tunnel) in (self.next..).zip(tunnels) {
            let (text, mut near) = (tunnel.to_string(), None);
            let count = match tunnel.near() {
                Half::Dial(_) => self.account.dialed(&text),
                Half::Listen(Listen::Stdio, _) => self.account.listened(&text),
                Half::Listen(listen, proxy) => {
                    let count = self.account.listened(&text);
                    match Listener::bind(&listen) {
                        Ok(listener) => {
                            info!("{tunnel}: listening on {listener}");
                            let addr = listener.to_string();
                            count.listens_at(&addr);
                            near = Some(addr);
                            bound.push((
                                number,
                                Local::new(count.clone(), &listen, proxy),
                                listener,
                            ));
                        }
                        Err(e) => {
                            failures.push(format!("{tunnel}: cannot listen on {listen}: {e}"))
                        }
                    }
                    count
                }
            };
            entries.push(Arc::new(Entry::new(number, tunnel, count, near, origin)));
        }
        if !failures.is_empty() {
            entries.iter().for_each(|entry| self.uncount(entry));
            return Err(failures.join("\n"));
        }
        self.next += entries.len() as u32;
        self.bound.append(&mut bound);
        self.book
            .send_modify(|book| book.extend(entries.iter().cloned()));
        Ok(entries)
    }

    /// Adds tunnels while there is a session, and takes them out again if the server does not want
    /// them.
    async fn try_add(
        &mut self,
        tunnels: Vec<Tunnel>,
        current: &watch::Receiver<Option<Opener>>,
    ) -> Result<Vec<View>, String> {
        if tunnels.iter().any(|tunnel| tunnel.listen == Listen::Stdio) {
            return Err("stdio: the standard input of a client that runs is not to be had".into());
        }
        if visitors::next_session(current.clone()).await.is_none() {
            return Err("the running client has no connection to its server".into());
        }
        let entries = self.add(tunnels, Origin::Added)?;
        let mut refused = Vec::new();
        for entry in &entries {
            if let Err(why) = entry.verdict().await {
                refused.push(format!("{}: {why}", entry.tunnel));
                // A server that does not answer says nothing of the others either.
                if !entry.is_judged() {
                    break;
                }
            }
        }
        if refused.is_empty() {
            self.listen(current);
            return Ok(entries.iter().map(|entry| entry.view()).collect());
        }
        self.bound.clear();
        self.forget(&entries);
        Err(refused.join("\n"))
    }

    /// Removes tunnels: nobody listens for them any more when it returns, and their flows drain. It fails
    /// where a server is silent about that; they are removed then all the same.
    async fn remove(&mut self, picks: &[Pick]) -> Result<Vec<View>, String> {
        let book = self.book.borrow().clone();
        let missing = picks
            .iter()
            .filter(|pick| !book.iter().any(|entry| pick.fits(entry)));
        let missing: Vec<_> = missing
            .map(|pick| format!("{pick}: there is no such tunnel"))
            .collect();
        if !missing.is_empty() {
            return Err(missing.join("\n"));
        }
        let gone = |entry: &Arc<Entry>| picks.iter().any(|pick| pick.fits(entry));
        let gone: Vec<_> = book.into_iter().filter(gone).collect();
        self.drop_all(&gone).await;
        let mut silent = Vec::new();
        for entry in &gone {
            if let Err(why) = entry.closed().await {
                silent.push(format!("{}: {why}", entry.tunnel));
                // Nor will it say anything of the others.
                break;
            }
        }
        match silent.is_empty() {
            true => Ok(gone.iter().map(|entry| entry.view()).collect()),
            false => Err(silent.join("\n")),
        }
    }

    /// Goes over to what the configuration has become: one tunnel after the other, and those that are
    /// to be had, for what somebody else has may be mended without this one.
    async fn change(
        &mut self,
        gone: Vec<Tunnel>,
        new: Vec<Tunnel>,
        current: &watch::Receiver<Option<Opener>>,
    ) -> Changed {
        let Changed {
            mut lines,
            mut missing,
        } = Changed::default();
        for tunnel in gone {
            let book = self.book.borrow().clone();
            let found = book
                .into_iter()
                .find(|entry| entry.origin != Origin::Added && entry.tunnel == tunnel);
            if let Some(entry) = found {
                self.drop_all(&[entry]).await;
                lines.push(format!("{tunnel}: removed"));
            }
        }
        let connected = current.borrow().is_some();
        for tunnel in new {
            match self.add(vec![tunnel.clone()], Origin::Reload) {
                Ok(entries) => {
                    let mut line = format!("{tunnel}: added");
                    for entry in entries.iter().filter(|_| connected) {
                        if let Err(why) = entry.verdict().await {
                            line = format!("{tunnel}: {why}");
                        }
                    }
                    // Visitors wait until then, for a server refuses what it does not know yet.
                    self.listen(current);
                    lines.push(line);
                }
                Err(why) => {
                    lines.push(why);
                    missing.push(tunnel);
                }
            }
        }
        Changed { lines, missing }
    }

    /// Has nobody listen for tunnels any more, and forgets them.
    async fn drop_all(&mut self, gone: &[Arc<Entry>]) {
        for entry in gone {
            if let Some(mut listening) = self.listening.remove(&entry.number) {
                listening.shutdown().await;
            }
            info!("{}: removed; its open flows may finish", entry.tunnel);
        }
        self.forget(gone);
    }

    fn forget(&self, gone: &[Arc<Entry>]) {
        let is_gone = |entry: &Entry| gone.iter().any(|gone| gone.number == entry.number);
        self.book
            .send_modify(|book| book.retain(|entry| !is_gone(entry)));
        gone.iter().for_each(|entry| self.uncount(entry));
    }

    /// Takes a tunnel that is gone from those that are shown, unless there is another like it.
    fn uncount(&self, entry: &Entry) {
        let like = |other: &Arc<Entry>| Arc::ptr_eq(&other.count, &entry.count);
        if let Some(near) = &entry.near {
            entry.count.listens_no_more_at(near);
        }
        if !self.book.borrow().iter().any(like) {
            self.account.forget(&entry.count.text);
        }
    }
}
