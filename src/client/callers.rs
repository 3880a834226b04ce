//! What others on this machine ask of a running client, through its control socket.

use std::io;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;

use super::visitors::next_session;
use crate::control::{self, Caller, ControlSocket, Reply, Request};
use crate::session::Opener;
use crate::socket::Socket;
use crate::tunnel::Target;

/// Answers all who call, for ever. Cancel-safe: their flows go on as others do.
pub(super) async fn serve(socket: ControlSocket, current: watch::Receiver<Option<Opener>>) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            caller = socket.accept() => {
                let current = current.clone();
                callers.spawn(async move {
                    if let Err(e) = answer(caller, current).await {
                        debug!("control socket: {e}");
                    }
                });
            }
            Some(_) = callers.join_next() => {}
        }
    }
}

async fn answer(caller: Caller, current: watch::Receiver<Option<Opener>>) -> io::Result<()> {
    let (Request::Connect { target }, passed) = caller.request().await?;
    let target: Target = match target.parse() {
        Ok(target) => target,
        Err(e) => return fail(&caller, format!("{target}: {e}")).await,
    };
    let Some(passed) = passed else {
        return fail(&caller, "a socket has to come with the request".into()).await;
    };
    let socket = control::passed(passed)?;
    let Some(opener) = next_session(current).await else {
        let why = "the running client has no connection to its server";
        return fail(&caller, why.into()).await;
    };
    opener.clone().spawn(async move {
        let flow = connect(&caller, &opener, target, socket).await;
        if let Err(e) = flow {
            debug!("control socket: {e}");
        }
    });
    Ok(())
}

/// Carries the caller's flow, unless the caller goes before its target has been reached.
async fn connect(
    caller: &Caller,
    opener: &Opener,
    target: Target,
    socket: Socket,
) -> io::Result<()> {
    let name = target.to_string();
    let reached = tokio::select! {
        reached = opener.connect(target) => reached,
        () = caller.gone() => return Ok(()),
    };
    let outcome = match reached {
        Ok(reached) => reached.carry(socket).await,
        Err(e) => Err(e),
    };
    match outcome {
        Ok(()) => caller.reply(&Reply::Ended).await,
        Err(e) => fail(caller, format!("{name}: {e}")).await,
    }
}

async fn fail(caller: &Caller, why: String) -> io::Result<()> {
    caller.reply(&Reply::Failed { why }).await
}
