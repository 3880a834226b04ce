//! What others on this machine ask of a running client, through its control socket.

use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::visitors::next_session;
use crate::control::{self, Caller, Reply, Request};
use crate::session::{NO_TUNNEL, Opener};
use crate::socket::Socket;
use crate::tunnel::Target;

/// What a client has for those who call.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    current: watch::Receiver<Option<Opener>>,
    stop: CancellationToken,
    drain: Duration,
}

impl Desk {
    /// For the session that there is at any time, of a client that stops by `stop`, and then has so
    /// long to finish.
    pub(super) fn new(
        current: watch::Receiver<Option<Opener>>,
        stop: &CancellationToken,
        drain: Duration,
    ) -> Self {
        let stop = stop.clone();
        Self {
            current,
            stop,
            drain,
        }
    }

    /// Answers one who calls.
    pub(super) async fn answer(self, caller: Caller) -> io::Result<()> {
        let (request, passed) = caller.request().await?;
        match request {
            Request::Connect { target } => {
                let target: Target = match target.parse() {
                    Ok(target) => target,
                    Err(e) => return caller.fail(format!("{target}: {e}")).await,
                };
                let Some(passed) = passed else {
                    return caller.fail("a socket has to come with the request").await;
                };
                let socket = control::passed(passed)?;
                let Some(opener) = next_session(self.current).await else {
                    let why = "the running client has no connection to its server";
                    return caller.fail(why).await;
                };
                opener.clone().spawn(async move {
                    let flow = connect(&caller, &opener, target, socket).await;
                    if let Err(e) = flow {
                        debug!("control socket: {e}");
                    }
                });
                Ok(())
            }
            Request::Stop => {
                self.stop.cancel();
                let seconds = self.drain.as_secs();
                caller.reply(&Reply::Stopping { seconds }).await?;
                caller.gone().await;
                Ok(())
            }
        }
    }
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
        reached = opener.reach(NO_TUNNEL, target) => reached,
        () = caller.gone() => return Ok(()),
    };
    let outcome = match reached {
        Ok(reached) => reached.carry(socket).await,
        Err(e) => Err(e),
    };
    match outcome {
        Ok(()) => caller.reply(&Reply::Ended).await,
        Err(e) => caller.fail(format!("{name}: {e}")).await,
    }
}
