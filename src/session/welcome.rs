//! What a client that has logged in gets: its tunnels, if it may have all of them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::control::Control;
use super::guest::Guest;
use super::succession::Inheritance;
use super::{Instance, Local, NotGiven, Role, Session, SessionError};
use crate::access::{Access, Held, Identity, is_bench};
use crate::audit;
use crate::connector;
use crate::listener::{Listener, Ports};
use crate::metrics::{Account, Metrics};
use crate::transport::{CloseCode, Connection};
use crate::tunnel::{Half, Listen, ProxyHeader, Target};
use crate::wire::{Former, Grant, Login, Message, Request};

/// Longest that the server looks for what a name stands for that is not listed itself.
const RESOLUTION: Duration = Duration::from_secs(2);

/// Longest that a client may take to go after it was refused a tunnel.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ends those of a client's own sessions that are dead, so that what they have is free.
#[derive(Clone)]
pub struct MakeRoom(Arc<dyn Fn() -> Ending + Send + Sync>);

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

impl MakeRoom {
    /// By this.
    pub fn new(by: impl Fn() -> Ending + Send + Sync + 'static) -> Self {
        Self(Arc::new(by))
    }

    /// Does it. Cancel-safe.
    pub(super) async fn make(&self) {
        (self.0)().await;
    }
}

impl fmt::Debug for MakeRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MakeRoom")
    }
}

/// A client that has shown who it is, and has not been answered yet.
#[derive(Debug)]
pub struct Newcomer {
    /// Which process it is.
    pub instance: Instance,
    /// What becomes of a session that the process has still.
    pub former: Former,
    /// Who it is.
    pub identity: Arc<Identity>,
    connection: Connection,
    control: Control,
    tunnels: Vec<Request>,
    changes: watch::Receiver<Arc<Access>>,
}

/// What became of tunnels that a client asked for.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) grants: Vec<Grant>,
    pub(super) dialed: Vec<(u32, String, Target)>,
    pub(super) listeners: Vec<(u32, Local, Listen, Arc<Listener>)>,
    pub(super) held: Option<Held>,
    pub(super) account: Arc<Account>,
    /// Whether something was not to be had because another session has it.
    pub(super) taken: bool,
}

impl Opened {
    /// Opens tunnels for a client that may do this. What is inherited need not be bound.
    pub(super) async fn new(
        identity: &Arc<Identity>,
        (ports, inheritance): (&Ports, &mut Inheritance),
        access: &Access,
        account: Arc<Account>,
        tunnels: &[Request],
    ) -> Self {
        let mut opened = Self::none(account);
        opened.held = identity.take_tunnels(tunnels.len());
        if opened.held.is_none() {
            let most = access.max_tunnels;
            let why = format!("the server lets this client have {most} tunnels in all");
            opened.grants = vec![Grant::Refused(why); tunnels.len()];
            opened.taken = true;
            return opened;
        }
        for tunnel in tunnels {
            let (number, name) = (tunnel.number, tunnel.to_string());
            let grant = match &tunnel.half {
                Half::Dial(target) => opened.dial(number, name, target, access).await,
                Half::Listen(listen, proxy) => match access.may_listen(listen) {
                    Err(why) => Grant::Refused(why),
                    Ok(()) => {
                        let bound = match inheritance.find(listen) {
                            Some(listener) => Ok(listener),
                            None => ports.bind(identity.name(), listen),
                        };
                        opened.listen(number, &name, (listen, *proxy), bound)
                    }
                },
            };
            opened.grants.push(grant);
        }
        opened
    }

    /// Nothing so far.
    pub(super) fn none(account: Arc<Account>) -> Self {
        Self {
            grants: Vec::new(),
            dialed: Vec::new(),
            listeners: Vec::new(),
            held: None,
            account,
            taken: false,
        }
    }

    async fn dial(&mut self, number: u32, name: String, target: &Target, access: &Access) -> Grant {
        match may_reach(access, target).await {
            Ok(()) => {
                self.dialed.push((number, name, target.clone()));
                Grant::Open
            }
            Err(Unreachable::Unlisted(why) | Unreachable::Unknown(why)) => Grant::Refused(why),
        }
    }

    fn listen(
        &mut self,
        number: u32,
        name: &str,
        (listen, proxy): (&Listen, Option<ProxyHeader>),
        bound: io::Result<Arc<Listener>>,
    ) -> Grant {
        match bound {
            Ok(listener) => {
                let addr = listener.local_addr();
                let count = self.account.listened(name);
                count.listens_at(&listener.to_string());
                let local = Local::new(count, listen, proxy);
                let listen = listen.clone();
                self.listeners.push((number, local, listen, listener));
                addr.map_or(Grant::Open, Grant::Listening)
            }
            Err(e) => {
                self.taken |= e.kind() == io::ErrorKind::AddrInUse;
                Grant::Refused(explain(listen, &e))
            }
        }
    }
}

