//! What others on this machine ask of a running server, through its control socket.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use crate::control::{Caller, Reply, Request};
use crate::reload::Answer;

/// Answers one who calls.
pub(super) async fn answer(
    caller: Caller,
    shared: Arc<Shared>,
    reload: mpsc::Sender<Answer>,
) -> io::Result<()> {
    let (request, _) = caller.request().await?;
    match request {
        Request::Connect { .. } | Request::Tunnels | Request::Add(_) | Request::Remove { .. } => {
            let why = "only a client does that; this is a server";
            caller.fail(why).await
        }
        Request::Status => {
            let snapshot = Box::new(shared.status.snapshot());
            caller.reply(&Reply::Status { snapshot }).await
        }
        Request::Reload => caller.reload(&reload).await,
        Request::Stop => {
            shared.stop.cancel();
            let seconds = shared.drain.as_secs();
            caller.reply(&Reply::Stopping { seconds }).await?;
            caller.gone().await;
            Ok(())
        }
    }
}
