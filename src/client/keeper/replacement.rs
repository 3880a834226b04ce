//! What takes the place of a session that goes on: one over a connection that is heard, or one by QUIC.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::super::backoff::Backoff;
use super::super::terms::Terms;
use super::{Begun, Keeper};
use crate::config::Ways;
use crate::session::{Former, Opener, SessionError};
use crate::transport::{CloseCode, Connection, Transport};

/// Head start of a connection that was out of hearing over one made since: the older has the flows. It
/// is looked at each second whether it is heard.
const SECOND_CHANCE: Duration = Duration::from_millis(2200);

/// The same over one by TCP, which says nothing of whether the older one's UDP gets through again: a look,
/// and the answer to a probe before it.
const SECOND_CHANCE_OVER_TCP: Duration = Duration::from_millis(1500);

/// The same of one that goes by TCP itself: what was lost is sent again every 2 s at most
/// (`transport/tcp/socket.rs`), and then comes the look.
const SECOND_CHANCE_OF_TCP: Duration = Duration::from_millis(3500);

/// Time between attempts to connect beside a connection that is out of hearing.
const ANOTHER_TRY: Duration = Duration::from_secs(1);

/// First and longest wait between attempts to go back to QUIC from TCP.
const FIRST_RETURN: Duration = Duration::from_secs(5);
const LONGEST_RETURN: Duration = Duration::from_secs(300);

impl Keeper {
    /// Waits for a connection to take the place of one that is out of hearing. Cancel-safe.
    pub(super) async fn replacement(&self, opener: &Opener) -> Connection {
        tokio::select! {
            connection = self.other_connection(opener) => connection,
            () = opener.draining() => std::future::pending().await,
        }
    }

    /// Waits for a session that new flows are to go through in place of one that goes on, with what it has
    /// open. Cancel-safe.
    pub(super) async fn another(
        &self,
        opener: &Opener,
        terms: &Arc<Terms>,
    ) -> Result<Begun, SessionError> {
        tokio::select! {
            moved = self.back_to_quic(opener) => moved,
            begun = self.by_other_terms(opener, terms) => Ok(begun),
        }
    }

    /// Logs in anew when that is to be done by other terms than it was, which have to be good. Cancel-safe.
    async fn by_other_terms(&self, opener: &Opener, terms: &Arc<Terms>) -> Begun {
        let (mut current, mut known) = (self.terms.clone(), terms.clone());
        let mut backoff = Backoff::new();
        loop {
            let is_other = |current: &Arc<Terms>| !Arc::ptr_eq(current, &known);
            let other = current.wait_for(is_other).await.map(|other| other.clone());
            let other = match other {
                Ok(other) if opener.is_open() => other,
                _ => return std::future::pending().await,
            };
            match self.log_in(None, Former::Retires, true).await {
                Ok(begun) => return begun,
                Err(e) if e.is_final() => {
                    warn!("the session goes on as it is, until its end: {e}");
                    known = other;
                }
                Err(e) => {
                    debug!("no other login to {} yet: {e}", self.upstream.addr);
                    sleep(backoff.wait(fastrand::f64())).await;
                }
            }
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
                Ok(connection) => {
                    return self.log_in(Some(connection), Former::Retires, true).await;
                }
                Err(e) => debug!("no QUIC yet to {}: {e}", self.upstream.addr),
            }
        }
    }

    pub(super) async fn other_connection(&self, opener: &Opener) -> Connection {
        loop {
            opener.deaf(true).await;
            match self.connect().await {
                Ok(connection) => {
                    // The way is open, so the older one is heard too if it lives.
                    opener.probe();
                    let (older, newer) = (opener.describe(), connection.describe());
                    let chance = match (older.transport, newer.transport) {
                        (Transport::Tcp, _) => SECOND_CHANCE_OF_TCP,
                        (Transport::Quic, Transport::Quic) => SECOND_CHANCE,
                        (Transport::Quic, Transport::Tcp) => SECOND_CHANCE_OVER_TCP,
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
