//! `rstun check`: goes the way that a server or a client would go, and reports each step.
//!
//! One that runs is not disturbed: what it listens on counts as its own, and a session of the check's
//! has no tunnels, but for those into this machine, which it gives back at once.

mod client;
mod server;

use std::env;
use std::fmt::Display;
use std::io;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::config::Checked;
use crate::connector;
#[cfg(unix)]
use crate::control::{Running, Which};
use crate::status::Role;
use crate::tunnel::{HostPort, Target};
use crate::worker_runtime;

/// Checks it all, prints a line for each step, and fails if one of them does.
pub fn run(what: Checked) -> Result<()> {
    let mut report = Report::new();
    report.note("configuration", "understood");
    let runtime = worker_runtime()?;
    runtime.block_on(async {
        match what {
            Checked::Server(config) => server::check(*config, &mut report).await,
            Checked::Client(config) => client::check(*config, &mut report).await,
        }
    });
    // A name that is being looked up in another thread is of no interest any more.
    runtime.shutdown_background();
    let failed = report.failed;
    ensure!(failed == 0, "{failed} of the steps above failed");
    Ok(())
}

/// What has been found so far, told as it is found.
struct Report {
    /// What stands in front of a step that went well, and of one that did not.
    marks: [&'static str; 2],
    failed: usize,
}

impl Report {
    fn new() -> Self {
        let variables = ["LC_ALL", "LC_CTYPE", "LANG"];
        let set = variables.map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
        let charset = set.into_iter().flatten().next().unwrap_or_default();
        let charset = charset.to_lowercase().replace('-', "");
        Self {
            marks: match charset.ends_with("utf8") {
                true => ["✓", "✗"],
                false => ["ok", "FAILED"],
            },
            failed: 0,
        }
    }

    /// A step that took no time worth telling, and went well.
    fn note(&mut self, step: &str, found: impl Display) {
        println!("{} {step}: {found}", self.marks[0]);
    }

    /// A step that was begun at that time, and what came of it; whether it went well.
    fn step<T: Display, E: Display>(
        &mut self,
        step: impl Display,
        begun: Instant,
        outcome: &Result<T, E>,
    ) -> bool {
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        match outcome {
            Ok(found) => println!("{} {step}: {found} ({took:.1} ms)", self.marks[0]),
            Err(why) => {
                self.failed += 1;
                println!("{} {step}: {why} ({took:.1} ms)", self.marks[1]);
            }
        }
        outcome.is_ok()
    }
}

/// Resolves a target and connects to it, as far as that can be told for what it is.
async fn reach(target: &Target) -> Result<String, connector::DialError> {
    match target {
        Target::Tcp(addr) => {
            let addrs = connector::resolve(addr).await?;
            connector::dial(&addrs).await?;
            Ok("it accepts connections".to_owned())
        }
        Target::Udp(addr) => {
            connector::resolve(addr).await?;
            Ok("its address is known; whether UDP arrives, nobody can tell".to_owned())
        }
        Target::Unix(path) => {
            connector::dial_unix(path).await?;
            Ok("it accepts connections".to_owned())
        }
        Target::Asked => Ok("its visitors say what they want".to_owned()),
    }
}

/// Resolves a name, and tells what it stands for.
async fn resolve(addr: &HostPort) -> Result<String, connector::DialError> {
    let addrs = connector::resolve(addr).await?;
    let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    Ok(addrs.join(", "))
}

/// What an attempt to listen shows: an address that is taken is fine where the one that has it is ours
/// and runs.
#[cfg(unix)]
async fn or_runs(outcome: io::Result<String>, role: Role) -> io::Result<String> {
    let Err(e) = &outcome else {
        return outcome;
    };
    if e.kind() != io::ErrorKind::AddrInUse {
        return outcome;
    }
    let role = Some(role);
    let which = Which {
        role,
        pid: None,
        socket: None,
    };
    match Running::one(&which).await {
        Ok(running) => Ok(format!("taken by {}, which runs", running.greeting)),
        Err(_) => outcome,
    }
}

#[cfg(not(unix))]
async fn or_runs(outcome: io::Result<String>, _: Role) -> io::Result<String> {
    outcome
}
