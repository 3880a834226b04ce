//! The two halves of a flow's stream, whatever carries it.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio_util::either::Either;

use super::{ResetCode, StreamError, quic, tcp};
use crate::memory::Kept;

/// The half that bytes go out through. Dropped before its end it breaks the flow.
#[derive(Debug)]
pub enum Sender {
    /// QUIC.
    Quic(quic::Sender),
    /// TLS over TCP.
    Tcp(tcp::Sender),
}

impl Sender {
    /// Waits until the receiver wants more, and tells how many bytes. Cancel-safe.
    pub fn allowance(&self) -> impl Future<Output = usize> + Send + use<> {
        match self {
            Self::Quic(inner) => Either::Left(inner.allowance()),
            Self::Tcp(inner) => Either::Right(inner.allowance()),
        }
    }

    /// Hands over a chunk without copying it. It is to be no larger than the allowance, and then
    /// waits for nothing but room on this side.
    ///
    /// Not cancel-safe: part of the chunk may have been taken.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        match self {
            Self::Quic(inner) => inner.write(chunk).await,
            Self::Tcp(inner) => inner.write(chunk).await,
        }
    }

    /// Takes as many of some bytes as fit, which are to be no more than the allowance. Cancel-safe.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        match self {
            Self::Quic(inner) => inner.poll_write(cx, bytes),
            Self::Tcp(inner) => inner.poll_write(cx, bytes),
        }
    }

    /// Says that nothing more will come.
    pub fn end(&mut self) {
        match self {
            Self::Quic(inner) => inner.end(),
            Self::Tcp(inner) => inner.end(),
        }
    }

    /// Says that nothing more will come, and waits until the receiver has passed all on.
    ///
    /// It waits no longer than a minute from when the peer has all: a peer may not have us keep
    /// what is over. Cancelling this leaves the stream finished: what was written still arrives.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        match self {
            Self::Quic(inner) => inner.finish().await,
            Self::Tcp(inner) => inner.finish().await,
        }
    }

    /// Breaks the flow in this direction, be it finished or not.
    pub fn reset(&mut self, code: ResetCode) {
        match self {
            Self::Quic(inner) => inner.reset(code),
            Self::Tcp(inner) => inner.reset(code),
        }
    }

    /// Waits until the peer wants no more of this direction, or has all of it (none). Cancel-safe.
    pub fn stopped(&self) -> impl Future<Output = Option<StreamError>> + Send + use<> {
        match self {
            Self::Quic(inner) => Either::Left(inner.stopped()),
            Self::Tcp(inner) => Either::Right(inner.stopped()),
        }
    }
}

/// The half that bytes come in through. Dropped before its end it breaks the flow.
#[derive(Debug)]
pub struct Receiver {
    inner: Incoming,
    /// In order, and not yet asked for.
    ready: VecDeque<Bytes>,
}

/// What brings the bytes of a stream.
#[derive(Debug)]
enum Incoming {
    /// QUIC.
    Quic(quic::Receiver),
    /// TLS over TCP.
    Tcp(tcp::Receiver),
}

impl From<quic::Receiver> for Receiver {
    fn from(inner: quic::Receiver) -> Self {
        Self {
            inner: Incoming::Quic(inner),
            ready: VecDeque::new(),
        }
    }
}

impl From<tcp::Receiver> for Receiver {
    fn from(inner: tcp::Receiver) -> Self {
        Self {
            inner: Incoming::Tcp(inner),
            ready: VecDeque::new(),
        }
    }
}

impl Receiver {
    /// Takes up to `max` bytes of what has arrived; none at the end. Cancel-safe.
    pub async fn read_some(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        if self.ready.is_empty() && !self.wait().await? {
            return Ok(None);
        }
        let Some(first) = self.ready.front_mut() else {
            return Ok(None);
        };
        let bytes = first.split_to(max.min(first.len()));
        if first.is_empty() {
            self.ready.pop_front();
        }
        self.taken(bytes.len());
        Ok(Some(bytes))
    }

    /// What has arrived in order, for a reader to take from the front; after that it is to tell of
    /// it by [`Receiver::taken`].
    pub fn ready(&mut self) -> &mut VecDeque<Bytes> {
        &mut self.ready
    }

    /// Waits for more to be ready; false at the end. Cancel-safe.
    ///
    /// What is ready already is no reason to put this off: how much there can be is bounded by the
    /// window, and the sender's end or reset is seen here.
    pub async fn wait(&mut self) -> Result<bool, StreamError> {
        poll_fn(|cx| self.poll_wait(cx)).await
    }

    /// The same, by polling.
    pub fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamError>> {
        if self.kept().poll_cut(cx).is_ready() {
            return Poll::Ready(Err(StreamError::Cut));
        }
        let waited = match &mut self.inner {
            Incoming::Quic(inner) => inner.poll_wait(cx, &mut self.ready),
            Incoming::Tcp(inner) => inner.poll_wait(cx, &mut self.ready),
        };
        if waited.is_pending() && self.ready.is_empty() {
            // An idle flow holds no buffer.
            self.ready = VecDeque::new();
        }
        waited
    }

    /// What the flow keeps in memory, of which this half counts itself what has come.
    pub fn kept(&self) -> &Arc<Kept> {
        match &self.inner {
            Incoming::Quic(inner) => inner.kept(),
            Incoming::Tcp(inner) => inner.kept(),
        }
    }

    /// Waits until the flow is broken; for ever if it ends. Cancel-safe.
    pub async fn broken(&mut self) -> StreamError {
        loop {
            match self.wait().await {
                Ok(true) => {}
                Ok(false) => pending().await,
                Err(e) => return e,
            }
        }
    }

    /// Notes that so many bytes have gone on, so that the sender may send more.
    pub fn taken(&mut self, bytes: usize) {
        match &mut self.inner {
            Incoming::Quic(inner) => inner.taken(bytes),
            Incoming::Tcp(inner) => inner.taken(bytes),
        }
    }

    /// Tells the peer that all that it sent, and its end, has gone on.
    pub fn settle(&mut self) {
        match &mut self.inner {
            Incoming::Quic(inner) => inner.settle(),
            Incoming::Tcp(inner) => inner.settle(),
        }
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: ResetCode) {
        match &mut self.inner {
            Incoming::Quic(inner) => inner.stop(code),
            Incoming::Tcp(inner) => inner.stop(code),
        }
    }
}
