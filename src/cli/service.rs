//! Flags of `rstun service`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::client::client_name;

/// Flags of `rstun service`.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  \
    The server, started now and with the machine:\n    \
    sudo rstun service install server\n  \
    The client whose options are in /etc/rstun/office/client.toml:\n    \
    sudo rstun service install client --name office\n  \
    A client of this user's, with its options in ~/.config/rstun/main/client.toml:\n    \
    rstun service install client --user\n\n\
    To change a unit use `systemctl edit`: an installation puts the units back as they were."
)]
pub struct ServiceFlags {
    /// What is to be done
    #[command(subcommand)]
    pub action: ServiceAction,
}

/// What becomes of a service.
#[derive(Debug, Subcommand)]
pub enum ServiceAction {
    /// Write a unit for systemd, and enable it
    Install(UnitFlags),
    /// Stop a service, and take its unit away; configuration and state stay
    Uninstall(UnitFlags),
}

/// Which service, and where.
#[derive(Args, Debug)]
pub struct UnitFlags {
    /// What it runs
    #[arg(value_enum, value_name = "PROGRAM")]
    pub program: ServiceProgram,

    /// Which client, as there may be several
    #[arg(long, value_name = "NAME", default_value = "main", value_parser = client_name)]
    pub name: String,

    /// A service of this user's, in place of one of the system's
    #[arg(long)]
    pub user: bool,

    /// Another system's root directory to install into, where rstun is /usr/bin/rstun
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    pub root: Option<PathBuf>,

    /// Say what would be done, with the unit's text, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceProgram {
    /// `rstun server`
    Server,
    /// `rstun client`
    Client,
}
