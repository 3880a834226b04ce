//! The command line as clap reads it: raw flags, not yet checked against each other.
//!
//! The program is one binary. Called as `rstun` it takes a subcommand; through a link named
//! `rstund` or `rstunc` it is the server or the client at once.
//!
//! # How to add a flag
//!
//! Give it a field with `#[arg(help_heading = heading::..., long, ...)]` in the structure of its
//! program, and use it in `config`. That is all: for a program that has [`ConfigFlags`] it can then also come from
//! `RSTUN_<FLAG>` and from the file, by the same name (`config::settings`), and it stands in the help,
//! the manual and the completions. Let clap know its type and range (`value_parser`) and what it
//! excludes (`conflicts_with`): both hold for the file too. Do not use `requires` or make it
//! required: clap asks that of the command line alone, so check it in `config`. One that holds a
//! secret itself goes into [`SECRETS`] too.

mod check;
mod client;
#[cfg(unix)]
mod control;
mod layered;
#[cfg(unix)]
mod service;
mod ticket;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use zeroize::Zeroizing;

pub use client::{
    ClientFlags, ConnectFlags, CredentialFlags, Mode, ProxyUrl, Transport, TransportFlags, TrustBy,
    TrustFlags,
};
#[cfg(unix)]
pub use control::{
    MappingFlags, ReloadFlags, RunningFlags, StatusFlags, StopFlags, TunnelAddFlags, TunnelCommand,
    TunnelListFlags, TunnelRemoveFlags,
};

#[cfg(unix)]
pub use service::{ServiceAction, ServiceFlags, ServiceProgram, UnitFlags};

pub use check::{CheckFlags, Checked};
pub use layered::{
    SECRETS, Setting, TUNNELS, are_rivals, arguments, check, matches, program, read,
};
pub use ticket::TicketFlags;

use self::client::client_name;

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "rstun",
    version,
    propagate_version = true,
    about = "Carries TCP and UDP between two machines through one encrypted QUIC connection",
    after_help = "Examples:\n  \
        Here, where both sides reach it:       rstun server\n  \
        On the machine with a port to show:    rstun client rstun://... -R 3000^18080\n  \
        Where a port there is to be reached:   rstun client rstun://... -L 9900^8800\n\n\
        `rstun server` says what rstun://... is, and `rstun help COMMAND` what else there is.\n\
        Called through a link named rstund or rstunc, it is `rstun server` or `rstun client`.\n\
                  RUST_LOG sets how much is logged: error, warn, info (the default), debug or trace.",
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// The program to be.
    #[command(subcommand)]
    pub command: Command,
}

/// The programs in the one binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stand where both sides reach it, and carry clients' tunnels
    Server(ServerFlags),
    /// Connect to a server, and keep tunnels up
    Client(ClientFlags),
    /// Connect standard input and output to a target at the server's side, once
    Connect(ConnectFlags),
    /// Change or show the tunnels of a client that runs
    #[cfg(unix)]
    #[command(subcommand)]
    Tunnel(TunnelCommand),
    /// Have a server or a client that runs read its configuration again
    #[cfg(unix)]
    Reload(ReloadFlags),
    /// Have a server or a client that runs end in order
    #[cfg(unix)]
    Stop(StopFlags),
    /// Show how a server or a client is that runs
    #[cfg(unix)]
    Status(StatusFlags),
    /// Check a server's or a client's flags and files, and the way to the server, step by step
    Check(CheckFlags),
    /// Print what a client needs to know of the server here, as one word
    Ticket(TicketFlags),
    /// Have systemd run a server or a client
    #[cfg(unix)]
    Service(ServiceFlags),
    /// Make a key and a certificate for a server, or a client's key or secret
    Keygen(KeygenFlags),
    /// Measure what a tunnel does, on this machine or to a server
    Bench(BenchFlags),
}

/// What help puts together.
mod heading {
    pub(super) const CONNECTION: &str = "Connection";
    pub(super) const TUNNELS: &str = "Tunnels";
    pub(super) const TRUST: &str = "Identity and trust";
    pub(super) const OPERATION: &str = "Operation";
}

/// Flags of `rstun server`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    With a key, a certificate and a password of its own making, and clients by its ticket:\n    \
    rstun server\n  \
    With those that it is given:\n    \
    rstun server --addr 0.0.0.0:6060 --downstream 8800 --password-file secret \\\n      \
    --cert certificate.der --key priv_key.der")]
pub struct ServerFlags {
    /// Address to listen on, by UDP and by TCP; a bare port means all addresses, and a range 6060-6099
    /// all of its ports by UDP, for clients to change between
    #[arg(help_heading = heading::CONNECTION, long, value_name = "[IP:]PORT", default_value = "6060")]
    pub addr: String,

    /// What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or
    /// unix:///PATH; a bare port is at 127.0.0.1
    #[arg(help_heading = heading::TUNNELS, long, value_name = "TARGET")]
    pub downstream: Vec<String>,

