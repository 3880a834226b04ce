//! What a server says to the process that takes its place, and what that answers: lines of JSON on a
//! socket of theirs, of which each is answered before the next is said.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::{MAX_REQUEST, line};

/// Environment variable by which a process knows that it is to take another's place, whose end of
/// their socket is its standard input.
const VARIABLE: &str = "RSTUN_SUCCESSION";

/// What a server has for the process that takes its place.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "offer", rename_all = "lowercase")]
pub enum Offer {
    /// A socket for QUIC, which comes with this.
    Udp {
        /// Which of two servers at the port gets it.
        generation: u8,
    },
    /// A socket that TCP clients connect to, which comes with this.
    Tcp,
    /// To begin, with the sockets so far; it is answered when that is done.
    Begin,
    /// A socket of a client's, which comes with this.
    Port {
        /// The client's name.
        owner: String,
        /// Where it listens.
        place: String,
    },
    /// All else: there is no more.
    All,
}

/// What answers an offer.
#[derive(Serialize, Deserialize)]
struct Taken {
    taken: bool,
}

/// The process that takes this one's place.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    socket: UnixStream,
}

impl Successor {
    /// Starts the program by the name by which this one was started, which may be another file by
    /// now, and with the same arguments. Must be called within a runtime.
    pub fn start() -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut args = env::args_os();
        let program = args.next().ok_or(io::ErrorKind::NotFound)?;
        let child = Command::new(program)
            .args(args)
            .env(VARIABLE, "1")
            // These are about this process.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let socket = UnixStream::from_std(ours)?;
        Ok(Self { child, socket })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Offers something, and waits until it is taken. Not cancel-safe.
    pub async fn offer(&self, offer: &Offer, socket: Option<OwnedFd>) -> io::Result<()> {
        line::send(&self.socket, offer, socket).await?;
        let (Taken { taken }, _) = line::receive(&self.socket, MAX_REQUEST).await?;
        match taken {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Ends it, for this process goes on.
    pub fn abandon(mut self) {
        // It fails for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process whose place this one takes.
#[derive(Debug)]
pub struct Predecessor(StdUnixStream);

impl Predecessor {
    /// The one that has started this process, if it was for that.
    pub fn find() -> io::Result<Option<Self>> {
        if env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        Ok(Some(Self(socket)))
    }

    /// Its end of the socket, in this runtime.
    fn socket(&self) -> io::Result<UnixStream> {
        UnixStream::from_std(self.0.try_clone()?)
    }

    /// Takes all that is offered, until this says that it was the last. Answers it all but for
    /// [`Offer::Begin`], which [`Predecessor::begun`] does. Not cancel-safe.
    pub async fn take(
        &self,
        mut take: impl FnMut(Offer, Option<OwnedFd>) -> io::Result<()>,
    ) -> io::Result<()> {
        let socket = self.socket()?;
        loop {
            let (offer, passed) = line::receive(&socket, MAX_REQUEST).await?;
            if offer == Offer::Begin {
                return Ok(());
            }
            let last = offer == Offer::All;
            take(offer, passed)?;
            line::send(&socket, &Taken { taken: true }, None).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Tells that this process does what the other did.
    pub async fn begun(&self) -> io::Result<()> {
        line::send(&self.socket()?, &Taken { taken: true }, None).await
    }

    /// Waits until the other process has ended. Cancel-safe.
    pub async fn gone(&self) {
        if let Ok(socket) = self.socket() {
            line::end(&socket).await;
        }
    }
}
