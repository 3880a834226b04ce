//! Frames that are written together, without copying the bytes of flows.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::Frame;

/// What is being written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    chunks: VecDeque<Bytes>,
    /// Heads of frames behind those.
    heads: BytesMut,
    len: usize,
}

impl Batch {
    pub(super) fn push(&mut self, frame: Frame) {
        let before = self.heads.len();
        frame.head(&mut self.heads);
        let body = frame.into_body();
        self.len += self.heads.len() - before + body.len();
        if !body.is_empty() {
            self.seal();
            self.chunks.push_back(body);
        }
    }

    /// Bytes that are left to write.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Has all that was pushed follow.
    pub(super) fn seal(&mut self) {
        if !self.heads.is_empty() {
            self.chunks.push_back(self.heads.split().freeze());
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.chunks);
        filled
            .map(|(slice, chunk)| *slice = IoSlice::new(chunk))
            .count()
    }

    fn advance(&mut self, mut bytes: usize) {
        self.len -= bytes;
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > bytes {
                return chunk.advance(bytes);
            }
            bytes -= chunk.len();
            self.chunks.pop_front();
        }
    }
}
