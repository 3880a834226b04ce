//! The end of the control socket of those who have something to ask.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Greeting, Reply, Request, VERSION, check_peer, directory, line};
use crate::tls::Trust;
use crate::tunnel::{HostPort, Target};

/// Longest wait for the greeting of a program that runs.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running client that greeted us, and waits for a request.
#[derive(Debug)]
pub struct Running {
    socket: UnixStream,
    /// Who it is.
    pub greeting: Greeting,
}

/// Why no running client carried a flow.
#[derive(Debug, Error)]
pub enum AskError {
    /// It says so.
    #[error("{0}")]
    Failed(String),
    /// It is not clear which one is meant.
    #[error("several clients are running here; say by --server-addr which one to go through: {0}")]
    Several(String),
    /// It was stopped.
    #[error("the running client was stopped")]
    Gone,
    /// It cannot be asked, or standard input or output failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Running {
    /// The client to go through: one of this server that trusts it by the same, where they are given, and else
    /// the only one that runs.
    pub async fn find(
        server: Option<&HostPort>,
        trust: Option<&Trust>,
    ) -> Result<Option<Self>, AskError> {
        let Ok(dir) = directory() else {
            return Ok(None);
        };
        let server = server.map(HostPort::to_string);
        let trust = trust.map(Trust::to_string);
        let mut found = Self::all(&dir).await;
        found.retain(|running| {
            let Greeting {
                server: theirs,
                trust: theirs_by,
                ..
            } = &running.greeting;
            server.as_ref().is_none_or(|server| server == theirs)
                && trust.as_ref().is_none_or(|trust| trust == theirs_by)
        });
        if server.is_none() && found.len() > 1 {
            let servers = found.iter().map(|running| running.greeting.server.as_str());
            return Err(AskError::Several(servers.collect::<Vec<_>>().join(", ")));
        }
        Ok(found.pop())
    }

    /// All that run and have their sockets in this directory, and are of our version.
    async fn all(dir: &Path) -> Vec<Self> {
        let mut running = Vec::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !(name.starts_with("client-") && name.ends_with(".sock")) {
                continue;
            }
            // What does not answer has ended without taking its socket along.
            if let Ok(Ok(found)) = timeout(PATIENCE, Self::greet(&entry.path())).await {
                running.push(found);
            }
        }
        running.retain(|r| r.greeting.version == VERSION);
        running
    }

    async fn greet(path: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(path).await?;
        check_peer(&socket)?;
        let (greeting, _) = line::receive(&socket).await?;
        Ok(Self { socket, greeting })
    }

    /// Has it open a flow for a socket, and waits for the flow's end. Not cancel-safe.
    pub async fn connect(self, target: &Target, flow: OwnedFd) -> Result<(), AskError> {
        let request = Request::Connect {
            target: target.to_string(),
        };
        line::send(&self.socket, &request, Some(flow)).await?;
        match line::receive(&self.socket).await {
            Ok((Reply::Ended, _)) => Ok(()),
            Ok((Reply::Failed { why }, _)) => Err(AskError::Failed(why)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(AskError::Gone),
            Err(e) => Err(e.into()),
        }
    }
}
