//! What systemd is told of a service of its own, and what it gives it (sd_notify(3),
//! sd_listen_fds(3)). Where nobody waits to be told, nothing is.

use std::future::pending;
#[cfg(unix)]
use std::io;
use std::time::Duration;

use anyhow::Result;
#[cfg(unix)]
use anyhow::{Context, bail};
#[cfg(unix)]
use listenfd::ListenFd;
#[cfg(unix)]
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
#[cfg(unix)]
use tracing::debug;

use crate::transport::Bound;

/// Tells that the service does what it is for.
pub fn ready() {
    tell("READY=1");
}

/// Tells that the service reads its configuration again, until [`ready`].
pub fn reloading() {
    #[cfg(unix)]
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic()));
}

/// Microseconds of the clock by which systemd orders what it is told.
#[cfg(unix)]
fn monotonic() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000
}

/// Tells in a line how things are, for `systemctl status`.
pub fn status(text: &str) {
    // A line more would be a statement of its own.
    let line = text.lines().next().unwrap_or_default();
    tell(&format!("STATUS={line}"));
}

/// Tells that the service is about to end, having been told to.
pub fn stopping() {
    tell("STOPPING=1");
}

/// Tells that another process is the service from now on.
pub fn succeeded_by(process: u32) {
    tell(&format!("MAINPID={process}"));
}

#[cfg(unix)]
fn tell(text: &str) {
    if let Err(e) = sd_notify::notify(&[NotifyState::Custom(text)]) {
        debug!("systemd was not told {text:?}: {e}");
    }
}

#[cfg(not(unix))]
fn tell(_: &str) {}

/// Shows the watchdog that the thread that carries everything turns, for ever: to be run by that
/// thread. Cancel-safe.
pub async fn watchdog() {
    #[cfg(unix)]
    if let Some(limit) = sd_notify::watchdog_enabled() {
        show(limit, || tell("WATCHDOG=1")).await;
    }
    pending().await
}

/// Gives signs of life well before `limit` has passed since the last one.
async fn show(limit: Duration, mut sign: impl FnMut()) {
    let mut ticks = interval((limit / 3).max(Duration::from_millis(1)));
    // What was missed is over.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sign();
    }
}

/// The sockets that a `.socket` unit has bound for the server: one for UDP, one for TCP, or either.
///
/// To be called before there is another thread: it takes the variables that tell of them out of the
/// environment.
pub fn sockets() -> Result<Bound> {
    #[cfg(unix)]
    return sort(ListenFd::from_env());
    #[cfg(not(unix))]
    Ok(Bound::default())
}

#[cfg(unix)]
fn sort(mut passed: ListenFd) -> Result<Bound> {
    let mut bound = Bound::default();
    for index in 0..passed.len() {
        let second = if let Ok(udp) = passed.take_udp_socket(index) {
            ready_to_use(&udp)?;
            let second = !bound.udp.is_empty();
            bound.udp.extend(udp);
            second
        } else if let Ok(tcp) = passed.take_tcp_listener(index) {
            ready_to_use(&tcp)?;
            let second = bound.tcp.is_some();
            bound.tcp = tcp;
            second
        } else {
            bail!(
                "systemd passed a socket that is of no use here; in the .socket unit give \
                 ListenDatagram=PORT for UDP, and ListenStream=PORT for TCP"
            )
        };
        if second {
            bail!(
                "systemd passed two sockets of a kind; in the .socket unit a PORT alone stands for \
                 all addresses"
            );
        }
    }
    Ok(bound)
}

/// Nothing here waits for a socket in the kernel.
#[cfg(unix)]
fn ready_to_use(socket: &Option<impl std::os::fd::AsFd>) -> Result<()> {
    let Some(socket) = socket else {
        return Ok(());
    };
    let set = rustix::io::ioctl_fionbio(socket, true).map_err(io::Error::from);
    set.context("a socket that systemd passed cannot be used")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;
    use tokio::task::yield_now;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_come_in_time() {
        const LIMIT: Duration = Duration::from_secs(30);
        let signs = Cell::new(0);
        let counted = async { sleep(10 * LIMIT - LIMIT / 100).await };
        tokio::select! {
            () = show(LIMIT, || signs.set(signs.get() + 1)) => {}
            () = counted => {}
        }
        assert_eq!(signs.get(), 30);
    }

    /// A thread that does something else for ever shows nothing; one that did so for a while shows
    /// that it is back.
    #[tokio::test]
    async fn none_comes_from_a_thread_that_is_stuck() {
        const LIMIT: Duration = Duration::from_millis(30);
        let (signs, back) = (Cell::new(0), Notify::new());
        let stuck = async {
            yield_now().await;
            let before = signs.get();
            std::thread::sleep(5 * LIMIT);
            assert_eq!(signs.get(), before);
            back.notified().await;
            assert!(signs.get() > before);
        };
        let show = show(LIMIT, || {
            signs.set(signs.get() + 1);
            back.notify_one();
        });
        tokio::select! {
            () = show => {}
            () = stuck => {}
        }
    }
}
