//! Visitors: they are handed to whatever session there is when they come.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ClientError;
use crate::listener::{Listener, Origin, UdpListener, Visitor};
use crate::session::{Local, Opener};
use crate::stdio::Stdio;

/// Longest that a visitor waits for a session that is not there: a short outage does not show, and
/// a long one does not hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hands a listener's visitors to whatever session there is, for ever.
pub(super) async fn receive(
    number: u32,
    tunnel: Local,
    listener: Listener,
    current: watch::Receiver<Option<Opener>>,
) {
    let tunnel = Arc::new(tunnel);
    if let Listener::Udp(listener) = &listener {
        return receive_packets(number, &tunnel, listener, current).await;
    }
    let mut waiting = JoinSet::new();
    loop {
        let visitor: Visitor = tokio::select! {
            arrived = listener.accept() => arrived,
            Some(_) = waiting.join_next() => continue,
        };
        let open = current.borrow().clone().filter(Opener::is_open);
        if let Some(opener) = open.as_ref().filter(|opener| !opener.is_deaf()) {
            drop(opener.carry(number, &tunnel, visitor));
            continue;
        }
        let (tunnel, current) = (tunnel.clone(), current.clone());
        waiting.spawn(async move {
            let next = match open {
                // A server that is out of hearing may be so for long.
                Some(_) => None,
                None => next_session(current).await,
            };
            match next {
                Some(opener) => drop(opener.carry(number, &tunnel, visitor)),
                None => tunnel.turn_away(visitor).await,
            }
        });
    }
}

/// Hands the packets of a UDP port to whatever session there is, for ever. Those that come while
/// there is none wait for one a moment too, and are lost after that, as nobody wants to have them late.
async fn receive_packets(
    number: u32,
    tunnel: &Arc<Local>,
    listener: &UdpListener,
    mut current: watch::Receiver<Option<Opener>>,
) {
    loop {
        let late = async {
            listener.port.arrival().await;
            sleep(PATIENCE).await;
            listener.port.discard().await;
        };
        let opener = tokio::select! {
            opener = current.wait_for(is_usable) => match opener {
                Ok(opener) => opener.clone(),
                Err(_) => return,
            },
            () = late => continue,
        };
        if let Some(opener) = opener {
            // Not from a session to a better one: flows of UDP cannot go along.
            tokio::select! {
                () = opener.carry_packets(number, tunnel, listener) => {}
                () = overtaken(&opener, current.clone()) => {}
            }
        }
    }
}

/// Waits until a session's server is out of hearing, and there is another one's to go through.
async fn overtaken(opener: &Opener, mut current: watch::Receiver<Option<Opener>>) {
    let is_other = |current: &Option<Opener>| {
        is_usable(current) && !current.as_ref().is_some_and(|current| current.is(opener))
    };
    loop {
        opener.deaf(true).await;
        tokio::select! {
            Ok(_) = current.wait_for(is_other) => return,
            () = opener.deaf(false) => {}
        }
    }
}

fn is_usable(opener: &Option<Opener>) -> bool {
    opener.as_ref().is_some_and(Opener::is_open)
}

/// The session that there is, or that there is soon, if its server is heard.
pub(super) async fn next_session(mut current: watch::Receiver<Option<Opener>>) -> Option<Opener> {
    let opener = timeout(PATIENCE, current.wait_for(is_usable))
        .await
        .ok()?
        .ok()?;
    opener.clone().filter(|opener| !opener.is_deaf())
}

/// Carries standard input and output through the first session that there is, to their end.
pub(super) async fn carry_stdio(
    number: u32,
    tunnel: Local,
    mut current: watch::Receiver<Option<Opener>>,
) -> Result<(), ClientError> {
    let opener = match current.wait_for(Option::is_some).await {
        Ok(opener) => opener.clone(),
        Err(_) => None,
    };
    let Some(opener) = opener else {
        return Err(ClientError::NoSession(
            "stopped before there was a connection".into(),
        ));
    };
    let (stdio, socket) = Stdio::pair()?;
    let from = Origin::Stdio;
    let flow = opener.carry(number, &Arc::new(tunnel), Visitor { socket, from });
    let end = flow.abort_handle();
    let carried = stdio.carry(async {
        match flow.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(ClientError::NoSession("the flow was cut short".into())),
        }
    });
    // What is not written any more must look broken to the far side.
    carried.await.inspect_err(|_| end.abort())
}
