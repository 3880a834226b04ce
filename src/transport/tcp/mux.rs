//! The multiplexer's state: what of which stream goes next, and where what comes belongs. It does no I/O.
//!
//! No stream waits for another's reader: each has a window of its own, so that all that comes can
//! always be taken, and only what its receiver has room for is ever sent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::frame::{Frame, Malformed};
use super::half::Violation;
use super::packets::Packets;
use super::stranger::Stranger;
use super::streams::{Side, Stream, Streams};
use crate::transport::credit::Growth;
use crate::transport::piece::apart;
use crate::transport::{CloseCode, Lost, MAX_FLOWS, ResetCode, printable};

/// Bytes of all streams that may wait to be sent, so that a source that is faster than the connection
/// waits too. Small writes of streams that have nothing else waiting come on top.
const SEND_WINDOW: usize = 4 * 1024 * 1024;

/// Most bytes of datagrams that wait for the connection, and that wait for us to take them.
const DATAGRAMS_OUT: usize = 1024 * 1024;
const DATAGRAMS_IN: usize = 4 * 1024 * 1024;

/// Bytes of datagrams, of streams' bytes at once, and of all that goes between two choices of what is
/// next.
const DATAGRAM_SHARE: usize = 32 * 1024;
const QUANTUM: usize = 16 * 1024;
const BATCH: usize = 64 * 1024;

/// One connection's state, for its handles and for what carries it.
#[derive(Debug)]
pub(super) struct Mux {
    state: Mutex<State>,
    /// There is something to send.
    pub(super) work: Notify,
    accepted: Notify,
    datagram: Notify,
    /// More may be read.
    drained: Notify,
    over: CancellationToken,
    /// Room of [`SEND_WINDOW`].
    pub(super) room: Arc<Semaphore>,
    /// Streams that we may open.
    pub(super) slots: Arc<Semaphore>,
    pub(super) growth: Arc<Growth>,
    heard: AtomicU64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) streams: Streams,
    datagrams_out: Packets,
    datagrams_in: Packets,
    datagrams_received: u64,
    ping: bool,
    pong: bool,
    pinged: Option<Instant>,
    rtt: Duration,
    /// A peer that has not logged in.
    stranger: Option<Stranger>,
    end: Option<Lost>,
    goodbye: Option<Frame>,
}