    /// Directory in which TunnelIn may listen on Unix sockets [default: none]
    #[arg(help_heading = heading::TUNNELS, long, value_name = "DIR")]
    pub unix_dir: Option<PathBuf>,

    /// Where the password comes from
    #[command(flatten)]
    pub password: PasswordFlags,

    /// Clients with entries of their own: who each is and what it may do, in TOML; changes count at
    /// once
    #[arg(help_heading = heading::TRUST, long, value_name = "FILE")]
    pub clients: Option<PathBuf>,

    /// What makes it the right server to its clients
    #[command(flatten)]
    pub keys: KeyFlags,

    /// Show clients' ticket as a QR code too
    #[arg(help_heading = heading::TRUST, long)]
    pub qr: bool,

    /// How much a connection has in flight
    #[command(flatten)]
    pub congestion: CongestionFlags,

    /// When a client counts as lost
    #[command(flatten)]
    pub idle: IdleFlags,

    /// When UDP flows end
    #[command(flatten)]
    pub udp: UdpFlags,

    /// How it ends
    #[command(flatten)]
    pub drain: DrainFlags,

    /// Let clients load this server with `rstun bench --server-addr`
    #[arg(help_heading = heading::TUNNELS, long)]
    pub allow_bench: bool,

    /// File to add a line of JSON to for each login, refusal, tunnel and denied target
    #[arg(help_heading = heading::OPERATION, long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,

    /// Where it can be watched
    #[command(flatten)]
    pub web: WebFlags,

    /// Where flags come from that were not typed
    #[command(flatten)]
    pub config: ConfigFlags,

    /// What is logged
    #[command(flatten)]
    pub log: LogFlags,

    /// User to go on as when the port is bound, if started by root
    #[cfg(unix)]
    #[arg(help_heading = heading::OPERATION, long, value_name = "NAME")]
    pub user: Option<String>,
}

/// Where a program can be watched by HTTP.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::OPERATION)]
pub struct WebFlags {
    /// TCP address for the status page at / and Prometheus' /metrics; a bare port is at 127.0.0.1
    #[arg(long, value_name = "[IP:]PORT")]
    pub metrics: Option<String>,

    /// File with the token that both of them ask for [default: metrics-token in the state directory,
    /// made if it is not there]
    #[arg(long, value_name = "FILE", requires = "metrics")]
    pub metrics_token_file: Option<PathBuf>,

    /// TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics
    #[arg(long, value_name = "[IP:]PORT")]
    pub health: Option<String>,
}

/// What a server is known by.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = heading::TRUST)]
pub struct KeyFlags {
    /// Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or
    /// else one that the server makes for itself]
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// Private key of the certificate, DER or PEM [default: priv_key.der beside it]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// Where flags come from that were not typed.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::OPERATION)]
pub struct ConfigFlags {
    // Help is no HTML.
    #[allow(rustdoc::invalid_html_tags)]
    /// File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more
    /// [default: server.toml or client.toml in the configuration directory, if it is there]
    #[arg(long = "config", value_name = "FILE", id = "config")]
    pub file: Option<PathBuf>,
}

/// Where the password comes from; without either flag, RSTUN_PASSWORD, systemd or a prompt.
#[derive(Args)]
#[command(next_help_heading = heading::TRUST)]
pub struct PasswordFlags {
    /// Password; others on this machine can see it in the list of processes
    #[arg(long, value_name = "TEXT", conflicts_with = "password_file")]
    pub password: Option<String>,

    /// File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD,
    /// systemd's credential 'password', or a prompt]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// The password in the file of --config
    #[arg(skip)]
    pub kept: Option<Hidden>,

    /// Whether nobody is to be asked for it, as nobody may sit there any more.
    #[arg(skip)]
    pub never_ask: bool,

    /// The password in a ticket
    #[arg(skip)]
    pub of_ticket: Option<Hidden>,
}

/// A secret text, wiped from memory when dropped and never shown.
#[derive(Clone)]
pub struct Hidden(pub Zeroizing<String>);

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl std::fmt::Debug for PasswordFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordFlags")
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("password_file", &self.password_file)
            .finish()
    }
}

/// What decides how much a connection has in flight.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::CONNECTION)]
pub struct CongestionFlags {
    /// Congestion control of what this side sends
    #[arg(long = "congestion", value_enum, value_name = "NAME", default_value_t = Congestion::Bbr)]
    pub control: Congestion,
}

/// The congestion controllers, as `--congestion` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Congestion {
    /// Our own, after BBRv3: measures the path, and takes no random loss for congestion
    Bbr,
    /// What most of TCP does
    Cubic,
    /// What TCP did before that
    NewReno,
}

/// How long an outage may be.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::CONNECTION)]
pub struct IdleFlags {
    /// Silence after which a connection is lost, with what goes through it; the other side may allow
    /// less
    #[arg(
        id = "idle_timeout",
        long = "idle-timeout",
        value_name = "SECONDS",
        default_value_t = Self::default().seconds,
        value_parser = clap::value_parser!(u64).range(10..=86_400)
    )]
    pub seconds: u64,
}

