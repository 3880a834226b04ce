//! Datagrams on their way: of those that would have to wait for long the oldest are dropped, for what is
//! late is of less use than what is new.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes that each is counted for beside its own.
const OVERHEAD: usize = 64;

/// Datagrams that wait, in order.
#[derive(Debug)]
pub(super) struct Packets {
    queue: VecDeque<Bytes>,
    waiting: usize,
    most: usize,
    /// How many have been taken from here.
    taken: u64,
}

impl Packets {
    /// Of which so many bytes may wait.
    pub(super) fn new(most: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            waiting: 0,
            most,
            taken: 0,
        }
    }

    pub(super) fn push(&mut self, datagram: Bytes) {
        self.waiting += datagram.len() + OVERHEAD;
        self.queue.push_back(datagram);
        while self.waiting > self.most && self.pop().is_some() {}
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        let datagram = self.pop()?;
        self.taken += 1;
        Some(datagram)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn pop(&mut self) -> Option<Bytes> {
        let datagram = self.queue.pop_front()?;
        self.waiting -= datagram.len() + OVERHEAD;
        Some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay() {
        let mut packets = Packets::new(3 * (10 + OVERHEAD));
        for n in 0..100 {
            packets.push(Bytes::from(vec![n; 10]));
        }
        let left: Vec<_> = std::iter::from_fn(|| packets.take()).collect();
        assert_eq!(left.iter().map(|p| p[0]).collect::<Vec<_>>(), [97, 98, 99]);
        assert_eq!((packets.taken(), packets.waiting), (3, 0));
    }
}
