//! Flags of those who connect to a server.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::heading;
use super::{
    ConfigFlags, CongestionFlags, DrainFlags, Hidden, IdleFlags, LogFlags, PasswordFlags, UdpFlags,
    WebFlags,
};
use crate::access;

/// The ids of the flags that say what a ticket says.
const INSTEAD_OF_TICKET: [&str; 8] = [
    "server_addr",
    "password",
    "password_file",
    "name",
    "identity",
    "cert",
    "pin",
    "by",
];

/// Flags of `rstun client`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    Let the world reach port 3000 here through port 18080 of the server, by its ticket:\n    \
    rstun client rstun://... -R 3000^18080\n  \
    Reach port 8800 at the server through port 9900 here:\n    \
    rstun client --server-addr 1.2.3.4:6060 --password-file secret \\\n      \
    --cert certificate.der -L 9900^8800\n  \
    Let the world reach port 3000 here through port 18080 of the server:\n    \
    rstun client --server-addr 1.2.3.4:6060 --password-file secret \\\n      \
    --cert certificate.der -R 3000^18080\n  \
    Browse through the server, by a SOCKS5 proxy here:\n    \
    rstun client --server-addr 1.2.3.4:6060 --password-file secret \\\n      \
    --cert certificate.der -D 1080\n\n\
    A mapping is LOCAL^REMOTE, the client's side first. Each side is [HOST:]PORT, also a range\n\
    8000-8009, udp://[HOST:]PORT or unix:///PATH; LOCAL of -L may be stdio. Options follow a '?':\n\
    ?mode=0660 behind a Unix socket to listen on, ?proxy=v1 or v2 behind a target that is to know\n\
    its visitors' addresses, ?auth=FILE behind a proxy's address, FILE holding user:password.")]
pub struct ClientFlags {
    /// What `rstun ticket` printed at the server, in place of --server-addr, --cert and --password;
    /// others on this machine can see it in the list of processes
    #[arg(value_name = "TICKET", conflicts_with = "ticket_file", conflicts_with_all = INSTEAD_OF_TICKET)]
    pub ticket: Option<Hidden>,

    /// Server to connect to, repeatable; the port is 6060 if left out, and any of a range 6060-6099.
    /// The first server that can be had is used, and the others stand by
    #[arg(help_heading = heading::CONNECTION, long, value_name = "HOST[:PORT]")]
    pub server_addr: Vec<String>,

    /// Connect to each --server-addr: tunnels into this machine are open at all of them, and those
    /// out of it go through the nearest
    #[arg(help_heading = heading::CONNECTION, long)]
    pub all_servers: bool,

    /// Direction of each --addr-mapping
    #[arg(help_heading = heading::TUNNELS, long, value_enum, ignore_case = true, value_name = "MODE")]
    pub mode: Option<Mode>,

    /// Tunnel in the direction of --mode, repeatable
    #[arg(help_heading = heading::TUNNELS, long, value_name = "LOCAL^REMOTE")]
    pub addr_mapping: Vec<String>,

    /// Listen on LOCAL here, dial REMOTE at the server, repeatable
    #[arg(help_heading = heading::TUNNELS, short = 'L', long, value_name = "LOCAL^REMOTE")]
    pub tunnel_out: Vec<String>,

    /// Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL,
    /// visitors say what to dial
    #[arg(help_heading = heading::TUNNELS, short = 'R', long, value_name = "LOCAL^REMOTE")]
    pub tunnel_in: Vec<String>,

    /// Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://
    #[arg(help_heading = heading::TUNNELS, short = 'D', long, value_name = "[SCHEME://][IP:]PORT")]
    pub dynamic: Vec<String>,

    /// Whether it may begin without any, which only a file can say.
    #[arg(skip)]
    pub tunnels_later: bool,

    /// Who we are to the server
    #[command(flatten)]
    pub credential: CredentialFlags,

    /// What makes the server the right one
    #[command(flatten)]
    pub trust: TrustFlags,

    /// What carries the connection
    #[command(flatten)]
    pub transport: TransportFlags,

    /// How much a connection has in flight
    #[command(flatten)]
    pub congestion: CongestionFlags,

    /// When the server counts as lost
    #[command(flatten)]
    pub idle: IdleFlags,

    /// When UDP flows end
    #[command(flatten)]
    pub udp: UdpFlags,

    /// When it moves to another port
    #[command(flatten)]
    pub hop: HopFlags,

    /// How it ends
    #[command(flatten)]
    pub drain: DrainFlags,

    /// Where it can be watched
    #[command(flatten)]
    pub web: WebFlags,

    /// Where flags come from that were not typed
    #[command(flatten)]
    pub config: ConfigFlags,

    /// What is logged
    #[command(flatten)]
    pub log: LogFlags,
}

/// Flags of `rstun connect`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    Through the client that runs on this machine:\n    \
    ssh -o ProxyCommand='rstun connect [%h]:%p' db.internal\n  \
    Through a connection of its own:\n    \
    rstun connect --server-addr 1.2.3.4:6060 --password-file secret \\\n      \
    --cert certificate.der db.internal:5432\n\n\
    The exit code is 0 when both directions have ended, and 1 if anything failed.")]
