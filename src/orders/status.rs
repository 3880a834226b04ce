//! `rstun status`: how a program is that runs.

use std::io::{self, IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cli::StatusFlags;
use crate::control::{AskError, Reply, Request, Running, Which};
use crate::metrics::PACE;
use crate::status::Snapshot;
use crate::status::watch::{Key, Screen};

/// Longest wait for a program's answer before it is shown as silent.
const PATIENCE: Duration = Duration::from_secs(5);

const ENDED: &str = "the program that was watched has ended";

/// Shows how a program is, once or until a person has seen enough. Not cancel-safe.
pub async fn status(flags: StatusFlags) -> Result<()> {
    let mut watched = Watched {
        pinned: flags.running.pid.is_some(),
        which: flags.running.into(),
    };
    let mut snapshot = watched.look().await?;
    if !flags.watch {
        return Ok(print(&snapshot, flags.json)?);
    }
    if !flags.json && stdout().is_terminal() {
        return watch(watched, snapshot).await;
    }
    let mut looks = interval(PACE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    // Until whoever reads it has had enough.
    watched.pinned = true;
    while print(&snapshot, flags.json).is_ok() {
        looks.tick().await;
        snapshot = watched.look().await.context(ENDED)?;
    }
    Ok(())
}

/// Shows it on a live screen. Where the program ends, another in its place is shown as soon as it is there,
/// unless it was its process that was asked for.
async fn watch(mut watched: Watched, mut snapshot: Snapshot) -> Result<()> {
    let mut screen = Screen::open().context("--watch cannot use this terminal")?;
    let mut looks = interval(PACE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent: Option<Instant> = None;
    loop {
        screen.draw(&snapshot, silent.map(|since| since.elapsed()))?;
        let look = async {
            looks.tick().await;
            timeout(PATIENCE, watched.look()).await
        };
        tokio::select! {
            key = screen.key() => match key {
                Key::Quit => return Ok(()),
                Key::Resize => {}
            },
            looked = look => match looked {
                Ok(Ok(looked)) => {
                    snapshot = looked;
                    silent = None;
                    screen.take(&snapshot);
                }
                Ok(Err(e)) if watched.pinned => return Err(e.context(ENDED)),
                Ok(Err(_)) | Err(_) => {
                    silent.get_or_insert_with(Instant::now);
                }
            }
        }
    }
}

/// The program that is watched.
struct Watched {
    which: Which,
    /// Whether no other is to be looked at when it has ended.
    pinned: bool,
}

impl Watched {
    /// How it is, or if it has ended the only one of its kind. Cancel-safe: what is asked changes nothing.
    async fn look(&mut self) -> Result<Snapshot> {
        let mut found = Running::one(&self.which).await;
        if let (Err(AskError::None(_)), false) = (&found, self.pinned) {
            let other = Which {
                pid: None,
                ..self.which.clone()
            };
            found = Running::one(&other).await;
        }
        let mut running = found?;
        // From now on it is this one.
        self.which.role = Some(running.greeting.role);
        if self.which.socket.is_none() {
            self.which.pid = Some(running.greeting.pid);
        }
        look(&mut running).await
    }
}

async fn look(running: &mut Running) -> Result<Snapshot> {
    match running.ask(&Request::Status).await? {
        Reply::Status { snapshot } => Ok(*snapshot),
        _ => bail!(AskError::Unexpected),
    }
}

fn print(snapshot: &Snapshot, json: bool) -> io::Result<()> {
    let mut out = stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(snapshot)?)?,
        false => writeln!(out, "{snapshot}")?,
    }
    out.flush()
}
