//! The end of the control socket of those who have something to ask.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{
    Greeting, MAX_REPLY, Reply, Request, Role, VERSION, Which, check_peer, directory, line,
};
use crate::tls::Trust;
use crate::tunnel::{HostPort, Target};

/// Longest wait for the greeting of a program that runs.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running program that greeted us, and waits for a request.
#[derive(Debug)]
pub struct Running {
    socket: UnixStream,
    /// Who it is.
    pub greeting: Greeting,
}

/// Why nothing was done by a running program.
#[derive(Debug, Error)]
pub enum AskError {
    /// It says so.
    #[error("{0}")]
    Failed(String),
    /// It is not clear which one of these is meant; what says so is this flag.
    #[error("several are running here; say by {flag} which one is meant: {running}")]
    Several {
        /// What tells them apart.
        flag: &'static str,
        /// Those that are running.
        running: String,
    },
    /// None runs that could be meant.
    #[error("{0}")]
    None(String),
    /// It has nothing to do with what was asked.
    #[error("the running program gave an answer to another question")]
    Unexpected,
    /// It was stopped.
    #[error("the running {0} was stopped")]
    Gone(Role),
    /// It cannot be asked, or standard input or output failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Running {
    /// The one program that is meant.
    pub async fn one(which: &Which) -> Result<Self, AskError> {
        if let Some(path) = &which.socket {
            let greeted = timeout(PATIENCE, Self::greet(path)).await;
            let greeted = greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let nobody = |e| AskError::None(format!("--socket {}: {e}", path.display()));
            let running = greeted.map_err(nobody)?;
            return match which.role {
                Some(role) if role != running.greeting.role => {
                    let it = &running.greeting;
                    Err(AskError::None(format!("{it} is no {role}")))
                }
                _ => Ok(running),
            };
        }
        let mut found = Self::all(directory::all()).await;
        let shown = list(&found);
        found.retain(|it| which.pid.is_none_or(|pid| pid == it.greeting.pid));
        found.retain(|it| which.role.is_none_or(|role| role == it.greeting.role));
        match (found.pop(), which.pid) {
            (Some(it), _) if found.is_empty() => Ok(it),
            (Some(it), _) => {
                found.push(it);
                found.sort_by_key(|it| it.greeting.pid);
                let (flag, running) = ("--pid", list(&found));
                Err(AskError::Several { flag, running })
            }
            (None, Some(pid)) if shown.is_empty() => Err(AskError::None(format!(
                "--pid {pid}: no such rstun is running here that this user may ask"
            ))),
            (None, Some(pid)) => Err(AskError::None(format!(
                "--pid {pid}: it is none of those that are running here: {shown}"
            ))),
            (None, None) => {
                let what = which
                    .role
                    .map_or("server or client".into(), |r| r.to_string());
                Err(AskError::None(format!(
                    "no rstun {what} is running here that this user may ask"
                )))
            }
        }
    }

    /// The client to go through: one of any of these servers that trusts them by the same, where they are
    /// given, and else the only one that runs. It is never another user's, even for root: that could
    /// claim to be a client of any server, and would have what goes through it.
    pub async fn find(
        servers: &[HostPort],
        trust: Option<&Trust>,
    ) -> Result<Option<Self>, AskError> {
        let servers: Vec<_> = servers.iter().map(HostPort::to_string).collect();
        let trust = trust.map(Trust::to_string);
        let mut found = Self::all(directory::trusted()).await;
        found.retain(|running| {
            let theirs = &running.greeting;
            let shared = theirs.servers.iter().any(|server| servers.contains(server));
            theirs.role == Role::Client
                && (servers.is_empty() || shared)
                && trust.as_ref().is_none_or(|trust| *trust == theirs.trust)
        });
        if servers.is_empty() && found.len() > 1 {
            let clients = found.iter().map(|it| it.greeting.servers.join(" or "));
            let (flag, running) = ("--server-addr", clients.collect::<Vec<_>>().join(", "));
            return Err(AskError::Several { flag, running });
        }
        Ok(found.pop())
    }

