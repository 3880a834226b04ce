//! The two halves of a flow's stream.
//!
//! Quinn finishes a stream whose sender is dropped, which would make a flow that broke look like
//! one that ended. A [`Sender`] that is dropped unfinished resets its stream instead.

use std::future::Future;

use bytes::Bytes;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};

use crate::transport::{ResetCode, StreamError};

/// The half that bytes go out through.
#[derive(Debug)]
pub struct Sender {
    inner: SendStream,
    done: bool,
}

impl Sender {
    pub(super) fn new(inner: SendStream) -> Self {
        Self { inner, done: false }
    }

    /// Hands over a chunk without copying it, waiting while the peer allows no more.
    ///
    /// Not cancel-safe: part of the chunk may have been taken.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        self.inner.write_chunk(chunk).await.map_err(|e| match e {
            WriteError::Stopped(code) => {
                StreamError::Reset(ResetCode::from_wire(code.into_inner()))
            }
            WriteError::ConnectionLost(_) | WriteError::ZeroRttRejected => StreamError::Lost,
            WriteError::ClosedStream => StreamError::Reset(ResetCode::Broken),
        })
    }

    /// Says that nothing more will come; what was written still arrives.
    pub fn finish(&mut self) {
        self.done = true;
        // It fails only on a stream that is finished or reset already.
        let _ = self.inner.finish();
    }

    /// Breaks the flow in this direction, be it finished or not.
    pub fn reset(&mut self, code: ResetCode) {
        self.done = true;
        let _ = self.inner.reset(VarInt::from_u32(code as u32));
    }

    /// Waits until the peer wants no more of this direction, or has all of it (none). Cancel-safe.
    pub fn stopped(&self) -> impl Future<Output = Option<StreamError>> + use<> {
        let stopped = self.inner.stopped();
        async move {
            match stopped.await {
                Ok(Some(code)) => {
                    let code = ResetCode::from_wire(code.into_inner());
                    Some(StreamError::Reset(code))
                }
                Ok(None) => None,
                Err(_) => Some(StreamError::Lost),
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.done {
            self.reset(ResetCode::Broken);
        }
    }
}

/// The half that bytes come in through.
#[derive(Debug)]
pub struct Receiver {
    inner: RecvStream,
}

impl Receiver {
    pub(super) fn new(inner: RecvStream) -> Self {
        Self { inner }
    }

    /// Fills a buffer whole, or tells that the stream ended before (none). Not cancel-safe.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<Option<()>, StreamError> {
        match self.inner.read_exact(buffer).await {
            Ok(()) => Ok(Some(())),
            Err(ReadExactError::FinishedEarly(_)) => Ok(None),
            Err(ReadExactError::ReadError(e)) => Err(broken(e)),
        }
    }

    /// Takes up to `max` bytes of what has arrived; none at the end. Cancel-safe.
    pub async fn read_some(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        let chunk = self.inner.read_chunk(max, true).await.map_err(broken)?;
        Ok(chunk.map(|chunk| chunk.bytes))
    }

    /// Takes what has arrived, up to as many chunks as there is room for; none at the end.
    ///
    /// Cancel-safe.
    pub async fn read(&mut self, chunks: &mut [Bytes]) -> Result<Option<usize>, StreamError> {
        self.inner.read_chunks(chunks).await.map_err(broken)
    }

    /// Waits until the peer has broken the flow; for ever if it ends it. Cancel-safe.
    pub async fn reset(&mut self) -> StreamError {
        match self.inner.received_reset().await {
            Ok(Some(code)) => StreamError::Reset(ResetCode::from_wire(code.into_inner())),
            Ok(None) => std::future::pending().await,
            Err(_) => StreamError::Lost,
        }
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: ResetCode) {
        // It fails only on a stream that has ended already.
        let _ = self.inner.stop(VarInt::from_u32(code as u32));
    }
}

fn broken(error: ReadError) -> StreamError {
    match error {
        ReadError::Reset(code) => StreamError::Reset(ResetCode::from_wire(code.into_inner())),
        ReadError::ClosedStream | ReadError::IllegalOrderedRead => {
            StreamError::Reset(ResetCode::Broken)
        }
        ReadError::ConnectionLost(_) | ReadError::ZeroRttRejected => StreamError::Lost,
    }
}
