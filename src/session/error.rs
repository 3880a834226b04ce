//! Why there is no session.

use thiserror::Error;

use crate::metrics;
use crate::transport::{Lost, StreamError};
use crate::wire::DecodeError;

/// Why there is no session.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The connection was lost, or the peer closed it.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The peer sent what is no message.
    #[error("the peer broke the protocol: {0}")]
    Decode(#[from] DecodeError),
    /// The peer sent a message that has no place here.
    #[error("the peer broke the protocol: an unexpected message, or the end of the control stream")]
    Unexpected,
    /// The client has shown nothing that makes it anyone.
    #[error("{0}")]
    LoginRefused(&'static str),
    /// The server is not shown to be the right one, with what to do.
    #[error("{0}")]
    Untrusted(String),
    /// The server does not give us tunnels: each with its reason, on a line of its own.
    #[error("{}", list(.0))]
    Refused(Vec<NotGiven>),
}

/// A tunnel that a server does not give to a client.
#[derive(Debug)]
pub struct NotGiven {
    /// Its number.
    pub number: u32,
    /// What it is called.
    pub tunnel: String,
    /// Why, for people.
    pub why: String,
}

impl SessionError {
    /// What it is counted as.
    pub fn kind(&self) -> metrics::Login {
        match self {
            Self::LoginRefused(_) => metrics::Login::Refused,
            Self::Refused(_) => metrics::Login::TunnelRefused,
            Self::Lost(Lost::TimedOut) => metrics::Login::TimedOut,
            Self::Lost(Lost::TurnedAway) => metrics::Login::TurnedAway,
            Self::Lost(_) | Self::Decode(_) | Self::Unexpected | Self::Untrusted(_) => {
                metrics::Login::Failed
            }
        }
    }

    /// Whether trying again is of no use, because a person has to change something first.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(_) | Self::LoginRefused(_) | Self::Untrusted(_) => true,
            Self::Lost(_) | Self::Decode(_) | Self::Unexpected => false,
        }
    }
}

fn list(refused: &[NotGiven]) -> String {
    let each = refused
        .iter()
        .map(|NotGiven { tunnel, why, .. }| format!("the server refused {tunnel}: {why}"));
    each.collect::<Vec<_>>().join("\n")
}

impl From<StreamError> for SessionError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Lost | StreamError::Cut => Self::Lost(Lost::Failed(error.to_string())),
            StreamError::Reset(_) => Self::Unexpected,
        }
    }
}
