//! Copies a flow both ways between a socket and a stream.
//!
//! An end is passed on as an end, in its direction alone; anything else breaks the flow at both
//! sides and in both directions. An idle flow holds no buffer: one is made when bytes are there.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::task::yield_now;
use tokio_util::io::poll_read_buf;

use crate::memory::{self, Kept};
use crate::metrics;
use crate::pace::{Pace, Way};
use crate::socket::{ReadHalf, Socket, WriteHalf};
use crate::transport::{Receiver, ResetCode, Sender, StreamError};

/// Smallest and largest buffer for a read, in bytes; between them it follows what there is to read.
const SMALL_READ: usize = 4 * 1024;
const LARGE_READ: usize = 256 * 1024;

/// Chunks written at once.
const CHUNKS: usize = 64;

/// Why a flow broke.
#[derive(Debug, Error)]
pub enum Broken {
    /// The local socket failed, as it does when its peer resets it.
    #[error("local connection: {0}")]
    Local(io::Error),
    /// The far side broke it, or is gone.
    #[error(transparent)]
    Remote(#[from] StreamError),
}

/// By hand, for a source would be told a second time where an error is printed with its causes.
impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

/// Copies until both directions have ended, or the flow breaks.
///
/// It is only after both ends have passed that the socket is closed in order, if it knows other ways.
/// If there is a pace it keeps to that, and has what is too fast wait. What has gone is counted. Not
/// cancel-safe, and cancelling it breaks the flow.
pub async fn relay(
    mut local: Socket,
    mut tx: Sender,
    mut rx: Receiver,
    pace: Option<&Pace>,
    count: &metrics::Tunnel,
) -> Result<(), Broken> {
    let kept = rx.kept().clone();
    if memory::is_limited() {
        // Those buffers may count too, and how full they are is not told.
        local.keep_little()?;
    }
    let (mut local_read, local_write) = local.split();
    let outcome = tokio::select! {
        biased;
        outcome = async {
            tokio::try_join!(
                upload(&mut local_read, &mut tx, pace, count, &kept),
                download(&mut rx, &local_write, pace, count),
            )
        } => outcome,
        error = local_write.failure() => Err(error.into()),
        () = kept.cut() => Err(StreamError::Cut.into()),
    };
    match outcome {
        Ok(_) => {
            local.settle();
            Ok(())
        }
        Err(broken) => {
            tx.reset(ResetCode::Broken);
            rx.stop(ResetCode::Broken);
            Err(broken)
        }
    }
}

/// From the socket to the stream, until the socket's end.
async fn upload(
    local: &mut ReadHalf<'_>,
    tx: &mut Sender,
    pace: Option<&Pace>,
    count: &metrics::Tunnel,
    kept: &Arc<Kept>,
) -> Result<(), Broken> {
    // The peer may give the flow up when there is nothing to send that would show it.
    let mut stopped = Box::pin(tx.stopped());
    let mut size = SMALL_READ;
    loop {
        tokio::select! {
            biased;
            readable = local.readable() => readable?,
            Some(stop) = &mut stopped => return Err(stop.into()),
        }
        let room = tokio::select! {
            biased;
            room = async { kept.room().await; tx.allowance().await } => room,
            Some(stop) = &mut stopped => return Err(stop.into()),
        };
        let most = size.min(room).min(pace.map_or(usize::MAX, Pace::most));
        let mut buffer = BytesMut::with_capacity(most);
        let capacity = buffer.capacity();
        let n = match read_now(local, &mut buffer).await {
            None => continue,
            Some(n) => n?,
        };
        if n == 0 {
            drop(buffer);
            return Ok(tx.finish().await?);
        }
        size = fitting(size, n);
        // What is kept until it is acknowledged keeps its whole buffer.
        let chunk = if n < capacity / 4 {
            Bytes::copy_from_slice(&buffer)
        } else {
            buffer.freeze()
        };
        if let Some(pace) = pace {
            tokio::select! {
                biased;
                () = pace.take(Way::Up, n) => {}
                Some(stop) = &mut stopped => return Err(stop.into()),
            }
        }
        tx.write(kept.hold(chunk)).await?;
        count.sent(n);
        if n == capacity {
            // There is more, and quinn takes it without waiting: let others have a turn.
            yield_now().await;
        }
    }
}

/// Reads what is there, or nothing (none), and never waits.
///
/// By polling: unlike `try_read` that knows a short read for the last one, and saves a system call.
async fn read_now(local: &mut ReadHalf<'_>, buffer: &mut BytesMut) -> Option<io::Result<usize>> {
    poll_fn(|cx| {
        let read = poll_read_buf(Pin::new(&mut *local), cx, buffer);
        Poll::Ready(match read {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        })
    })
    .await
}

/// The size for the next read after one that got `n` bytes into a buffer of this size.
fn fitting(size: usize, n: usize) -> usize {
    if n == size {
        (size * 4).min(LARGE_READ)
    } else if n < size / 4 {
        (size / 4).max(SMALL_READ)
    } else {
        size
    }
}

/// From the stream to the socket, until the stream's end.
async fn download(
    rx: &mut Receiver,
    local: &WriteHalf<'_>,
    pace: Option<&Pace>,
    count: &metrics::Tunnel,
) -> Result<(), Broken> {
    let mut more = true;
    loop {
        while !rx.ready().is_empty() {
            let most = pace.map_or(usize::MAX, Pace::most);
            match write_some(local, rx.ready(), most) {
                Ok(n) => {
                    advance(rx.ready(), n);
                    rx.taken(n);
                    count.received(n);
                    if let Some(pace) = pace {
                        pace.take(Way::Down, n).await;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                    biased;
                    writable = local.writable() => writable?,
                    waited = rx.wait(), if more => more = waited?,
                },
                Err(e) => return Err(e.into()),
            }
        }
        if !more {
            break;
        }
        more = rx.wait().await?;
    }
    local.finish()?;
    rx.settle();
    Ok(())
}

/// Writes what the socket takes at once of these, and no more than so many bytes.
fn write_some(local: &WriteHalf<'_>, chunks: &VecDeque<Bytes>, most: usize) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); CHUNKS];
    let count = chunks.len().min(CHUNKS);
    let mut left = most;
    for (slice, chunk) in slices.iter_mut().zip(chunks) {
        let chunk = &chunk[..chunk.len().min(left)];
        left -= chunk.len();
        *slice = IoSlice::new(chunk);
    }
    local.try_write_vectored(&slices[..count])
}

/// Takes written bytes away from the front.
fn advance(chunks: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(chunk) = chunks.front_mut() {
        if chunk.len() > written {
            return chunk.advance(written);
        }
        written -= chunk.len();
        chunks.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_and_shrink_with_what_there_is() {
        assert_eq!(fitting(SMALL_READ, SMALL_READ), SMALL_READ * 4);
        assert_eq!(fitting(LARGE_READ, LARGE_READ), LARGE_READ);
        assert_eq!(fitting(LARGE_READ, LARGE_READ / 2), LARGE_READ);
        assert_eq!(fitting(LARGE_READ, 100), LARGE_READ / 4);
        assert_eq!(fitting(SMALL_READ, 1), SMALL_READ);
    }

    #[test]
    fn written_bytes_are_taken_from_the_front() {
        let mut chunks = VecDeque::from([Bytes::from_static(b"abc"), Bytes::from_static(b"defg")]);
        advance(&mut chunks, 2);
        assert_eq!(chunks[0], "c");
        advance(&mut chunks, 3);
        assert_eq!(chunks[0], "fg");
        advance(&mut chunks, 2);
        assert!(chunks.is_empty());
    }
}
