//! Login, from both sides: one message each way.
//!
//! The client's holds its proof and all of its tunnels, so that a session is up one round trip
//! after the handshake. It is all or nothing: if one tunnel is refused there is no session.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::control::Control;
use super::{Local, Role, Session, SessionError};
use crate::access::{Access, ChannelBinding, EXPORTER_LABEL, Password, is_bench};
use crate::connector;
use crate::listener::Listener;
use crate::transport::{CloseCode, Connection, Lost};
use crate::tunnel::{Direction, Half, Listen, Target, Tunnel};
use crate::wire::{Grant, Login, Message, Request};

/// Longest that the server looks for what a name stands for that is not listed itself.
const RESOLUTION: Duration = Duration::from_secs(2);

/// Longest that a client may take to go after it was refused a tunnel.
const FAREWELL: Duration = Duration::from_secs(1);

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

/// Logs in to a server.
///
/// A UDP flow is over after `udp_idle` of silence, unless its tunnel says otherwise. It has no
/// deadline of its own. Not cancel-safe: the connection is to be dropped.
pub async fn login(
    connection: Connection,
    password: &Password,
    instance: Instance,
    tunnels: &[Tunnel],
    udp_idle: Duration,
) -> Result<LoggedIn, SessionError> {
    let binding = binding(&connection)?;
    let mut control = Control::new(connection.open().await?);
    let login = Message::Login(Login {
        instance,
        proof: password.prove(&binding),
        tunnels: tunnels.iter().map(Request::from).collect(),
    });
    let answer = match control.write(&login).await {
        Ok(()) => control.read().await,
        Err(e) => Err(e),
    };
    let grants = match answer {
        Ok(Message::Welcome(grants)) if grants.len() == tunnels.len() => grants,
        Ok(_) => return Err(SessionError::Unexpected),
        // A server that refuses closes the connection; it is that which says why.
        Err(SessionError::Lost(_)) => return Err(refusal(connection.closed().await)),
        Err(e) => return Err(e),
    };
    let mut listening = Vec::with_capacity(grants.len());
    let mut refused = Vec::new();
    for (tunnel, grant) in tunnels.iter().zip(grants) {
        match (tunnel.direction, grant) {
            (_, Grant::Refused(why)) => refused.push((tunnel.to_string(), why)),
            (Direction::Out, Grant::Open) => listening.push(None),
            (Direction::In, Grant::Listening(addr)) => listening.push(Some(addr.to_string())),
            (Direction::In, Grant::Open) => listening.push(Some(tunnel.listen.to_string())),
            (Direction::Out, Grant::Listening(_)) => return Err(SessionError::Unexpected),
        }
    }
    if !refused.is_empty() {
        connection
            .close(CloseCode::Done, "a tunnel was refused")
            .await;
        return Err(SessionError::Refused(refused));
    }
    let dialed = (0..)
        .zip(tunnels)
        .filter_map(|(number, tunnel)| match tunnel.near() {
            Half::Dial(target) => Some((number, tunnel.to_string(), target)),
            Half::Listen(..) => None,
        });
    let listeners = Vec::new();
    let session = Session::new(
        Role::Client,
        connection,
        control,
        dialed,
        listeners,
        udp_idle,
    );
    Ok(LoggedIn { session, listening })
}

fn refusal(lost: Lost) -> SessionError {
    match lost {
        Lost::Closed {
            code: Some(CloseCode::LoginRefused),
            ..
        } => SessionError::WrongPassword,
        lost => SessionError::Lost(lost),
    }
}

/// A client that has proved the password, and has not been answered yet.
#[derive(Debug)]
pub struct Newcomer {
    /// Which process it is.
    pub instance: Instance,
    connection: Connection,
    control: Control,
    tunnels: Vec<Request>,
    access: Arc<Access>,
}

/// Waits for a client's login and checks its proof; a wrong one is answered.
///
/// It has no deadline of its own. Not cancel-safe: the connection is to be dropped.
pub async fn greet(connection: Connection, access: Arc<Access>) -> Result<Newcomer, SessionError> {
    let binding = binding(&connection)?;
    let mut control = Control::new(connection.accept().await?);
    let login = match control.read().await {
        Ok(Message::Login(login)) => login,
        Ok(_) => return Err(broken(&connection, SessionError::Unexpected).await),
        Err(e) => return Err(broken(&connection, e).await),
    };
    if !access.admits(&binding, &login.proof) {
        connection
            .close(CloseCode::LoginRefused, "login refused")
            .await;
        return Err(SessionError::WrongPassword);
    }
    connection.admit();
    Ok(Newcomer {
        instance: login.instance,
        connection,
        control,
        tunnels: login.tunnels,
        access,
    })
}

