//! Pieces of a stream, and of what they were read with.

use bytes::Bytes;

/// Smaller pieces are copied where they have to wait: each keeps all of the buffer that it came in, with what
/// else did, up to 64 KiB.
pub(super) const SMALL_PIECE: usize = 8 * 1024;

/// The same bytes, by themselves if they are few.
pub(super) fn apart(piece: Bytes) -> Bytes {
    match piece.len() < SMALL_PIECE {
        true => Bytes::copy_from_slice(&piece),
        false => piece,
    }
}
