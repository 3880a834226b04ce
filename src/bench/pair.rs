//! A server and a client in this process, each in a thread with a runtime of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::{mpsc as requests, oneshot};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::access::{Access, Password};
use crate::client::Client;
use crate::config::{ClientConfig, ServerConfig};
use crate::keygen;
use crate::server::Server;
use crate::tls::{PinnedCertificate, ServerIdentity};
use crate::transport::Congestion;
use crate::tunnel::{Direction, ListenAddr, Tunnel};

/// A tunnel that is up.
#[derive(Debug)]
pub(super) struct Pair {
    server: Worker,
    client: Worker,
    entry: SocketAddr,
    stop: CancellationToken,
}

impl Pair {
    /// Starts both, with a TunnelOut to the target.
    pub(super) fn start(target: SocketAddr) -> Result<Self> {
        let (certificate, key) = keygen::certify(&["localhost".to_owned()], 1)?;
        let secret: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(32)
            .collect();
        let password = Password::new(Zeroizing::new(secret)).context("no password")?;
        let stop = CancellationToken::new();
        let anywhere: ListenAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();

        let config = ServerConfig {
            addr: anywhere,
            access: Access {
                password: password.clone(),
                downstream: vec![target.into()],
            },
            identity: ServerIdentity::new(certificate.clone(), key),
            congestion: Congestion::Bbr,
            drain: Duration::ZERO,
        };
        let token = stop.clone();
        let (server, addr) = Worker::start("server", async move |started| {
            let server = Server::bind(config, token)?;
            let _ = started.send(server.local_addr());
            server.run().await;
            Ok(())
        })?;

        let config = ClientConfig {
            server: addr.into(),
            pinned: PinnedCertificate::new(certificate),
            password,
            tunnels: vec![Tunnel {
                direction: Direction::Out,
                listen: anywhere,
                target: target.into(),
            }],
            congestion: Congestion::Bbr,
            drain: Duration::ZERO,
        };
        let token = stop.clone();
        let (client, entry) = Worker::start("client", async move |started| {
            let client = Client::bind(config, token)?;
            let _ = started.send(client.local_addrs()[0]);
            Ok(client.run().await?)
        })?;
        Ok(Self {
            server,
            client,
            entry,
            stop,
        })
    }

    /// Where the tunnel begins.
    pub(super) fn entry(&self) -> SocketAddr {
        self.entry
    }

    /// Processor time that both have used so far, where the system tells it for each thread.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        Some(self.server.cpu_time()? + self.client.cpu_time()?)
    }

    /// Ends both, and waits for them.
    pub(super) fn stop(self) {
        self.stop.cancel();
        for worker in [self.client, self.server] {
            let _ = worker.thread.join();
        }
    }
}

/// A thread with a runtime, which can be asked for the processor time that it has used.
#[derive(Debug)]
struct Worker {
    thread: JoinHandle<()>,
    clock: requests::UnboundedSender<oneshot::Sender<Option<Duration>>>,
}

impl Worker {
    /// Runs a program in a new thread, and waits for the address that it tells once it has started.
    fn start<P>(name: &str, program: P) -> Result<(Self, SocketAddr)>
    where
        P: AsyncFnOnce(mpsc::Sender<SocketAddr>) -> Result<()> + Send + 'static,
    {
        let (started, address) = mpsc::channel();
        let (failed, failure) = mpsc::channel();
        let (clock, mut asked) = requests::unbounded_channel::<oneshot::Sender<_>>();
        let work = move || -> Result<()> {
            crate::worker_runtime()?.block_on(async {
                let program = program(started);
                tokio::pin!(program);
                loop {
                    tokio::select! {
                        result = &mut program => return result,
                        Some(reply) = asked.recv() => { let _ = reply.send(thread_cpu_time()); }
                    }
                }
            })
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if let Err(e) = work() {
                    let _ = failed.send(e);
                }
            })?;
        match address.recv() {
            Ok(address) => Ok((Self { thread, clock }, address)),
            Err(_) => {
                let _ = thread.join();
                let unknown = || anyhow!("the {name} ended before it had started");
                Err(failure.recv().unwrap_or_else(|_| unknown()))
            }
        }
    }

    fn cpu_time(&self) -> Option<Duration> {
        let (reply, answer) = oneshot::channel();
        self.clock.send(reply).ok()?;
        answer.blocking_recv().ok()?
    }
}

#[cfg(unix)]
fn thread_cpu_time() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::ThreadCPUTime);
    Some(Duration::new(
        time.tv_sec.try_into().ok()?,
        time.tv_nsec.try_into().ok()?,
    ))
}

#[cfg(not(unix))]
fn thread_cpu_time() -> Option<Duration> {
    None
}
