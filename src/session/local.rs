//! A tunnel from the side that listens: what its visitors speak, and what is logged of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::flow::FlowError;
use super::{http, socks5};
use crate::listener::{Origin, Visitor};
use crate::relay::Broken;
use crate::transport::{ResetCode, StreamError};
use crate::tunnel::{Credentials, Listen, ProxyHeader};

/// Least time between two complaints about the same tunnel.
const QUIET: Duration = Duration::from_secs(1);

/// A tunnel whose visitors arrive on this side.
#[derive(Debug)]
pub struct Local {
    pub(super) name: String,
    pub(super) speaks: Speaks,
    complaints: Complaints,
}

/// What visitors speak to us.
#[derive(Debug)]
pub(super) enum Speaks {
    /// Not to us: all of it is for the target, which is told of them by such a header first.
    Anything(Option<ProxyHeader>),
    /// SOCKS5, with a password if there is one.
    Socks5(Option<Credentials>),
    /// HTTP, with a password if there is one.
    Http(Option<Credentials>),
}

impl Local {
    /// A tunnel to carry those through who arrive there, each introduced to its target by such a
    /// header if one is wanted.
    pub fn new(name: String, listen: &Listen, proxy: Option<ProxyHeader>) -> Self {
        let speaks = match listen {
            Listen::Socks5 { auth, .. } => Speaks::Socks5(auth.clone()),
            Listen::Http { auth, .. } => Speaks::Http(auth.clone()),
            Listen::Tcp(_) | Listen::Udp { .. } | Listen::Unix { .. } | Listen::Stdio => {
                Speaks::Anything(proxy)
            }
        };
        Self {
            name,
            speaks,
            complaints: Complaints::default(),
        }
    }

    /// Turns a visitor away for whom there is no session, in its own words as far as it takes any.
    pub async fn turn_away(self: &Arc<Self>, visitor: Visitor) {
        let (name, from) = (&self.name, visitor.from);
        debug!("{name}: {from}: turned away, there is no way to the far side");
        let served = match &self.speaks {
            // Dropped, and so reset.
            Speaks::Anything(_) => return,
            Speaks::Socks5(auth) => socks5::serve(None, 0, self, auth.as_ref(), visitor).await,
            Speaks::Http(auth) => http::serve(None, 0, auth.as_ref(), visitor).await,
        };
        if let Err(e) = served {
            debug!("{name}: {from}: {e}");
        }
    }

    /// Logs that the far side refused a flow.
    pub(super) fn tell_refused(&self, code: ResetCode) {
        let name = &self.name;
        self.complaints
            .say(|| format!("{name}: the far side reports: {code}"));
    }

    /// Logs that a visitor was turned away.
    pub(super) fn tell_too_many(&self) {
        let name = &self.name;
        self.complaints
            .say(|| format!("{name}: too many flows are open; a visitor was turned away"));
    }

    /// Logs how a flow ended.
    pub(super) fn tell(&self, from: Origin, outcome: &Result<(), FlowError>) {
        match outcome {
            Ok(()) => debug!("{from} is done"),
            Err(FlowError::TooMany) => self.tell_too_many(),
            Err(FlowError::Broken(Broken::Remote(StreamError::Reset(code))))
                // A proxy has told its visitor.
                if *code != ResetCode::Broken && matches!(self.speaks, Speaks::Anything(_)) =>
            {
                self.tell_refused(*code);
            }
            Err(e) => debug!("{from}: {e}"),
        }
    }
}

/// Warnings about one tunnel, at most one in a second: visitors could fill the log otherwise.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Mutex<Option<Instant>>,
}

impl Complaints {
    pub(super) fn say(&self, text: impl FnOnce() -> String) {
        match self.due() {
            true => warn!("{}", text()),
            false => debug!("{}", text()),
        }
    }

    /// Whether there may be one now; then there may not for a while.
    fn due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(|e| e.into_inner());
        let due = last.is_none_or(|last| now - last >= QUIET);
        if due {
            *last = Some(now);
        }
        due
    }
}
