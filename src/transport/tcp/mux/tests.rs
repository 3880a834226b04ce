use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;

use super::super::frame::Decoder;
use super::super::stranger;
use super::super::stream::{self, Sender};
use super::*;
use crate::transport::{Receiver, StreamError};

fn receiver(id: u64, mux: Arc<Mux>) -> Receiver {
    stream::Receiver::new(id, mux).into()
}

/// Both sides of a connection, whose client has logged in.
fn pair() -> [Arc<Mux>; 2] {
    let server = Mux::new(Side::Server);
    server.admit();
    [Mux::new(Side::Client), server]
}

/// Carries all that either side has to say, until neither has.
fn carry([client, server]: &[Arc<Mux>; 2]) {
    let mut decoders = [Decoder::default(), Decoder::default()];
    loop {
        let mut quiet = true;
        for (from, to, decoder) in [(client, server, 0), (server, client, 1)] {
            let mut batch = Batch::default();
            from.gather(&mut batch);
            batch.seal();
            quiet &= batch.len() == 0;
            let mut bytes = BytesMut::from(&batch.copy_to_bytes(batch.remaining())[..]);
            while let Some(frame) = decoders[decoder].next(&mut bytes).unwrap() {
                to.take(Ok(frame));
            }
        }
        if quiet {
            return;
        }
    }
}

async fn flow(pair: &[Arc<Mux>; 2]) -> [(Sender, Receiver); 2] {
    let halves = |mux: &Arc<Mux>, id| (Sender::new(id, mux.clone()), receiver(id, mux.clone()));
    let id = pair[0].open().await.unwrap();
    let mut near = halves(&pair[0], id);
    near.0.write(Bytes::from_static(b"x")).await.unwrap();
    carry(pair);
    let id = pair[1].accept().await.unwrap();
    let mut far = halves(&pair[1], id);
    assert_eq!(far.1.read_some(9).await.unwrap().unwrap(), "x");
    [near, far]
}

fn assert_forgotten(pair: &[Arc<Mux>; 2]) {
    for mux in pair {
        assert!(mux.lock().streams.is_empty());
        assert_eq!(mux.slots.available_permits(), MAX_FLOWS as usize);
        assert_eq!(mux.room.available_permits(), SEND_WINDOW);
    }
}

#[tokio::test]
async fn an_end_is_an_end_and_a_flow_that_is_over_is_forgotten() {
    let pair = pair();
    let [mut near, mut far] = flow(&pair).await;
    for (from, to) in [(&mut near.0, &mut far.1), (&mut far.0, &mut near.1)] {
        from.write(Bytes::from(vec![7; 300_000])).await.unwrap();
        from.end();
        carry(&pair);
        let mut arrived = 0;
        while let Some(bytes) = to.read_some(usize::MAX).await.unwrap() {
            arrived += bytes.len();
        }
        assert_eq!(arrived, 300_000);
        to.settle();
        carry(&pair);
        from.finish().await.unwrap();
    }
    drop((near, far));
    carry(&pair);
    assert_forgotten(&pair);
}

#[tokio::test]
async fn a_reset_tells_its_code_and_is_no_end() {
    let pair = pair();
    let [mut near, mut far] = flow(&pair).await;
    far.0.reset(ResetCode::Refused);
    far.1.stop(ResetCode::Refused);
    drop(far);
    carry(&pair);
    let refused = |error| matches!(error, StreamError::Reset(ResetCode::Refused));
    assert!(refused(near.1.wait().await.unwrap_err()));
    assert!(refused(near.0.stopped().await.unwrap()));
    assert!(refused(
        near.0.write(Bytes::from_static(b"y")).await.unwrap_err()
    ));
    drop(near);
    carry(&pair);
    assert_forgotten(&pair);
}

#[tokio::test]
async fn a_half_that_is_dropped_breaks_the_flow() {
    let pair = pair();
    let [near, mut far] = flow(&pair).await;
    drop(near);
    carry(&pair);
    assert!(far.1.wait().await.is_err());
    drop(far);
    carry(&pair);
    assert_forgotten(&pair);
}

#[tokio::test]
async fn a_reader_that_has_stopped_holds_up_nobody_else() {
    let pair = pair();
    let [mut stopped, _reader] = flow(&pair).await;
    let window = stopped.0.allowance().await;
    stopped.0.write(Bytes::from(vec![0; window])).await.unwrap();
    let [mut near, mut far] = flow(&pair).await;
    near.0.write(Bytes::from_static(b"y")).await.unwrap();
    carry(&pair);
    assert_eq!(far.1.read_some(9).await.unwrap().unwrap(), "y");
}

