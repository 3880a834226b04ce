//! When to read from the socket: at once as a rule, and some packets at a time in a bulk transfer,
//! as network cards do by interrupt moderation.
//!
//! At 200 Mbit/s a full packet comes each 60 µs. That is slower than one is handled, so each would
//! cost a wake-up and two system calls of its own, which is more than all else that is done for it.
//! Where a round trip is long, to let them gather for a millisecond delays nothing that counts.

use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use std::{future::Future as _, io};

use quinn::udp::RecvMeta;
use tokio::io::Interest;
use tokio::time::{Sleep, sleep};
use tracing::warn;

use crate::socket::{Watched, register};

/// How long packets gather; tokio's timer, precise to a millisecond, makes up to twice that of it.
const PAUSE: Duration = Duration::from_millis(1);

/// The round trips from which on that is little.
const LONG_RTT: Duration = Duration::from_millis(10);

/// Payloads of this size or more, in bytes, are those of a bulk transfer. Smaller ones, which
/// somebody may wait for, are never the reason for a pause.
const FULL: usize = 1200;

/// So many full packets have to come in a pause for it to be worth another.
const WORTHWHILE: usize = 4;

/// Time to the next attempt after an error, and between two log lines about that.
const REST: Duration = Duration::from_millis(100);
const COMPLAINTS: Duration = Duration::from_secs(1);

/// Whether a bulk transfer from afar is under way. Those who receive it tell the socket so.
#[derive(Debug)]
pub(super) struct Bulk {
    epoch: Instant,
    /// Milliseconds after `epoch`.
    until: AtomicU64,
}

impl Default for Bulk {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            until: AtomicU64::new(0),
        }
    }
}

impl Bulk {
    /// Notes that a flow has taken a quarter of its window, over a path with this round trip.
    pub(super) fn note(&self, now: Instant, rtt: Duration) {
        if rtt >= LONG_RTT {
            // A window is of some four times what is on the way at once, so a quarter of it takes a
            // round trip; a loss may make that several.
            let until = now + 8 * rtt - self.epoch;
            self.until.fetch_max(until.as_millis() as u64, Relaxed);
        }
    }

    fn is_under_way(&self, now: Instant) -> bool {
        let until = Duration::from_millis(self.until.load(Relaxed));
        now.duration_since(self.epoch) < until
    }
}

/// Reads from a socket when it is time to.
#[derive(Debug)]
pub(super) struct Reader {
    socket: Arc<UdpSocket>,
    bulk: Arc<Bulk>,
    /// None in a pause: were it registered, each packet would wake the reactor all the same.
    readable: Option<Watched<UdpSocket>>,
    pause: Pin<Box<Sleep>>,
    /// Full packets read since then.
    full: usize,
    since: Instant,
    /// When an error was last told of.
    complained: Option<Instant>,
}

impl Reader {
    /// Must be called within a runtime.
    pub(super) fn new(socket: Arc<UdpSocket>, bulk: Arc<Bulk>) -> io::Result<Self> {
        Ok(Self {
            readable: Some(register(socket.clone(), Interest::READABLE)?),
            socket,
            bulk,
            pause: Box::pin(sleep(Duration::ZERO)),
            full: 0,
            since: Instant::now(),
            complained: None,
        })
    }

