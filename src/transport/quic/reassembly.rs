//! Puts the pieces of a stream in order.
//!
//! Quinn can do it too, but ends the whole connection when one stream has more than 1024 gaps
//! (quinn issue 2809), which a large window and heavy loss bring about. So we take pieces as they
//! come, and quinn has none to keep.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Pieces of one stream that wait for those before them. Never overlapping: quinn sees to that.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// Offset of the first byte that has not come in order.
    next: u64,
    waiting: BTreeMap<u64, Bytes>,
}

impl Reassembly {
    /// Offset of the first byte that has not come in order.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Takes a piece, and hands on all that is in order now.
    pub(super) fn accept(&mut self, offset: u64, piece: Bytes, mut ready: impl FnMut(Bytes)) {
        if offset != self.next {
            self.waiting.insert(offset, piece);
            return;
        }
        self.next += piece.len() as u64;
        ready(piece);
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() != self.next {
                break;
            }
            let piece = first.remove();
            self.next += piece.len() as u64;
            ready(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_comes_out_in_order() {
        let text = b"the quick brown fox jumps over the lazy dog";
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut pieces = Vec::new();
            let mut offset = 0;
            while offset < text.len() {
                let length = random.usize(1..8).min(text.len() - offset);
                let piece = Bytes::copy_from_slice(&text[offset..offset + length]);
                pieces.push((offset as u64, piece));
                offset += length;
            }
            random.shuffle(&mut pieces);
            let mut reassembly = Reassembly::default();
            let mut out = Vec::new();
            for (offset, piece) in pieces {
                reassembly.accept(offset, piece, |piece| out.extend_from_slice(&piece));
                assert!(text.starts_with(&out));
            }
            assert_eq!(out, text);
            assert!(reassembly.waiting.is_empty());
        }
    }
}
