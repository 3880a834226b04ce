//! Flags of `rstun ticket`.

use std::path::PathBuf;

use clap::Args;

use super::client::client_name;
use super::{ConfigFlags, KeyFlags, PasswordFlags};

/// Flags of `rstun ticket`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    The ticket of the server on this machine, for clients that reach it by this name:\n    \
    rstun ticket --addr tunnel.example.org\n  \
    A ticket for one client of its own, which may do what its entry in the file says:\n    \
    rstun ticket --for laptop --clients clients.toml\n\n\
    A ticket holds the server's addresses, the SHA-256 of its certificate, and the password or the\n\
    client's secret. Whoever has it may do what that client may.")]
pub struct TicketFlags {
    /// Address by which clients reach the server, repeatable, the best first [default: what look like
    /// this machine's addresses]
    #[arg(id = "public", long = "addr", value_name = "HOST[:PORT]")]
    pub public: Vec<String>,

    /// Client that it is for; if it has no entry in --clients yet, one is added
    #[arg(id = "for", long = "for", value_name = "NAME", value_parser = client_name)]
    pub name: Option<String>,

    /// Show it as a QR code too
    #[arg(long)]
    pub qr: bool,

    /// Where the server listens, as its own --addr says
    #[arg(
        id = "addr",
        long = "listen",
        value_name = "[IP:]PORT",
        default_value = "6060"
    )]
    pub listen: String,

    /// The server's clients that have entries of their own
    #[arg(long, value_name = "FILE")]
    pub clients: Option<PathBuf>,

    /// Where the password comes from, or the client's secret with --for
    #[command(flatten)]
    pub password: PasswordFlags,

    /// What makes it the right server to its clients
    #[command(flatten)]
    pub keys: KeyFlags,

    /// Where flags come from that were not typed
    #[command(flatten)]
    pub config: ConfigFlags,
}
