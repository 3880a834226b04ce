//! The far end of the load: what the tunnel leads to.
//!
//! A connection's first byte tells what to do with the rest. One thread with a runtime accepts, and
//! keeps those that are short or idle, so that an idle flow costs a task here and no thread. Bulk
//! data and requests get a thread each, with blocking sockets.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Takes all, and sends every [`REPORT`] how many bytes those are so far, in 8 bytes.
pub(super) const SINK: u8 = b'S';
/// Sends all it can.
pub(super) const SOURCE: u8 = b'G';
/// Answers requests with as many bytes; how many is in the next 4 bytes.
pub(super) const ANSWER: u8 = b'R';
/// Sends one byte and closes.
pub(super) const ONCE: u8 = b'O';
/// Sends one byte and waits for the end.
pub(super) const IDLE: u8 = b'I';

/// Bytes written or read at once.
pub(super) const BLOCK: usize = 128 * 1024;

/// Most bytes of a request. The whole of it is read before it is answered.
pub(super) const LARGEST_REQUEST: u32 = 1 << 20;

/// Least time between two reports of a sink: little enough to be lost in a second's measurement,
/// and long enough for the reports to be lost in the traffic.
const REPORT: Duration = Duration::from_millis(20);

/// Most threads: clients of a server with `--allow-bench` choose how many they ask for.
const MAX_THREADS: usize = 1024;

/// Longest wait for a connection's first byte.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// Pause after a failure to accept that will not be over at once.
const PAUSE: Duration = Duration::from_secs(1);

/// What a tunnel leads to, on a port of its own at 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Target {
    addr: SocketAddr,
}

impl Target {
    /// Listens, for as long as the process lives.
    pub(crate) fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("cannot listen for the load of the benchmark")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = crate::worker_runtime()?;
        thread::Builder::new()
            .name("bench target".to_owned())
            .spawn(move || runtime.block_on(serve(listener)))?;
        Ok(Self { addr })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn serve(listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(e) => return warn!("the load of the benchmark finds nobody: {e}"),
    };
    let threads = Arc::new(Semaphore::new(MAX_THREADS));
    let mut visitors = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => drop(visitors.spawn(receive(socket, threads.clone()))),
                Err(e) => {
                    warn!("cannot accept the load of the benchmark: {e}; waiting");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = visitors.join_next() => {}
        }
    }
}

/// Does what a connection's first byte asks for. Its end, in order or not, is the load's to judge.
async fn receive(mut socket: TcpStream, threads: Arc<Semaphore>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let kind = timeout(FIRST_BYTE, socket.read_u8()).await??;
    match kind {
        ONCE => socket.write_all(&[ONCE]).await,
        IDLE => {
            socket.write_all(&[IDLE]).await?;
            socket.read_u8().await.map(drop)
        }
        SINK | SOURCE | ANSWER => {
            let Ok(seat) = threads.try_acquire_owned() else {
                debug!("more than {MAX_THREADS} loads at a time are turned away");
                return Ok(());
            };
            let socket = socket.into_std()?;
            socket.set_nonblocking(false)?;
            thread::Builder::new()
                .spawn(move || {
                    let _seat = seat;
                    carry(kind, socket)
                })
                .map(drop)
        }
        _ => Ok(()),
    }
}

fn carry(kind: u8, socket: std::net::TcpStream) -> io::Result<()> {
    match kind {
        SINK => take(socket),
        SOURCE => give(socket),
        _ => answer(socket),
    }
}

fn take(mut socket: std::net::TcpStream) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let (mut taken, mut reported) = (0, None::<Instant>);
    loop {
        match socket.read(&mut block)? {
            0 => return Ok(()),
            n => taken += n as u64,
        }
        if reported.is_none_or(|at| at.elapsed() >= REPORT) {
            socket.write_all(&taken.to_be_bytes())?;
            reported = Some(Instant::now());
        }
    }
}

fn give(mut socket: std::net::TcpStream) -> io::Result<()> {
    let block = vec![0; BLOCK];
    loop {
        socket.write_all(&block)?;
    }
}

fn answer(mut socket: std::net::TcpStream) -> io::Result<()> {
    let mut size = [0; 4];
    socket.read_exact(&mut size)?;
    let size = u32::from_be_bytes(size);
    if size > LARGEST_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut request = vec![0; size as usize];
    loop {
        socket.read_exact(&mut request)?;
        socket.write_all(&request)?;
    }
}
