//! A tunnel from the side that listens: what its visitors speak, and what is logged of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::flow::FlowError;
use super::{http, socks5};
use crate::listener::{Origin, Visitor};
use crate::metrics::{self, Refusal};
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
    pub(super) count: Arc<metrics::Tunnel>,
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
    /// header if one is wanted, and counted.
    pub fn new(count: Arc<metrics::Tunnel>, listen: &Listen, proxy: Option<ProxyHeader>) -> Self {
        let speaks = match listen {
            Listen::Socks5 { auth, .. } => Speaks::Socks5(auth.clone()),
            Listen::Http { auth, .. } => Speaks::Http(auth.clone()),
            Listen::Tcp(_) | Listen::Udp { .. } | Listen::Unix { .. } | Listen::Stdio => {
                Speaks::Anything(proxy)
            }
        };
        Self {
            name: count.text.clone(),
            speaks,
            count,
            complaints: Complaints::default(),
        }
    }

    /// Turns a visitor away for whom there is no session, in its own words as far as it takes any.
    pub async fn turn_away(self: &Arc<Self>, visitor: Visitor) {
        let (name, from) = (&self.name, visitor.from);
        debug!("{name}: {from}: turned away, there is no way to the far side");
        self.count.refuse(Refusal::NoSession);
        let served = match &self.speaks {
            // Dropped, and so reset.
            Speaks::Anything(_) => return,
            Speaks::Socks5(auth) => socks5::serve(None, 0, self, auth.as_ref(), visitor).await,
            Speaks::Http(auth) => http::serve(None, 0, self, auth.as_ref(), visitor).await,
        };
        if let Err(e) = served {
            debug!("{name}: {from}: {e}");
        }
    }

    /// Logs that the far side refused a flow.
    pub(super) fn tell_refused(&self, code: ResetCode) {
        self.count.refuse(code.into());
        self.complaints
            .say(&self.count, || format!("the far side reports: {code}"));
    }

    /// Logs that a visitor was turned away.
    pub(super) fn tell_too_many(&self) {
        self.count.refuse(Refusal::TooMany);
        let text = || "too many flows are open; a visitor was turned away".to_owned();
        self.complaints.say(&self.count, text);
    }

    /// Logs that a visitor was turned away because memory is short.
    fn tell_no_memory(&self) {
        self.count.refuse(Refusal::Overloaded);
        let text = || "memory is short; a visitor was turned away".to_owned();
        self.complaints.say(&self.count, text);
    }

    /// Logs how a flow ended.
    pub(super) fn tell(&self, from: Origin, outcome: &Result<(), FlowError>) {
        match outcome {
            Ok(()) => debug!("{from} is done"),
            Err(FlowError::TooMany) => self.tell_too_many(),
            Err(FlowError::NoMemory) => self.tell_no_memory(),
            Err(FlowError::Broken(Broken::Remote(StreamError::Reset(code))))
                // A proxy has told its visitor.
                if *code != ResetCode::Broken && matches!(self.speaks, Speaks::Anything(_)) =>
            {
                self.tell_refused(*code);
            }
            Err(e) => {
                if let FlowError::Broken(Broken::Remote(StreamError::Reset(code))) = e
                    && *code != ResetCode::Broken
                {
                    self.count.refuse((*code).into());
                }
                debug!("{from}: {e}");
            }
        }
    }
}

impl From<ResetCode> for Refusal {
    fn from(code: ResetCode) -> Self {
        match code {
            ResetCode::Refused => Self::Refused,
            ResetCode::Broken | ResetCode::Unreachable => Self::Unreachable,
            ResetCode::TimedOut => Self::TimedOut,
            ResetCode::NoSuchName => Self::NoSuchName,
            ResetCode::NotAllowed => Self::NotAllowed,
            ResetCode::Draining => Self::Draining,
            ResetCode::Overloaded => Self::Overloaded,
            ResetCode::BadHeader => Self::BadHeader,
            ResetCode::TooMany => Self::TooMany,
        }
    }
}

/// Warnings about one tunnel, at most one in a second: visitors could fill the log otherwise.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Mutex<Option<Instant>>,
}

impl Complaints {
    pub(super) fn say(&self, of: &metrics::Tunnel, text: impl FnOnce() -> String) {
        let name = &of.text;
        if !self.due() {
            return debug!("{name}: {}", text());
        }
        let text = text();
        warn!("{name}: {text}");
        of.fault(text);
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
