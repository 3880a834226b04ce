//! The running program's end of the control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::debug;

use super::{Greeting, Reply, Request, check_peer, line};
use crate::listener::{Listener, Visitor};
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
    /// Makes the socket in a [`directory`](super::directory); must be called within a runtime.
    pub fn bind(dir: &Path, greeting: Greeting) -> io::Result<Self> {
        let path = dir.join(format!("client-{}.sock", greeting.pid));
        let text = path.to_string_lossy();
        let path = text
            .parse()
            .map_err(|e: ParseError| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))?;
        let listener = Listener::bind(&Listen::Unix { path, mode: 0o600 })?;
        Ok(Self { listener, greeting })
    }

    /// Waits for the next who calls. Cancel-safe.
    pub async fn accept(&self) -> Caller {
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
    /// Greets, and waits for the request and the socket that it comes with.
    pub async fn request(&self) -> io::Result<(Request, Option<OwnedFd>)> {
        let request = async {
            line::send(&self.socket, &self.greeting, None).await?;
            line::receive(&self.socket).await
        };
        timeout(PATIENCE, request).await?
    }

    /// Answers.
    pub async fn reply(&self, reply: &Reply) -> io::Result<()> {
        line::send(&self.socket, reply, None).await
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