    /// Fills buffers by `recv`, and tells how many. An error of `recv`'s is told of, and waited out.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        meta: &mut [RecvMeta],
        mut recv: impl FnMut(&UdpSocket, &mut [RecvMeta]) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = match &self.readable {
                Some(readable) => Some(ready!(readable.poll_read_ready(cx))?),
                None => {
                    ready!(self.pause.as_mut().poll(cx));
                    None
                }
            };
            let n = match recv(&self.socket, meta) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
                Err(e) => {
                    self.rest(&e);
                    continue;
                }
            };
            if n == meta.len() {
                self.full += full(meta);
                return Poll::Ready(Ok(n));
            }
            // Not all that was offered was filled, so nothing is left, and the next packet is an
            // event of its own: no need to have the kernel say so.
            if let Some(ready) = &mut ready {
                ready.clear_ready();
            }
            self.full += full(&meta[..n]);
            self.drained()?;
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
        }
    }

    /// Decides what to wait for, now that nothing is left to read.
    fn drained(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let bulk = self.bulk.is_under_way(now);
        let long = now - self.since > 2 * PAUSE;
        match &self.readable {
            Some(_) if bulk && self.full >= 2 * WORTHWHILE && !long => self.pause(now),
            Some(_) if long => self.count_from(now),
            Some(_) => {}
            None if bulk && self.full >= WORTHWHILE => self.pause(now),
            None => {
                self.readable = Some(register(self.socket.clone(), Interest::READABLE)?);
                self.count_from(now);
            }
        }
        Ok(())
    }

    /// Waits after an error, such as that there is no memory: quinn would try again at once, or give up
    /// all connections.
    fn rest(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.complained.is_none_or(|at| now - at >= COMPLAINTS) {
            self.complained = Some(now);
            warn!("cannot receive for now: {error}");
        }
        self.readable = None;
        self.pause.as_mut().reset((now + REST).into());
        self.count_from(now);
    }

    fn pause(&mut self, now: Instant) {
        self.readable = None;
        self.pause.as_mut().reset((now + PAUSE).into());
        self.count_from(now);
    }

    fn count_from(&mut self, now: Instant) {
        self.full = 0;
        self.since = now;
    }
}

/// How many of what was read are full packets.
fn full(read: &[RecvMeta]) -> usize {
    let full = read.iter().filter(|meta| meta.stride >= FULL);
    full.map(|meta| meta.len / meta.stride).sum()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PACKET: [u8; FULL] = [0; FULL];

    async fn read(reader: &mut Reader) -> io::Result<usize> {
        let mut meta = [RecvMeta::default(); 4];
        let recv = |socket: &UdpSocket, meta: &mut [RecvMeta]| {
            let mut buffer = [0; 2 * FULL];
            for (n, meta) in meta.iter_mut().enumerate() {
                meta.len = match socket.recv(&mut buffer) {
                    Ok(len) => len,
                    Err(e) if n == 0 => return Err(e),
                    Err(_) => return Ok(n),
                };
                meta.stride = meta.len;
            }
            Ok(meta.len())
        };
        poll_fn(|cx| reader.poll_recv(cx, &mut meta, recv)).await
    }

    /// Sends packets, and reads until they have all been read.
    async fn pass(reader: &mut Reader, packets: usize, packet: &[u8]) {
        let to = reader.socket.local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..packets {
            sender.send_to(packet, to).unwrap();
        }
        let mut left = packets;
        while left > 0 {
            left -= read(reader).await.unwrap();
        }
    }

    fn reader(rtt: Duration) -> Reader {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let bulk = Arc::new(Bulk::default());
        bulk.note(Instant::now(), rtt);
        Reader::new(Arc::new(socket), bulk).unwrap()
    }

    const FAR: Duration = Duration::from_secs(10);

    // Nine packets are read four, four and one at a time: after the last nothing is left.

    #[tokio::test]
    async fn it_pauses_in_a_bulk_transfer_from_afar_until_little_comes() {
        let mut reader = reader(FAR);
        pass(&mut reader, 9, &PACKET).await;
        assert!(reader.readable.is_none());
        pass(&mut reader, 2, &PACKET).await;
        assert!(reader.readable.is_some());
    }

    #[tokio::test]
    async fn after_an_error_it_rests_and_goes_on() {
        let mut reader = reader(FAR);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = reader.socket.local_addr().unwrap();
        sender.send_to(b"x", to).unwrap();
        let (start, mut attempts) = (Instant::now(), 0);
        let recv = |_: &UdpSocket, _: &mut [RecvMeta]| {
            attempts += 1;
            match attempts {
                1..=3 => Err(io::ErrorKind::OutOfMemory.into()),
                _ => Ok(1),
            }
        };
        let mut recv = recv;
        let mut meta = [RecvMeta::default(); 4];
        let received = poll_fn(|cx| reader.poll_recv(cx, &mut meta, &mut recv)).await;
        assert_eq!(received.unwrap(), 1);
        assert_eq!(attempts, 4);
        assert!(start.elapsed() >= 3 * REST);
    }

    #[tokio::test]
    async fn small_packets_and_near_peers_are_never_put_off() {
        let mut far = reader(FAR);
        pass(&mut far, 9, &PACKET[1..]).await;
        assert!(far.readable.is_some());
        let mut near = reader(LONG_RTT / 2);
        pass(&mut near, 9, &PACKET).await;
        assert!(near.readable.is_some());
    }
}
