//! rstun carries TCP, UDP and Unix sockets between two machines through one encrypted QUIC connection.
//!
//! # The way of a byte
//!
//! A visitor connects to a [`listener`]. [`session`] opens a stream for it on the connection,
//! writes the flow's header ([`wire`]) and hands both to the [`relay`], which copies in both
//! directions through the [`transport`]. A visitor may also be this process's own [`stdio`], or come
//! through the [`control`] socket. Those who ask for a target of their own do so in words that
//! [`proxy`] knows. At the far side the session reads the header, asks [`access`],
//! has the [`connector`] dial the target, and hands both to a relay of its own.
//!
//! UDP has no streams: [`session`] gives each visitor's address a number, and its packets go in
//! datagrams with that number in front, between the port ([`socket`]) and the transport, many at a
//! time.
//!
//! # The way of a decision
//!
//! [`cli`] knows what was typed; [`config`] makes it complete and valid, with [`tunnel`]'s grammar
//! and [`tls`]'s files. [`server`] and [`client`] own the process's sockets and sessions; a
//! session owns its flows. Told to stop, each lets what it owns finish, and no task outlives its
//! owner.
//!
//! # What is seen from outside
//!
//! Flows, logins and sessions count in [`metrics`], which know nobody. [`status`] makes a snapshot of
//! them, and it is the same whoever looks: through the [`control`] socket, or by HTTP ([`web`]).
//!
//! # Threads
//!
//! One thread with a current-thread runtime carries everything: measured, that is faster than a
//! work-stealing runtime for this load. Name resolution alone leaves it, for tokio's blocking
//! pool.
//!
//! With more cores the design is a worker for each: a thread with such a runtime and an endpoint
//! of its own. A session, its flows and its listeners live in one worker. The server's workers
//! bind one UDP port with SO_REUSEPORT; connection ids carry the worker's number in their first
//! byte, and a classic BPF program on the group of sockets steers packets by it, so that a client
//! whose address changes still reaches its worker. That is not built yet.

#![cfg_attr(
    not(unix),
    allow(
        dead_code,
        unused_variables,
        reason = "where there is no control socket, nobody asks for what it is asked for"
    )
)]

pub mod access;
pub mod audit;
pub mod bench;
pub mod check;
pub mod cli;
pub mod client;
pub mod config;
pub mod connector;
#[cfg(unix)]
pub mod control;
pub mod invitation;
pub mod keygen;
pub mod listener;
pub mod log;
pub mod memory;
pub mod metrics;
#[cfg(unix)]
pub mod orders;
pub mod pace;
#[cfg(unix)]
pub mod privileges;
pub mod proxy;
mod quota;
pub mod relay;
pub mod reload;
pub mod roaming;
pub mod secret;
pub mod server;
#[cfg(unix)]
pub mod service;
pub mod session;
mod signals;
pub mod socket;
pub mod status;
pub mod stdio;
pub mod systemd;
pub mod ticket;
pub mod tls;
pub mod transport;
pub mod tunnel;
pub mod web;
pub mod wire;

use std::ffi::OsString;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use tokio::runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::filter::LevelFilter;

use crate::audit::AuditLog;
use crate::cli::{Command, LogFormat, ServerFlags};
use crate::client::Client;
use crate::config::{Checked, ClientConfig, ConnectConfig, NotUnderstood, ServerConfig, Source};
#[cfg(unix)]
use crate::control::Running;
use crate::invitation::Invitation;
use crate::log::Log;
use crate::server::{Predecessor, Server};
use crate::session::Opener;
use crate::signals::Signals;
#[cfg(unix)]
use crate::stdio::Stdio;

/// Exit code of a wrong command line or configuration.
const EXIT_USAGE: u8 = 2;

/// Exit code of a second signal, when the first one's order was cut short, and of a measurement cut
/// short.
const EXIT_INTERRUPTED: i32 = 130;

/// Runs the program with the arguments of a process, its name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let asked = match config::read(args.iter().cloned()) {
        Ok(asked) => asked,
        Err(NotUnderstood::CommandLine(e)) => return explain(&e),
        Err(NotUnderstood::Settings(e)) => {
            Log::new(LogFormat::Text).last_words(&e);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let log = Log::new(match &asked.cli.command {
        Command::Server(flags) => flags.log.format,
        Command::Client(flags) => flags.log.format,
        _ => LogFormat::Text,
    });
    let source = Source::new(args, &asked);
    let started = match asked.cli.command {
        Command::Server(flags) => open_audit_log(&flags).and_then(|audit| {
            log.start(LevelFilter::INFO, audit);
            ServerConfig::new(flags).map(|config| serve(config, source))
        }),
        Command::Client(flags) => {
            log.start(LevelFilter::INFO, None);
            ClientConfig::new(flags).map(|config| connect(config, Some(source)))
        }
        Command::Connect(flags) => ConnectConfig::new(flags).and_then(|config| {
            log.start(LevelFilter::ERROR, None);
            pipe(config)
        }),
        #[cfg(unix)]
        Command::Stop(flags) => Ok(order(orders::stop(flags))),
        #[cfg(unix)]
        Command::Reload(flags) => Ok(order(orders::reload(flags))),
        Command::Ticket(flags) => Invitation::new(flags).map(|invitation| invitation.print()),
        #[cfg(unix)]
        Command::Tunnel(command) => Ok(order(orders::tunnel(command))),
        #[cfg(unix)]
        Command::Status(flags) => Ok(order(orders::status(flags))),
        #[cfg(unix)]
        Command::Service(flags) => Ok(service::run(flags)),
        Command::Check(flags) => {
            log.start(LevelFilter::ERROR, None);
            Checked::new(flags).map(check::run)
        }
        Command::Keygen(flags) => Ok(keygen::run(&flags.into())),
        Command::Bench(flags) => bench::Plan::new(flags).map(|plan| {
            log.start(LevelFilter::WARN, None);
            measure(&plan)
        }),
    };
    let (error, code) = match started {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(e)) => (e, ExitCode::FAILURE),
        Err(e) => (asked.origins.explain(&e), ExitCode::from(EXIT_USAGE)),
    };
    log.last_words(&error);
    code
}

