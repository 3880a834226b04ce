//! The tunnel that is measured: its client in this process, and its server here too or elsewhere.
//! Each has a thread with a runtime of its own, as it would in a process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::{mpsc as requests, oneshot, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::interrupt::Interrupt;
use crate::access::{Access, Credential, Password, bench_target};
use crate::client::Client;
use crate::config::{ClientConfig, Remote, ServerConfig, UDP_IDLE, Upstream, Ways, WebConfig};
use crate::keygen;
use crate::server::Server;
use crate::session::{ALPN, Opener};
use crate::tls::{ServerIdentity, Trust};
use crate::transport::Bound;
use crate::transport::{Description, Tuning};
use crate::tunnel::{Direction, Listen, ListenAddr, Tunnel};

/// Longest wait for the tunnel to be up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Time between two looks for the tunnel.
const GLANCE: Duration = Duration::from_millis(2);

/// A tunnel to the load's target.
#[derive(Debug)]
pub(super) struct Ends {
    client: Worker,
    /// None where it is not in this process.
    server: Option<Worker>,
    entry: SocketAddr,
    session: watch::Receiver<Option<Opener>>,
    cipher: String,
}

impl Ends {
    /// Starts both over loopback, with a certificate and a password just made.
    pub(super) fn here(ways: Ways, tuning: Tuning) -> Result<Self> {
        let (certificate, key) = keygen::certify(&["localhost".to_owned()], 1)?;
        let secret: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(32)
            .collect();
        let password = Password::new(Zeroizing::new(secret)).context("no password")?;
        let config = ServerConfig {
            addr: anywhere(),
            password: Some((password.clone(), Access::by_password(Vec::new(), None))),
            invitation: None,
            clients: None,
            identity: ServerIdentity::new(certificate.clone(), key),
            tuning,
            drain: Duration::ZERO,
            udp_idle: UDP_IDLE,
            allow_bench: true,
            control: false,
            web: WebConfig::default(),
            #[cfg(unix)]
            user: None,
        };
        let (server, addr) = Worker::start("server", async move |started, stop| {
            let server = Server::bind(config, Bound::default(), stop)?;
            let _ = started.send(server.local_addr());
            server.run(None, None).await;
            Ok(())
        })?;
        let remote = Remote {
            server: addr.into(),
            ways,
            trust: certificate.into(),
            credential: Credential::Password(password),
        };
        let ends = Self::with(&remote, tuning)?;
        Ok(Self {
            server: Some(server),
            ..ends
        })
    }

    /// Starts a client of a server that runs elsewhere.
    pub(super) fn with(remote: &Remote, tuning: Tuning) -> Result<Self> {
        let config = ClientConfig {
            servers: vec![Upstream {
                addr: remote.server.clone(),
                ways: remote.ways.clone(),
                more_ports: 0,
                trust: remote.trust.clone(),
            }],
            all_servers: false,
            credential: remote.credential.clone(),
            tunnels: vec![Tunnel {
                direction: Direction::Out,
                listen: Listen::Tcp(anywhere()),
                target: bench_target(),
                proxy: None,
            }],
            tuning,
            drain: Duration::ZERO,
            udp_idle: UDP_IDLE,
            control: false,
            web: WebConfig::default(),
        };
        let cipher = first_cipher(&remote.trust)?;
        let (client, (entry, session)) = Worker::start("client", async move |started, stop| {
            let client = Client::bind(config, stop)?;
            let _ = started.send((client.local_addrs()[0], client.session()));
            Ok(client.run(None).await?)
        })?;
        Ok(Self {
            client,
            server: None,
            entry,
            session,
            cipher,
        })
    }

    /// Waits for the tunnel to be up; false if that was interrupted.
    pub(super) fn wait(&self, interrupt: &Interrupt) -> Result<bool> {
        let start = Instant::now();
        while self.session.borrow().is_none() {
            if interrupt.is_set() {
                return Ok(false);
            }
            if let Ok(failure) = self.client.failure.try_recv() {
                return Err(failure);
            }
            if start.elapsed() > PATIENCE {
                bail!("no connection to the server in {} s", PATIENCE.as_secs());
            }
            thread::sleep(GLANCE);
        }
        Ok(true)
    }

    /// Where the tunnel begins.
    pub(super) fn entry(&self) -> SocketAddr {
        self.entry
    }

    /// Whether the server is in this process too.
    pub(super) fn are_both_here(&self) -> bool {
        self.server.is_some()
    }

    /// What the connection works with as of now; none while there is no connection.
    pub(super) fn describe(&self) -> Option<Description> {
        self.session.borrow().as_ref().map(Opener::describe)
    }

    /// The cipher suite that the client asks for first. Every server of ours has it, and takes the
    /// client's first choice; what was agreed upon, quinn does not tell.
    pub(super) fn cipher(&self) -> &str {
        &self.cipher
    }

    /// Processor time that those of both that are here have used so far, where the system tells it
    /// for each thread.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        match &self.server {
            None => self.client.cpu_time(),
            Some(server) => Some(self.client.cpu_time()? + server.cpu_time()?),
        }
    }

    /// Ends the client, then the server, and waits for them.
    pub(super) fn stop(self) {
        for worker in std::iter::once(self.client).chain(self.server) {
            worker.stop.cancel();
            let _ = worker.thread.join();
        }
    }
}

fn anywhere() -> ListenAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
}

fn first_cipher(trust: &Trust) -> Result<String> {
    let config = trust.config(ALPN, None)?;
    let suites = &config.crypto_provider().cipher_suites;
    let first = suites.iter().find_map(|suite| suite.tls13());
    let suite = first.context("no cipher suite")?.common.suite;
    Ok(format!("{suite:?}"))
}

/// A thread with a runtime, which can be asked for the processor time that it has used.
#[derive(Debug)]
struct Worker {
    thread: JoinHandle<()>,
    clock: requests::UnboundedSender<oneshot::Sender<Option<Duration>>>,
    stop: CancellationToken,
    failure: mpsc::Receiver<anyhow::Error>,
}

impl Worker {
    /// Runs a program in a new thread, and waits for what it tells once it has started.
    fn start<T, P>(name: &str, program: P) -> Result<(Self, T)>
    where
        T: Send + 'static,
        P: AsyncFnOnce(mpsc::Sender<T>, CancellationToken) -> Result<()> + Send + 'static,
    {
        let (started, start) = mpsc::channel();
        let (failed, failure) = mpsc::channel();
        let (clock, mut asked) = requests::unbounded_channel::<oneshot::Sender<_>>();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let work = move || -> Result<()> {
            crate::worker_runtime()?.block_on(async {
                let program = program(started, token);
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
        let Ok(told) = start.recv() else {
            let _ = thread.join();
            let unknown = || anyhow!("the {name} ended before it had started");
            return Err(failure.recv().unwrap_or_else(|_| unknown()));
        };
        let worker = Self {
            thread,
            clock,
            stop,
            failure,
        };
        Ok((worker, told))
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