async fn broken(connection: &Connection, error: SessionError) -> SessionError {
    connection
        .close(CloseCode::Protocol, &error.to_string())
        .await;
    error
}

impl Newcomer {
    /// Opens the tunnels that the client asked for and answers; none if one of them is refused.
    ///
    /// A UDP flow is over after `udp_idle` of silence, unless its tunnel says otherwise.
    pub async fn welcome(mut self, udp_idle: Duration) -> Result<Session, SessionError> {
        let mut grants = Vec::with_capacity(self.tunnels.len());
        let (mut dialed, mut listeners) = (Vec::new(), Vec::new());
        for (number, tunnel) in (0..).zip(&self.tunnels) {
            let name = tunnel.to_string();
            grants.push(match &tunnel.half {
                Half::Dial(target) => match may_reach(&self.access, target).await {
                    Ok(()) => {
                        dialed.push((number, name, target.clone()));
                        Grant::Open
                    }
                    Err(why) => Grant::Refused(why),
                },
                Half::Listen(listen, proxy) => match bind(&self.access, listen) {
                    Ok(listener) => {
                        let addr = listener.local_addr();
                        listeners.push((number, Local::new(name, *proxy), listener));
                        addr.map_or(Grant::Open, Grant::Listening)
                    }
                    Err(why) => Grant::Refused(why),
                },
            });
        }
        let refused: Vec<_> = grants
            .iter()
            .zip(&self.tunnels)
            .filter_map(|(grant, tunnel)| match grant {
                Grant::Refused(why) => Some((tunnel.to_string(), why.clone())),
                _ => None,
            })
            .collect();
        self.control.write(&Message::Welcome(grants)).await?;
        if !refused.is_empty() {
            let from = self.connection.remote_address();
            for (tunnel, why) in &refused {
                warn!("{from}: refused {tunnel}: {why}");
            }
            // What was granted is not to be held for one who gets nothing.
            drop(listeners);
            // The answer is to arrive before the end: the client closes when it has read it.
            if timeout(FAREWELL, self.connection.closed()).await.is_err() {
                let reason = "a tunnel was refused";
                self.connection.close(CloseCode::Done, reason).await;
            }
            return Err(SessionError::Refused(refused));
        }
        let role = Role::Server(self.access.clone());
        Ok(Session::new(
            role,
            self.connection,
            self.control,
            dialed,
            listeners,
            udp_idle,
        ))
    }
}

/// Whether a client may reach anything of a target's, or else why not.
async fn may_reach(access: &Access, target: &Target) -> Result<(), String> {
    if is_bench(target) {
        let refusal = || "the server was started without --allow-bench".to_owned();
        return access.bench.map(drop).ok_or_else(refusal);
    }
    if access.downstream.is_empty() {
        return Err(format!(
            "{target} may not be reached: the server was started without --downstream"
        ));
    }
    let addr = match target {
        // What visitors ask for is looked at flow by flow.
        Target::Asked => return Ok(()),
        // A name that is listed may well resolve later.
        target if access.names(target) => return Ok(()),
        Target::Tcp(addr) | Target::Udp(addr) => Some(addr),
        Target::Unix(_) => None,
    };
    if let Some(addr) = addr
        && let Ok(Ok(addrs)) = timeout(RESOLUTION, connector::resolve(addr)).await
        && !access.reachable(target, addrs).is_empty()
    {
        return Ok(());
    }
    Err(format!("{target} is not in the server's --downstream"))
}

/// Listens for a client, or says why not.
fn bind(access: &Access, listen: &Listen) -> Result<Listener, String> {
    if let Listen::Unix { path, .. } = listen
        && !access.may_make(path)
    {
        return Err(match &access.unix_dir {
            None => format!("{path} may not be made: the server was started without --unix-dir"),
            Some(dir) => format!("{path} is not in the server's --unix-dir {}", dir.display()),
        });
    }
    Listener::bind(listen).map_err(|e| {
        let addr = match listen.addr() {
            Some(addr) if addr.ip.is_none() => format!("port {}", addr.port),
            Some(addr) => format!("address {addr}"),
            None => listen.to_string(),
        };
        match e.kind() {
            std::io::ErrorKind::AddrInUse => format!("{addr} is taken at the server"),
            std::io::ErrorKind::Unsupported => e.to_string(),
            _ => format!("the server cannot listen on {addr}: {e}"),
        }
    })
}

fn binding(connection: &Connection) -> Result<ChannelBinding, SessionError> {
    Ok(connection.export_keying_material(EXPORTER_LABEL)?)
}
