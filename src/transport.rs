//! What a connection is to everyone above: flows opened and accepted, and an end with a reason.
//!
//! The transports are a closed set: [`Connection`], [`Sender`], [`Receiver`] and [`Attempt`] are
//! enums over them, QUIC and TLS over TCP. All that is known of either is in the children `quic` and
//! `tcp`.

mod connection;
mod credit;
mod endpoint;
mod piece;
mod quic;
mod stream;
mod tcp;

pub use connection::Connection;
pub use endpoint::{Attempt, Bound, Endpoint, connect, connect_tcp};
#[doc(hidden)]
pub use quic::BareController;
pub use quic::Generation;
pub use stream::{Receiver, Sender};
#[doc(hidden)]
pub use tcp::take_frames;
pub use tcp::{NoProxy, Proxy, Route};

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Flows that a peer may have open at once, after login.
///
/// Quinn keeps an entry for each, used or not, so it is not simply the largest number.
const MAX_FLOWS: u32 = 16_384;

/// What TLS is asked for to bind a login to its connection (RFC 9266, section 2).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Longest that [`Endpoint::close`] and [`Connection::close`] wait for the goodbye to be sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// How much a connection has in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// Our own controller, a model of the path after BBRv3 (draft-ietf-ccwg-bbr).
    Bbr,
    /// Cubic (RFC 9438).
    Cubic,
    /// NewReno (RFC 9002, section 7).
    NewReno,
}

/// What a person may choose of how a connection works.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// How much it has in flight.
    pub congestion: Congestion,
    /// Silence after which it is lost. Of the two sides' the shorter one counts.
    pub idle_timeout: Duration,
    /// The ports that it goes through.
    pub hop: Hop,
}

/// The ports that a connection goes through, where these are more than one at either side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hop {
    /// Time after which a client moves to another port, a quarter more or less; none for never.
    pub interval: Option<Duration>,
    /// How many ports a server has beside that of its address: those that follow it. No number goes
    /// beyond 65535.
    pub more_ports: u16,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// QUIC, and so UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        })
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bbr => "bbr",
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
        })
    }
}

/// What a connection works with, for people.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// What carries it.
    pub transport: Transport,
    /// Largest UDP payload that is sent as of now, in bytes; none where there is no UDP.
    pub udp_payload: Option<u16>,
    /// What decides how much this side has in flight; none where that is the system's own.
    pub congestion: Option<Congestion>,
}

/// What a connection has measured and counted so far.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// What carries it, in one word.
    pub transport: &'static str,
    /// Time to the peer and back.
    pub rtt: Duration,
    /// Most bytes in flight.
    pub window: u64,
    /// Largest UDP payload that is sent, in bytes; 0 where packets are not ours.
    pub udp_payload: u16,
    /// Packets that have left.
    pub packets_sent: u64,
    /// Those of them that were lost on the way.
    pub packets_lost: u64,
    /// Datagrams that have left.
    pub datagrams_sent: u64,
    /// Datagrams of the peer's that have come.
    pub datagrams_received: u64,
    /// Whether datagrams wait to leave.
    pub datagrams_wait: bool,
}

/// Why a whole connection was closed: QUIC application error codes, chosen by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// The client is done.
    Done = 0,
    /// The login was refused.
    LoginRefused = 1,
    /// The peer broke the protocol.
    Protocol = 2,
    /// The side that closes is shutting down.
    Shutdown = 3,
    /// The same client has connected anew.
    Superseded = 4,
    /// The client may not go on as it is.
    Unwelcome = 5,
}

impl CloseCode {
    const ALL: [Self; 6] = [
        Self::Done,
        Self::LoginRefused,
        Self::Protocol,
        Self::Shutdown,
        Self::Superseded,
        Self::Unwelcome,
    ];

    fn from_wire(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|c| *c as u64 == code)
    }
}

/// Why a flow broke: the code of its stream's RESET_STREAM and STOP_SENDING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ResetCode {
    /// The TCP connection at the far side was reset, or a side gave the flow up.
    Broken = 0x10,
    /// The target refused the connection.
    Refused = 0x11,
    /// There is no way to the target.
    Unreachable = 0x12,
    /// The target did not answer in time.
    TimedOut = 0x13,
    /// The target's name does not resolve.
    NoSuchName = 0x14,
    /// There is no such tunnel, or its target is not allowed.
    NotAllowed = 0x15,
    /// The side that was to dial is shutting down.
    Draining = 0x16,
    /// The side that was to dial has no descriptors left, or no memory.
    Overloaded = 0x17,
    /// The flow's header was not understood.
    BadHeader = 0x18,
    /// The client has as many flows as it may have.
    TooMany = 0x19,
}

impl ResetCode {
    const ALL: [Self; 10] = [
        Self::Broken,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::NoSuchName,
        Self::NotAllowed,
        Self::Draining,
        Self::Overloaded,
        Self::BadHeader,
        Self::TooMany,
    ];

    /// What a peer meant; a code that we do not know still says that the flow broke.
    pub fn from_wire(code: u64) -> Self {
        Self::ALL
            .into_iter()
            .find(|c| *c as u64 == code)
            .unwrap_or(Self::Broken)
    }
}

impl fmt::Display for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "connection reset at the far side",
            Self::Refused => "connection refused",
            Self::Unreachable => "target unreachable",
            Self::TimedOut => "target did not answer in time",
            Self::NoSuchName => "target's name does not resolve",
            Self::NotAllowed => "target not allowed",
            Self::Draining => "far side is shutting down",
            Self::Overloaded => "far side has no descriptors or memory left",
            Self::BadHeader => "far side did not understand the flow's header",
            Self::TooMany => "far side allows this client no more flows",
        })
    }
}

/// Why a connection is no more, or never was.
#[derive(Clone, Debug, Error)]
pub enum Lost {
    /// The peer closed it, for a reason of this protocol's.
    #[error("closed by the peer: {reason}")]
    Closed {
        /// The reason, in so far as this version knows it.
        code: Option<CloseCode>,
        /// The reason in the peer's words, fit to print.
        reason: String,
    },
    /// We closed it.
    #[error("closed here")]
    Local,
    /// The peer has not been heard of for too long.
    #[error(
        "nothing was heard from the peer in time; it may be down, or a firewall in the way, as QUIC \
         needs UDP"
    )]
    TimedOut,
    /// The peer knows nothing of the connection: it was started anew.
    #[error("the peer was started anew")]
    Reset,
    /// The peer's certificate is not trusted, for this reason.
    #[error("the server's certificate is not trusted: {0}")]
    Certificate(String),
    /// The peer speaks no protocol that we speak.
    #[error("the peer speaks another version of the protocol, or another protocol")]
    Version,
    /// The server did not even begin a handshake.
    #[error(
        "the server takes no connections from here for now: too many logins from this address \
         have failed, which it forgives within ten minutes, or it is being stopped"
    )]
    TurnedAway,
    /// QUIC, TLS or the network failed.
    #[error("{0}")]
    Failed(String),
}

/// Why a stream cannot be read or written.
#[derive(Clone, Debug, Error)]
pub enum StreamError {
    /// The peer broke the flow.
    #[error("{0}")]
    Reset(ResetCode),
    /// Too much of the flow waited on this side.
    #[error("cut, for memory is short and too much waited")]
    Cut,
    /// The connection is gone, and all of its streams with it.
    #[error("the tunnel's connection was lost")]
    Lost,
}

/// A peer's text, without control characters that could lead a terminal astray.
fn printable(text: &[u8]) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    String::from_utf8_lossy(text)
        .chars()
        .map(visible)
        .take(300)
        .collect()
}
