//! What a session does when one of its tunnels is to come or to go.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::changes::{Change, Event, OpenError};
use super::dial::Dialed;
use super::flow::OPENING;
use super::guest::{Again, Asked};
use super::login::granted;
use super::{Role, Session, SessionError};
use crate::tunnel::Half;
use crate::wire::{Grant, Message, Request};

impl Session {
    /// Takes what has happened to its tunnels. Fails when the peer does what it must not.
    pub(super) async fn take(&mut self, event: Event) -> Result<(), SessionError> {
        match (event, self.role.clone()) {
            (Event::Message(Message::Drain), _) => self.drain(),
            (Event::Message(Message::Open(request)), Role::Server(guest)) => {
                if guest.has(request.number) {
                    return Err(SessionError::Unexpected);
                }
                self.changes
                    .decide(guest.open(request, self.account.clone()));
            }
            (Event::Message(Message::Close(number)), Role::Server(guest)) => {
                let text = guest.take(number).ok_or(SessionError::Unexpected)?;
                // Those that are called the same are counted as one.
                if !guest.has_like(&text) {
                    self.account.forget(&text);
                }
                self.dialing.remove(number);
                self.opener.shared().lanes.close(number);
                if let Some(listening) = self.listening.remove(&number) {
                    // Until the port is free: it may be asked for next.
                    listening.close().await;
                }
                self.write(Message::Closed(number)).await?;
            }
            (Event::Decided(asked), Role::Server(_)) => self.answer(*asked).await?,
            (Event::Message(Message::Opened(number, grant)), Role::Client) => {
                self.answered(number, grant).await?;
            }
            (Event::Message(Message::Closed(number)), Role::Client) => {
                let closing = self.changes.closing.remove(&number);
                if let Some(told) = closing.ok_or(SessionError::Unexpected)? {
                    // Nobody waits for it any more.
                    let _ = told.send(());
                }
            }
            (Event::Change(change), Role::Client) => self.change(change).await?,
            (Event::Drained(number), Role::Client) => self.write_close(number, None).await?,
            _ => return Err(SessionError::Unexpected),
        }
        Ok(())
    }

    /// Gives a client what it has asked for, or tells it why not.
    async fn answer(&mut self, mut asked: Asked) -> Result<(), SessionError> {
        let Role::Server(guest) = &self.role else {
            return Err(SessionError::Unexpected);
        };
        if self.draining.is_cancelled() {
            asked.refuse("the session is about to end");
        } else if let Err(Again) = guest.settle(&mut asked) {
            let guest = guest.clone();
            self.changes
                .decide(guest.open(asked.request, self.account.clone()));
            return Ok(());
        }
        let opened = asked.opened;
        for (number, name, target) in opened.dialed {
            let dialed = Dialed::new(self.account.dialed(&name), target, Some(guest.clone()));
            self.dialing.insert(number, dialed);
        }
        self.listeners = opened.listeners;
        for grant in opened.grants {
            self.write(Message::Opened(asked.request.number, grant))
                .await?;
        }
        self.listen();
        Ok(())
    }

    /// Has the server open or close a tunnel.
    async fn change(&mut self, change: Change) -> Result<(), SessionError> {
        match change {
            Change::Open { answer, .. } if self.draining.is_cancelled() => {
                let _ = answer.send(Err(OpenError::Lost));
            }
            Change::Open {
                number,
                tunnel,
                answer,
            } => {
                let request = Request::new(number, &tunnel);
                if let Half::Dial(target) = tunnel.near() {
                    // Its flows may come before the answer.
                    let count = self.account.dialed(&tunnel.to_string());
                    let dialed = Dialed::new(count, target, None);
                    self.dialing.insert(number, dialed);
                }
                self.changes.unanswered.insert(number, (tunnel, answer));
                self.write(Message::Open(request)).await?;
            }
            Change::Close(number, drain, closed) => {
                self.close(number, drain, Some(closed)).await?;
            }
        }
        Ok(())
    }

    /// Closes a tunnel: no new flows, and so long for those that are open. Where this side listens,
    /// the server hears of it when they are over, for until then streams may be under way to it; where
    /// the server does, `closed` is told when it does not any more.
    async fn close(
        &mut self,
        number: u32,
        drain: Duration,
        closed: Option<oneshot::Sender<()>>,
    ) -> Result<(), SessionError> {
        if let Some(lane) = self.opener.shared().lanes.close(number) {
            self.changes.drain(number, lane, drain);
            return Ok(());
        }
        if let Some(dialed) = self.dialing.get(number) {
            let dialing = self.dialing.clone();
            let token = self.token.clone();
            self.changes.later(async move {
                token.run_until_cancelled(sleep(drain)).await;
                dialing.remove(number);
                dialed.close();
            });
        }
        self.write_close(number, closed).await
    }

    /// Has the server close a tunnel, and tell `closed` when that is done.
    async fn write_close(
        &mut self,
        number: u32,
        closed: Option<oneshot::Sender<()>>,
    ) -> Result<(), SessionError> {
        self.changes.closing.insert(number, closed);
        self.write(Message::Close(number)).await
    }

    /// Takes the server's answer.
    async fn answered(&mut self, number: u32, grant: Grant) -> Result<(), SessionError> {
        let unanswered = self.changes.unanswered.remove(&number);
        let (tunnel, answer) = unanswered.ok_or(SessionError::Unexpected)?;
        let granted = granted(&tunnel, grant)?.map_err(OpenError::Refused);
        if granted.is_err() {
            self.dialing.remove(number);
        }
        let open = granted.is_ok();
        // Nobody waits for it any more.
        if answer.send(granted).is_err() && open {
            self.close(number, Duration::ZERO, None).await?;
        }
        Ok(())
    }

    /// Sends a message. A peer that reads none is given up.
    async fn write(&mut self, message: Message) -> Result<(), SessionError> {
        let written = timeout(OPENING, self.control.write(&message)).await;
        written.unwrap_or(Err(SessionError::Unexpected))
    }
}
