//! The two halves of a flow's stream.
//!
//! Quinn finishes a stream whose sender is dropped, which would make a flow that broke look like
//! one that ended. A [`Sender`] that is dropped unfinished resets its stream instead.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::time::timeout;

use super::credit::Credit;
use super::reassembly::Reassembly;
use crate::memory::Kept;
use crate::transport::credit::{Allowance, FIRST_WINDOW, SETTLED, Window};
use crate::transport::piece::apart;
use crate::transport::{ResetCode, StreamError};

/// Bytes after which a flow is no more the first to be sent: what is short, such as a keystroke or
/// a small request, does not wait behind what is long.
const HEAD: u64 = 256 * 1024;

/// Longest that a sender waits for the receiver to pass on what it has.
const SETTLING: Duration = Duration::from_secs(60);

/// The half that bytes go out through.
#[derive(Debug)]
pub struct Sender {
    inner: SendStream,
    connection: quinn::Connection,
    credit: Arc<Credit>,
    allowance: Arc<Allowance>,
    /// Bytes written so far.
    written: u64,
    done: bool,
}

impl Sender {
    pub(super) fn new(
        inner: SendStream,
        connection: quinn::Connection,
        credit: Arc<Credit>,
    ) -> Self {
        let allowance = credit.allow(inner.id().into());
        // It fails only on a stream that is finished or reset.
        let _ = inner.set_priority(1);
        Self {
            inner,
            connection,
            credit,
            allowance,
            written: 0,
            done: false,
        }
    }

    /// Waits until the receiver wants more, and tells how many bytes. Cancel-safe.
    pub fn allowance(&self) -> impl Future<Output = usize> + Send + use<> {
        let (allowance, written) = (self.allowance.clone(), self.written);
        async move {
            let bytes = allowance.beyond(written).await;
            usize::try_from(bytes).unwrap_or(usize::MAX)
        }
    }

