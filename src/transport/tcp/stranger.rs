//! How much a peer may say that has not logged in.

use super::half::Violation;

/// Bytes that may wait to be read, and that may be said in all: a login has 64 KiB at most, and whatever
/// else is said keeps this side busy.
pub(super) const UNREAD: usize = 64 * 1024;
const SAID: usize = 256 * 1024;

/// What such a peer has said, in bytes.
#[derive(Debug, Default)]
pub(super) struct Stranger {
    unread: usize,
    said: usize,
}

impl Stranger {
    /// Takes note of so many bytes that have come, whatever they are.
    pub(super) fn hear(&mut self, bytes: usize) -> Result<(), Violation> {
        self.said += bytes;
        match self.said > SAID {
            true => Err(Violation),
            false => Ok(()),
        }
    }

    /// So many bytes wait for a reader,
    pub(super) fn keep(&mut self, bytes: usize) {
        self.unread += bytes;
    }

    /// or have been taken by one.
    pub(super) fn read(&mut self, bytes: usize) {
        self.unread = self.unread.saturating_sub(bytes);
    }

    /// Whether no more may wait.
    pub(super) fn is_full(&self) -> bool {
        self.unread >= UNREAD
    }
}
