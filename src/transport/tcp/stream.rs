//! The two halves of a flow's stream.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::PollSemaphore;

use super::mux::Mux;
use crate::memory::Kept;
use crate::transport::credit::{Allowance, FIRST_WINDOW, SETTLED, Window};
use crate::transport::{ResetCode, StreamError};

/// Longest that a sender waits for the receiver to pass on what it has.
const SETTLING: Duration = Duration::from_secs(60);

/// A write that need not wait for room, if its stream has nothing else waiting: a keystroke, or what a
/// new flow begins with, which is its header and 4 KiB at most.
const SMALL_WRITE: usize = 5 * 1024;

/// Most bytes that are copied in one go.
const LARGEST_COPY: usize = 64 * 1024;

/// The half that bytes go out through.
#[derive(Debug)]
pub struct Sender {
    id: u64,
    mux: Arc<Mux>,
    allowance: Arc<Allowance>,
    room: PollSemaphore,
    /// Bytes written so far.
    written: u64,
    done: bool,
}

impl Sender {
    pub(super) fn new(id: u64, mux: Arc<Mux>) -> Self {
        let allowance = mux.with(id, |stream| stream.outgoing.allowance().clone());
        Self {
            id,
            allowance: allowance.unwrap_or_default(),
            room: PollSemaphore::new(mux.room.clone()),
            mux,
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

    /// Hands over a chunk without copying it, as soon as there is room. Cancel-safe: then nothing was
    /// taken.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        let paid = poll_fn(|cx| self.poll_room(cx, chunk.len())).await?;
        self.push(chunk, paid)
    }

    /// Takes as many of some bytes as fit, which are to be no more than the allowance. Cancel-safe.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        let bytes = &bytes[..bytes.len().min(LARGEST_COPY)];
        let paid = ready!(self.poll_room(cx, bytes.len()))?;
        self.push(Bytes::copy_from_slice(bytes), paid)?;
        Poll::Ready(Ok(bytes.len()))
    }

    /// Takes room for so many bytes; false if they need none.
    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<bool, StreamError>> {
        if bytes <= SMALL_WRITE && self.mux.with(self.id, |s| s.outgoing.is_empty()) == Some(true) {
            return Poll::Ready(Ok(false));
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        match ready!(self.room.poll_acquire_many(cx, permits)) {
            Some(permit) => {
                // They are given back as the bytes go.
                permit.forget();
                Poll::Ready(Ok(true))
            }
            None => Poll::Ready(Err(StreamError::Lost)),
        }
    }

    fn push(&mut self, chunk: Bytes, paid: bool) -> Result<(), StreamError> {
        if self.mux.is_over() {
            return Err(StreamError::Lost);
        }
        self.written += chunk.len() as u64;
        let pushed = self.mux.with(self.id, |s| s.outgoing.push(chunk, paid));
        pushed.unwrap_or(Err(StreamError::Reset(ResetCode::Broken)))
    }

    /// Says that nothing more will come.
    pub fn end(&mut self) {
        self.done = true;
        self.mux.with(self.id, |stream| stream.outgoing.end());
    }

    /// Says that nothing more will come, and waits until the receiver has passed all on.
    ///
    /// It waits no longer than a minute from when TCP has all. Cancelling this leaves the stream
    /// finished: what was written still arrives.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        self.end();
        let (id, mux) = (self.id, &self.mux);
        let over = async {
            let gone = |cx: &mut Context<'_>| {
                let gone = mux.with(id, |stream| stream.outgoing.poll_gone(cx));
                gone.unwrap_or(Poll::Ready(()))
            };
            poll_fn(gone).await;
            sleep(SETTLING).await;
        };
        tokio::select! {
            biased;
            () = self.allowance.settled() => Ok(()),
            Some(stop) = self.stopped() => Err(stop),
            () = over => Ok(()),
        }
    }

    /// Breaks the flow in this direction, be it finished or not.
    pub fn reset(&mut self, code: ResetCode) {
        self.done = true;
        self.mux.with(self.id, |stream| stream.outgoing.reset(code));
    }

    /// Waits until the peer wants no more of this direction, or has passed on all of it (none).
    /// Cancel-safe.
    pub fn stopped(&self) -> impl Future<Output = Option<StreamError>> + Send + use<> {
        let (id, mux) = (self.id, self.mux.clone());
        poll_fn(move |cx| {
            if mux.is_over() {
                return Poll::Ready(Some(StreamError::Lost));
            }
            let stopped = mux.with(id, |stream| stream.outgoing.poll_stopped(cx));
            let code = ready!(stopped.unwrap_or(Poll::Ready(None)));
            Poll::Ready(code.map(StreamError::Reset))
        })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.done {
            self.reset(ResetCode::Broken);
        }
        self.mux.leave(self.id);
    }
}

/// The half that bytes come in through.
#[derive(Debug)]
pub struct Receiver {
    id: u64,
    mux: Arc<Mux>,
    window: Window,
    ended: bool,
    settled: bool,
}

impl Receiver {
    pub(super) fn new(id: u64, mux: Arc<Mux>) -> Self {
        let window = Window::new(mux.growth.clone(), mux.rtt());
        let receiver = Self {
            id,
            mux,
            window,
            ended: false,
            settled: false,
        };
        if receiver.window.limit() > FIRST_WINDOW {
            receiver.grant(receiver.window.limit());
        }
        receiver
    }

    fn grant(&self, limit: u64) {
        self.mux
            .with(self.id, |stream| stream.incoming.grant(limit));
    }

    /// Moves what has arrived; waits if there is nothing, and false at the end.
    pub fn poll_wait(
        &mut self,
        cx: &mut Context<'_>,
        ready: &mut VecDeque<Bytes>,
    ) -> Poll<Result<bool, StreamError>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        if self.mux.is_over() {
            return Poll::Ready(Err(StreamError::Lost));
        }
        let before = ready.len();
        let polled = self.mux.with(self.id, |s| s.incoming.poll(cx, ready));
        let broken = StreamError::Reset(ResetCode::Broken);
        let polled = ready!(polled.unwrap_or(Poll::Ready(Err(broken))));
        self.ended = matches!(polled, Ok(false));
        let arrived = ready.range(before..).map(Bytes::len).sum();
        self.window.kept().arrive(arrived);
        Poll::Ready(polled)
    }

    /// What the flow keeps in memory.
    pub fn kept(&self) -> &Arc<Kept> {
        self.window.kept()
    }

    /// Notes that so many bytes have gone on, so that the sender may send more.
    pub fn taken(&mut self, bytes: usize) {
        self.mux.read(bytes);
        let rtt = || self.mux.rtt();
        if let Some(limit) = self.window.take(bytes as u64, Instant::now(), rtt) {
            self.grant(limit);
        }
    }

    /// Tells the peer that all that it sent, and its end, has gone on.
    pub fn settle(&mut self) {
        self.settled = true;
        self.grant(SETTLED);
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: ResetCode) {
        if !self.settled {
            self.mux.with(self.id, |stream| stream.incoming.stop(code));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop(ResetCode::Broken);
        self.mux.leave(self.id);
    }
}
