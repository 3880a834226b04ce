//! Flags of `rstun check`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClientFlags, ServerFlags};

/// Flags of `rstun check`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        What is in the configuration directory, or in this file:\n    \
        rstun check\n    \
        rstun check --config client.toml\n  \
        Whether a client would do with these flags:\n    \
        rstun check client rstun://... -R 3000^18080\n\n\
        Each step is told with its outcome and its time. The exit code is 0 if all went well, 1 if one\n\
        did not, and 2 for flags and files that are wrong in themselves. One that runs is not disturbed."
)]
pub struct CheckFlags {
    /// File whose flags are checked [default: the one in the configuration directory]
    #[arg(id = "file", long = "config", value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// What is checked
    #[command(subcommand)]
    pub what: Option<Checked>,
}

/// What can be checked.
#[derive(Debug, Subcommand)]
pub enum Checked {
    /// What `rstun server` would do with the same flags
    Server(Box<ServerFlags>),
    /// What `rstun client` would do with the same flags
    Client(Box<ClientFlags>),
}
