//! Tokio's runtime for quinn, with timers that are early rather than late.
//!
//! Tokio's timers are up to two milliseconds late: one for the tick that they are rounded up to, one
//! for epoll. Quinn's pacer wants to be woken each 1.6 ms, and what it could have sent after that is
//! lost to it. So it sent at 0.8 x window / round trip where it means to at 1.25 x, and filled no
//! window. To be woken early costs it nothing: it sends what it may by then.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::time::{Sleep, sleep_until};

/// How late one of tokio's timers may be.
const LATENESS: Duration = Duration::from_millis(2);

/// The shortest sleep that is not over at once.
const NEXT_TICK: Duration = Duration::from_micros(1);

/// The runtime.
#[derive(Debug)]
pub(super) struct Punctual;

impl Runtime for Punctual {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer {
            deadline,
            early: true,
            sleep: Box::pin(sleep_until(early(deadline))),
        })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// Wakes its task shortly before the deadline too, but is not over before it.
#[derive(Debug)]
struct Timer {
    deadline: Instant,
    /// Whether it sleeps until shortly before the deadline.
    early: bool,
    sleep: Pin<Box<Sleep>>,
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.deadline = deadline;
        self.early = true;
        self.sleep.as_mut().reset(early(deadline));
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Future::poll(self.sleep.as_mut(), cx));
        if self.early {
            self.early = false;
            let deadline = self.deadline.into();
            self.sleep.as_mut().reset(deadline);
            ready!(Future::poll(self.sleep.as_mut(), cx));
        }
        Poll::Ready(())
    }
}

fn early(deadline: Instant) -> tokio::time::Instant {
    let soonest = Instant::now() + NEXT_TICK;
    deadline
        .checked_sub(LATENESS)
        .map_or(soonest, |early| early.max(soonest))
        .into()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_timer_is_not_over_before_its_deadline() {
        for pause in [1, 2, 30].map(Duration::from_millis) {
            let deadline = Instant::now() + pause;
            let mut timer = Punctual.new_timer(Instant::now());
            timer.as_mut().reset(deadline);
            poll_fn(|cx| timer.as_mut().poll(cx)).await;
            assert!(Instant::now() >= deadline);
        }
    }

    #[test]
    fn a_timer_wakes_before_its_deadline_but_not_at_once() {
        let now = Instant::now();
        let far = now + Duration::from_secs(10);
        assert_eq!(early(far).into_std(), far - LATENESS);
        assert!(early(now + LATENESS / 2).into_std() > now);
    }
}
