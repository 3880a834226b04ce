//! Packets that came in pieces.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::wire::{FlowId, MAX_PACKET};

/// How long the rest of a packet is waited for: pieces leave together, so a late one is a lost one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most packets, and most of their bytes, that wait for the rest.
const MAX_INCOMPLETE: usize = 128;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Joins the pieces of packets; what stays incomplete is dropped, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// In the order of their first pieces.
    incomplete: VecDeque<Incomplete>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Incomplete {
    flow: FlowId,
    packet: u16,
    since: Instant,
    pieces: Vec<Option<Box<[u8]>>>,
    missing: usize,
    bytes: usize,
}

/// A piece of a packet, and its place.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) packet: u16,
    pub(super) index: u8,
    pub(super) count: u8,
    pub(super) bytes: Bytes,
}

impl Reassembly {
    /// Takes a piece, and returns its packet if that is whole now.
    pub(super) fn add(&mut self, flow: FlowId, piece: Piece, now: Instant) -> Option<Bytes> {
        let late = |i: &Incomplete| now - i.since > PATIENCE;
        while self.incomplete.front().is_some_and(late) {
            self.drop_oldest();
        }
        let same = |i: &Incomplete| i.flow == flow && i.packet == piece.packet;
        let at = match self.incomplete.iter().position(same) {
            Some(at) => at,
            None => {
                self.incomplete
                    .push_back(Incomplete::new(flow, &piece, now));
                self.incomplete.len() - 1
            }
        };
        let incomplete = &mut self.incomplete[at];
        self.bytes += incomplete.add(piece);
        if incomplete.missing == 0 || incomplete.bytes > MAX_PACKET {
            let packet = self.incomplete.remove(at)?;
            self.bytes -= packet.bytes;
            return packet.whole();
        }
        while self.bytes > MAX_BYTES || self.incomplete.len() > MAX_INCOMPLETE {
            self.drop_oldest();
        }
        None
    }

    /// Packets that were given up.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.incomplete.pop_front() {
            self.bytes -= oldest.bytes;
            self.dropped += 1;
        }
    }
}

impl Incomplete {
    fn new(flow: FlowId, first: &Piece, now: Instant) -> Self {
        let count = usize::from(first.count);
        Self {
            flow,
            packet: first.packet,
            since: now,
            pieces: vec![None; count],
            missing: count,
            bytes: 0,
        }
    }

    /// Takes a piece that has not been here yet, and tells how many bytes that is. It is copied, for
    /// it would hold all of the QUIC packet that it came in.
    fn add(&mut self, piece: Piece) -> usize {
        let alike = usize::from(piece.count) == self.pieces.len();
        match self.pieces.get_mut(usize::from(piece.index)) {
            Some(place @ None) if alike => {
                *place = Some(Box::from(&piece.bytes[..]));
                self.missing -= 1;
                self.bytes += piece.bytes.len();
                piece.bytes.len()
            }
            _ => 0,
        }
    }

    /// The packet, unless a piece is missing or they make more than a packet can be.
    fn whole(self) -> Option<Bytes> {
        if self.bytes > MAX_PACKET {
            return None;
        }
        let mut packet = Vec::with_capacity(self.bytes);
        for piece in self.pieces {
            packet.extend_from_slice(&piece?);
        }
        Some(packet.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: FlowId = FlowId {
        senders: true,
        number: 7,
    };

    fn piece(packet: u16, index: u8, count: u8, bytes: &'static [u8]) -> Piece {
        Piece {
            packet,
            index,
            count,
            bytes: Bytes::from_static(bytes),
        }
    }

    #[test]
    fn pieces_may_come_in_any_order_and_twice_and_beside_others() {
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        let mut add = |piece| reassembly.add(FLOW, piece, now);
        assert_eq!(add(piece(1, 2, 3, b"c")), None);
        assert_eq!(add(piece(2, 0, 2, b"x")), None);
        assert_eq!(add(piece(1, 0, 3, b"a")), None);
        assert_eq!(add(piece(1, 0, 3, b"!")), None);
        // One that contradicts the others.
        assert_eq!(add(piece(1, 1, 2, b"?")), None);
        assert_eq!(add(piece(1, 1, 3, b"b")), Some("abc".into()));
        assert_eq!(add(piece(2, 1, 2, b"y")), Some("xy".into()));
        assert_eq!((reassembly.bytes, reassembly.dropped()), (0, 0));
        assert!(reassembly.incomplete.is_empty());
    }

    #[test]
    fn the_oldest_are_dropped_when_late_or_too_many() {
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        reassembly.add(FLOW, piece(0, 0, 2, b"a"), now);
        let later = now + PATIENCE + Duration::from_millis(1);
        reassembly.add(FLOW, piece(1, 0, 2, b"a"), later);
        assert_eq!((reassembly.incomplete.len(), reassembly.dropped()), (1, 1));
        static LARGE: [u8; 60_000] = [0; 60_000];
        for n in 2..1000 {
            reassembly.add(FLOW, piece(n, 0, 2, &LARGE), later);
            assert!(reassembly.bytes <= MAX_BYTES);
        }
        for n in 1000..2000 {
            reassembly.add(FLOW, piece(n, 0, 2, b"a"), later);
        }
        assert_eq!(reassembly.incomplete.len(), MAX_INCOMPLETE);
        assert_eq!(
            reassembly.add(FLOW, piece(1999, 1, 2, b"b"), later),
            Some("ab".into())
        );
    }

    #[test]
    fn what_is_no_packet_is_dropped() {
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        static LARGE: [u8; 60_000] = [0; 60_000];
        assert_eq!(reassembly.add(FLOW, piece(0, 0, 3, &LARGE), now), None);
        assert_eq!(reassembly.add(FLOW, piece(0, 1, 3, &LARGE), now), None);
        assert_eq!((reassembly.bytes, reassembly.incomplete.len()), (0, 0));
    }
}
