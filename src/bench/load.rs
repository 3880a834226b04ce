//! The near end of the load: plain threads with blocking sockets, where the tunnel begins.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::interrupt::Interrupt;
use super::target::{ANSWER, BLOCK, IDLE, ONCE, SINK, SOURCE};

/// Longest that nothing may move before the tunnel counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks for the first result of a load.
const GLANCE: Duration = Duration::from_millis(1);

/// Idle flows that are opened together, so that a long way costs its round trip once for all.
const TOGETHER: usize = 32;

/// Which way bulk data goes, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// Threads that load the tunnel until they are stopped.
#[derive(Debug)]
pub(super) struct Load {
    threads: Vec<JoinHandle<Result<()>>>,
    shared: Arc<Shared>,
}

/// What the threads of a load have in common.
#[derive(Debug)]
struct Shared {
    entry: SocketAddr,
    stop: AtomicBool,
    done: AtomicU64,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Load {
    fn new(entry: SocketAddr) -> Self {
        Self {
            threads: Vec::new(),
            shared: Arc::new(Shared {
                entry,
                stop: AtomicBool::new(false),
                done: AtomicU64::new(0),
                sockets: Mutex::default(),
            }),
        }
    }

    /// Connections that carry as much as they can; what is counted are bytes that have arrived.
    pub(super) fn bulk(entry: SocketAddr, direction: Direction, streams: u16) -> Result<Self> {
        let mut load = Self::new(entry);
        for n in 1..=streams {
            match direction {
                Direction::Up => load.thread(format!("upload {n} of {streams}"), upload)?,
                Direction::Down => load.thread(format!("download {n} of {streams}"), download)?,
            }
        }
        Ok(load)
    }

    /// Requests through one connection, each after the answer to the one before it. The time of
    /// each goes into the samples.
    pub(super) fn requests(
        entry: SocketAddr,
        payload: u32,
        samples: Arc<Mutex<Samples>>,
    ) -> Result<Self> {
        let mut load = Self::new(entry);
        load.thread("requests".to_owned(), move |shared| {
            request(shared, payload, &samples)
        })?;
        Ok(load)
    }

    /// Connections made one after the other, each for one byte there and one back, by so many
    /// threads.
    pub(super) fn flows(entry: SocketAddr, at_a_time: u16) -> Result<Self> {
        let mut load = Self::new(entry);
        for _ in 0..at_a_time {
            load.thread("a new flow".to_owned(), connect_often)?;
        }
        Ok(load)
    }

    fn thread<W>(&mut self, name: String, work: W) -> Result<()>
    where
        W: FnOnce(&Arc<Shared>) -> Result<()> + Send + 'static,
    {
        let shared = self.shared.clone();
        let thread = thread::Builder::new().spawn(move || work(&shared).context(name));
        self.threads.push(thread.context("cannot start a thread")?);
        Ok(())
    }

    /// How much is done so far.
    pub(super) fn done(&self) -> u64 {
        self.shared.done.load(Relaxed)
    }

    /// Whether a thread has given up; [`Load::stop`] tells why.
    pub(super) fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until something is done; also returns when the load breaks, or is interrupted.
    pub(super) fn wait_for_first(&self, interrupt: &Interrupt) -> Result<()> {
        let start = Instant::now();
        while self.done() == 0 && !self.is_broken() && !interrupt.is_set() {
            ensure!(
                start.elapsed() < PATIENCE,
                "nothing came through the tunnel in {} s",
                PATIENCE.as_secs()
            );
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Ends all threads; fails if one had broken before, with its reason.
    pub(super) fn stop(self) -> Result<()> {
        let broken: Vec<_> = self.threads.iter().map(JoinHandle::is_finished).collect();
        self.shared.stop.store(true, Relaxed);
        for socket in self.shared.sockets().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let mut result = Ok(());
        for (thread, broken) in self.threads.into_iter().zip(broken) {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread of the load panicked")));
            // The others ended because their sockets did.
            if broken && result.is_ok() {
                result = ended;
            }
        }
        result
    }
}

impl Shared {
    fn is_running(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// Connects, and lets the connection end with the load.
    fn connect(&self, kind: u8) -> Result<TcpStream> {
        let socket = connect(self.entry, kind)?;
        self.sockets().push(socket.try_clone()?);
        Ok(socket)
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.sockets.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn upload(shared: &Arc<Shared>) -> Result<()> {
    let mut socket = shared.connect(SINK)?;
    let reports = socket.try_clone()?;
    // What broke first is the cause; the other half then fails because its socket is shut down.
    let (failed, failure) = mpsc::channel();
    let (writer, writing) = (shared.clone(), failed.clone());
    let writer = thread::Builder::new().spawn(move || {
        let block = vec![0; BLOCK];
        while writer.is_running() {
            if let Err(e) = socket.write_all(&block) {
                let _ = writing.send(explain("sending", &e));
                let _ = socket.shutdown(Shutdown::Both);
                return;
            }
        }
    })?;
    if let Err(e) = count_reports(shared, &reports) {
        let _ = failed.send(explain("waiting for the far end to report", &e));
    }
    let _ = reports.shutdown(Shutdown::Both);
    let _ = writer.join();
    failure.try_recv().map_or(Ok(()), Err)
}

/// Adds up what a sink says it has taken, until the end of the load.
fn count_reports(shared: &Shared, mut reports: &TcpStream) -> io::Result<()> {
    let mut before = 0;
    while shared.is_running() {
        let mut taken = [0; 8];
        reports.read_exact(&mut taken)?;
        let taken = u64::from_be_bytes(taken);
        shared.done.fetch_add(taken.wrapping_sub(before), Relaxed);
        before = taken;
    }
    Ok(())
}

fn download(shared: &Arc<Shared>) -> Result<()> {
    let mut socket = shared.connect(SOURCE)?;
    let mut block = vec![0; BLOCK];
    while shared.is_running() {
        match socket.read(&mut block) {
            Ok(0) => bail!("the far end closed it"),
            Ok(n) => drop(shared.done.fetch_add(n as u64, Relaxed)),
            Err(e) => return Err(explain("receiving", &e)),
        }
    }
    Ok(())
}

fn request(shared: &Shared, payload: u32, samples: &Mutex<Samples>) -> Result<()> {
    let mut socket = shared.connect(ANSWER)?;
    let mut block = vec![0; payload as usize];
    let size = payload.to_be_bytes();
    socket
        .write_all(&size)
        .map_err(|e| explain("sending", &e))?;
    while shared.is_running() {
        let start = Instant::now();
        socket
            .write_all(&block)
            .map_err(|e| explain("sending", &e))?;
        socket
            .read_exact(&mut block)
            .map_err(|e| explain("waiting for an answer", &e))?;
        let time = start.elapsed();
        samples.lock().unwrap_or_else(|e| e.into_inner()).add(time);
        shared.done.fetch_add(1, Relaxed);
    }
    Ok(())
}

fn connect_often(shared: &Arc<Shared>) -> Result<()> {
    while shared.is_running() {
        let mut socket = connect(shared.entry, ONCE)?;
        let mut answer = Vec::new();
        // To the end: the target closes first, so that no ports here run out.
        match socket.read_to_end(&mut answer) {
            Ok(1) => shared.done.fetch_add(1, Relaxed),
            Ok(_) => bail!("it ended without an answer"),
            Err(e) => return Err(explain("waiting for an answer", &e)),
        };
    }
    Ok(())
}

/// Opens so many flows that do nothing more, each answered once. Fewer, if interrupted.
pub(super) fn idle_flows(
    entry: SocketAddr,
    count: usize,
    interrupt: &Interrupt,
    progress: impl Fn(usize),
) -> Result<Vec<TcpStream>> {
    let mut flows = Vec::with_capacity(count);
    while flows.len() < count && !interrupt.is_set() {
        let first = flows.len();
        let name = |n: usize| format!("idle flow {} of {count}", n + 1);
        for n in first..count.min(first + TOGETHER) {
            flows.push(connect(entry, IDLE).with_context(|| name(n))?);
        }
        for (n, flow) in flows.iter_mut().enumerate().skip(first) {
            flow.read_exact(&mut [0])
                .map_err(|e| explain("waiting for an answer", &e))
                .with_context(|| name(n))?;
        }
        progress(flows.len());
    }
    Ok(flows)
}

fn connect(entry: SocketAddr, kind: u8) -> Result<TcpStream> {
    let open = || {
        let mut socket = TcpStream::connect(entry)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.write_all(&[kind])?;
        Ok(socket)
    };
    open().map_err(|e| explain("connecting to the tunnel", &e))
}

/// What broke, and how.
fn explain(doing: &str, error: &io::Error) -> anyhow::Error {
    use io::ErrorKind::{TimedOut, UnexpectedEof, WouldBlock};

    match error.kind() {
        WouldBlock | TimedOut => anyhow!("{doing}: nothing moved for {} s", PATIENCE.as_secs()),
        UnexpectedEof => anyhow!("{doing}: the far end closed it"),
        _ => anyhow!("{doing}: {error}"),
    }
}

/// Times of requests: all of them, or as many as are enough, drawn evenly from all.
#[derive(Debug, Default)]
pub(super) struct Samples {
    seen: usize,
    kept: Vec<Duration>,
}

impl Samples {
    /// Some 16 MB; an hour of requests would be a hundred times that.
    const ENOUGH: usize = 1 << 20;

    fn add(&mut self, time: Duration) {
        self.seen += 1;
        if self.kept.len() < Self::ENOUGH {
            return self.kept.push(time);
        }
        let place = fastrand::usize(..self.seen);
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = time;
        }
    }

    /// The time that this share of all requests did not take longer than.
    pub(super) fn quantile(&mut self, q: f64) -> Option<Duration> {
        self.kept.sort_unstable();
        let last = self.kept.len().checked_sub(1)?;
        self.kept.get((last as f64 * q) as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.quantile(0.5), None);
        for n in (0..=100).rev() {
            samples.add(Duration::from_micros(n));
        }
        assert_eq!(samples.quantile(0.5), Some(Duration::from_micros(50)));
        assert_eq!(samples.quantile(0.99), Some(Duration::from_micros(99)));
    }

    #[test]
    fn what_broke_is_named() {
        let (entry, refused) = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            (listener.local_addr().unwrap(), listener)
        };
        drop(refused);
        let load = Load::bulk(entry, Direction::Down, 1).unwrap();
        load.wait_for_first(&Interrupt::default()).unwrap();
        let error = format!("{:#}", load.stop().unwrap_err());
        assert!(
            error.starts_with("download 1 of 1: connecting to the tunnel: "),
            "{error}"
        );
    }
}
