//! A flow whose target has been reached, as bytes to read and write.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until, timeout};

use crate::pace::{Pace, Way};
use crate::session::counted::Counted;
use crate::transport::{Receiver, Sender, StreamError};

/// Longest that a target is waited for that has said all there was to say.
const FAREWELL: Duration = Duration::from_secs(1);

/// Both halves of a flow's stream. Dropped before both have ended it breaks the flow.
pub(in crate::session) struct Stream {
    pub(in crate::session) tx: Sender,
    pub(in crate::session) rx: Receiver,
    /// Its place among the other flows.
    pub(in crate::session) counted: Counted,
    /// How much may be written, once that is known.
    room: Option<Pin<Box<dyn Future<Output = usize> + Send>>>,
    /// What is waited for before more is read, and before more is written, to keep to the pace.
    rests: [Option<Pin<Box<Sleep>>>; 2],
}

impl Stream {
    pub(in crate::session) fn new(tx: Sender, rx: Receiver, counted: Counted) -> Self {
        Self {
            tx,
            rx,
            counted,
            room: None,
            rests: [None, None],
        }
    }

    /// Waits until more may go this way, and tells how much at most.
    fn poll_pace(&mut self, cx: &mut Context<'_>, way: Way) -> Poll<usize> {
        let rest = &mut self.rests[way as usize];
        if let Some(sleep) = rest {
            ready!(sleep.as_mut().poll(cx));
            *rest = None;
        }
        let pace = self.counted.pace();
        Poll::Ready(pace.map_or(usize::MAX, Pace::most))
    }

    /// Notes that so much has gone this way.
    fn gone(&mut self, way: Way, bytes: usize) {
        match way {
            Way::Up => self.counted.sent(bytes),
            Way::Down => self.counted.received(bytes),
        }
        let due = self.counted.pace().and_then(|pace| pace.charge(way, bytes));
        self.rests[way as usize] = due.map(|due| Box::pin(sleep_until(due)));
    }

    /// Ends the flow in order, if its target does so too and says nothing more. Cancelling this
    /// breaks it.
    pub(super) async fn close(mut self) {
        self.tx.end();
        // The end is taken note of when it is read, and anything else breaks the flow.
        let _ = timeout(FAREWELL, self.read(&mut [0])).await;
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = ready!(this.poll_pace(cx, Way::Down)).min(buffer.remaining());
        let rx = &mut this.rx;
        if rx.ready().is_empty() && !ready!(rx.poll_wait(cx)).map_err(failed)? {
            rx.settle();
            return Poll::Ready(Ok(()));
        }
        let mut taken = 0;
        if let Some(chunk) = rx.ready().front_mut() {
            taken = chunk.len().min(most);
            buffer.put_slice(&chunk.split_to(taken));
            if chunk.is_empty() {
                rx.ready().pop_front();
            }
        }
        rx.taken(taken);
        this.gone(Way::Down, taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let most = ready!(this.poll_pace(cx, Way::Up));
        let waiting = this
            .room
            .get_or_insert_with(|| Box::pin(this.tx.allowance()));
        let room = ready!(waiting.as_mut().poll(cx));
        // It is to be asked anew whatever comes of this, and does not wait where there is room.
        this.room = None;
        let bytes = &bytes[..bytes.len().min(room).min(most)];
        let written = ready!(this.tx.poll_write(cx, bytes)).map_err(failed)?;
        this.gone(Way::Up, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().tx.end();
        Poll::Ready(Ok(()))
    }
}

fn failed(error: StreamError) -> io::Error {
    io::Error::other(error)
}
