//! What a person has a program do that runs: `rstun stop`.

use anyhow::{Result, bail};

use crate::cli::{RunningFlags, StopFlags};
use crate::control::{AskError, Reply, Request, Running, Which};

impl From<RunningFlags> for Which {
    fn from(flags: RunningFlags) -> Self {
        Self {
            role: None,
            pid: flags.pid,
            socket: flags.socket,
        }
    }
}

/// Has a program end in order, and waits until it is gone. Not cancel-safe.
pub async fn stop(flags: StopFlags) -> Result<()> {
    let mut running = Running::one(&flags.running.into()).await?;
    match running.ask(&Request::Stop).await {
        Ok(Reply::Stopping { seconds: 0 }) => {}
        Ok(Reply::Stopping { seconds }) => {
            println!(
                "{}: open flows have {seconds} s to finish",
                running.greeting
            );
        }
        Ok(_) => bail!(AskError::Unexpected),
        // It was about to.
        Err(AskError::Gone(_)) => {}
        Err(e) => return Err(e.into()),
    }
    running.gone().await;
    println!("{} has stopped", running.greeting);
    Ok(())
}
