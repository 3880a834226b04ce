//! Login, from both sides: one message each way.
//!
//! The client's holds its proof and all of its tunnels, so that a session is up one round trip
//! after the handshake. It is all or nothing: if one tunnel is refused there is no session.

use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::welcome::Newcomer;
use super::{NotGiven, Role, Session, SessionError};
use crate::access::{ChannelBinding, Claim, Credential, Registry};
use crate::audit;
use crate::metrics::Account;
use crate::transport::{CloseCode, Connection, Lost};
use crate::tunnel::{Direction, Half, Tunnel};
use crate::wire::{self, Former, Grant, Login, Message, Request};

/// A client process, told from others by a random number that it keeps.
pub type Instance = [u8; 16];

/// A session just logged in to.
#[derive(Debug)]
pub struct LoggedIn {
    /// The session.
    pub session: Session,
    /// Where the server listens, by tunnel; none for TunnelOut.
    pub listening: Vec<Option<String>>,
}

/// Logs in to a server, with tunnels whose numbers rise.
///
/// A UDP flow is over after `udp_idle` of silence, unless its tunnel says otherwise. What goes through
/// the tunnels is counted in `account`. It has no deadline of its own. Not cancel-safe: the connection is to be dropped.
pub async fn login(
    connection: Connection,
    credential: &Credential,
    (instance, former): (Instance, Former),
    tunnels: &[(u32, Tunnel)],
    udp_idle: Duration,
    account: Arc<Account>,
) -> Result<LoggedIn, SessionError> {
    let binding = connection.channel_binding()?;
    let mut control = Control::new(connection.open().await?);
    let login = Message::Login(Login {
        instance,
        former,
        credential: shown(credential, &binding),
        tunnels: tunnels.iter().map(|(n, t)| Request::new(*n, t)).collect(),
    });
    let answer = match control.write(&login).await {
        Ok(()) => control.read().await,
        Err(e) => Err(e),
    };
    let grants = match answer {
        Ok(Message::Welcome(grants)) if grants.len() == tunnels.len() => grants,
        Ok(_) => return Err(SessionError::Unexpected),
        // A server that refuses closes the connection; it is that which says why.
        Err(SessionError::Lost(_)) => return Err(refusal(connection.closed().await, credential)),
        Err(e) => return Err(e),
    };
    let mut listening = Vec::with_capacity(grants.len());
    let mut refused = Vec::new();
    for ((number, tunnel), grant) in tunnels.iter().zip(grants) {
        match granted(tunnel, grant)? {
            Ok(addr) => listening.push(addr),
            Err(why) => refused.push(NotGiven {
                number: *number,
                tunnel: tunnel.to_string(),
                why,
            }),
        }
    }
    if !refused.is_empty() {
        connection
            .close(CloseCode::Done, "a tunnel was refused")
            .await;
        return Err(SessionError::Refused(refused));
    }
    let dialed = tunnels
        .iter()
        .filter_map(|(number, tunnel)| match tunnel.near() {
            Half::Dial(target) => Some((*number, tunnel.to_string(), target)),
            Half::Listen(..) => None,
        });
    let listeners = Vec::new();
    let session = Session::new(
        Role::Client,
        account,
        connection,
        control,
        dialed,
        listeners,
        udp_idle,
    );
    Ok(LoggedIn { session, listening })
}

/// Where the server listens for a tunnel, none for TunnelOut; or why it refuses it.
pub(super) fn granted(
    tunnel: &Tunnel,
    grant: Grant,
) -> Result<Result<Option<String>, String>, SessionError> {
    Ok(match (tunnel.direction, grant) {
        (_, Grant::Refused(why)) => Err(why),
        (Direction::Out, Grant::Open) => Ok(None),
        (Direction::In, Grant::Listening(addr)) => Ok(Some(addr.to_string())),
        (Direction::In, Grant::Open) => Ok(Some(tunnel.listen.to_string())),
        (Direction::Out, Grant::Listening(_)) => return Err(SessionError::Unexpected),
    })
}

/// What a client shows for itself on one connection.
fn shown(credential: &Credential, binding: &ChannelBinding) -> wire::Credential {
    match credential {
        Credential::Password(password) => wire::Credential::Password(password.prove(binding)),
        Credential::Secret(name, secret) => wire::Credential::Secret {
            name: name.clone(),
            proof: secret.prove_stored(binding),
        },
        Credential::Key(_) => wire::Credential::Key,
    }
}

fn refusal(lost: Lost, credential: &Credential) -> SessionError {
    match lost {
        Lost::Closed {
            code: Some(CloseCode::LoginRefused),
            ..
        } => SessionError::LoginRefused(match credential {
            Credential::Password(_) => "wrong password: the server has another one, or none",
            Credential::Secret(..) => {
                "login refused: the server lets in no client of this --name with this secret"
            }
            Credential::Key(_) => "login refused: the server lets in nobody with this --identity",
        }),
        lost => SessionError::Lost(lost),
    }
}

/// Waits for a client's login and looks who it is; one who is nobody is told no more than that.
///
/// It has no deadline of its own. Not cancel-safe: the connection is to be dropped.
pub async fn greet(connection: Connection, known: &Registry) -> Result<Newcomer, SessionError> {
    let binding = connection.channel_binding()?;
    let mut control = Control::new(tokio::select! {
        stream = connection.accept() => stream?,
        error = early_datagram(&connection) => return Err(error),
    });
    let message = tokio::select! {
        message = control.read() => message,
        error = early_datagram(&connection) => return Err(error),
    };
    let login = match message {
        Ok(Message::Login(login)) => login,
        Ok(_) => return Err(broken(&connection, SessionError::Unexpected).await),
        Err(e) => return Err(broken(&connection, e).await),
    };
    let claim = match &login.credential {
        wire::Credential::Password(proof) => Claim::Password(proof),
        wire::Credential::Secret { name, proof } => Claim::Secret(name, proof),
        wire::Credential::Key => Claim::Key(connection.peer_certificate()),
    };
    let Some(identity) = known.recognise(claim, &binding) else {
        connection
            .close(CloseCode::LoginRefused, "login refused")
            .await;
        let what = match claim {
            Claim::Password(_) => "wrong password",
            Claim::Secret(..) => "unknown name or wrong secret",
            Claim::Key(_) => "unknown key",
        };
        return Err(SessionError::LoginRefused(what));
    };
    connection.admit();
    audit::login(identity.name(), connection.remote_address());
    Ok(Newcomer::new(connection, control, login, identity))
}

/// Closes the connection of one who sends datagrams before login: they would wait in memory.
async fn early_datagram(connection: &Connection) -> SessionError {
    match connection.read_datagram().await {
        Ok(_) => broken(connection, SessionError::Unexpected).await,
        Err(lost) => lost.into(),
    }
}

async fn broken(connection: &Connection, error: SessionError) -> SessionError {
    connection
        .close(CloseCode::Protocol, &error.to_string())
        .await;
    error
}
