//! The sockets of TCP.

use std::io;
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
#[cfg(target_os = "linux")]
use tracing::debug;

/// Bytes that the kernel may have and not have sent yet. What is there cannot be overtaken.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 128 * 1024;

/// Longest time between two tries to send what has not been acknowledged. After an outage the next
/// try is what flows wait for: without a bound they wait about as long again as it has lasted. A
/// round trip of more than this costs packets that are sent twice.
#[cfg(target_os = "linux")]
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Takes a port that was bound by another program.
pub(in crate::transport) fn listen(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Sets a connection up for many flows, which are to outlive an outage of `idle_timeout`.
pub(super) fn prepare(stream: &TcpStream, idle_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    outlive(stream, idle_timeout)
}

/// Has the system try for so long to send what is not acknowledged, and often.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of ours has a name for an option")]
fn outlive(stream: &TcpStream, outage: Duration) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    // In place of a number of tries, which are over sooner where they are frequent.
    SockRef::from(stream).set_tcp_user_timeout(Some(outage))?;
    // Of linux/tcp.h, and not in the libc crate yet.
    const TCP_RTO_MAX_MS: libc::c_int = 44;
    let ms = LONGEST_PAUSE.as_millis() as libc::c_int;
    // SAFETY: the descriptor is open, and the value is an int as long as it says.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            (&raw const ms).cast(),
            size_of_val(&ms) as libc::socklen_t,
        )
    };
    if result != 0 {
        // Linux knows it from 6.15 on.
        debug!("TCP_RTO_MAX_MS: {}", io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn outlive(_: &TcpStream, _: Duration) -> io::Result<()> {
    Ok(())
}