#[tokio::test]
async fn one_that_passes_its_limit_or_has_not_logged_in_is_cut_off() {
    let server = Mux::new(Side::Server);
    server.take(Ok(Frame::Data(0, Bytes::new())));
    assert!(!server.is_over());
    server.take(Ok(Frame::Data(2, Bytes::new())));
    assert!(server.is_over() && server.goodbye().is_some());

    let [_, server] = pair();
    for _ in 0..8 {
        server.take(Ok(Frame::Data(0, Bytes::from(vec![0; 65_536]))));
    }
    assert!(!server.is_over());
    server.take(Ok(Frame::Data(0, Bytes::from_static(b"z"))));
    assert!(server.is_over());
    assert!(matches!(server.closed().await, Lost::Failed(_)));
}

/// A younger stream's reset goes before the bytes of all others, and so first of both.
#[tokio::test]
async fn a_stream_that_begins_after_a_younger_one_is_a_stream_all_the_same() {
    let pair = pair();
    let halves = |id| {
        (
            Sender::new(id, pair[0].clone()),
            receiver(id, pair[0].clone()),
        )
    };
    let mut older = halves(pair[0].open().await.unwrap());
    let younger = halves(pair[0].open().await.unwrap());
    older.0.write(Bytes::from_static(b"x")).await.unwrap();
    drop(younger);
    carry(&pair);
    let id = pair[1].accept().await.unwrap();
    let mut far = receiver(id, pair[1].clone());
    let read = far.read_some(9).await;
    assert_eq!((id, read.unwrap().unwrap()), (0, Bytes::from_static(b"x")));
}

#[tokio::test]
async fn what_a_flow_begins_with_waits_for_no_room() {
    let pair = pair();
    let [mut near, _far] = flow(&pair).await;
    near.0
        .write(Bytes::from(vec![0; SEND_WINDOW]))
        .await
        .unwrap();
    let id = pair[0].open().await.unwrap();
    let mut other = Sender::new(id, pair[0].clone());
    other.write(Bytes::from(vec![0; 4600])).await.unwrap();
}

/// Its reason would not reach one whose bytes stay unread: the system resets such a connection.
#[tokio::test]
async fn what_a_stranger_has_sent_is_read_to_the_end_once_it_is_over() {
    let server = Mux::new(Side::Server);
    let flood = Bytes::from(vec![0; stranger::UNREAD]);
    server.take(Ok(Frame::Data(0, flood)));
    assert_eq!(now(server.may_read()), None);
    server.take(Err(Malformed));
    assert_eq!(now(server.may_read()), Some(()));
}

#[tokio::test]
async fn a_datagram_that_waits_keeps_no_buffer() {
    let [_, server] = pair();
    let mut buffer = BytesMut::from(&[0; 32 * 1024][..]);
    for _ in 0..2 {
        let datagram = buffer.split_to(1).freeze();
        server.take(Ok(Frame::Datagram(datagram)));
        assert!(server.read_datagram().await.unwrap().is_unique());
    }
}

/// What a side does with one of its flows.
#[derive(Clone, Copy, Debug)]
enum Act {
    Open,
    Write(usize),
    Read(usize),
    End,
    Reset,
    /// One batch goes to the other side.
    Carry,
}

fn act() -> impl Strategy<Value = (usize, usize, Act)> {
    let act = prop_oneof![
        Just(Act::Open),
        prop_oneof![1..100usize, 1..200_000usize].prop_map(Act::Write),
        (1..100_000usize).prop_map(Act::Read),
        Just(Act::End),
        Just(Act::Reset),
        Just(Act::Carry),
        Just(Act::Carry),
    ];
    (
        0..2usize,
        any::<prop::sample::Index>().prop_map(|i| i.index(8)),
        act,
    )
}

/// One side's end of a flow.
#[derive(Debug)]
struct End {
    tx: Sender,
    rx: Receiver,
    written: u64,
    read: u64,
    /// Its own direction was ended; one of both was reset by it; the peer's has ended.
    ended: bool,
    reset: bool,
    heard_end: bool,
    heard_reset: bool,
}

impl End {
    fn new(mux: &Arc<Mux>, id: u64) -> Self {
        Self {
            tx: Sender::new(id, mux.clone()),
            rx: receiver(id, mux.clone()),
            written: 0,
            read: 0,
            ended: false,
            reset: false,
            heard_end: false,
            heard_reset: false,
        }
    }

    /// Writes as many bytes as may be, each telling its place.
    fn write(&mut self, bytes: usize) {
        let Some(room) = now(self.tx.allowance()) else {
            return;
        };
        let chunk: Vec<_> = (self.written..)
            .map(|n| n as u8)
            .take(bytes.min(room))
            .collect();
        let n = chunk.len() as u64;
        match now(self.tx.write(chunk.into())) {
            Some(Ok(())) => self.written += n,
            Some(Err(_)) => self.heard_reset = true,
            None => {}
        }
    }