/// Prints what clap has to say, which may also be the help or the version that was asked for.
fn explain(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as NothingTyped;

    if !error.use_stderr() || error.kind() == NothingTyped {
        let _ = error.print();
    } else {
        eprintln!("{}", cli::explain(error));
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn serve(config: ServerConfig, source: Source) -> Result<()> {
    let predecessor = Predecessor::find()?;
    let bound = match &predecessor {
        Some(predecessor) => worker_runtime()?.block_on(server::sockets(predecessor))?,
        None => systemd::sockets()?,
    };
    ensure!(
        predecessor.is_some() || bound.udp.is_empty() || config.tuning.hop.more_ports == 0,
        "--addr names a range of ports, of which systemd has passed one alone; give a single port \
         here, or remove the .socket unit"
    );
    until_stopped(|stop| async {
        let invitation = config.invitation.clone();
        let server = Server::bind(config, bound, stop)?;
        systemd::ready();
        // Who takes another's place has the same clients.
        if let Some(invitation) = invitation.filter(|_| predecessor.is_none()) {
            invitation.show(server.local_addr())?;
        }
        server.run(predecessor, Some(source)).await;
        Ok(())
    })
}

/// Carries one flow between standard input and output and a target. What fails first is what was
/// typed.
fn pipe(config: ConnectConfig) -> Result<Result<()>> {
    #[cfg(unix)]
    if let Some(outcome) = worker_runtime()?.block_on(pipe_through_running(&config)) {
        return Ok(outcome);
    }
    Ok(connect(config.own()?, None))
}

/// The same through a client that runs already; none if there is none.
#[cfg(unix)]
async fn pipe_through_running(config: &ConnectConfig) -> Option<Result<()>> {
    let running = Running::find(&config.servers, config.trust.as_ref()).await;
    let pipe = async |running: Running| {
        let (stdio, flow) = Stdio::pair_for_another()?;
        Ok(stdio.carry(running.connect(&config.target, flow)).await?)
    };
    match running {
        Ok(running) => Some(pipe(running?).await),
        Err(e) => Some(Err(e.into())),
    }
}

/// Has a program that runs do something.
#[cfg(unix)]
fn order(order: impl Future<Output = Result<()>>) -> Result<()> {
    worker_runtime()?.block_on(order)
}

/// Reads the configuration again on occasion, if it comes from anywhere.
fn connect(config: ClientConfig, source: Option<Source>) -> Result<()> {
    until_stopped(|stop| async {
        let client = Client::bind(config, stop)?;
        let session = client.session();
        // A server that is not there yet is no reason to fail: it is waited for.
        systemd::ready();
        tokio::select! {
            ended = client.run(source) => Ok(ended?),
            () = report(session) => unreachable!("it reports for ever"),
            () = signals::decline_succession() => unreachable!("it declines for ever"),
        }
    })
}

/// Tells systemd whether there is a connection, for ever.
async fn report(mut session: watch::Receiver<Option<Opener>>) {
    loop {
        systemd::status(match session.borrow_and_update().is_some() {
            true => "connected to the server",
            false => "waiting for the server",
        });
        if session.changed().await.is_err() {
            pending().await
        }
    }
}

fn measure(plan: &bench::Plan) -> Result<()> {
    raise_descriptor_limit();
    match bench::run(plan)? {
        bench::Ended::Complete => Ok(()),
        bench::Ended::Interrupted => std::process::exit(EXIT_INTERRUPTED),
    }
}

/// Runs a program that stops in order at the first signal, and at once at the second.
fn until_stopped<F>(program: impl FnOnce(CancellationToken) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    raise_descriptor_limit();
    let stop = CancellationToken::new();
    let runtime = worker_runtime()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new().context("cannot listen for signals")?;
        let memory = memory::keep();
        let program = program(stop.clone());
        let stopping = async {
            stop.cancelled().await;
            systemd::stopping();
            pending().await
        };
        let interrupted = async {
            signals.next().await;
            stop.cancel();
            signals.next().await;
        };
        tokio::select! {
            result = program => result,
            () = interrupted => {
                info!("stopped at once by a second signal");
                std::process::exit(EXIT_INTERRUPTED);
            }
            never = stopping => never,
            () = systemd::watchdog() => unreachable!("it watches for ever"),
            () = memory => unreachable!("it watches for ever"),
        }
    });
    // A name that is being looked up in another thread is of no interest any more.
    runtime.shutdown_background();
    result
}

/// Each flow is a descriptor, and what a process may open at first is often 1024 of them.
#[cfg(unix)]
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays as it is: {e}");
    }
}

#[cfg(not(unix))]
fn raise_descriptor_limit() {}

/// The runtime of a worker's thread.
pub(crate) fn worker_runtime() -> Result<runtime::Runtime> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn open_audit_log(flags: &ServerFlags) -> Result<Option<AuditLog>> {
    let open = |path: &PathBuf| {
        AuditLog::open(path).with_context(|| format!("--audit-log {}", path.display()))
    };
    flags.audit_log.as_ref().map(open).transpose()
}
