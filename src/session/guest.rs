//! A client as the server sees it for as long as its session lasts: who it is, and what it has been
//! given.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::succession::Inheritance;
use super::welcome::{MakeRoom, Opened, Unreachable, may_reach};
use crate::access::{Access, Held, Identity};
use crate::audit;
use crate::listener::Ports;
use crate::metrics::Account;
use crate::tunnel::{Half, MAX_TUNNELS};
use crate::wire::{Grant, Request};

/// A client whose tunnels are up.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) identity: Arc<Identity>,
    /// Where it logged in from.
    pub(super) from: SocketAddr,
    /// What it has, by the tunnel's number.
    tunnels: Mutex<BTreeMap<u32, Given>>,
    /// What it may do, as far as that has changed since it was given its first tunnels.
    changes: watch::Receiver<Arc<Access>>,
    ports: Arc<Ports>,
    make_room: MakeRoom,
}

/// A tunnel that a client has.
#[derive(Debug)]
struct Given {
    request: Request,
    /// Its place among the tunnels of the client's identity; none once it is another session's.
    held: Option<Held>,
}

/// What a client has asked for while its session ran, and what it gets.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) opened: Opened,
    /// By what it was decided.
    access: Arc<Access>,
}

impl Guest {
    pub(super) fn new(
        identity: Arc<Identity>,
        from: SocketAddr,
        tunnels: Vec<Request>,
        changes: watch::Receiver<Arc<Access>>,
        mut held: Held,
        ports: Arc<Ports>,
        make_room: MakeRoom,
    ) -> Self {
        let guest = Self {
            identity,
            from,
            tunnels: Mutex::default(),
            changes,
            ports,
            make_room,
        };
        for request in tunnels {
            if let Some(held) = held.split() {
                guest.give(request, held);
            }
        }
        guest
    }

    fn give(&self, request: Request, held: Held) {
        self.tell(audit::tunnel_up, &request.to_string());
        let held = Some(held);
        let given = Given { request, held };
        lock(&self.tunnels).insert(given.request.number, given);
    }

    /// Gives its tunnels up, which another session of the same client's goes on with. What they reach
    /// is still for flows that are open.
    pub(super) fn retire(&self) {
        for given in lock(&self.tunnels).values_mut() {
            if given.held.take().is_some() {
                self.tell(audit::tunnel_down, &given.request.to_string());
            }
        }
    }

    /// Whether a tunnel of this number is open.
    pub(super) fn has(&self, number: u32) -> bool {
        lock(&self.tunnels).contains_key(&number)
    }

    /// Whether a tunnel that is called so is open.
    pub(super) fn has_like(&self, text: &str) -> bool {
        let tunnels = lock(&self.tunnels);
        tunnels.values().any(|it| it.request.to_string() == text)
    }

    /// Takes a tunnel from it, and tells what it was called if it had it.
    pub(super) fn take(&self, number: u32) -> Option<String> {
        let given = lock(&self.tunnels).remove(&number)?;
        let text = given.request.to_string();
        if given.held.is_some() {
            self.tell(audit::tunnel_down, &text);
        }
        Some(text)
    }

    /// Opens what the client asks for, as far as it may have it: as at its login.
    pub(super) async fn open(self: Arc<Self>, request: Request, account: Arc<Account>) -> Asked {
        let mut access = self.identity.access();
        let requests = std::slice::from_ref(&request);
        let open = async |access: &Access| {
            let none = &mut Inheritance::default();
            let ports = (&*self.ports, none);
            Opened::new(&self.identity, ports, access, account.clone(), requests).await
        };
        let mut opened = if lock(&self.tunnels).len() < MAX_TUNNELS {
            open(&access).await
        } else {
            let why = format!("a client may have {MAX_TUNNELS} tunnels at a time");
            let mut opened = Opened::none(account.clone());
            opened.grants.push(Grant::Refused(why));
            opened
        };
        if opened.taken {
            drop(opened);
            self.make_room.make().await;
            access = self.identity.access();
            opened = open(&access).await;
        }
        Asked {
            request,
            opened,
            access,
        }
    }

    /// Gives the client what has been opened for it, unless what it may do has changed meanwhile:
    /// then that is to be asked for again.
    pub(super) fn settle(&self, asked: &mut Asked) -> Result<(), Again> {
        if !Arc::ptr_eq(&asked.access, &self.identity.access()) {
            return Err(Again);
        }
        match (asked.opened.grants.first(), asked.opened.held.take()) {
            (Some(Grant::Refused(why)), _) => self.deny(&asked.request.to_string(), why),
            (_, Some(held)) => self.give(asked.request.clone(), held),
            (_, None) => {}
        }
        Ok(())
    }

    /// Keeps for the audit what the client asked for and may not have, unless that was much of late.
    pub(super) fn deny(&self, what: &str, why: &str) {
        let name = self.identity.name();
        self.identity
            .tell_denial(|| audit::denied(name, self.from, what, why));
    }

    /// Keeps for the audit what becomes of a tunnel, unless that was much of late.
    fn tell(&self, event: fn(&str, SocketAddr, &str), tunnel: &str) {
        self.identity
            .tell_tunnel(|| event(self.identity.name(), self.from, tunnel));
    }

    /// Waits until the client may not go on as it is, and says why. Cancel-safe.
    pub(super) async fn unwelcome(&self) -> String {
        let changed = async {
            let mut changes = self.changes.clone();
            while changes.changed().await.is_ok() {
                let access = changes.borrow_and_update().clone();
                if let Err(why) = self.may_stay(&access).await {
                    return why;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = self.identity.revoked() => "the client's entry is not valid any more".into(),
            why = changed => why,
        }
    }

    async fn may_stay(&self, access: &Access) -> Result<(), String> {
        let tunnels: Vec<_> = {
            let tunnels = lock(&self.tunnels);
            tunnels
                .values()
                .map(|given| given.request.half.clone())
                .collect()
        };
        if tunnels.len() > access.max_tunnels {
            return Err(format!(
                "the client may have {} tunnels",
                access.max_tunnels
            ));
        }
        for half in &tunnels {
            match half {
                Half::Dial(target) => match may_reach(access, target).await {
                    Err(Unreachable::Unlisted(why)) => return Err(why),
                    // Its name may resolve again, and each flow is looked at then.
                    Ok(()) | Err(Unreachable::Unknown(_)) => {}
                },
                Half::Listen(listen, _) => access.may_listen(listen)?,
            }
        }
        Ok(())
    }
}

impl Asked {
    /// Takes back what has been opened, if it has.
    pub(super) fn refuse(&mut self, why: &str) {
        self.opened = Opened::none(self.opened.account.clone());
        self.opened.grants.push(Grant::Refused(why.to_owned()));
    }
}

/// What was decided does not hold any more.
pub(super) struct Again;

impl Drop for Guest {
    fn drop(&mut self) {
        self.retire();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
