//! What befalls this machine that its connections are to know at once: its network has changed, or it
//! was asleep.

use std::time::Duration;

/// What is seen of that, where the system tells it.
#[derive(Debug)]
pub struct Roaming {
    #[cfg(target_os = "linux")]
    changes: Option<linux::Changes>,
    asleep: Duration,
}

impl Roaming {
    /// Looks from now on; must be called within a runtime.
    pub fn watch() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            changes: linux::Changes::watch()
                .inspect_err(|e| tracing::debug!("no news of this machine's network: {e}"))
                .ok(),
            asleep: asleep(),
        }
    }

    /// Waits until an address or a route of this machine has changed. Cancel-safe.
    pub async fn moved(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(changes) = &mut self.changes {
            return changes.next().await;
        }
        std::future::pending().await
    }

    /// Whether the machine has been suspended since this was last asked.
    pub fn slept(&mut self) -> bool {
        let before = std::mem::replace(&mut self.asleep, asleep());
        self.asleep > before + Duration::from_secs(1)
    }
}

/// How long the machine has been suspended since it was started: by so much the clock that goes on
/// then is ahead of the one that does not (clock_gettime(2)).
#[cfg(target_os = "linux")]
fn asleep() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let [all, awake] = [ClockId::Boottime, ClockId::Monotonic].map(|id| {
        let time = clock_gettime(id);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        )
    });
    all.saturating_sub(awake)
}

#[cfg(not(target_os = "linux"))]
fn asleep() -> Duration {
    Duration::ZERO
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::time::{Instant, sleep_until};

    use crate::socket::register;

    /// Groups of rtnetlink(7): addresses and routes, of IPv4 and IPv6.
    const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

    /// Least time between two changes that are told of: a router's may be many.
    const PACE: Duration = Duration::from_millis(100);

    /// The kernel's news.
    #[derive(Debug)]
    pub(super) struct Changes {
        netlink: AsyncFd<Arc<OwnedFd>>,
        next: Instant,
    }

    impl Changes {
        pub(super) fn watch() -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let netlink = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&netlink, &SocketAddrNetlink::new(0, GROUPS))?;
            Ok(Self {
                netlink: register(Arc::new(netlink), Interest::READABLE)?,
                next: Instant::now(),
            })
        }

        /// Waits for the next change, or for several at once. Cancel-safe.
        pub(super) async fn next(&mut self) {
            sleep_until(self.next).await;
            while let Ok(mut ready) = self.netlink.readable().await {
                if drain(self.netlink.get_ref()) {
                    ready.clear_ready();
                    self.next = Instant::now() + PACE;
                    return;
                }
                ready.clear_ready();
            }
            // The reactor is gone.
            std::future::pending().await
        }
    }

    /// Takes all that has come, and says whether that was anything. What it says does not matter.
    fn drain(netlink: &OwnedFd) -> bool {
        let mut any = false;
        loop {
            match recv(netlink, &mut [0; 1], RecvFlags::DONTWAIT) {
                // News were lost, so there were some (netlink(7)).
                Ok(_) | Err(Errno::NOBUFS) => any = true,
                Err(_) => return any,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_not_slept_is_not_said_to() {
        assert!(!Roaming::watch().slept());
        let mut after = Roaming::watch();
        after.asleep = after.asleep.saturating_sub(Duration::from_secs(60));
        assert_eq!(after.slept(), asleep() > Duration::from_secs(1));
        assert!(!after.slept());
    }
}
