//! The control socket: how other programs of the same user talk to one that runs.
//!
//! It is a Unix socket in a directory of the user's own, and each side makes sure that the other is
//! the same user. They exchange lines of JSON: the running program begins with a [`Greeting`], the
//! other sends one [`Request`], and gets [`Reply`]s. A request may come with a socket of its own
//! (SCM_RIGHTS), so that a flow's bytes stay apart from what is said about it.

mod ask;
mod line;
mod listen;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::tls::Trust;
use crate::tunnel::HostPort;

pub use ask::{AskError, Running};
pub use listen::{Caller, ControlSocket, passed};

/// The version of what is said.
const VERSION: u32 = 1;

/// What a running client says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of all that follows. Whoever does not know it says nothing more.
    pub version: u32,
    /// Its process.
    pub pid: u32,
    /// The server that it is a client of.
    pub server: String,
    /// What it trusts the server by: the SHA-256 of its certificate as a rule.
    pub trust: String,
}

impl Greeting {
    /// That of this process.
    pub fn new(server: &HostPort, trust: &Trust) -> Self {
        Self {
            version: VERSION,
            pid: std::process::id(),
            server: server.to_string(),
            trust: trust.to_string(),
        }
    }
}

/// What is asked of a running client.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request {
    /// Open a flow to this target, for the socket that comes with the request.
    Connect {
        /// As it is written on a command line.
        target: String,
    },
}

/// What a running client answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
pub enum Reply {
    /// The flow has ended in order.
    Ended,
    /// It has not, or there never was one.
    Failed {
        /// Why, for people.
        why: String,
    },
}

/// The directory for control sockets: the user's runtime directory, or else one for this user among
/// the temporary files. It is made if it is not there, and refused if others may enter it.
pub fn directory() -> io::Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let runtime = ProjectDirs::from("", "", "rstun");
    let runtime = runtime.and_then(|dirs| dirs.runtime_dir().map(Path::to_owned));
    let dir = runtime.unwrap_or_else(|| std::env::temp_dir().join(format!("rstun-{uid}")));
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let found = dir.symlink_metadata()?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        let what = format!("{} is not a directory of this user's alone", dir.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(dir)
}

/// Whether the peer is a process of the same user.
fn check_peer(socket: &UnixStream) -> io::Result<()> {
    if socket.peer_cred()?.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let what = "the other side is another user";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}
