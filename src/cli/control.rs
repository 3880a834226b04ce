//! Flags of those who ask something of a program that runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which of the programs that run is meant.
#[derive(Args, Clone, Debug)]
pub struct RunningFlags {
    /// The process that is meant, where several run
    #[arg(long, value_name = "PID", conflicts_with = "socket")]
    pub pid: Option<u32>,

    /// Its control socket, where it is not in a usual place
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// Flags of `rstun stop`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    rstun stop --pid 4711\n\n\
    It ends as by Ctrl-C: open connections have the time that its --drain gives. The exit code is 0\n\
    when it is gone.")]
pub struct StopFlags {
    /// Which one
    #[command(flatten)]
    pub running: RunningFlags,
}

/// Flags of `rstun status`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    rstun status\n  \
    rstun status --watch\n  \
    rstun status --json | jq .sessions\n\n\
    Rates are those of the last second. The exit code is 0 if the program could be asked, whatever it\n\
    says. docs/monitoring.md names the fields of the JSON, docs/status.schema.json is its schema.")]
pub struct StatusFlags {
    /// Print JSON, in one line
    #[arg(long)]
    pub json: bool,

    /// Go on showing it, once a second, until q or Ctrl-C; with --json in a line each
    #[arg(long)]
    pub watch: bool,

    /// Which one
    #[command(flatten)]
    pub running: RunningFlags,
}

/// Flags of `rstun reload`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    rstun reload\n\n\
    It prints what has changed. Its file is read again by itself when it changes, and on SIGHUP too. If\n\
    anything in it is wrong nothing changes, and the exit code is 1.")]
pub struct ReloadFlags {
    /// Which one
    #[command(flatten)]
    pub running: RunningFlags,
}

/// `rstun tunnel`.
#[derive(Debug, Subcommand)]
pub enum TunnelCommand {
    /// Open tunnels beside those that the client has, until it ends
    Add(TunnelAddFlags),
    /// Close tunnels; connections that are open have the time of its --drain
    Remove(TunnelRemoveFlags),
    /// Show the client's tunnels and where they can be reached
    List(TunnelListFlags),
}

/// Flags of `rstun tunnel add`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    rstun tunnel add -L 9900^8800 -R 3000^18080\n\n\
    All are opened or none. They outlive reconnects and end with the client: its file is not written.")]
#[command(arg_required_else_help = true)]
pub struct TunnelAddFlags {
    /// Which tunnels
    #[command(flatten)]
    pub tunnels: MappingFlags,

    /// Of which client
    #[command(flatten)]
    pub running: RunningFlags,
}

/// Flags of `rstun tunnel remove`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    rstun tunnel remove -L 9900^8800\n  \
    rstun tunnel remove 3")]
pub struct TunnelRemoveFlags {
    /// Its number, as `rstun tunnel list` shows it
    #[arg(value_name = "NUMBER", required_unless_present_any = ["tunnel_out", "tunnel_in", "dynamic"])]
    pub number: Vec<u32>,

    /// Which tunnels
    #[command(flatten)]
    pub tunnels: MappingFlags,

    /// Of which client
    #[command(flatten)]
    pub running: RunningFlags,
}

/// Flags of `rstun tunnel list`.
#[derive(Args, Debug)]
pub struct TunnelListFlags {
    /// Print JSON in place of a table
    #[arg(long)]
    pub json: bool,

    /// Of which client
    #[command(flatten)]
    pub running: RunningFlags,
}

/// Tunnels, as `rstun client` takes them.
#[derive(Args, Debug)]
pub struct MappingFlags {
    /// As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server
    #[arg(short = 'L', long, value_name = "LOCAL^REMOTE")]
    pub tunnel_out: Vec<String>,

    /// As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client
    #[arg(short = 'R', long, value_name = "LOCAL^REMOTE")]
    pub tunnel_in: Vec<String>,

    /// As of `rstun client`: a proxy at the client
    #[arg(short = 'D', long, value_name = "[SCHEME://][IP:]PORT")]
    pub dynamic: Vec<String>,
}
