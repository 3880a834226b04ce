//! Sockets that the reactor watches, where it knows none but its own: a second handle of the same socket.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;

/// A socket that is watched until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    socket: Arc<T>,
    handle: tokio::net::UdpSocket,
}

/// A socket that is ready, as far as is known.
pub(crate) struct Ready<'a> {
    handle: &'a tokio::net::UdpSocket,
    interest: Interest,
}

/// Has the reactor watch a socket. Must be called within a runtime.
pub(crate) fn register(socket: Arc<UdpSocket>, _: Interest) -> io::Result<Watched<UdpSocket>> {
    let handle = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
    Ok(Watched { socket, handle })
}

impl<T> Watched<T> {
    /// The socket.
    pub(crate) fn get_ref(&self) -> &Arc<T> {
        &self.socket
    }

    /// Waits until it is ready. Cancel-safe.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready<'_>> {
        // An error of receiving is found by receiving.
        let interest = interest
            .remove(Interest::ERROR)
            .unwrap_or(Interest::READABLE);
        self.handle.ready(interest).await?;
        Ok(self.is_ready(interest))
    }

    /// Whether something has arrived.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready<'_>>> {
        ready!(self.handle.poll_recv_ready(cx))?;
        Poll::Ready(Ok(self.is_ready(Interest::READABLE)))
    }

    /// Whether there is room to send.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready<'_>>> {
        ready!(self.handle.poll_send_ready(cx))?;
        Poll::Ready(Ok(self.is_ready(Interest::WRITABLE)))
    }

    fn is_ready(&self, interest: Interest) -> Ready<'_> {
        let handle = &self.handle;
        Ready { handle, interest }
    }
}

impl Ready<'_> {
    /// Has the reactor wait for the next event.
    pub(crate) fn clear_ready(&mut self) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.handle.try_io(self.interest, nothing);
    }
}
