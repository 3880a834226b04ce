//! The two halves of a flow's stream, whatever carries it.

use std::collections::VecDeque;
use std::future::Future;
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
pub enum Receiver {
    /// QUIC.
    Quic(quic::Receiver),
    /// TLS over TCP.
    Tcp(tcp::Receiver),
}

impl Receiver {
    /// Takes up to `max` bytes of what has arrived; none at the end. Cancel-safe.
    pub async fn read_some(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        match self {
            Self::Quic(inner) => inner.read_some(max).await,
            Self::Tcp(inner) => inner.read_some(max).await,
        }
    }

    /// What has arrived in order, for a reader to take from the front; after that it is to tell of
    /// it by [`Receiver::taken`].
    pub fn ready(&mut self) -> &mut VecDeque<Bytes> {
        match self {
            Self::Quic(inner) => inner.ready(),
            Self::Tcp(inner) => inner.ready(),
        }
    }

    /// Waits for more to be ready; false at the end. Cancel-safe.
    ///
    /// What is ready already is no reason to put this off: how much there can be is bounded by the
    /// window, and the sender's end or reset is seen here.
    pub async fn wait(&mut self) -> Result<bool, StreamError> {
        match self {
            Self::Quic(inner) => inner.wait().await,
            Self::Tcp(inner) => inner.wait().await,
        }
    }

    /// The same, by polling.
    pub fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamError>> {
        match self {
            Self::Quic(inner) => inner.poll_wait(cx),
            Self::Tcp(inner) => inner.poll_wait(cx),
        }
    }

    /// What the flow keeps in memory, of which this half counts itself what has come.
    pub fn kept(&self) -> &Arc<Kept> {
        match self {
            Self::Quic(inner) => inner.kept(),
            Self::Tcp(inner) => inner.kept(),
        }
    }

    /// Waits until the flow is broken; for ever if it ends. Cancel-safe.
    pub async fn broken(&mut self) -> StreamError {
        match self {
            Self::Quic(inner) => inner.broken().await,
            Self::Tcp(inner) => inner.broken().await,
        }
    }

    /// Notes that so many bytes have gone on, so that the sender may send more.
    pub fn taken(&mut self, bytes: usize) {
        match self {
            Self::Quic(inner) => inner.taken(bytes),
            Self::Tcp(inner) => inner.taken(bytes),
        }
    }

    /// Tells the peer that all that it sent, and its end, has gone on.
    pub fn settle(&mut self) {
        match self {
            Self::Quic(inner) => inner.settle(),
            Self::Tcp(inner) => inner.settle(),
        }
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: ResetCode) {
        match self {
            Self::Quic(inner) => inner.stop(code),
            Self::Tcp(inner) => inner.stop(code),
        }
    }
}
