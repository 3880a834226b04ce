//! The two directions of one stream, without I/O: what is to be sent, and what has come.
//!
//! Each side keeps a stream until both directions are over, and that in the order in which frames go: so
//! what the acceptor counts as open is never more than what the opener does, and the bound on it can be
//! held to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use super::frame::Frame;
use crate::transport::credit::{Allowance, FIRST_WINDOW, SETTLED};
use crate::transport::piece::SMALL_PIECE;
use crate::transport::{ResetCode, StreamError};

/// Bytes after which a flow is no more the first to be sent, as over QUIC.
const HEAD: u64 = 256 * 1024;

/// Chunks for which a queue keeps room when it is empty.
const FEW: usize = 4;

/// How far one direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Its end is to be sent after what waits.
    Ending,
    /// Its end was sent, or has come.
    Ended,
    /// It is to be broken.
    Resetting(ResetCode),
    /// Nothing more is said about it by either side.
    Over,
}

/// The direction that bytes go out in.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Chunks, and whether they have taken room of all that may wait.
    queue: VecDeque<(Bytes, bool)>,
    room: Arc<Semaphore>,
    sent: u64,
    phase: Phase,
    allowance: Arc<Allowance>,
    stopped: Option<ResetCode>,
    waker: Option<Waker>,
}

impl Outgoing {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        Self {
            queue: VecDeque::new(),
            room,
            sent: 0,
            phase: Phase::Open,
            allowance: Arc::default(),
            stopped: None,
            waker: None,
        }
    }

    pub(super) fn allowance(&self) -> &Arc<Allowance> {
        &self.allowance
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes a chunk to be sent, for which room has been taken or not.
    pub(super) fn push(&mut self, chunk: Bytes, paid: bool) -> Result<(), StreamError> {
        let refusal = match (self.stopped, self.phase) {
            (Some(code), _) | (None, Phase::Resetting(code)) => Some(code),
            (None, Phase::Open) => None,
            (None, _) => Some(ResetCode::Broken),
        };
        if let Some(code) = refusal {
            self.give_back(chunk.len(), paid);
            return Err(StreamError::Reset(code));
        }
        self.queue.push_back((chunk, paid));
        Ok(())
    }

    pub(super) fn end(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Ending;
        }
    }

    pub(super) fn reset(&mut self, code: ResetCode) {
        if !matches!(self.phase, Phase::Resetting(_) | Phase::Over) {
            self.phase = Phase::Resetting(code);
            self.clear();
        }
    }

    /// The peer wants no more.
    pub(super) fn stop(&mut self, code: ResetCode) {
        match self.phase {
            Phase::Open | Phase::Ending => self.reset(code),
            Phase::Ended => self.phase = Phase::Over,
            Phase::Resetting(_) | Phase::Over => return,
        }
        self.stopped = Some(code);
        self.wake();
    }

    /// The peer wants so much.
    pub(super) fn limit(&mut self, limit: u64) {
        self.allowance.raise(limit);
        if limit == SETTLED && self.phase == Phase::Ended {
            self.phase = Phase::Over;
            self.wake();
        }
    }

    /// Whether bytes or the end wait to be sent; and if so whether they go before those of others.
    pub(super) fn urgency(&self) -> Option<bool> {
        let waits = !self.queue.is_empty() || self.phase == Phase::Ending;
        waits.then_some(self.sent < HEAD)
    }

    /// Takes what is to be sent next, of at most so many bytes.
    pub(super) fn next(&mut self, stream: u64, most: usize) -> Option<Frame> {
        let Some((chunk, paid)) = self.queue.front_mut() else {
            if self.phase == Phase::Ending {
                self.phase = Phase::Ended;
                self.wake();
                return Some(Frame::End(stream));
            }
            return None;
        };
        let (bytes, paid) = (chunk.split_to(most.min(chunk.len())), *paid);
        if chunk.is_empty() {
            self.queue.pop_front();
        }
        if self.queue.is_empty() && self.queue.capacity() > FEW {
            // An idle flow holds no room for what there once was.
            self.queue = VecDeque::new();
        }
        self.sent += bytes.len() as u64;
        self.give_back(bytes.len(), paid);
        Some(Frame::Data(stream, bytes))
    }

    /// Whether something is to be said of this direction before all bytes.
    pub(super) fn has_control(&self) -> bool {
        matches!(self.phase, Phase::Resetting(_))
    }

    /// Takes that.
    pub(super) fn control(&mut self, stream: u64) -> Option<Frame> {
        let Phase::Resetting(code) = self.phase else {
            return None;
        };
        self.phase = Phase::Over;
        Some(Frame::Reset(stream, code as u32))
    }

    /// Waits until the peer wants no more, or nothing more is said (none).
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Option<ResetCode>> {
        match (self.stopped, self.phase) {
            (Some(code), _) => Poll::Ready(Some(code)),
            (None, Phase::Over) => Poll::Ready(None),
            (None, _) => self.wait(cx),
        }
    }

    /// Waits until all has been given to TCP.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.phase {
            Phase::Ended | Phase::Over => Poll::Ready(()),
            _ => self.wait(cx),
        }
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Drops all that waits.
    pub(super) fn clear(&mut self) {
        for (chunk, paid) in std::mem::take(&mut self.queue) {
            self.give_back(chunk.len(), paid);
        }
    }

    fn give_back(&self, bytes: usize, paid: bool) {
        if paid {
            self.room.add_permits(bytes);
        }
    }
}