pub struct ConnectFlags {
    /// What to connect to: HOST:PORT or unix:///PATH, which the server has to allow; a bare port is
    /// at 127.0.0.1 there
    #[arg(value_name = "TARGET")]
    pub target: String,

    /// Server to go through, by a running client of it or else by a connection of its own,
    /// repeatable as for the client [default: that of the client that runs]
    #[arg(help_heading = heading::CONNECTION, long, value_name = "HOST[:PORT]")]
    pub server_addr: Vec<String>,

    /// Who we are to the server
    #[command(flatten)]
    pub credential: CredentialFlags,

    /// What makes the server the right one
    #[command(flatten)]
    pub trust: TrustFlags,

    /// What carries the connection
    #[command(flatten)]
    pub transport: TransportFlags,

    /// How much a connection has in flight
    #[command(flatten)]
    pub congestion: CongestionFlags,

    /// Where flags come from that were not typed
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// When a client moves to another port.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::CONNECTION)]
pub struct HopFlags {
    /// Move to a new local port after so long, a quarter more or less, and to another of the server's
    /// if its address has a range of them; flows go on
    #[arg(
        long = "hop-interval",
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub interval: Option<u64>,
}

/// Who a client is to the server: one who knows the password, if nothing else is said.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::TRUST)]
pub struct CredentialFlags {
    /// File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]
    #[arg(long, value_name = "FILE", conflicts_with_all = INSTEAD_OF_TICKET)]
    pub ticket_file: Option<PathBuf>,

    /// The ticket in the file of --config
    #[arg(skip)]
    pub kept_ticket: Option<Hidden>,

    /// Where the password comes from
    #[command(flatten)]
    pub password: PasswordFlags,

    /// Log in as the client of this name in the server's --clients; the password is its secret
    #[arg(long, value_name = "NAME", value_parser = client_name)]
    pub name: Option<String>,

    /// Log in by the key in this file, which `rstun keygen --client` made
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["name", "password", "password_file"]
    )]
    pub identity: Option<PathBuf>,
}

/// What makes a server the right one.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = heading::TRUST)]
pub struct TrustFlags {
    /// Copy of the server's certificate, DER or PEM; repeatable, and one that fits will do [default:
    /// certificate.der in the configuration directory]
    #[arg(long, value_name = "FILE")]
    pub cert: Vec<PathBuf>,

    /// In place of --cert the SHA-256 of the server's certificate, as keygen and the server print
    /// it; repeatable, and one that fits will do
    #[arg(long, value_name = "SHA256", conflicts_with = "cert")]
    pub pin: Vec<String>,

    /// In place of both, whom to ask
    #[arg(
        long = "trust",
        value_enum,
        value_name = "WHOM",
        conflicts_with_all = ["cert", "pin"]
    )]
    pub by: Option<TrustBy>,
}

/// What carries a connection, and by which way.
#[derive(Args, Debug)]
pub struct TransportFlags {
    /// What carries the connection to the server
    #[arg(
        help_heading = heading::CONNECTION,
        id = "transport",
        long = "transport",
        value_enum,
        value_name = "TRANSPORT",
        default_value = "auto"
    )]
    pub by: Transport,

    /// HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]
    #[arg(
        help_heading = heading::CONNECTION,
        long,
        value_name = "http://[USER:PASSWORD@]HOST:PORT",
        value_parser = proxy_url,
        hide_default_value = true
    )]
    pub proxy: Option<ProxyUrl>,
}

/// The transports, as `--transport` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// QUIC, and while UDP is blocked TCP
    Auto,
    /// QUIC alone, which needs UDP
    Quic,
    /// TLS over TCP alone
    Tcp,
}

/// Where a proxy is; it may hold a password.
#[derive(Clone)]
pub struct ProxyUrl(pub Zeroizing<String>);

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl")
    }
}

/// It is looked at elsewhere, by what does not repeat it where it is wrong.
fn proxy_url(s: &str) -> Result<ProxyUrl, std::convert::Infallible> {
    Ok(ProxyUrl(Zeroizing::new(s.to_owned())))
}

/// Who says that a server is the right one, as `--trust` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrustBy {
    /// The authorities that this system trusts, for the name in --server-addr
    System,
    /// Nobody the first time; then its certificate has to stay the same
    FirstUse,
}

/// The two directions, as `--mode` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Mode {
    /// The client listens, traffic goes out at the server's side
    TunnelOut,
    /// The server listens, traffic comes in to the client's side
    TunnelIn,
}

/// What can be the name of a client.
pub(super) fn client_name(s: &str) -> Result<String, &'static str> {
    match access::is_name(s) {
        true => Ok(s.to_owned()),
        false => Err("write 1 to 64 of A-Z a-z 0-9 . _ - that begin with a letter or a digit"),
    }
}
