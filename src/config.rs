//! Flags and environment in, complete and valid configurations out.
//!
//! After this module nothing is missing: no defaults and no sentinels further down. Whatever is
//! wrong with a command line or the files it names is found here, before anything is started.

mod connect;
mod tunnels;

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail, ensure};
use directories::ProjectDirs;
use zeroize::Zeroizing;

use crate::access::{Access, Password};
use crate::cli::{
    self, BenchFlags, ClientFlags, CongestionFlags, IdleFlags, KeygenFlags, PasswordFlags,
    ServerFlags,
};
use crate::keygen;
use crate::tls::{PinnedCertificate, ServerIdentity};
use crate::transport::{Congestion, Tuning};
use crate::tunnel::{HostPort, ListenAddr, Tunnel};

pub use connect::ConnectConfig;

/// The port of a server's that is written without one.
const DEFAULT_PORT: u16 = 6060;

/// Silence after which a UDP flow is over where nobody has said anything else.
pub const UDP_IDLE: Duration = Duration::from_secs(60);

/// Environment variable for the password.
const PASSWORD_VARIABLE: &str = "RSTUN_PASSWORD";

/// All that a server needs to know.
#[derive(Debug)]
pub struct ServerConfig {
    /// UDP address to listen on.
    pub addr: ListenAddr,
    /// Who is let in, and to what.
    pub access: Access,
    /// Certificate and key.
    pub identity: ServerIdentity,
    /// How connections work.
    pub tuning: Tuning,
    /// How long open flows may take to finish when told to stop.
    pub drain: Duration,
    /// Silence after which a UDP flow is over, unless its tunnel says otherwise.
    pub udp_idle: Duration,
    /// Whether clients may measure this server.
    pub allow_bench: bool,
}

impl ServerConfig {
    /// Completes and checks what was typed.
    pub fn new(flags: ServerFlags) -> Result<Self> {
        let downstream = tunnels::downstream(&flags.downstream)?;
        let cert = existing_or_default(flags.cert, "--cert", keygen::CERTIFICATE)?;
        let beside = || cert.with_file_name(keygen::PRIVATE_KEY);
        let key = flags.key.unwrap_or_else(beside);
        Ok(Self {
            addr: flags
                .addr
                .parse()
                .with_context(|| format!("--addr {}", flags.addr))?,
            identity: ServerIdentity::load(&cert, &key)?,
            access: {
                let unix_dir = flags.unix_dir.map(std::path::absolute).transpose();
                Access {
                    unix_dir: unix_dir.context("--unix-dir")?,
                    ..Access::new(password(flags.password)?, downstream)
                }
            },
            tuning: tuning(&flags.congestion, &flags.idle),
            drain: Duration::from_secs(flags.drain.seconds),
            udp_idle: Duration::from_secs(flags.udp.timeout),
            allow_bench: flags.allow_bench,
        })
    }
}

/// All that a client needs to know.
#[derive(Debug)]
pub struct ClientConfig {
    /// The server to keep a connection to; a name is resolved anew each time.
    pub server: HostPort,
    /// The certificate that the server must have.
    pub pinned: PinnedCertificate,
    /// What proves who we are.
    pub password: Password,
    /// At least one.
    pub tunnels: Vec<Tunnel>,
    /// How connections work.
    pub tuning: Tuning,
    /// How long open flows may take to finish when told to stop.
    pub drain: Duration,
    /// Silence after which a UDP flow is over, unless its tunnel says otherwise.
    pub udp_idle: Duration,
    /// Whether others of the same user may use the connection too, through a control socket.
    pub control: bool,
}