impl Newcomer {
    pub(super) fn new(
        connection: Connection,
        control: Control,
        login: Login,
        identity: Arc<Identity>,
    ) -> Self {
        Self {
            instance: login.instance,
            former: login.former,
            changes: identity.changes(),
            identity,
            connection,
            control,
            tunnels: login.tunnels,
        }
    }

    /// Opens the tunnels that the client asked for and answers; none if one of them is refused.
    ///
    /// A UDP flow is over after `udp_idle` of silence, unless its tunnel says otherwise.
    ///
    /// What it has inherited from a former session need not be bound. If something that it asks for is
    /// taken, `make_room` is to end those of the client's own sessions that are dead, and then it is
    /// tried once more.
    pub async fn welcome(
        mut self,
        metrics: &Arc<Metrics>,
        (ports, mut inheritance): (Arc<Ports>, Inheritance),
        udp_idle: Duration,
        make_room: MakeRoom,
    ) -> Result<Session, SessionError> {
        let mut opened = self.open(metrics, (&ports, &mut inheritance)).await;
        if opened.taken {
            drop(opened);
            make_room.make().await;
            opened = self.open(metrics, (&ports, &mut inheritance)).await;
        }
        let answers = opened.grants.iter().zip(&self.tunnels);
        let refused: Vec<_> = answers
            .filter_map(|(grant, request)| match grant {
                Grant::Refused(why) => Some(NotGiven {
                    number: request.number,
                    tunnel: request.to_string(),
                    why: why.clone(),
                }),
                _ => None,
            })
            .collect();
        let answer = Message::Welcome(std::mem::take(&mut opened.grants));
        let held = match opened.held.take() {
            Some(held) if refused.is_empty() => held,
            _ => {
                // What was granted is not to be held for one who gets nothing.
                drop(opened);
                return Err(self.dismiss(&answer, refused).await);
            }
        };
        self.control.write(&answer).await?;
        let from = self.connection.remote_address();
        let guest = Guest::new(
            self.identity,
            from,
            self.tunnels,
            self.changes,
            held,
            ports,
            make_room,
        );
        Ok(Session::new(
            Role::Server(Arc::new(guest)),
            opened.account,
            self.connection,
            self.control,
            opened.dialed,
            opened.listeners,
            udp_idle,
        ))
    }

    async fn open(&mut self, metrics: &Arc<Metrics>, ports: (&Ports, &mut Inheritance)) -> Opened {
        let account = Account::new(metrics, self.identity.name());
        let access = self.changes.borrow_and_update().clone();
        Opened::new(&self.identity, ports, &access, account, &self.tunnels).await
    }

    /// Tells a client what it does not get, and lets it go.
    async fn dismiss(mut self, answer: &Message, refused: Vec<NotGiven>) -> SessionError {
        let from = self.connection.remote_address();
        for NotGiven { tunnel, why, .. } in &refused {
            let identity = &self.identity;
            identity.tell_denial(|| audit::denied(identity.name(), from, tunnel, why));
        }
        if let Err(e) = self.control.write(answer).await {
            return e;
        }
        // The answer is to arrive before the end: the client closes when it has read it.
        let gone = timeout(FAREWELL, self.connection.closed()).await;
        if gone.is_err() {
            let reason = "a tunnel was refused";
            self.connection.close(CloseCode::Done, reason).await;
        }
        SessionError::Refused(refused)
    }
}

/// Why a client may not reach a target.
pub(super) enum Unreachable {
    /// It is not listed.
    Unlisted(String),
    /// It is not listed by its name, and what that stands for cannot be known now.
    Unknown(String),
}

/// Whether a client may reach anything of a target's, or else why not.
pub(super) async fn may_reach(access: &Access, target: &Target) -> Result<(), Unreachable> {
    let unlisted = || Unreachable::Unlisted(access.refusal(target));
    if is_bench(target) {
        let why = "the server was started without --allow-bench".to_owned();
        return access.bench.map(drop).ok_or(Unreachable::Unlisted(why));
    }
    let addr = match target {
        // What visitors ask for is looked at flow by flow.
        Target::Asked if !access.reach.is_empty() => return Ok(()),
        // A name that is listed may well resolve later.
        target if access.names(target) => return Ok(()),
        Target::Tcp(addr) | Target::Udp(addr) if !access.reach.is_empty() => addr,
        _ => return Err(unlisted()),
    };
    match timeout(RESOLUTION, connector::resolve(addr)).await {
        Ok(Ok(addrs)) => match access.reachable(target, addrs).is_empty() {
            true => Err(unlisted()),
            false => Ok(()),
        },
        _ => Err(Unreachable::Unknown(access.refusal(target))),
    }
}

/// Why there is no listener.
fn explain(listen: &Listen, error: &io::Error) -> String {
    let addr = match listen.addr() {
        Some(addr) if addr.ip.is_none() => format!("port {}", addr.port),
        Some(addr) => format!("address {addr}"),
        None => listen.to_string(),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("{addr} is taken at the server"),
        io::ErrorKind::Unsupported => error.to_string(),
        _ => format!("the server cannot listen on {addr}: {error}"),
    }
}