    /// Hands over a chunk without copying it. It is to be no larger than the allowance, and then
    /// goes without waiting.
    ///
    /// Not cancel-safe: part of the chunk may have been taken.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        self.count(chunk.len());
        self.inner.write_chunk(chunk).await.map_err(unwritable)
    }

    fn count(&mut self, bytes: usize) {
        let before = self.written;
        self.written += bytes as u64;
        if before < HEAD && self.written >= HEAD {
            let _ = self.inner.set_priority(0);
        }
    }

    /// Takes as many of some bytes as fit, which are to be no more than the allowance. Cancel-safe.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        Poll::Ready(written.map_err(unwritable).inspect(|n| self.count(*n)))
    }

    /// Says that nothing more will come.
    pub fn end(&mut self) {
        self.done = true;
        // It fails only on a stream that is finished or reset already.
        let _ = self.inner.finish();
    }

    /// Says that nothing more will come, and waits until the receiver has passed all on.
    ///
    /// It waits no longer than a minute from when the peer has all: a peer may not have us keep
    /// what is over. Cancelling this leaves the stream finished: what was written still arrives.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        self.end();
        tokio::select! {
            biased;
            () = self.allowance.settled() => return Ok(()),
            stopped = self.stopped() => if let Some(stop) = stopped {
                return Err(stop);
            },
        }
        let settled = timeout(SETTLING, self.allowance.settled());
        tokio::select! {
            _ = settled => Ok(()),
            _ = self.connection.closed() => Err(StreamError::Lost),
        }
    }

    /// Breaks the flow in this direction, be it finished or not.
    pub fn reset(&mut self, code: ResetCode) {
        self.done = true;
        let _ = self.inner.reset(VarInt::from_u32(code as u32));
    }

    /// Waits until the peer wants no more of this direction, or has all of it (none). Cancel-safe.
    pub fn stopped(&self) -> impl Future<Output = Option<StreamError>> + Send + use<> {
        let stopped = self.inner.stopped();
        async move {
            match stopped.await {
                Ok(Some(code)) => {
                    let code = ResetCode::from_wire(code.into_inner());
                    Some(StreamError::Reset(code))
                }
                Ok(None) => None,
                Err(_) => Some(StreamError::Lost),
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.credit.forget(self.inner.id().into());
        if !self.done {
            self.reset(ResetCode::Broken);
        }
    }
}

/// The half that bytes come in through.
#[derive(Debug)]
pub struct Receiver {
    inner: RecvStream,
    connection: quinn::Connection,
    credit: Arc<Credit>,
    window: Window,
    reassembly: Reassembly,
}

impl Receiver {
    pub(super) fn new(
        inner: RecvStream,
        connection: quinn::Connection,
        credit: Arc<Credit>,
    ) -> Self {
        let window = Window::new(credit.growth().clone(), connection.rtt());
        if window.limit() > FIRST_WINDOW {
            credit.grant(inner.id().into(), window.limit());
        }
        Self {
            inner,
            connection,
            window,
            credit,
            reassembly: Reassembly::default(),
        }
    }

    /// Moves what has arrived; waits if there is nothing, and false at the end.
    pub fn poll_wait(
        &mut self,
        cx: &mut Context<'_>,
        ready: &mut VecDeque<Bytes>,
    ) -> Poll<Result<bool, StreamError>> {
        let before = ready.len();
        loop {
            let chunk = pin!(self.inner.read_chunk(usize::MAX, false)).poll(cx);
            let ended = match chunk {
                Poll::Ready(Ok(Some(chunk))) => {
                    if chunk.offset + chunk.bytes.len() as u64 > self.window.limit() {
                        // More than was allowed, which is not kept.
                        self.stop(ResetCode::Broken);
                        return Poll::Ready(Err(StreamError::Reset(ResetCode::Broken)));
                    }
                    self.window.kept().arrive(chunk.bytes.len());
                    let waits = before > 0 || chunk.offset != self.reassembly.next();
                    let bytes = match waits {
                        true => apart(chunk.bytes),
                        false => chunk.bytes,
                    };
                    self.reassembly
                        .accept(chunk.offset, bytes, |piece| ready.push_back(piece));
                    continue;
                }
                Poll::Ready(Ok(None)) => Some(Ok(false)),
                Poll::Ready(Err(e)) => Some(Err(broken(e))),
                Poll::Pending => None,
            };
            return match ended {
                _ if ready.len() > before => Poll::Ready(Ok(true)),
                Some(end) => Poll::Ready(end),
                None => Poll::Pending,
            };
        }
    }

    /// What the flow keeps in memory.
    pub fn kept(&self) -> &Arc<Kept> {
        self.window.kept()
    }

    /// Notes that so many bytes have gone on, so that the sender may send more.
    pub fn taken(&mut self, bytes: usize) {
        let (now, rtt) = (Instant::now(), || self.connection.rtt());
        if let Some(limit) = self.window.take(bytes as u64, now, rtt) {
            self.credit.go_on(self.inner.id().into(), limit, now, rtt());
        }
    }

    /// Tells the peer that all that it sent, and its end, has gone on.
    pub fn settle(&mut self) {
        self.credit.grant(self.inner.id().into(), SETTLED);
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: ResetCode) {
        // It fails only on a stream that has ended already.
        let _ = self.inner.stop(VarInt::from_u32(code as u32));
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Quinn would do so too, but with a code that means nothing.
        self.stop(ResetCode::Broken);
    }
}

fn unwritable(error: WriteError) -> StreamError {
    match error {
        WriteError::Stopped(code) => StreamError::Reset(ResetCode::from_wire(code.into_inner())),
        WriteError::ConnectionLost(_) | WriteError::ZeroRttRejected => StreamError::Lost,
        WriteError::ClosedStream => StreamError::Reset(ResetCode::Broken),
    }
}

fn broken(error: ReadError) -> StreamError {
    match error {
        ReadError::Reset(code) => StreamError::Reset(ResetCode::from_wire(code.into_inner())),
        ReadError::ClosedStream | ReadError::IllegalOrderedRead => {
            StreamError::Reset(ResetCode::Broken)
        }
        ReadError::ConnectionLost(_) | ReadError::ZeroRttRejected => StreamError::Lost,
    }
}
