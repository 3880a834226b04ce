//! A visitor that speaks SOCKS5 (RFC 1928).

mod association;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use self::association::Associated;
use super::flow::{FlowError, Opener, Reached};
use super::local::Local;
use crate::listener::{Origin, Visitor};
use crate::proxy::socks5::{Decoded, Greeting, LONGEST, Login, Malformed, Method, Reply, Request};
use crate::relay::Broken;
use crate::socket::Socket;
use crate::transport::{ResetCode, StreamError};
use crate::tunnel::{Credentials, Target};

/// Longest that a visitor may take to say what it wants.
const HANDSHAKE: Duration = Duration::from_secs(10);

const SLOW: &str = "it did not say what it wants in time";

/// Serves a visitor, through a session if there is one; what it asks for goes through the tunnel of
/// this number.
pub(super) async fn serve(
    opener: Option<&Opener>,
    number: u32,
    tunnel: &Arc<Local>,
    auth: Option<&Credentials>,
    visitor: Visitor,
) -> Result<(), FlowError> {
    let from = visitor.from;
    let mut talk = Talk {
        socket: visitor.socket,
        read: BytesMut::new(),
    };
    let request = match timeout(HANDSHAKE, talk.request(auth)).await {
        Ok(Ok(request)) => request,
        Ok(Err(e)) => return talk.refuse(e).await,
        Err(_) => return talk.refuse(FlowError::Visitor(SLOW.into())).await,
    };
    let Some(opener) = opener else {
        return talk.refuse(FlowError::NoSession).await;
    };
    match request {
        Request::Connect(target) => {
            let (_, write) = talk.socket.split();
            let reached = tokio::select! {
                reached = opener.reach(number, tunnel, Target::Tcp(target)) => reached,
                // A visitor that has gone needs no target.
                error = write.failure() => Err(error.into()),
            };
            match reached {
                Ok(reached) => talk.carry(reached).await,
                Err(e) => talk.refuse(e).await,
            }
        }
        Request::Associate => {
            let (Origin::Tcp(from), Some(to)) = (from, talk.socket.local_addr()) else {
                let why = FlowError::Visitor("it has no address for datagrams".into());
                return talk.answer(Reply::Failure, why).await;
            };
            match Associated::bind(opener, number, tunnel, (from.ip(), to)) {
                Ok(associated) => talk.associate(associated).await,
                Err(e) => talk.answer(Reply::Failure, e.into()).await,
            }
        }
        Request::Other(command) => {
            let why = FlowError::Visitor(format!("it asks for command {command}"));
            talk.answer(Reply::CommandNotSupported, why).await
        }
    }
}

/// A conversation before it becomes a flow.
#[derive(Debug)]
struct Talk {
    socket: Socket,
    /// What has come and not been taken; it never grows beyond the longest message.
    read: BytesMut,
}

impl Talk {
    /// Comes to know what a visitor wants, if it may want anything.
    async fn request(&mut self, auth: Option<&Credentials>) -> Result<Request, FlowError> {
        let greeting = self.read(Greeting::decode).await?;
        let method = greeting.choose(auth.is_some());
        self.socket.write_all(&method.encode()).await?;
        match (method, auth) {
            (Method::Password, Some(wanted)) => {
                let check = |bytes: &[u8]| {
                    let login = Login::decode(bytes)?;
                    Ok(login.map(|(it, taken)| (wanted.admit(it.user, it.password), taken)))
                };
                let admitted = self.read(check).await?;
                self.socket.write_all(&Login::answer(admitted)).await?;
                if !admitted {
                    return Err(FlowError::Visitor("its user or password is wrong".into()));
                }
            }
            (Method::Nothing, _) => {}
            _ => {
                let why = "it offers no way to log in that is wanted here";
                return Err(FlowError::Visitor(why.into()));
            }
        }
        self.read(Request::decode).await
    }

    /// Reads until a message is whole, and takes it.
    async fn read<T>(&mut self, decode: impl Fn(&[u8]) -> Decoded<T>) -> Result<T, FlowError> {
        loop {
            if let Some((message, taken)) = decode(&self.read)? {
                self.read.advance(taken);
                return Ok(message);
            }
            let room = LONGEST - self.read.len();
            let mut room = (&mut self.read).limit(room);
            if self.socket.read_buf(&mut room).await? == 0 {
                return Err(FlowError::Visitor("it left before it had asked".into()));
            }
        }
    }

    /// Tells a visitor that its target has been reached, and carries it.
    async fn carry(mut self, mut reached: Reached) -> Result<(), FlowError> {
        self.socket.write_all(&Reply::Done.encode(None)).await?;
        reached.send(self.read.freeze()).await?;
        reached.carry(self.socket).await
    }

    /// Tells a visitor where to send its datagrams, and carries them.
    async fn associate(mut self, associated: Associated<'_>) -> Result<(), FlowError> {
        let bound = Some(associated.local_addr());
        self.socket.write_all(&Reply::Done.encode(bound)).await?;
        associated.carry(&mut self.socket).await?;
        self.socket.close().await;
        Ok(())
    }

    /// Tells a visitor why it is not served, as far as there are words for it.
    async fn refuse(self, error: FlowError) -> Result<(), FlowError> {
        match reply(&error) {
            Some(reply) => self.answer(reply, error).await,
            None => {
                self.socket.close().await;
                Err(error)
            }
        }
    }

    async fn answer(mut self, reply: Reply, why: FlowError) -> Result<(), FlowError> {
        self.socket.write_all(&reply.encode(None)).await?;
        self.socket.close().await;
        Err(why)
    }
}

/// The protocol's word for what went wrong; it has none for what goes wrong before a request.
fn reply(error: &FlowError) -> Option<Reply> {
    Some(match error {
        FlowError::Visitor(_) | FlowError::Broken(Broken::Local(_)) => return None,
        FlowError::Socks5(Malformed::AddressType) => Reply::AddressTypeNotSupported,
        FlowError::Socks5(Malformed::Address) => Reply::HostUnreachable,
        FlowError::Socks5(_) => return None,
        FlowError::NoSession | FlowError::Broken(Broken::Remote(StreamError::Lost)) => {
            Reply::NetworkUnreachable
        }
        FlowError::TooMany
        | FlowError::NoMemory
        | FlowError::Broken(Broken::Remote(StreamError::Cut)) => Reply::Failure,
        FlowError::Broken(Broken::Remote(StreamError::Reset(code))) => match code {
            ResetCode::NotAllowed => Reply::NotAllowed,
            ResetCode::Unreachable | ResetCode::NoSuchName => Reply::HostUnreachable,
            ResetCode::Refused => Reply::Refused,
            ResetCode::TimedOut => Reply::TimedOut,
            ResetCode::Broken
            | ResetCode::Draining
            | ResetCode::Overloaded
            | ResetCode::TooMany
            | ResetCode::BadHeader => Reply::Failure,
        },
    })
}