    fn heard(&self) -> (u64, bool, bool) {
        (self.read, self.heard_end, self.heard_reset)
    }

    fn read(&mut self, bytes: usize) {
        if self.heard_end || self.reset {
            return;
        }
        match now(self.rx.read_some(bytes)) {
            Some(Ok(Some(piece))) => {
                for byte in piece {
                    assert_eq!(byte, self.read as u8);
                    self.read += 1;
                }
            }
            Some(Ok(None)) => {
                self.heard_end = true;
                self.rx.settle();
            }
            Some(Err(_)) => self.heard_reset = true,
            None => {}
        }
    }
}

fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Both sides of a connection with some flows.
struct Flows {
    pair: [Arc<Mux>; 2],
    wire: [BytesMut; 2],
    decoders: [Decoder; 2],
    /// By number, at either side.
    ends: [BTreeMap<u64, End>; 2],
}

impl Flows {
    fn new() -> Self {
        Self {
            pair: pair(),
            wire: Default::default(),
            decoders: Default::default(),
            ends: Default::default(),
        }
    }

    /// Has one batch go from a side to the other; false if there is none.
    fn carry(&mut self, from: usize) -> bool {
        let to = 1 - from;
        let mut batch = Batch::default();
        self.pair[from].gather(&mut batch);
        batch.seal();
        let wire = &mut self.wire[from];
        wire.extend_from_slice(&batch.copy_to_bytes(batch.remaining()));
        let quiet = wire.is_empty();
        while let Some(frame) = self.decoders[from].next(wire).unwrap() {
            self.pair[to].take(Ok(frame));
        }
        assert!(!self.pair[to].is_over(), "a side breaks the protocol");
        while let Some(id) = now(self.pair[to].accept()) {
            let id = id.unwrap();
            self.ends[to].insert(id, End::new(&self.pair[to], id));
        }
        !quiet
    }

    fn act(&mut self, (side, which, act): (usize, usize, Act)) {
        match act {
            Act::Carry => {
                self.carry(side);
                return;
            }
            Act::Open => {
                let id = now(self.pair[side].open()).expect("a place").unwrap();
                let end = End::new(&self.pair[side], id);
                self.ends[side].insert(id, end);
                return;
            }
            _ => {}
        }
        let count = self.ends[side].len().max(1);
        let Some(end) = self.ends[side].values_mut().nth(which % count) else {
            return;
        };
        match act {
            Act::Write(bytes) if !end.ended && !end.reset => end.write(bytes),
            Act::Read(bytes) => end.read(bytes),
            Act::End if !end.reset => {
                end.ended = true;
                end.tx.end();
            }
            Act::Reset => {
                end.reset = true;
                end.tx.reset(ResetCode::Broken);
                end.rx.stop(ResetCode::Broken);
            }
            _ => {}
        }
    }

    /// Ends all that is open, and has all go that is to go.
    fn finish(&mut self) {
        for end in self.ends.iter_mut().flat_map(|ends| ends.values_mut()) {
            end.tx.end();
        }
        loop {
            let mut quiet = true;
            for side in 0..2 {
                quiet &= !self.carry(side);
                for end in self.ends[side].values_mut() {
                    let before = end.heard();
                    end.tx.end();
                    end.read(usize::MAX);
                    quiet &= end.heard() == before;
                }
            }
            if quiet {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Whatever both sides do and in which order their frames go: a flow that nobody breaks has all of
    /// its bytes and then its end, one that is broken is so at both sides, and nothing is left of either.
    #[test]
    fn flows_arrive_whole_or_broken(acts in prop::collection::vec(act(), 1..120)) {
        let mut flows = Flows::new();
        acts.into_iter().for_each(|act| flows.act(act));
        flows.finish();
        let [near, far] = &flows.ends;
        prop_assert!(near.keys().eq(far.keys()));
        for (a, b) in near.values().zip(far.values()) {
            for (from, to) in [(a, b), (b, a)] {
                if from.reset || to.reset {
                    prop_assert!(to.reset || to.heard_reset || to.heard_end, "{:?}", to.heard());
                } else {
                    prop_assert!(to.heard_end && !to.heard_reset, "{:?}", to.heard());
                    prop_assert_eq!(from.written, to.read);
                }
            }
        }
        let Flows { pair, ends, .. } = &mut flows;
        ends.iter_mut().for_each(BTreeMap::clear);
        carry(pair);
        assert_forgotten(pair);
    }
}
