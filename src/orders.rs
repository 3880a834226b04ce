//! What a person has a program do that runs: `rstun stop`, `rstun reload`, `rstun tunnel` and `rstun
//! status`.

mod status;

use anyhow::{Result, bail};

pub use self::status::status;
use crate::cli::{MappingFlags, ReloadFlags, RunningFlags, StopFlags, TunnelCommand};
use crate::control::{AskError, Mappings, Reply, Request, Role, Running, TunnelView, Which};

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

/// Has a program read its configuration again, and prints what has changed. Not cancel-safe.
pub async fn reload(flags: ReloadFlags) -> Result<()> {
    let mut running = Running::one(&flags.running.into()).await?;
    match running.ask(&Request::Reload).await? {
        Reply::Reloaded { changes } if changes.is_empty() => println!("nothing has changed"),
        Reply::Reloaded { changes } => changes.iter().for_each(|line| println!("{line}")),
        _ => bail!(AskError::Unexpected),
    }
    Ok(())
}

/// Changes or shows the tunnels of a client. Not cancel-safe.
pub async fn tunnel(command: TunnelCommand) -> Result<()> {
    match command {
        TunnelCommand::Add(flags) => {
            let added = ask(flags.running, &Request::Add(flags.tunnels.into())).await?;
            for TunnelView {
                number,
                tunnel,
                listening,
                ..
            } in added
            {
                match listening {
                    Some(listening) => println!("{number}  {tunnel}: listening on {listening}"),
                    None => println!("{number}  {tunnel}"),
                }
            }
        }
        TunnelCommand::Remove(flags) => {
            let request = Request::Remove {
                numbers: flags.number,
                mappings: flags.tunnels.into(),
            };
            for TunnelView { number, tunnel, .. } in ask(flags.running, &request).await? {
                println!("{number}  {tunnel}: removed");
            }
        }
        TunnelCommand::List(flags) => {
            let tunnels = ask(flags.running, &Request::Tunnels).await?;
            match flags.json {
                true => println!("{}", serde_json::to_string_pretty(&tunnels)?),
                false => print!("{}", table(&tunnels)),
            }
        }
    }
    Ok(())
}

/// What a client answers that was asked about its tunnels.
async fn ask(running: RunningFlags, request: &Request) -> Result<Vec<TunnelView>> {
    let which = Which {
        role: Some(Role::Client),
        ..running.into()
    };
    match Running::one(&which).await?.ask(request).await? {
        Reply::Tunnels { tunnels } => Ok(tunnels),
        _ => bail!(AskError::Unexpected),
    }
}

impl From<MappingFlags> for Mappings {
    fn from(flags: MappingFlags) -> Self {
        Self {
            tunnel_out: flags.tunnel_out,
            tunnel_in: flags.tunnel_in,
            dynamic: flags.dynamic,
        }
    }
}

/// Most characters that a column is made wide for.
const WIDEST: usize = 400;

/// Tunnels as a table: a line for each under one with the columns' names.
fn table(tunnels: &[TunnelView]) -> String {
    let head = ["NUMBER", "TUNNEL", "VISITORS GO IN AT", "STATE"].map(str::to_owned);
    let rows = tunnels.iter().map(|view| {
        let state = match (&view.refused, view.added) {
            (Some(why), _) => format!("refused: {why}"),
            (None, true) => "added, until the client ends".to_owned(),
            (None, false) => "configured".to_owned(),
        };
        let listening = view.listening.clone().unwrap_or_else(|| "-".to_owned());
        [
            view.number.to_string(),
            view.tunnel.clone(),
            listening,
            state,
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let [a, b, c] = [0, 1, 2].map(|column| width(column).unwrap_or(0).min(WIDEST));
    let lines = rows.iter().map(|[number, tunnel, listening, state]| {
        format!("{number:<a$}  {tunnel:<b$}  {listening:<c$}  {state}\n")
    });
    lines.collect()
}