/// What the peer does not do that keeps to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// The direction that bytes come in.
#[derive(Debug)]
pub(super) struct Incoming {
    arrived: VecDeque<Bytes>,
    /// Small pieces, behind those.
    tail: BytesMut,
    received: u64,
    /// The offset that the peer must not pass.
    limit: u64,
    phase: Phase,
    reset: Option<ResetCode>,
    /// The reader wants no more; and whether the peer has been told.
    stopped: Option<(ResetCode, bool)>,
    /// What the peer has not been told yet of the limit.
    grant: Option<u64>,
    waker: Option<Waker>,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            arrived: VecDeque::new(),
            tail: BytesMut::new(),
            received: 0,
            limit: FIRST_WINDOW,
            phase: Phase::Open,
            reset: None,
            stopped: None,
            grant: None,
            waker: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Takes what has come, and tells how much of it is kept.
    pub(super) fn data(&mut self, bytes: Bytes) -> Result<usize, Violation> {
        let length = bytes.len();
        self.received += length as u64;
        if self.phase != Phase::Open || self.received > self.limit {
            return Err(Violation);
        }
        if length == 0 || self.stopped.is_some() {
            return Ok(0);
        }
        if length < SMALL_PIECE {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.close_tail();
            self.arrived.push_back(bytes);
        }
        self.wake();
        Ok(length)
    }

    pub(super) fn end(&mut self) -> Result<(), Violation> {
        if self.phase != Phase::Open {
            return Err(Violation);
        }
        self.phase = match self.stopped {
            Some((_, true)) => Phase::Over,
            _ => Phase::Ended,
        };
        self.wake();
        Ok(())
    }

    pub(super) fn reset(&mut self, code: ResetCode) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.reset = Some(code);
            self.clear();
            self.wake();
        }
    }

    /// The reader wants no more.
    pub(super) fn stop(&mut self, code: ResetCode) {
        let settled = self.grant == Some(SETTLED);
        if self.phase != Phase::Over && self.stopped.is_none() && !settled {
            self.stopped = Some((code, false));
            self.grant = None;
            self.clear();
        }
    }

    /// The reader wants so much.
    pub(super) fn grant(&mut self, limit: u64) {
        if self.stopped.is_none() && self.phase != Phase::Over {
            self.limit = self.limit.max(limit);
            self.grant = Some(limit);
        }
    }

    /// Whether something is to be said of this direction.
    pub(super) fn has_control(&self) -> bool {
        let to_say = self.grant.is_some() || matches!(self.stopped, Some((_, false)));
        self.phase != Phase::Over && to_say
    }

    /// Takes that.
    pub(super) fn control(&mut self, stream: u64) -> Option<Frame> {
        if self.phase == Phase::Over {
            return None;
        }
        if let Some((code, told @ false)) = &mut self.stopped {
            *told = true;
            if self.phase == Phase::Ended {
                self.phase = Phase::Over;
            }
            return Some(Frame::Stop(stream, *code as u32));
        }
        let limit = self.grant.take()?;
        if limit == SETTLED && self.phase == Phase::Ended {
            self.phase = Phase::Over;
        }
        Some(Frame::Limit(stream, limit))
    }

    /// Moves what has come; waits if there is nothing, and false at the end.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Bytes>,
    ) -> Poll<Result<bool, StreamError>> {
        if let Some(code) = self.reset {
            return Poll::Ready(Err(StreamError::Reset(code)));
        }
        self.close_tail();
        if !self.arrived.is_empty() {
            into.append(&mut self.arrived);
            self.arrived = VecDeque::new();
            return Poll::Ready(Ok(true));
        }
        if self.phase == Phase::Open {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(false))
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.arrived.push_back(tail.freeze());
        }
    }

    /// Drops all that has come.
    pub(super) fn clear(&mut self) {
        self.arrived = VecDeque::new();
        self.tail = BytesMut::new();
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
