//! Flags of those who ask something of a program that runs.

use std::path::PathBuf;

use clap::Args;

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
