//! Sockets that the reactor watches for packets alone, or for room alone.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket that is watched until this is dropped.
pub(crate) type Watched<T> = AsyncFd<Arc<T>>;

/// Has the reactor watch a socket. Must be called within a runtime.
#[expect(
    unsafe_code,
    reason = "tokio's promise about the descriptor can only be given so"
)]
pub(crate) fn register<T>(socket: Arc<T>, interest: Interest) -> io::Result<Watched<T>>
where
    T: AsRawFd,
    OwnedFd: From<T>,
{
    // SAFETY: the socket, being one of those that can be made an `OwnedFd`, owns its descriptor, hands
    // out the same one for all of its life, and closes it only after AsyncFd, which shares the socket,
    // has deregistered it.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}
