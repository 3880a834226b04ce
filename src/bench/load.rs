//! The load: plain threads with blocking sockets at both ends of the tunnel.
//!
//! A connection's first byte tells the [`Target`] what to do with the rest.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// First bytes of a connection: take all, send all you can, send back, send one byte and close.
const SINK: u8 = b'S';
const SOURCE: u8 = b'G';
const ECHO: u8 = b'E';
const ONCE: u8 = b'O';

/// Bytes written or read at once.
const BLOCK: usize = 128 * 1024;

/// Bytes of a request, and of its answer.
const REQUEST: usize = 64;

/// Longest wait for an answer before the tunnel counts as broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which way bulk data goes, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// What the tunnel leads to.
#[derive(Debug)]
pub(super) struct Target {
    addr: SocketAddr,
    taken: Arc<AtomicU64>,
}

impl Target {
    /// Listens on a port of its own, for as long as the process lives.
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
        let addr = listener.local_addr()?;
        let taken = Arc::new(AtomicU64::new(0));
        let counter = taken.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let counter = counter.clone();
                thread::spawn(move || answer(socket, &counter));
            }
        });
        Ok(Self { addr, taken })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Does what a connection's first byte asks for. Its end, in order or not, is the load's to judge.
fn answer(mut socket: TcpStream, taken: &AtomicU64) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut kind = [0];
    socket.read_exact(&mut kind)?;
    let mut block = vec![0; BLOCK];
    match kind[0] {
        SINK => loop {
            match socket.read(&mut block)? {
                0 => return Ok(()),
                n => taken.fetch_add(n as u64, Relaxed),
            };
        },
        SOURCE => loop {
            socket.write_all(&block)?;
        },
        ECHO => loop {
            match socket.read(&mut block)? {
                0 => return Ok(()),
                n => socket.write_all(&block[..n])?,
            }
        },
        _ => socket.write_all(&kind),
    }
}

fn connect(entry: SocketAddr, kind: u8) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(entry)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&[kind])?;
    Ok(socket)
}

/// Connections that carry as much as they can.
#[derive(Debug)]
pub(super) struct Bulk {
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Bulk {
    /// Starts so many, and returns when the first bytes have arrived.
    pub(super) fn start(
        entry: SocketAddr,
        target: &Target,
        direction: Direction,
        streams: u16,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let bytes = match direction {
            Direction::Up => target.taken.clone(),
            Direction::Down => Arc::default(),
        };
        let mut bulk = Self {
            sockets: Vec::new(),
            threads: Vec::new(),
            bytes,
            stop,
        };
        let before = bulk.bytes();
        for _ in 0..streams {
            let kind = match direction {
                Direction::Up => SINK,
                Direction::Down => SOURCE,
            };
            let mut socket = connect(entry, kind).context("cannot connect to the tunnel")?;
            bulk.sockets.push(socket.try_clone()?);
            let (stop, bytes) = (bulk.stop.clone(), bulk.bytes.clone());
            bulk.threads.push(thread::spawn(move || {
                let mut block = vec![0; BLOCK];
                while !stop.load(Relaxed) {
                    match direction {
                        Direction::Up => socket.write_all(&block)?,
                        Direction::Down => match socket.read(&mut block)? {
                            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                            n => drop(bytes.fetch_add(n as u64, Relaxed)),
                        },
                    }
                }
                Ok(())
            }));
        }
        let deadline = Instant::now() + PATIENCE;
        while bulk.bytes() == before && Instant::now() < deadline {
            thread::yield_now();
        }
        Ok(bulk)
    }

    /// Bytes that have arrived so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Ends all connections; fails if one has broken before.
    pub(super) fn stop(self) -> Result<()> {
        let broken = self.threads.iter().any(JoinHandle::is_finished);
        self.stop.store(true, Relaxed);
        for socket in &self.sockets {
            let _ = socket.shutdown(Shutdown::Both);
        }
        for thread in self.threads {
            let result = thread
                .join()
                .map_err(|_| anyhow!("a load thread panicked"))?;
            if broken {
                result.context("a connection through the tunnel broke")?;
            }
        }
        Ok(())
    }
}

/// Sends requests through one connection, each after the answer to the one before it.
pub(super) fn round_trips(
    entry: SocketAddr,
    time: Duration,
    progress: impl Fn(usize),
) -> Result<Vec<Duration>> {
    let broken = "a connection through the tunnel broke";
    let mut socket = connect(entry, ECHO).context(broken)?;
    let mut times = Vec::new();
    let mut block = [0; REQUEST];
    let end = Instant::now() + time;
    loop {
        let start = Instant::now();
        socket.write_all(&block).context(broken)?;
        socket.read_exact(&mut block).context(broken)?;
        times.push(start.elapsed());
        if times.len() % 4096 == 0 {
            progress(times.len());
        }
        if Instant::now() >= end {
            return Ok(times);
        }
    }
}

/// Connections made one after the other, each for one byte there and one back.
#[derive(Debug)]
pub(super) struct Flows {
    threads: Vec<JoinHandle<io::Result<()>>>,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Flows {
    /// Starts so many threads of them.
    pub(super) fn start(entry: SocketAddr, at_a_time: u16) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let threads = (0..at_a_time).map(|_| {
            let (stop, done) = (stop.clone(), done.clone());
            thread::spawn(move || {
                while !stop.load(Relaxed) {
                    let mut socket = connect(entry, ONCE)?;
                    let mut answer = Vec::new();
                    // To the end: the target closes first, so that no ports here run out.
                    if socket.read_to_end(&mut answer)? != 1 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    done.fetch_add(1, Relaxed);
                }
                Ok(())
            })
        });
        Self {
            threads: threads.collect(),
            done,
            stop,
        }
    }

    /// Connections that have got their answer so far.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// Ends the threads; fails if a connection broke.
    pub(super) fn stop(self) -> Result<()> {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            let result = thread
                .join()
                .map_err(|_| anyhow!("a load thread panicked"))?;
            result.context("a connection through the tunnel broke")?;
        }
        Ok(())
    }
}
