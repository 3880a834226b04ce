//! Standard input and output as the local end of a flow.
//!
//! They may be files, terminals or pipes shared with others, which can be read and written without
//! blocking only by changing them for all. So two threads copy between them and a socket pair, whose
//! other end is a flow's socket like any other.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::Shutdown;
#[cfg(not(unix))]
use std::net::TcpStream as Pipe;
#[cfg(unix)]
use std::os::unix::net::UnixStream as Pipe;
use std::thread;

use tokio::sync::mpsc;

use crate::socket::Socket;

/// Bytes copied at once.
const BLOCK: usize = 64 * 1024;

/// One end of a socket pair, which standard input and output are copied to and from.
#[derive(Debug)]
pub struct Stdio(Pipe);

impl Stdio {
    /// The end for [`Stdio::carry`], and the end for a relay; must be called within a runtime.
    #[cfg(unix)]
    pub fn pair() -> io::Result<(Self, Socket)> {
        let (near, far) = Pipe::pair()?;
        far.set_nonblocking(true)?;
        let far = tokio::net::UnixStream::from_std(far)?;
        Ok((Self(near), Socket::Unix(far)))
    }

    /// The end for [`Stdio::carry`], and the end for a relay; must be called within a runtime.
    #[cfg(not(unix))]
    pub fn pair() -> io::Result<(Self, Socket)> {
        let door = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        let near = Pipe::connect(door.local_addr()?)?;
        let (far, from) = door.accept()?;
        if from != near.local_addr()? {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        far.set_nonblocking(true)?;
        let far = Socket::tcp(tokio::net::TcpStream::from_std(far)?)?;
        Ok((Self(near), far))
    }

    /// The end for [`Stdio::carry`], and the end for another process.
    #[cfg(unix)]
    pub fn pair_for_another() -> io::Result<(Self, std::os::fd::OwnedFd)> {
        let (near, far) = Pipe::pair()?;
        Ok((Self(near), far.into()))
    }

    /// Copies until the flow is over and all that came out of it is written, or standard input or
    /// output fails.
    ///
    /// Standard input that stays open holds nothing up: its thread ends with the process. Not
    /// cancel-safe: the threads go on for as long as the flow does.
    pub async fn carry<E: From<io::Error>>(
        self,
        flow: impl Future<Output = Result<(), E>>,
    ) -> Result<(), E> {
        let (failed, mut failure) = mpsc::unbounded_channel();
        let input = (self.0.try_clone()?, failed.clone());
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                if let Err(e) = read(input.0) {
                    let _ = input.1.send(Err(e));
                }
            })?;
        thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || drop(failed.send(write(self.0))))?;
        let written = async {
            match failure.recv().await {
                Some(Err(e)) => Err(E::from(e)),
                Some(Ok(())) | None => Ok(()),
            }
        };
        // A flow that broke is told of when what had come before is written.
        let flow = async { Ok(flow.await) };
        let (outcome, ()) = tokio::try_join!(flow, written)?;
        outcome
    }
}

/// From standard input to the flow. The flow's end is no failure: the flow tells of it itself.
fn read(mut pipe: Pipe) -> io::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut block = vec![0; BLOCK];
    loop {
        match stdin.read(&mut block) {
            Ok(0) => break,
            Ok(n) => {
                if pipe.write_all(&block[..n]).is_err() {
                    return Ok(());
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(explain("standard input", e)),
        }
    }
    // It fails only on a flow that is over.
    let _ = pipe.shutdown(Shutdown::Write);
    Ok(())
}

/// From the flow to standard output, and its end too.
fn write(mut pipe: Pipe) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut block = vec![0; BLOCK];
    while let Ok(n @ 1..) = pipe.read(&mut block) {
        let written = stdout.write_all(&block[..n]).and_then(|()| stdout.flush());
        written.map_err(|e| explain("standard output", e))?;
    }
    close_stdout();
    Ok(())
}

fn explain(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Lets whoever reads standard output see its end, while input may still go on.
#[cfg(unix)]
fn close_stdout() {
    // In its place comes what swallows all: a number that is free would go to the next socket.
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(nowhere);
    }
}

#[cfg(not(unix))]
fn close_stdout() {}
