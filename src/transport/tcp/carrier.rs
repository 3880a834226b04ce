//! What moves a connection's frames: between its state and TLS.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::frame::Decoder;
use super::mux::Mux;
use crate::transport::{GOODBYE, Lost};

/// Bytes that are read at once at most: a record of TLS has 16 KiB.
const READ: usize = 32 * 1024;

/// Parts of the idle timeout by which silence is counted. A process that was asleep has counted one.
const GLANCES: u32 = 8;

/// Carries a connection to its end, which comes at the latest when the last of its handles is dropped.
pub(super) async fn carry(
    mux: Arc<Mux>,
    stream: impl AsyncRead + AsyncWrite,
    idle_timeout: Duration,
    dropped: CancellationToken,
) {
    let (reader, writer) = split(stream);
    let abandoned = async {
        dropped.cancelled().await;
        if mux.goodbye().is_some() {
            // That is let out first.
            pending::<()>().await;
        }
    };
    let impatience = async {
        mux.closed().await;
        sleep(GOODBYE).await;
    };
    let lost = tokio::select! {
        lost = read(&mux, reader) => lost,
        lost = write(&mux, writer) => lost,
        () = silence(&mux, idle_timeout) => Lost::TimedOut,
        () = abandoned => Lost::Local,
        () = impatience => return,
    };
    mux.fail(lost);
}

/// Takes in what the peer says, until it says no more.
async fn read(mux: &Mux, mut reader: impl AsyncRead + Unpin) -> Lost {
    let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
    loop {
        mux.may_read().await;
        input.reserve(READ);
        match reader.read_buf(&mut input).await {
            Ok(0) => return Lost::Failed("the peer's end of the TCP connection is gone".into()),
            Ok(n) => mux.hear(n),
            Err(e) => return lost(&e),
        }
        while !mux.is_over() {
            match decoder.next(&mut input) {
                Ok(None) => break,
                Ok(Some(frame)) => mux.take(Ok(frame)),
                Err(e) => mux.take(Err(e)),
            }
        }
        if mux.is_over() {
            if mux.goodbye().is_none() {
                return Lost::Local;
            }
            // The peer is to read our reason, and would not where what it has sent stays unread.
            input.clear();
        }
    }
}

/// Sends what there is to send, and at last the reason of the end.
async fn write(mux: &Mux, mut writer: impl AsyncWrite + Unpin) -> Lost {
    let mut batch = Batch::default();
    loop {
        mux.gather(&mut batch);
        batch.seal();
        let nothing = batch.len() == 0;
        let written = match nothing {
            true => writer.flush().await,
            false => writer.write_all_buf(&mut batch).await,
        };
        if let Err(e) = written {
            return broken(&e).await;
        }
        if let Some(goodbye) = mux.goodbye() {
            batch.push(goodbye);
            batch.seal();
            let said = async {
                writer.write_all_buf(&mut batch).await?;
                writer.shutdown().await
            };
            return match said.await {
                Ok(()) => pending().await,
                Err(e) => broken(&e).await,
            };
        }
        if nothing {
            mux.work.notified().await;
        }
    }
}

/// What a failure to write means, if what has come says nothing better of it soon.
async fn broken(error: &io::Error) -> Lost {
    sleep(GOODBYE).await;
    lost(error)
}

/// Waits until nothing has come for so long.
async fn silence(mux: &Mux, idle_timeout: Duration) {
    let (mut heard, mut silent) = (mux.heard(), 0);
    while silent < GLANCES {
        sleep(idle_timeout / GLANCES).await;
        let now = mux.heard();
        silent = if now == heard { silent + 1 } else { 0 };
        heard = now;
    }
}

fn lost(error: &io::Error) -> Lost {
    match error.kind() {
        io::ErrorKind::TimedOut => Lost::TimedOut,
        // Without a word of TLS's, when the peer's process is killed.
        io::ErrorKind::UnexpectedEof => {
            Lost::Failed("the peer's end of the TCP connection is gone".into())
        }
        _ => Lost::Failed(error.to_string()),
    }
}