impl ClientConfig {
    /// Completes and checks what was typed.
    pub fn new(flags: ClientFlags) -> Result<Self> {
        let server = HostPort::with_default_port(&flags.server_addr, DEFAULT_PORT)
            .with_context(|| format!("--server-addr {}", flags.server_addr))?;
        let tunnels = tunnels::tunnels(&flags)?;
        let cert = existing_or_default(flags.cert, "--cert", keygen::CERTIFICATE)?;
        Ok(Self {
            server,
            tunnels,
            pinned: PinnedCertificate::load(&cert)?,
            password: password(flags.password)?,
            tuning: tuning(&flags.congestion, &flags.idle),
            drain: Duration::from_secs(flags.drain.seconds),
            udp_idle: Duration::from_secs(flags.udp.timeout),
            control: true,
        })
    }
}

pub(crate) fn tuning(congestion: &CongestionFlags, idle: &IdleFlags) -> Tuning {
    Tuning {
        congestion: congestion.control.into(),
        idle_timeout: Duration::from_secs(idle.seconds),
    }
}

impl From<cli::Congestion> for Congestion {
    fn from(congestion: cli::Congestion) -> Self {
        match congestion {
            cli::Congestion::Bbr => Self::Bbr,
            cli::Congestion::Cubic => Self::Cubic,
            cli::Congestion::NewReno => Self::NewReno,
        }
    }
}

/// A server to be measured, which runs elsewhere.
#[derive(Debug)]
pub struct Remote {
    /// Where it is.
    pub server: HostPort,
    /// The certificate that it must have.
    pub pinned: PinnedCertificate,
    /// What proves who we are.
    pub password: Password,
}

impl Remote {
    /// Completes and checks what was typed; none if no server was named.
    pub fn new(flags: BenchFlags) -> Result<Option<Self>> {
        let Some(addr) = flags.server_addr else {
            ensure!(
                flags.password.password.is_none() && flags.password.password_file.is_none(),
                "a password is for a server that runs elsewhere: give its --server-addr too"
            );
            return Ok(None);
        };
        let server = HostPort::with_default_port(&addr, DEFAULT_PORT)
            .with_context(|| format!("--server-addr {addr}"))?;
        let cert = existing_or_default(flags.cert, "--cert", keygen::CERTIFICATE)?;
        Ok(Some(Self {
            server,
            pinned: PinnedCertificate::load(&cert)?,
            password: password(flags.password)?,
        }))
    }
}

impl From<KeygenFlags> for keygen::Request {
    fn from(flags: KeygenFlags) -> Self {
        Self {
            out_dir: flags.out_dir,
            hosts: flags.host,
            days: flags.days,
            force: flags.force,
        }
    }
}

/// A file that was named, or the one of that name in the user's configuration directory.
fn existing_or_default(path: Option<PathBuf>, flag: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = path {
        return Ok(path);
    }
    let path = ProjectDirs::from("", "", "rstun")
        .map(|dirs| dirs.config_dir().join(name))
        .ok_or_else(|| anyhow!("{flag} is missing, and there is no home directory to look in"))?;
    ensure!(
        path.exists(),
        "{flag} is missing, and there is no {} either",
        path.display()
    );
    Ok(path)
}

/// The password, from the first of: a flag, a file, the environment, a prompt.
fn password(flags: PasswordFlags) -> Result<Password> {
    let text = if let Some(text) = flags.password {
        Zeroizing::new(text)
    } else if let Some(path) = flags.password_file {
        first_line(&path)?
    } else if let Some(text) = env::var_os(PASSWORD_VARIABLE) {
        let text = text.into_string();
        Zeroizing::new(text.map_err(|_| anyhow!("{PASSWORD_VARIABLE} is not UTF-8"))?)
    } else if stdin().is_terminal() {
        let typed = rpassword::prompt_password("Password: ");
        Zeroizing::new(typed.context("cannot read the password from the terminal")?)
    } else {
        bail!("no password: give --password-file, {PASSWORD_VARIABLE} or --password");
    };
    Password::new(text).ok_or_else(|| anyhow!("the password is empty"))
}

fn first_line(path: &Path) -> Result<Zeroizing<String>> {
    let text = fs::read_to_string(path)
        .map(Zeroizing::new)
        .with_context(|| format!("cannot read --password-file {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}
