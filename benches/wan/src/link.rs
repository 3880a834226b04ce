//! A link that is up: its two devices, and a thread for each direction.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::Ipv4Addr;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::direction::Direction;
use crate::{Conditions, Namespace, device};

/// The address of the first namespace.
pub const LEFT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The address of the second.
pub const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// What became of the packets of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Those that were sent on their way, copies among them.
    pub sent: u64,
    /// Those that were lost at random, or were too large.
    pub lost: u64,
    /// Those that found the queue full.
    pub overflowed: u64,
    /// Those that were sent twice.
    pub duplicated: u64,
    /// Those that were held back for others to overtake them.
    pub held_back: u64,
}

/// Two namespaces joined by a link, for as long as this lives.
#[derive(Debug)]
pub struct Link {
    ways: [Arc<Mutex<Way>>; 2],
    threads: Vec<JoinHandle<()>>,
    /// The threads end when this is closed.
    up: Option<PipeWriter>,
}

/// What one direction's thread shares with others.
#[derive(Debug)]
struct Way {
    conditions: Conditions,
    counts: Counts,
}

impl Link {
    /// Joins two namespaces: each gets a device `wan0`, with the addresses [`LEFT`] and [`RIGHT`] and the
    /// conditions' MTU. With the same seed the same packets meet the same fate.
    pub fn new(
        left: &Namespace,
        right: &Namespace,
        conditions: Conditions,
        seed: u64,
    ) -> io::Result<Self> {
        let a = left.inside(|| device::tun(LEFT, conditions.mtu))??;
        let b = right.inside(|| device::tun(RIGHT, conditions.mtu))??;
        let (down, up) = io::pipe()?;
        let way = || {
            let counts = Counts::default();
            Arc::new(Mutex::new(Way { conditions, counts }))
        };
        let ways = [way(), way()];
        let ends = [(a.try_clone()?, b.try_clone()?), (b, a)];
        let mut threads = Vec::new();
        for ((way, (from, to)), seed) in ways.iter().cloned().zip(ends).zip(seed..) {
            let down = down.try_clone()?;
            let thread = thread::Builder::new().name("wan".into());
            threads.push(thread.spawn(move || carry(&from, &to, &down, &way, seed))?);
        }
        Ok(Self {
            ways,
            threads,
            up: Some(up),
        })
    }

    /// Changes the conditions of both directions, for packets that enter the link from now on. An MTU
    /// below that of the devices is a black hole for what is larger.
    pub fn set(&self, conditions: Conditions) {
        for way in &self.ways {
            lock(way).conditions = conditions;
        }
    }

    /// What became of the packets so far, left to right and right to left.
    pub fn counts(&self) -> [Counts; 2] {
        [0, 1].map(|way| lock(&self.ways[way]).counts)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.up = None;
        for thread in self.threads.drain(..) {
            // It has said why if it panicked.
            let _ = thread.join();
        }
    }
}

/// Carries packets in one direction until the link is taken down.
fn carry(mut from: &File, mut to: &File, down: &PipeReader, way: &Mutex<Way>, seed: u64) {
    // Timers that are 50 us late, as is usual, are a tenth of a millisecond more on each way. Without
    // this right they are.
    let _ = rustix::thread::set_current_timer_slack(NonZero::new(1));
    let mut direction = Direction::new(seed, Instant::now());
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let read = from.read(&mut buffer);
        if let Ok(len) = read {
            let Way { conditions, counts } = &mut *lock(way);
            direction.take(&buffer[..len], Instant::now(), conditions, counts);
        }
        while let Some(packet) = direction.arrived(Instant::now()) {
            // A device that is down takes nothing, as a machine that is off.
            let _ = to.write(&packet);
        }
        match read.map_err(|error| error.kind()) {
            Ok(_) => {}
            Err(ErrorKind::WouldBlock) if wait(from, down, direction.next_arrival()) => {}
            Err(_) => return,
        }
    }
}

/// Waits for a packet from a device, or until `time`. Says whether the link is still up.
fn wait(from: &File, down: &PipeReader, time: Option<Instant>) -> bool {
    let mut fds = [
        PollFd::new(from, PollFlags::IN),
        PollFd::new(down, PollFlags::IN),
    ];
    let left = time.map(|time| time.saturating_duration_since(Instant::now()));
    let timeout = left.map(|left: Duration| Timespec {
        tv_sec: left.as_secs() as _,
        tv_nsec: left.subsec_nanos().into(),
    });
    // An error is an interruption by a signal; one looks again.
    let _ = poll(&mut fds, timeout.as_ref());
    fds[1].revents().is_empty()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
