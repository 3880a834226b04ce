//! A flow whose target has been reached, as bytes to read and write.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::transport::{Receiver, Sender, StreamError};

/// Longest that a target is waited for that has said all there was to say.
const FAREWELL: Duration = Duration::from_secs(1);

/// Both halves of a flow's stream. Dropped before both have ended it breaks the flow.
pub(in crate::session) struct Stream {
    pub(in crate::session) tx: Sender,
    pub(in crate::session) rx: Receiver,
    /// How much may be written, once that is known.
    room: Option<Pin<Box<dyn Future<Output = usize> + Send>>>,
}

impl Stream {
    pub(in crate::session) fn new(tx: Sender, rx: Receiver) -> Self {
        let room = None;
        Self { tx, rx, room }
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
        let rx = &mut self.get_mut().rx;
        if rx.ready().is_empty() && !ready!(rx.poll_wait(cx)).map_err(failed)? {
            rx.settle();
            return Poll::Ready(Ok(()));
        }
        let mut taken = 0;
        if let Some(chunk) = rx.ready().front_mut() {
            taken = chunk.len().min(buffer.remaining());
            buffer.put_slice(&chunk.split_to(taken));
            if chunk.is_empty() {
                rx.ready().pop_front();
            }
        }
        rx.taken(taken);
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
        let waiting = this
            .room
            .get_or_insert_with(|| Box::pin(this.tx.allowance()));
        let room = ready!(waiting.as_mut().poll(cx));
        // It is to be asked anew whatever comes of this, and does not wait where there is room.
        this.room = None;
        let bytes = &bytes[..bytes.len().min(room)];
        this.tx.poll_write(cx, bytes).map_err(failed)
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