impl Default for IdleFlags {
    fn default() -> Self {
        Self { seconds: 300 }
    }
}

/// When UDP flows end.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::TUNNELS)]
pub struct UdpFlags {
    /// Silence after which a UDP flow is over, where its tunnel has no ?timeout=
    #[arg(
        long = "udp-timeout",
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub timeout: u64,
}

/// How a program ends.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::OPERATION)]
pub struct DrainFlags {
    /// Time that open connections have to finish after Ctrl-C or SIGTERM
    #[arg(
        long = "drain",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    pub seconds: u64,
}

/// What is logged.
#[derive(Args, Debug)]
#[command(next_help_heading = heading::OPERATION)]
pub struct LogFlags {
    /// What log lines look like
    #[arg(
        id = "log",
        long = "log",
        value_enum,
        value_name = "FORMAT",
        default_value_t = LogFormat::Text
    )]
    pub format: LogFormat,
}

/// What log lines look like, as `--log` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people, and for systemd's journal
    Text,
    /// An object a line, for programs
    Json,
}

/// Flags of `rstun keygen`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    A certificate and a key for a server:\n    \
    rstun keygen --host tunnel.example.org\n  \
    A key for a client, and its entry for the server's --clients:\n    \
    rstun keygen --client laptop\n\n\
    The server needs both files; give each client a copy of certificate.der, and nobody the key.")]
pub struct KeygenFlags {
    /// Directory for the files, made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out_dir: PathBuf,

    /// Name or IP address to write into the certificate, repeatable
    #[arg(
        long,
        value_name = "NAME-or-IP",
        default_value = "localhost",
        value_parser = certificate_host
    )]
    pub host: Vec<String>,

    /// Make a key for this client in place of a server's, in NAME.pem, and print the client's entry
    #[arg(long, value_name = "NAME", conflicts_with = "host", value_parser = client_name)]
    pub client: Option<String>,

    /// Make the client a secret in place of a key, in NAME.secret
    #[arg(long, requires = "client")]
    pub secret: bool,

    /// Days until the certificate expires (rstun's own clients compare bytes, not dates)
    #[arg(
        long,
        default_value_t = 3650,
        value_parser = clap::value_parser!(u32).range(1..=36_500)
    )]
    pub days: u32,

    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
}

/// Flags of `rstun bench`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    A server and a client over loopback:\n    \
    rstun bench --seconds 2 --streams 1,8\n  \
    A server that was started with --allow-bench, over the network:\n    \
    rstun bench --server-addr 1.2.3.4:6060 --password-file secret --cert certificate.der\n\n\
    Ctrl-C prints what has been measured so far; the exit code is 130 then.")]
pub struct BenchFlags {
    /// Time for each measurement
    #[arg(
        long,
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub seconds: u64,

    /// How many connections carry the bulk data, each number measured in turn
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "1,8",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub streams: Vec<u16>,

    /// What to measure, repeatable [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub scenario: Vec<Scenario>,

    /// Size of a request, and of its answer
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576)
    )]
    pub payload: u32,

    /// Print JSON in place of a table
    #[arg(long)]
    pub json: bool,

    /// Server to measure, started with --allow-bench, in place of one in this process; the port is
    /// 6060 if left out
    #[arg(long, value_name = "HOST[:PORT]")]
    pub server_addr: Option<String>,

    /// What carries the connection
    #[command(flatten)]
    pub transport: TransportFlags,

    /// How much a connection has in flight
    #[command(flatten)]
    pub congestion: CongestionFlags,

    /// Who we are to that server
    #[command(flatten)]
    pub credential: CredentialFlags,

    /// What makes that server the right one
    #[command(flatten)]
    pub trust: TrustFlags,
}

/// What `rstun bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Bulk data from the client to the server
    Up,
    /// Bulk data from the server to the client
    Down,
    /// Time from a request to its answer, one at a time
    Requests,
    /// New connections in a second, 8 at a time
    Flows,
    /// Memory for each of 1000 connections that do nothing (on Linux)
    Idle,
}

/// Reads a command line, its first element being the name that the program was called by, without
/// what may complete it.
///
/// The error is clap's own, and is a request for help or for the version as well as a mistake.
pub fn parse_from(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    read(&matches(&arguments(args), &[], &[])?)
}

/// The whole command line's definition, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// What is wrong with a command line, as one line.
pub fn explain(error: &clap::Error) -> String {
    format!("{}; see --help", reason(error))
}

/// Clap's own text says it in several lines, with the whole usage behind it.
fn reason(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let usage = |part: &&str| part.starts_with("Usage:") || part.starts_with("For more");
    let parts = text.split("\n\n").map(str::trim_start);
    let parts = parts.take_while(|part| !usage(part));
    let lines = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("; ")
}

/// Certificates hold names in ASCII.
fn certificate_host(s: &str) -> Result<String, &'static str> {
    if s.is_empty() || !s.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("write the name in ASCII (xn--... for an international one), or an IP address");
    }
    Ok(s.to_owned())
}

#[cfg(test)]
mod tests;
