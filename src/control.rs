//! The control socket: how other programs of the same user talk to one that runs.
//!
//! It is a Unix socket in a directory of the user's own, and each side makes sure that the other is
//! the same user, or root. They exchange lines of JSON: the running program begins with a
//! [`Greeting`], the other sends one [`Request`], and gets [`Reply`]s. A request may come with a
//! socket of its own (SCM_RIGHTS), so that a flow's bytes stay apart from what is said about it.

mod ask;
mod directory;
mod handover;
mod line;
mod listen;

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::status::Snapshot;
use crate::tls::Trust;
use crate::tunnel::HostPort;

pub use crate::status::Role;
pub use ask::{AskError, Running};
pub use handover::{Offer, Predecessor, Successor};
pub use listen::{Caller, ControlSocket, passed};

/// The version of what is said.
const VERSION: u32 = 2;

/// Most bytes of a request, and of a reply or a greeting.
const MAX_REQUEST: usize = 64 * 1024;
const MAX_REPLY: usize = 16 * 1024 * 1024;

/// What a running program says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of all that follows. Whoever does not know it says nothing more.
    pub version: u32,
    /// Its process.
    pub pid: u32,
    /// What it is.
    pub role: Role,
    /// The servers that it is a client of, or where it listens.
    pub servers: Vec<String>,
    /// What the servers are trusted by: the SHA-256 of a certificate as a rule.
    pub trust: String,
}

impl Greeting {
    /// That of this process, a client.
    pub fn client<'a>(servers: impl Iterator<Item = &'a HostPort>, trust: &Trust) -> Self {
        let servers = servers.map(HostPort::to_string).collect();
        Self::new(Role::Client, servers, trust.to_string())
    }

    /// That of this process, a server at this address with a certificate of this fingerprint.
    pub fn server(addr: impl fmt::Display, certificate: impl fmt::Display) -> Self {
        Self::new(
            Role::Server,
            vec![addr.to_string()],
            certificate.to_string(),
        )
    }

    fn new(role: Role, servers: Vec<String>, trust: String) -> Self {
        Self {
            version: VERSION,
            pid: std::process::id(),
            role,
            servers,
            trust,
        }
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self { pid, role, .. }, servers) = (self, self.servers.join(" or "));
        match role {
            Role::Server => write!(f, "{pid} (server at {servers})"),
            Role::Client => write!(f, "{pid} (client of {servers})"),
        }
    }
}

/// Which of the programs that run is meant.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// What it has to be.
    pub role: Option<Role>,
    /// Its process.
    pub pid: Option<u32>,
    /// The path of its control socket.
    pub socket: Option<PathBuf>,
}

/// What is asked of a running program.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request {
    /// Open a flow to this target, for the socket that comes with the request. A client's alone.
    Connect {
        /// As it is written on a command line.
        target: String,
    },
    /// End in order, as by SIGTERM.
    Stop,
    /// Say how it is.
    Status,
    /// Read the configuration again, as by SIGHUP.
    Reload,
    /// Tell of all tunnels. This and what follows is a client's alone.
    Tunnels,
    /// Open these tunnels too, all or none.
    Add(Mappings),
    /// Close tunnels.
    Remove {
        /// Those of these numbers,
        numbers: Vec<u32>,
        /// and those that are written so.
        mappings: Mappings,
    },
}

/// Tunnels, as they are written behind the flags of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mappings {
    /// Those of --tunnel-out.
    pub tunnel_out: Vec<String>,
    /// Those of --tunnel-in.
    pub tunnel_in: Vec<String>,
    /// Those of --dynamic.
    pub dynamic: Vec<String>,
}

/// A tunnel of a running client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelView {
    /// Its number, which no other tunnel of the process ever has.
    pub number: u32,
    /// Which way it goes, and its two sides, as in the log.
    pub tunnel: String,
    /// Where visitors go in, if that is known yet.
    pub listening: Option<String>,
    /// Whether it was added while the client ran, so that it ends with it.
    pub added: bool,
    /// Why the server does not want it, if it does not.
    pub refused: Option<String>,
}

/// What a running program answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
pub enum Reply {
    /// The flow has ended in order.
    Ended,
    /// It is about to end, and goes on saying nothing until it has.
    Stopping {
        /// Time that open flows have to finish.
        seconds: u64,
    },
    /// How it is.
    Status {
        /// All that there is to say.
        snapshot: Box<Snapshot>,
    },
    /// The configuration was read again.
    Reloaded {
        /// What has changed, a line for each thing.
        changes: Vec<String>,
    },
    /// Tunnels: all of them, or those that are about what was asked.
    Tunnels {
        /// In the order of their numbers.
        tunnels: Vec<TunnelView>,
    },
    /// It was not done, or has not ended in order.
    Failed {
        /// Why, for people.
        why: String,
    },
}

/// Whether the peer is a process of the same user, or of root, or whether we are root and so may ask
/// anybody.
fn check_peer(socket: &UnixStream) -> io::Result<()> {
    let (ours, theirs) = (rustix::process::geteuid(), socket.peer_cred()?.uid());
    if theirs == ours.as_raw() || theirs == 0 || ours.is_root() {
        return Ok(());
    }
    let what = "the other side is another user";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}
