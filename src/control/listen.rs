//! The running program's end of the control socket.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{Greeting, MAX_REQUEST, Reply, Request, check_peer, directory, line};
use crate::listener::{Listener, Visitor};
use crate::reload;
use crate::socket::Socket;
use crate::tunnel::{Listen, ParseError};

/// Longest that a caller may take for its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A control socket that others can find.
#[derive(Debug)]
pub struct ControlSocket {
    listener: Listener,
    greeting: Greeting,
}

impl ControlSocket {
    /// Makes the socket where others look for it; must be called within a runtime. A program does
    /// without one too.
    pub fn bind(greeting: Greeting) -> Option<Self> {
        let bound = Self::try_bind(greeting);
        let missed = "`rstun status` and others will not find us";
        bound
            .inspect_err(|e| warn!("no control socket, so {missed}: {e}"))
            .ok()
    }

    fn try_bind(greeting: Greeting) -> io::Result<Self> {
        let name = format!("{}-{}.sock", greeting.role, greeting.pid);
        let path = directory::own()?.join(name);
        let path = path.to_string_lossy().parse();
        let path = path
            .map_err(|e: ParseError| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))?;
        let listener = Listener::bind(&Listen::Unix { path, mode: 0o600 })?;
        Ok(Self { listener, greeting })
    }

    /// Has all who call answered, each in a task of its own, for ever. Cancel-safe: who waits for an
    /// answer then is cut off.
    pub async fn serve<A>(&self, answer: impl Fn(Caller) -> A)
    where
        A: Future<Output = io::Result<()>> + Send + 'static,
    {
        let mut callers = JoinSet::new();
        loop {
            tokio::select! {
                caller = self.accept() => {
                    let answer = answer(caller);
                    callers.spawn(async move {
                        if let Err(e) = answer.await {
                            debug!("control socket: {e}");
                        }
                    });
                }
                Some(_) = callers.join_next() => {}
            }
        }
    }

    /// Waits for the next who calls. Cancel-safe.
    async fn accept(&self) -> Caller {
        loop {
            if let Visitor {
                socket: Socket::Unix(socket),
                ..
            } = self.listener.accept().await
            {
                match check_peer(&socket) {
                    Ok(()) => {
                        let greeting = self.greeting.clone();
                        return Caller { socket, greeting };
                    }
                    Err(e) => debug!("control socket: {e}"),
                }
            }
        }
    }
}

/// A program that has something to ask.
#[derive(Debug)]
pub struct Caller {
    socket: UnixStream,
    greeting: Greeting,
}

impl Caller {
    /// Greets, and waits for the request and the socket that it comes with. What is no request is
    /// answered too.
    pub async fn request(&self) -> io::Result<(Request, Option<OwnedFd>)> {
        let request = async {
            line::send(&self.socket, &self.greeting, None).await?;
            let request = line::receive(&self.socket, MAX_REQUEST).await;
            if let Err(e) = &request
                && e.kind() == io::ErrorKind::InvalidData
            {
                self.fail(format!("this is no request: {e}")).await?;
            }
            request
        };
        timeout(PATIENCE, request).await?
    }

    /// Answers.
    pub async fn reply(&self, reply: &Reply) -> io::Result<()> {
        line::send(&self.socket, reply, None).await
    }

    /// Has the configuration read again, and answers what comes of it.
    pub async fn reload(&self, ask: &mpsc::Sender<reload::Answer>) -> io::Result<()> {
        match reload::ask(ask).await {
            Ok(changes) => self.reply(&Reply::Reloaded { changes }).await,
            Err(why) => self.fail(why).await,
        }
    }

    /// Answers that it was not done, and why.
    pub async fn fail(&self, why: impl Into<String>) -> io::Result<()> {
        let why = why.into();
        self.reply(&Reply::Failed { why }).await
    }

    /// Waits until the caller has gone. Cancel-safe.
    pub async fn gone(&self) {
        line::end(&self.socket).await;
    }
}

/// Takes a socket that a caller passed for a flow.
pub fn passed(fd: OwnedFd) -> io::Result<Socket> {
    let stream = sockopt::socket_type(&fd)? == SocketType::STREAM;
    let unix = getsockname(&fd)?.address_family() == AddressFamily::UNIX;
    if !stream || !unix {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let socket = StdUnixStream::from(fd);
    socket.set_nonblocking(true)?;
    Ok(Socket::Unix(UnixStream::from_std(socket)?))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::super::Role;
    use super::*;

    #[tokio::test]
    async fn what_is_no_request_is_told_so() {
        let long = format!("\"{}\"", "x".repeat(MAX_REQUEST));
        for said in ["{\"request\":\"dance\"}", "dance", &"[".repeat(1000), &long] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let greeting = Greeting::new(Role::Server, Vec::new(), String::new());
            let caller = Caller {
                socket: ours,
                greeting,
            };
            let said = format!("{said}\n");
            let speak = async {
                line::receive::<Greeting>(&theirs, MAX_REQUEST)
                    .await
                    .unwrap();
                theirs.write_all(said.as_bytes()).await
            };
            let (request, _) = tokio::join!(caller.request(), speak);
            assert!(request.is_err());
            let (reply, _) = line::receive::<Reply>(&theirs, MAX_REQUEST).await.unwrap();
            assert!(matches!(reply, Reply::Failed { .. }), "{reply:?}");
        }
    }
}