impl Mux {
    /// For a connection just made. At a server the peer is a stranger, until [`Mux::admit`].
    pub(super) fn new(side: Side) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(SEND_WINDOW));
        let (most, stranger) = match side {
            Side::Client => (MAX_FLOWS as usize, None),
            Side::Server => (1, Some(Stranger::default())),
        };
        Arc::new(Self {
            state: Mutex::new(State {
                streams: Streams::new(side, most, room.clone()),
                datagrams_out: Packets::new(DATAGRAMS_OUT),
                datagrams_in: Packets::new(DATAGRAMS_IN),
                datagrams_received: 0,
                ping: matches!(side, Side::Client),
                pong: false,
                pinged: None,
                rtt: Duration::ZERO,
                stranger,
                end: None,
                goodbye: None,
            }),
            work: Notify::new(),
            accepted: Notify::new(),
            datagram: Notify::new(),
            drained: Notify::new(),
            over: CancellationToken::new(),
            room,
            slots: Arc::new(Semaphore::new(MAX_FLOWS as usize)),
            growth: Arc::default(),
            heard: AtomicU64::new(0),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the peer open as many streams, and send as much, as any may.
    pub(super) fn admit(&self) {
        let mut state = self.lock();
        state.streams.allow(MAX_FLOWS as usize);
        state.stranger = None;
        state.ping = true;
        drop(state);
        self.drained.notify_one();
        self.work.notify_one();
    }

    /// Does something with a stream that has not been forgotten, and sends what comes of it.
    pub(super) fn with<T>(&self, id: u64, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let mut state = self.lock();
        let result = state.streams.with(id, act)?;
        let work = state.streams.have_work();
        drop(state);
        if work {
            self.work.notify_one();
        }
        Some(result)
    }

    /// Forgets a stream, once neither half is used and nothing more is said about it.
    pub(super) fn leave(&self, id: u64) {
        self.lock().streams.leave(id);
    }

    /// Opens a stream. Cancel-safe.
    pub(super) async fn open(self: &Arc<Self>) -> Result<u64, Lost> {
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| self.why())?;
        Ok(self.lock().streams.open(slot))
    }

    /// Waits for a stream of the peer's. Cancel-safe.
    pub(super) async fn accept(&self) -> Result<u64, Lost> {
        self.next(&self.accepted, |state| state.streams.accept())
            .await
    }

    /// Waits for a datagram of the peer's. Cancel-safe.
    pub(super) async fn read_datagram(&self) -> Result<Bytes, Lost> {
        self.next(&self.datagram, |state| state.datagrams_in.take())
            .await
    }

    async fn next<T>(
        &self,
        arrival: &Notify,
        mut take: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, Lost> {
        loop {
            let taken = {
                let mut state = self.lock();
                match &state.end {
                    Some(lost) => Some(Err(lost.clone())),
                    None => take(&mut state).map(Ok),
                }
            };
            if let Some(taken) = taken {
                return taken;
            }
            tokio::select! {
                () = arrival.notified() => {}
                () = self.over.cancelled() => {}
            }
        }
    }

    pub(super) fn send_datagram(&self, datagram: Bytes) {
        self.lock().datagrams_out.push(datagram);
        self.work.notify_one();
    }

    /// How many datagrams have left this side, how many have come, and whether any wait to leave.
    pub(super) fn datagrams(&self) -> (u64, u64, bool) {
        let state = self.lock();
        let waits = !state.datagrams_out.is_empty();
        (state.datagrams_out.taken(), state.datagrams_received, waits)
    }

    /// Asks the peer for a sign of life.
    pub(super) fn ping(&self) {
        self.lock().ping = true;
        self.work.notify_one();
    }

    /// The round trip when that was measured last, on a connection that was idle as a rule.
    pub(super) fn rtt(&self) -> Duration {
        self.lock().rtt
    }

    /// Notes that so many bytes have come.
    pub(super) fn hear(&self, bytes: usize) {
        self.heard.fetch_add(1, Relaxed);
        let heard = self.lock().stranger.as_mut().map(|it| it.hear(bytes));
        if heard == Some(Err(Violation)) {
            self.cut_off("too much before a login");
        }
    }

    /// Grows whenever something comes.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// Notes that the reader of a stream has taken so many bytes.
    pub(super) fn read(&self, bytes: usize) {
        if let Some(stranger) = &mut self.lock().stranger {
            stranger.read(bytes);
            self.drained.notify_one();
        }
    }

    /// Waits while a stranger has sent as much as it may; not at the end, when all is thrown away.
    pub(super) async fn may_read(&self) {
        let waits = |state: &State| {
            let full = state.stranger.as_ref().is_some_and(Stranger::is_full);
            full && state.end.is_none()
        };
        while waits(&self.lock()) {
            self.drained.notified().await;
        }
    }

    /// Takes in what the peer says. A peer that breaks the protocol is told so, and is as good as gone.
    pub(super) fn take(&self, frame: Result<Frame, Malformed>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        let taken = match frame {
            Ok(Frame::Close(code, reason)) => {
                let lost = Lost::Closed {
                    code: CloseCode::from_wire(code.into()),
                    reason: printable(&reason),
                };
                drop(state);
                return self.fail(lost);
            }
            Ok(frame) => state.take(frame),
            Err(Malformed) => Err(Violation),
        };
        let news = taken.is_ok().then(|| state.news());
        drop(state);
        match news {
            Some(news) => self.tell(news),
            None => self.cut_off("a frame that is malformed or out of place"),
        }
    }

    /// Ends the connection with a peer that does what it must not.
    fn cut_off(&self, reason: &str) {
        let lost = Lost::Failed(format!("the peer broke the protocol: {reason}"));
        self.part(lost, CloseCode::Protocol, reason);
    }

    fn tell(&self, news: News) {
        if news.stream {
            self.accepted.notify_one();
        }
        if news.datagram {
            self.datagram.notify_one();
        }
        if news.work {
            self.work.notify_one();
        }
    }

    /// Collects what goes next, of what there is.
    pub(super) fn gather(&self, batch: &mut Batch) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        if std::mem::take(&mut state.pong) {
            batch.push(Frame::Pong);
        }
        if std::mem::take(&mut state.ping) {
            state.pinged.get_or_insert_with(Instant::now);
            batch.push(Frame::Ping);
        }
        while batch.len() < BATCH
            && let Some(frame) = state.streams.next_opened()
        {
            batch.push(frame);
        }
        while batch.len() < BATCH
            && let Some(frame) = state.streams.next_control()
        {
            batch.push(frame);
        }
        let before = batch.len();
        while batch.len() < before + DATAGRAM_SHARE
            && let Some(datagram) = state.datagrams_out.take()
        {
            batch.push(Frame::Datagram(datagram));
        }
        while batch.len() < BATCH
            && let Some(frame) = state.streams.next_data(QUANTUM)
        {
            batch.push(frame);
        }
    }

    /// Ends the connection here, and has the peer know.
    pub(super) fn part(&self, lost: Lost, code: CloseCode, reason: &str) {
        let reason = Bytes::copy_from_slice(reason.as_bytes());
        self.finish(lost, Some(Frame::Close(code as u32, reason)));
    }

    /// Ends the connection with nothing more to say.
    pub(super) fn fail(&self, lost: Lost) {
        self.finish(lost, None);
    }

    fn finish(&self, lost: Lost, goodbye: Option<Frame>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(lost);
        state.goodbye = goodbye;
        state.streams.abandon();
        drop(state);
        self.room.close();
        self.slots.close();
        self.over.cancel();
        self.drained.notify_one();
        self.work.notify_one();
    }

    /// What is to be said last, if that is due.
    pub(super) fn goodbye(&self) -> Option<Frame> {
        self.lock().goodbye.clone()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits for the end, and tells its reason. Cancel-safe.
    pub(super) async fn closed(&self) -> Lost {
        self.over.cancelled().await;
        self.why()
    }

    fn why(&self) -> Lost {
        self.lock().end.clone().unwrap_or(Lost::Local)
    }
}

/// Whom a frame concerns.
struct News {
    stream: bool,
    datagram: bool,
    work: bool,
}

impl State {
    fn take(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame {
            Frame::Data(id, bytes) => {
                let kept = self.streams.of_peer(id, |s| s.incoming.data(bytes))?;
                let kept = kept.transpose()?.unwrap_or(0);
                if let Some(stranger) = &mut self.stranger {
                    stranger.keep(kept);
                }
            }
            Frame::End(id) => {
                let ended = self.streams.of_peer(id, |s| s.incoming.end())?;
                ended.transpose()?;
            }
            Frame::Reset(id, code) => {
                let code = ResetCode::from_wire(code.into());
                self.streams.of_peer(id, |s| s.incoming.reset(code))?;
            }
            Frame::Stop(id, code) => {
                let code = ResetCode::from_wire(code.into());
                self.streams.of_peer(id, |s| s.outgoing.stop(code))?;
            }
            Frame::Limit(id, limit) => {
                self.streams.of_peer(id, |s| s.outgoing.limit(limit))?;
            }
            // They would wait in memory.
            Frame::Datagram(_) if self.stranger.is_some() => return Err(Violation),
            Frame::Datagram(datagram) => {
                self.datagrams_received += 1;
                self.datagrams_in.push(apart(datagram));
            }
            Frame::Ping => self.pong = true,
            Frame::Pong => {
                if let Some(pinged) = self.pinged.take() {
                    self.rtt = pinged.elapsed();
                }
            }
            Frame::Close(..) => {}
        }
        Ok(())
    }

    fn news(&self) -> News {
        News {
            stream: self.streams.have_arrivals(),
            datagram: !self.datagrams_in.is_empty(),
            work: self.pong || self.streams.have_work(),
        }
    }
}

#[cfg(test)]
mod tests;
