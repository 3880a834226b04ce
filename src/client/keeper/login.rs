//! How a keeper gets a session: a connection, and a login over it.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::info;

use super::super::connecting::{self, CONNECT_DEADLINE};
use super::super::terms::Terms;
use super::{Begun, Keeper};
use crate::config::Ways;
use crate::metrics::Login;
use crate::session::{self, Former, LoggedIn, NotGiven, SessionError};
use crate::transport::{Connection, Lost, Transport};

impl Keeper {
    /// What the next login is made by.
    fn terms(&self) -> Arc<Terms> {
        self.terms.borrow().clone()
    }

    /// Connects to the server as it can be reached now. Cancel-safe.
    pub(super) async fn connect(&self) -> Result<Connection, SessionError> {
        self.connect_by(&self.upstream.ways).await
    }

    pub(super) async fn connect_by(&self, ways: &Ways) -> Result<Connection, SessionError> {
        let mut tuning = self.config.tuning;
        tuning.hop.more_ports = self.upstream.more_ports;
        let terms = self.terms();
        let connecting = connecting::connect(&self.upstream.addr, ways, &terms.tls, tuning);
        connecting.await.map_err(|lost| match lost {
            Lost::Certificate(why) => SessionError::Untrusted(terms.trust.complaint(&why)),
            lost => SessionError::Lost(lost),
        })
    }

    /// Logs in to the server, over this connection or a new one. A `lenient` one goes on without the
    /// tunnels that the server does not give it any more. Cancel-safe.
    pub(super) async fn log_in(
        &self,
        mut connection: Option<Connection>,
        former: Former,
        lenient: bool,
    ) -> Result<Begun, SessionError> {
        loop {
            let logged_in = self.try_to_log_in(connection.take(), former).await;
            let failed = logged_in.as_ref().err();
            let how = failed.map_or(Login::Accepted, SessionError::kind);
            self.account.metrics().login(how);
            match logged_in {
                // Each time there is at least one less.
                Err(SessionError::Refused(refused)) if lenient => self.put_off(refused),
                logged_in => return logged_in,
            }
        }
    }

    /// Keeps in mind that the server refuses these tunnels, which the next login is without.
    fn put_off(&self, refused: Vec<NotGiven>) {
        let (book, judge) = (self.book.borrow().clone(), self.judge());
        for NotGiven { number, why, .. } in refused {
            if let Some(entry) = book.iter().find(|entry| entry.number == number) {
                entry.take(&judge, Err(why));
            }
        }
    }

    async fn try_to_log_in(
        &self,
        connection: Option<Connection>,
        former: Former,
    ) -> Result<Begun, SessionError> {
        let terms = self.terms();
        let connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let remote = connection.remote_address();
        let (mut entries, judge) = (self.book.borrow().clone(), self.judge());
        entries.retain(|entry| entry.is_certain(&judge));
        let tunnels = entries.iter().map(|e| (e.number, e.tunnel.clone()));
        let tunnels: Vec<_> = tunnels.collect();
        let idle = self.config.udp_idle;
        let login = session::login(
            connection,
            &terms.credential,
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
        let open = entries.iter().zip(listening).map(|(entry, listening)| {
            let whereabouts = entry.take(&judge, Ok(listening));
            (entry.number, whereabouts)
        });
        let open = open.collect();
        Ok(Begun {
            session,
            open,
            terms,
        })
    }
}
