//! Lines of JSON, with or without a socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Sends a value as a line, and a socket with it. Not cancel-safe.
pub(super) async fn send(
    socket: &UnixStream,
    value: &impl Serialize,
    passed: Option<OwnedFd>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut rest = &line[..];
    let mut passed = passed.as_ref();
    while !rest.is_empty() {
        let sent = socket.async_io(Interest::WRITABLE, || {
            let fds: Vec<_> = passed.iter().map(|fd| fd.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(&fds));
            }
            let flags = SendFlags::empty();
            Ok(sendmsg(
                socket,
                &[IoSlice::new(rest)],
                &mut ancillary,
                flags,
            )?)
        });
        rest = &rest[sent.await?..];
        passed = None;
    }
    Ok(())
}

/// Reads one line of at most `max` bytes, and the socket that comes with it, if any. Not
/// cancel-safe.
///
/// The peer has nothing to say after its line before it is answered, so that what follows within the
/// same read is a mistake.
pub(super) async fn receive<T: DeserializeOwned>(
    socket: &UnixStream,
    max: usize,
) -> io::Result<(T, Option<OwnedFd>)> {
    let mut line = Vec::new();
    let mut passed = None;
    while !line.ends_with(b"\n") {
        let mut block = [0; 4096];
        let read = socket.async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::empty();
            let read = recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut block)],
                &mut ancillary,
                flags,
            )?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    passed = fds.last();
                }
            }
            Ok(read.bytes)
        });
        let n = read.await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&block[..n]);
        if line.len() > max {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    if let Some(fd) = &passed {
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    Ok((serde_json::from_slice(&line)?, passed))
}

/// Waits for the peer's end, or for anything that it says out of turn. Cancel-safe.
pub(super) async fn end(socket: &UnixStream) {
    // Not by readiness alone, which may be left over from what has been read.
    let read = socket.async_io(Interest::READABLE, || {
        Ok(recv(socket, &mut [0; 1], RecvFlags::PEEK)?)
    });
    let _ = read.await;
}
