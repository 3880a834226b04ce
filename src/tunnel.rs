//! What a tunnel is, and how it is written: `LOCAL^REMOTE`, the client's side first.
//!
//! The side that listens is named by a [`Listen`], the side that is dialed by a [`Target`]. There
//! is one parser, for the command line and for whatever else names a tunnel; what it reads is what
//! is printed.

mod address;
mod credentials;
mod error;
mod grammar;
mod options;

use std::fmt;
use std::time::Duration;

pub(crate) use address::split;
pub use address::{Host, HostPort, ListenAddr, MAX_UNIX_PATH, Ports, UnixPath};
pub use credentials::Credentials;
pub use error::ParseError;
pub use grammar::redacted;

/// Most tunnels that one client may have.
pub const MAX_TUNNELS: usize = 200;

/// The permissions of a Unix socket that is written without any: its owner's alone.
const DEFAULT_MODE: u32 = 0o600;

/// One forwarding rule: where to listen, and what to dial for each visitor that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Which side listens.
    pub direction: Direction,
    /// What the listening side binds.
    pub listen: Listen,
    /// What the other side dials.
    pub target: Target,
    /// The header that the target gets in front of each flow.
    pub proxy: Option<ProxyHeader>,
}

/// What one side does for a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Half {
    /// It listens, and begins each flow with this header.
    Listen(Listen, Option<ProxyHeader>),
    /// It dials.
    Dial(Target),
}

impl Tunnel {
    /// What the client does.
    pub fn near(&self) -> Half {
        match self.direction {
            Direction::Out => self.listening(),
            Direction::In => Half::Dial(self.target.clone()),
        }
    }

    /// What the server does.
    pub fn far(&self) -> Half {
        match self.direction {
            Direction::Out => Half::Dial(self.target.clone()),
            Direction::In => self.listening(),
        }
    }

    fn listening(&self) -> Half {
        Half::Listen(self.listen.clone(), self.proxy)
    }

    /// Whether visitors say themselves where they want to go.
    pub fn is_dynamic(&self) -> bool {
        self.target == Target::Asked
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.direction)?;
        let Self { listen, target, .. } = self;
        match (self.direction, target) {
            (Direction::Out, Target::Asked) => write!(f, "{listen}"),
            (Direction::In, Target::Asked) => match listen {
                Listen::Socks5 { addr, auth } => proxy(f, "socks5^", addr, auth),
                Listen::Http { addr, auth } => proxy(f, "http^", addr, auth),
                other => write!(f, "{other}"),
            },
            (Direction::Out, _) => write!(f, "{listen}^{target}{}", self.target_option()),
            (Direction::In, _) => write!(f, "{target}{}^{listen}", self.target_option()),
        }
    }
}

impl Tunnel {
    fn target_option(&self) -> &'static str {
        match self.proxy {
            None => "",
            Some(ProxyHeader::V1) => "?proxy=v1",
            Some(ProxyHeader::V2) => "?proxy=v2",
        }
    }
}

/// Which way connections go through a tunnel, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client listens; traffic goes out at the server's side.
    Out,
    /// The server listens; traffic comes in to the client's side.
    In,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "TunnelOut",
            Self::In => "TunnelIn",
        })
    }
}

/// Where visitors arrive, and what they speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port.
    Tcp(ListenAddr),
    /// A UDP port.
    Udp {
        /// Its address.
        addr: ListenAddr,
        /// Silence after which a flow is over, if it was written.
        timeout: Option<Duration>,
    },
    /// A Unix socket.
    Unix {
        /// Where it is.
        path: UnixPath,
        /// Its permissions, as chmod takes them.
        mode: u32,
    },
    /// Standard input and output of the client's process: one visitor.
    Stdio,
    /// A TCP port where visitors ask for targets by SOCKS5 (RFC 1928).
    Socks5 {
        /// Its address.
        addr: ListenAddr,
        /// Who may ask; none for anybody.
        auth: Option<Credentials>,
    },
    /// A TCP port where visitors ask for targets by HTTP (RFC 9110, section 9.3.6).
    Http {
        /// Its address.
        addr: ListenAddr,
        /// Who may ask; none for anybody.
        auth: Option<Credentials>,
    },
}

impl Listen {
    /// Where it listens, if that is an address.
    pub fn addr(&self) -> Option<ListenAddr> {
        match self {
            Self::Tcp(addr)
            | Self::Udp { addr, .. }
            | Self::Socks5 { addr, .. }
            | Self::Http { addr, .. } => Some(*addr),
            Self::Unix { .. } | Self::Stdio => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Udp { addr, timeout } => {
                write!(f, "udp://{addr}")?;
                match timeout {
                    Some(timeout) => write!(f, "?timeout={}", timeout.as_secs()),
                    None => Ok(()),
                }
            }
            Self::Unix { path, mode } => {
                path.fmt(f)?;
                match *mode {
                    DEFAULT_MODE => Ok(()),
                    mode => write!(f, "?mode={mode:04o}"),
                }
            }
            Self::Stdio => f.write_str("stdio"),
            Self::Socks5 { addr, auth } => proxy(f, "socks5://", addr, auth),
            Self::Http { addr, auth } => proxy(f, "http://", addr, auth),
        }
    }
}

fn proxy(
    f: &mut fmt::Formatter<'_>,
    protocol: &str,
    addr: &ListenAddr,
    auth: &Option<Credentials>,
) -> fmt::Result {
    let (prefix, option) = match auth {
        None => Default::default(),
        Some(auth) => (auth.prefix(), auth.option()),
    };
    write!(f, "{protocol}{prefix}{addr}")?;
    match option {
        Some(option) => write!(f, "?{option}"),
        None => Ok(()),
    }
}

/// What is dialed for a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP port.
    Tcp(HostPort),
    /// A UDP port.
    Udp(HostPort),
    /// A Unix socket.
    Unix(UnixPath),
    /// Whatever each visitor asks for.
    Asked,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Udp(addr) => write!(f, "udp://{addr}"),
            Self::Unix(path) => path.fmt(f),
            Self::Asked => f.write_str("what visitors ask for"),
        }
    }
}

/// A version of the PROXY protocol's header, which tells a target who its visitor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}
