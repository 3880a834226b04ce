//! All streams of a connection, and their turns to send.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::Frame;
use super::half::{Incoming, Outgoing, Violation};

/// Which side of a connection this is; and, as the least bit of a stream's number, which has opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client = 0,
    Server = 1,
}

/// One stream: both directions, and which turns it waits for.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    has_control: bool,
    has_data: bool,
    /// Its place among those that this side has opened.
    slot: Option<OwnedSemaphorePermit>,
    /// Nothing more is said about it by either side.
    over: bool,
    /// Halves in use, which are still to learn how it ended.
    halves: u8,
}

/// Streams by their numbers, which are even where the client has opened them and odd otherwise.
#[derive(Debug)]
pub(super) struct Streams {
    by_id: HashMap<u64, Stream>,
    side: Side,
    /// The next number of our own, the least of them that the peer has not seen, and the least that the
    /// peer has not used.
    next: u64,
    unseen: u64,
    next_of_peer: u64,
    /// Streams that the peer has open, and how many it may.
    of_peer: usize,
    most_of_peer: usize,
    arrivals: VecDeque<u64>,
    /// Whose turn it is: to say something; to send bytes, those first that have sent little.
    control: VecDeque<u64>,
    data: [VecDeque<u64>; 2],
    room: Arc<Semaphore>,
}

impl Streams {
    pub(super) fn new(side: Side, most_of_peer: usize, room: Arc<Semaphore>) -> Self {
        let own = side as u64;
        Self {
            by_id: HashMap::new(),
            side,
            next: own,
            unseen: own,
            next_of_peer: 1 - own,
            of_peer: 0,
            most_of_peer,
            arrivals: VecDeque::new(),
            control: VecDeque::new(),
            data: [VecDeque::new(), VecDeque::new()],
            room,
        }
    }

    /// Lets the peer have so many streams open.
    pub(super) fn allow(&mut self, most_of_peer: usize) {
        self.most_of_peer = most_of_peer;
    }

    /// Opens a stream, for which there is a place.
    pub(super) fn open(&mut self, slot: OwnedSemaphorePermit) -> u64 {
        let id = self.next;
        self.next += 2;
        self.insert(id, Some(slot));
        id
    }

    /// A stream that the peer has opened since.
    pub(super) fn accept(&mut self) -> Option<u64> {
        self.arrivals.pop_front()
    }

    pub(super) fn have_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Whether there may be something to send.
    pub(super) fn have_work(&self) -> bool {
        !self.control.is_empty() || self.data.iter().any(|turns| !turns.is_empty())
    }

    fn insert(&mut self, id: u64, slot: Option<OwnedSemaphorePermit>) {
        let stream = Stream {
            outgoing: Outgoing::new(self.room.clone()),
            incoming: Incoming::new(),
            has_control: false,
            has_data: false,
            slot,
            over: false,
            halves: 2,
        };
        self.by_id.insert(id, stream);
    }

    /// Does something with a stream that is in use or not over, and gives it the turns that it needs then.
    pub(super) fn with<T>(&mut self, id: u64, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let stream = self.by_id.get_mut(&id)?;
        let result = act(stream);
        if !stream.has_control && (stream.outgoing.has_control() || stream.incoming.has_control()) {
            stream.has_control = true;
            self.control.push_back(id);
        }
        if !stream.has_data
            && let Some(first) = stream.outgoing.urgency()
        {
            stream.has_data = true;
            self.data[usize::from(!first)].push_back(id);
        }
        self.forget_if_over(id);
        Some(result)
    }

    /// The same for a stream that the peer names, and may open by that. What it says of one that is over
    /// counts for nothing.
    pub(super) fn of_peer<T>(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut Stream) -> T,
    ) -> Result<Option<T>, Violation> {
        let ours = id & 1 == self.side as u64;
        if ours && id >= self.next {
            return Err(Violation);
        }
        if !ours && id >= self.next_of_peer {
            if self.of_peer == self.most_of_peer {
                return Err(Violation);
            }
            // The last numbers of all are never reached by one who counts.
            self.next_of_peer = id.checked_add(2).ok_or(Violation)?;
            self.of_peer += 1;
            self.insert(id, None);
            self.arrivals.push_back(id);
        }
        let over = self.by_id.get(&id).is_none_or(|stream| stream.over);
        Ok(if over { None } else { self.with(id, act) })
    }

    /// One of a stream's halves is used no more.
    pub(super) fn leave(&mut self, id: u64) {
        self.with(id, |stream| stream.halves -= 1);
    }

    /// Takes the word that begins the next stream of ours. Without it a stream whose first bytes have to
    /// wait, while a younger one is reset, would come out of order, and so be none.
    pub(super) fn next_opened(&mut self) -> Option<Frame> {
        let id = self.unseen;
        (id < self.next).then(|| {
            self.unseen += 2;
            Frame::Data(id, Bytes::new())
        })
    }

    /// Takes what is to be said of any stream.
    pub(super) fn next_control(&mut self) -> Option<Frame> {
        loop {
            let id = *self.control.front()?;
            let frame = self.by_id.get_mut(&id).and_then(|stream| {
                let frame = stream.outgoing.control(id);
                frame.or_else(|| stream.incoming.control(id))
            });
            if frame.is_some() {
                self.forget_if_over(id);
                return frame;
            }
            self.control.pop_front();
            if let Some(stream) = self.by_id.get_mut(&id) {
                stream.has_control = false;
            }
        }
    }

    /// Takes bytes of the stream whose turn it is, of which there are at most so many.
    pub(super) fn next_data(&mut self, most: usize) -> Option<Frame> {
        loop {
            let id = match self.data[0].pop_front() {
                Some(id) => id,
                None => self.data[1].pop_front()?,
            };
            let Some(stream) = self.by_id.get_mut(&id) else {
                continue;
            };
            stream.has_data = false;
            let frame = stream.outgoing.next(id, most);
            // It gets another turn, if it has more.
            self.with(id, |_| ());
            if frame.is_some() {
                return frame;
            }
        }
    }

    fn forget_if_over(&mut self, id: u64) {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return;
        };
        if !stream.over && stream.outgoing.is_over() && stream.incoming.is_over() {
            stream.over = true;
            if stream.slot.take().is_none() {
                self.of_peer -= 1;
            }
        }
        if stream.over && stream.halves == 0 {
            self.by_id.remove(&id);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.of_peer == 0
    }

    /// Drops all that waits, and wakes all who wait.
    pub(super) fn abandon(&mut self) {
        for stream in self.by_id.values_mut() {
            stream.outgoing.clear();
            stream.outgoing.wake();
            stream.incoming.clear();
            stream.incoming.wake();
        }
    }
}
