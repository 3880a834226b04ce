//! What goes through a flow: its hash, and how fast it is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, Digest, SHA256};

use super::DEADLINE;
use super::sockets::{finish, receive, send};

/// Reads to the end, telling of each piece's length, and returns the hash of all.
pub(crate) fn hash_to_end(mut stream: &TcpStream, mut piece: impl FnMut(usize)) -> Digest {
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer).expect("bytes read") {
            0 => return hash.finish(),
            n => {
                hash.update(&buffer[..n]);
                piece(n);
            }
        }
    }
}

/// Random bytes that run from one end of a flow to the other until it is said to be enough.
///
/// Its threads belong to it and not to a scope: where a test fails in between, its programs are to be
/// killed, and not waited for.
pub(crate) struct Transfer {
    progress: Arc<Progress>,
    sent: JoinHandle<Digest>,
    received: JoinHandle<Digest>,
}

#[derive(Default)]
struct Progress {
    enough: AtomicBool,
    arrived: Mutex<u64>,
    grown: Condvar,
}

impl Transfer {
    /// Starts one from an end of a flow to the other.
    pub(crate) fn new(from: &TcpStream, to: &TcpStream) -> Self {
        let [from, to] = [from, to].map(|end| end.try_clone().expect("a descriptor"));
        let progress = Arc::new(Progress::default());
        let [sender, receiver] = [progress.clone(), progress.clone()];
        Self {
            progress,
            sent: std::thread::spawn(move || sender.send(&from)),
            received: std::thread::spawn(move || hash_to_end(&to, |n| receiver.add(n))),
        }
    }

    /// Bytes that have arrived so far.
    pub(crate) fn arrived(&self) -> u64 {
        *self.progress.arrived()
    }

    /// Waits until so many bytes in all have arrived.
    pub(crate) fn wait_for(&self, bytes: u64) {
        let grown = &self.progress.grown;
        let arrived = self.progress.arrived();
        let waited = grown.wait_timeout_while(arrived, DEADLINE, |arrived| *arrived < bytes);
        let (arrived, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{} of {bytes} bytes came", *arrived);
    }
}

/// Ends transfers, and fails if what has arrived is not what was sent.
pub(crate) fn end(transfers: impl IntoIterator<Item = Transfer>) {
    let stop = |transfer: Transfer| {
        transfer.progress.enough.store(true, Relaxed);
        transfer
    };
    let stopped: Vec<Transfer> = transfers.into_iter().map(stop).collect();
    for transfer in stopped {
        let sent = transfer.sent.join().expect("all was sent");
        let received = transfer.received.join().expect("all was received");
        assert_eq!(sent.as_ref(), received.as_ref(), "the hash of what arrived");
    }
}

impl Progress {
    fn send(&self, mut stream: &TcpStream) -> Digest {
        let mut random = fastrand::Rng::new();
        let mut hash = Context::new(&SHA256);
        let mut piece = vec![0; 1 << 14];
        while !self.enough.load(Relaxed) {
            random.fill(&mut piece);
            stream.write_all(&piece).expect("bytes written");
            hash.update(&piece);
        }
        finish(stream);
        hash.finish()
    }

    fn add(&self, bytes: usize) {
        *self.arrived() += bytes as u64;
        self.grown.notify_all();
    }

    fn arrived(&self) -> MutexGuard<'_, u64> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mbit/s of each transfer over so much time from now on.
pub(crate) fn throughput(transfers: &[&Transfer], time: Duration) -> Vec<f64> {
    throughput_during(transfers, || std::thread::sleep(time)).0
}

/// Mbit/s of each transfer while `f` runs, and what that returns.
pub(crate) fn throughput_during<T>(
    transfers: &[&Transfer],
    f: impl FnOnce() -> T,
) -> (Vec<f64>, T) {
    let arrived = || transfers.iter().map(|transfer| transfer.arrived());
    let before: Vec<u64> = arrived().collect();
    let start = Instant::now();
    let output = f();
    let seconds = start.elapsed().as_secs_f64();
    let gained = arrived().zip(before).map(|(after, before)| after - before);
    let rates = gained.map(|n| n as f64 * 8.0 / 1e6 / seconds);
    (rates.collect(), output)
}

/// Sends back what comes, to its end, on a thread.
pub(crate) fn echo(stream: TcpStream) {
    std::thread::spawn(move || {
        // Where this fails, whoever waits for the echo misses it.
        let _ = std::io::copy(&mut &stream, &mut &stream);
    });
}

/// Times of so many round trips of one byte, this far apart, to an [`echo`]; the shortest first.
pub(crate) fn round_trips(stream: &TcpStream, times: usize, apart: Duration) -> Vec<Duration> {
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let round_trip = |_| {
        std::thread::sleep(apart);
        let start = Instant::now();
        send(stream, b"k");
        assert_eq!(receive(stream, 1), b"k");
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..times).map(round_trip).collect();
    times.sort();
    times
}
