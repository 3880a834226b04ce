//! `rstun status`: how a program is that runs.

use std::io::{self, IsTerminal, Write, stdout};

use anyhow::{Result, bail};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::StatusFlags;
use crate::control::{AskError, Reply, Request, Running, Which};
use crate::metrics::PACE;
use crate::status::Snapshot;
use crate::status::watch::{Key, Screen};

/// Shows how a program is, once or until a person has seen enough. Not cancel-safe.
pub async fn status(flags: StatusFlags) -> Result<()> {
    let which = Which::from(flags.running);
    let mut running = Running::one(&which).await?;
    // From now on it is this one.
    let which = Which {
        pid: which.socket.is_none().then_some(running.greeting.pid),
        ..which
    };
    let mut snapshot = look(&mut running).await?;
    if !flags.watch {
        return Ok(print(&snapshot, flags.json)?);
    }
    if !flags.json && stdout().is_terminal() {
        return watch(&which, snapshot).await;
    }
    let mut looks = interval(PACE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    // Until whoever reads it has had enough.
    while print(&snapshot, flags.json).is_ok() {
        looks.tick().await;
        snapshot = look(&mut Running::one(&which).await?).await?;
    }
    Ok(())
}

async fn watch(which: &Which, mut snapshot: Snapshot) -> Result<()> {
    let mut screen = Screen::open()?;
    let mut looks = interval(PACE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        screen.draw(&snapshot)?;
        tokio::select! {
            key = screen.key() => match key {
                Key::Quit => return Ok(()),
                Key::Resize => {}
            },
            _ = looks.tick() => {
                snapshot = look(&mut Running::one(which).await?).await?;
                screen.take(&snapshot);
            }
        }
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