    /// All that run, have their sockets in these directories, are of our version, and that this user
    /// may ask; the oldest number first.
    async fn all(directories: Vec<PathBuf>) -> Vec<Self> {
        let mut running = Vec::new();
        for dir in directories {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let ours = ["client-", "server-"].iter().any(|r| name.starts_with(r));
                if !(ours && name.ends_with(".sock")) {
                    continue;
                }
                // What does not answer has ended without taking its socket along.
                if let Ok(Ok(found)) = timeout(PATIENCE, Self::greet(&entry.path())).await {
                    running.push(found);
                }
            }
        }
        running.retain(|r| r.greeting.version == VERSION);
        running.sort_by_key(|r| r.greeting.pid);
        running
    }

    async fn greet(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path).await?;
        // Root may ask anybody.
        if !geteuid().is_root() {
            check_peer(&socket)?;
        }
        let mut greeting: Greeting = hear(&socket).await?;
        // The kernel knows better than the program which process that is; it says 0 of one that this
        // one cannot see.
        if let Some(pid) = socket
            .peer_cred()?
            .pid()
            .and_then(|pid| u32::try_from(pid).ok())
        {
            greeting.pid = pid;
        }
        Ok(Self { socket, greeting })
    }

    /// Has it open a flow for a socket, and waits for the flow's end. Not cancel-safe.
    pub async fn connect(self, target: &Target, flow: OwnedFd) -> Result<(), AskError> {
        let request = Request::Connect {
            target: target.to_string(),
        };
        line::send(&self.socket, &request, Some(flow)).await?;
        match self.reply().await? {
            Reply::Ended => Ok(()),
            _ => Err(AskError::Unexpected),
        }
    }

    /// Asks for something, and waits for the answer; one that says that it was not done is an error.
    /// Not cancel-safe.
    pub async fn ask(&mut self, request: &Request) -> Result<Reply, AskError> {
        line::send(&self.socket, request, None).await?;
        self.reply().await
    }

    async fn reply(&self) -> Result<Reply, AskError> {
        match hear(&self.socket).await {
            Ok(Reply::Failed { why }) => Err(AskError::Failed(why)),
            Ok(reply) => Ok(reply),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(AskError::Gone(self.greeting.role))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Waits until it is gone. Cancel-safe.
    pub async fn gone(&self) {
        line::end(&self.socket).await;
    }
}

fn list(running: &[Running]) -> String {
    let each = running.iter().map(|it| it.greeting.to_string());
    each.collect::<Vec<_>>().join(", ")
}

/// What a program says, fit to print: it may be another user's, who would have root's terminal do
/// things.
async fn hear<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<T> {
    let (mut said, _) = line::receive(socket, MAX_REPLY).await?;
    make_printable(&mut said);
    Ok(serde_json::from_value(said)?)
}

/// Takes the control characters out of all texts, but for the ends of lines; and all fields out whose
/// names have any, which are none of ours.
fn make_printable(said: &mut Value) {
    let steers = |c: char| c.is_control() && c != '\n';
    match said {
        Value::String(text) if text.contains(steers) => *text = text.replace(steers, "\u{fffd}"),
        Value::Array(parts) => parts.iter_mut().for_each(make_printable),
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains(char::is_control));
            fields.values_mut().for_each(make_printable);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_another_program_says_cannot_steer_a_terminal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let why = "\u{1b}]0;owned\u{7}\u{9b}2J\r\nsecond line";
        let reply = Reply::Reloaded {
            changes: vec![why.into()],
        };
        line::send(&theirs, &reply, None).await.unwrap();
        let heard: Reply = hear(&ours).await.unwrap();
        let why = "\u{fffd}]0;owned\u{fffd}\u{fffd}2J\u{fffd}\nsecond line";
        let reply = Reply::Reloaded {
            changes: vec![why.into()],
        };
        assert_eq!(heard, reply);
        let said = serde_json::json!({"a": {"\u{9b}2J": 1, "b": "\u{1b}"}});
        line::send(&theirs, &said, None).await.unwrap();
        let heard: Value = hear(&ours).await.unwrap();
        assert_eq!(heard, serde_json::json!({"a": {"b": "\u{fffd}"}}));
    }
}
