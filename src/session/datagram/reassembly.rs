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
