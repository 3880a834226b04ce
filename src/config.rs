//! Flags and environment in, complete and valid configurations out.
//!
//! After this module nothing is missing: no defaults and no sentinels further down. Whatever is
//! wrong with a command line or the files it names is found here, before anything is started.

mod clients;
mod connect;
mod file;
mod settings;
mod transport;
mod trust;
mod tunnels;

use std::env;
use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use directories::ProjectDirs;
use tracing::warn;
use zeroize::Zeroizing;

use self::transport::ways;
use self::trust::trust;
use crate::access::{Access, Credential, Password};
use crate::cli::{
    self, BenchFlags, ClientFlags, CongestionFlags, CredentialFlags, IdleFlags, KeygenFlags,
    PasswordFlags, ServerFlags, TransportFlags, TrustFlags,
};
use crate::keygen::{self, Wanted};
#[cfg(unix)]
use crate::privileges::Account;
use crate::secret;
use crate::tls::{ClientIdentity, ServerIdentity, Trust};
use crate::transport::{Congestion, Tuning};
use crate::tunnel::{HostPort, ListenAddr, Tunnel};

pub use clients::ClientsFile;
pub use connect::ConnectConfig;
pub use settings::{Asked, NotUnderstood, Origins, read};
pub use transport::Ways;

/// The port of a server's that is written without one.
const DEFAULT_PORT: u16 = 6060;

/// Silence after which a UDP flow is over where nobody has said anything else.
pub const UDP_IDLE: Duration = Duration::from_secs(60);

/// Environment variable for the password.
const PASSWORD_VARIABLE: &str = "RSTUN_PASSWORD";

/// The password's name among the credentials of a systemd service.
const PASSWORD_CREDENTIAL: &str = "password";

/// All that a server needs to know.
#[derive(Debug)]
pub struct ServerConfig {
    /// UDP address to listen on.
    pub addr: ListenAddr,
    /// The password that lets clients in, and to what, if there is one.
    pub password: Option<(Password, Access)>,
    /// The clients that have entries of their own.
    pub clients: Option<ClientsFile>,
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
    /// Whether others of the same user may ask it for things, through a control socket.
    pub control: bool,
    /// Whom to go on as when the socket is bound.
    #[cfg(unix)]
    pub user: Option<Account>,
}

impl ServerConfig {
    /// Completes and checks what was typed.
    pub fn new(flags: ServerFlags) -> Result<Self> {
        let downstream = tunnels::downstream(&flags.downstream)?;
        let cert = existing_or_default(flags.cert, "--cert", keygen::CERTIFICATE)
            .context("no certificate; `rstun keygen` makes one")?;
        let beside = || cert.with_file_name(keygen::PRIVATE_KEY);
        let key = flags.key.unwrap_or_else(beside);
        let unix_dir = flags.unix_dir.map(directory).transpose()?;
        let access = Access::by_password(downstream, unix_dir);
        let clients = flags.clients.map(ClientsFile::load).transpose()?;
        let password = match clients {
            // Nobody need know a password where there are entries.
            Some(_) if !flags.password.is_given() => None,
            _ => Some(password(flags.password)?),
        };
        Ok(Self {
            addr: flags
                .addr
                .parse()
                .with_context(|| format!("--addr {}", flags.addr))?,
            identity: ServerIdentity::load(&cert, &key)?,
            password: password.map(|password| (password, access)),
            clients,
            tuning: tuning(&flags.congestion, &flags.idle),
            drain: Duration::from_secs(flags.drain.seconds),
            udp_idle: Duration::from_secs(flags.udp.timeout),
            allow_bench: flags.allow_bench,
            control: true,
            #[cfg(unix)]
            user: {
                let user = flags.user.as_deref().map(Account::find).transpose();
                user.context("--user")?
            },
        })
    }
}

/// A server, as its client sees it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where it is; a name is resolved anew each time.
    pub addr: HostPort,
    /// How it may be reached.
    pub ways: Ways,
    /// What makes it the right one.
    pub trust: Trust,
}

/// All that a client needs to know.
#[derive(Debug)]
pub struct ClientConfig {
    /// The servers that it may go through, the preferred one first; at least one, and none twice.
    pub servers: Vec<Upstream>,
    /// Whether there is to be a session with each of them, and not with one alone.
    pub all_servers: bool,
    /// What proves who we are.
    pub credential: Credential,
    /// At least one.
    pub tunnels: Vec<Tunnel>,
    /// How connections work.
    pub tuning: Tuning,
    /// How long open flows may take to finish when told to stop.
    pub drain: Duration,
    /// Silence after which a UDP flow is over, unless its tunnel says otherwise.
    pub udp_idle: Duration,
    /// Whether others of the same user may use the connection and change what it carries, through a
    /// control socket.
    pub control: bool,
}

impl ClientConfig {
    /// Completes and checks what was typed.
    pub fn new(flags: ClientFlags) -> Result<Self> {
        let addrs = server_addrs(&flags.server_addr)?;
        ensure!(
            !addrs.is_empty(),
            "which server? Give its --server-addr HOST[:PORT]"
        );
        let tunnels = tunnels::tunnels(&flags)?;
        Ok(Self {
            tunnels,
            servers: upstreams(addrs, &flags.trust, &flags.transport)?,
            all_servers: flags.all_servers,
            credential: credential(flags.credential)?,
            tuning: tuning(&flags.congestion, &flags.idle),
            drain: Duration::from_secs(flags.drain.seconds),
            udp_idle: Duration::from_secs(flags.udp.timeout),
            control: true,
        })
    }
}

/// The servers as they were typed, with their ports.
fn server_addrs(texts: &[String]) -> Result<Vec<HostPort>> {
    let mut addrs = Vec::new();
    for text in texts {
        let flag = || format!("--server-addr {text}");
        let addr = HostPort::with_default_port(text, DEFAULT_PORT).with_context(flag)?;
        ensure!(!addrs.contains(&addr), "{}: it is there twice", flag());
        addrs.push(addr);
    }
    Ok(addrs)
}

/// The servers, each with what makes it the right one.
fn upstreams(
    addrs: Vec<HostPort>,
    flags: &TrustFlags,
    transport: &TransportFlags,
) -> Result<Vec<Upstream>> {
    let upstream = |addr| {
        let trust = trust(flags, Some(&addr))?;
        let ways = ways(transport, &addr)?;
        Ok(Upstream { addr, ways, trust })
    };
    addrs.into_iter().map(upstream).collect()
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
    /// How it may be reached.
    pub ways: Ways,
    /// What makes it the right one.
    pub trust: Trust,
    /// What proves who we are.
    pub credential: Credential,
}

impl Remote {
    /// Completes and checks what was typed; none if no server was named.
    pub fn new(flags: BenchFlags) -> Result<Option<Self>> {
        let Some(addr) = flags.server_addr else {
            ensure!(
                !flags.credential.is_given()
                    && !flags.trust.is_given()
                    && flags.transport.proxy.is_none(),
                "credentials, certificates, trust and proxies are for a server that runs elsewhere: give its \
                 --server-addr too"
            );
            return Ok(None);
        };
        let server = HostPort::with_default_port(&addr, DEFAULT_PORT)
            .with_context(|| format!("--server-addr {addr}"))?;
        Ok(Some(Self {
            trust: trust(&flags.trust, Some(&server))?,
            ways: ways(&flags.transport, &server)?,
            server,
            credential: credential(flags.credential)?,
        }))
    }
}

impl From<KeygenFlags> for keygen::Request {
    fn from(flags: KeygenFlags) -> Self {
        Self {
            out_dir: flags.out_dir,
            force: flags.force,
            wanted: match (flags.client, flags.secret) {
                (None, _) => Wanted::Server(flags.host, flags.days),
                (Some(name), false) => Wanted::Client(name, flags.days),
                (Some(name), true) => Wanted::Secret(name),
            },
        }
    }
}

/// The directory for Unix sockets, by a path that does not depend on where we are.
fn directory(path: PathBuf) -> Result<PathBuf> {
    let shown = path.display();
    let found = path.is_dir().then(|| std::path::absolute(&path));
    found
        .ok_or_else(|| anyhow!("there is no such directory"))
        .and_then(|absolute| Ok(absolute?))
        .with_context(|| format!("--unix-dir {shown}"))
}

/// A file that was named, or the one of that name among a systemd service's credentials or in the
/// user's configuration directory.
fn existing_or_default(path: Option<PathBuf>, flag: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = path.or_else(|| secret::credential(name)) {
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

impl PasswordFlags {
    /// Whether there is a password without asking for one.
    fn is_given(&self) -> bool {
        let file = self.password_file.is_some() || self.kept.is_some();
        self.password.is_some() || file || env::var_os(PASSWORD_VARIABLE).is_some()
    }
}

impl CredentialFlags {
    /// Whether anything was typed.
    fn is_given(&self) -> bool {
        let PasswordFlags {
            password,
            password_file,
            kept,
        } = &self.password;
        let (key, name) = (&self.identity, &self.name);
        let file = password_file.is_some() || kept.is_some();
        password.is_some() || file || key.is_some() || name.is_some()
    }
}

/// What proves to a server who we are.
fn credential(flags: CredentialFlags) -> Result<Credential> {
    Ok(match (flags.identity, flags.name) {
        (Some(path), _) => Credential::Key(ClientIdentity::load(&path).context("--identity")?),
        (None, Some(name)) => Credential::Secret(name, password(flags.password)?),
        (None, None) => Credential::Password(password(flags.password)?),
    })
}

/// The password, from the first of: a flag, a file, the environment, the file of --config, systemd's
/// credentials, a prompt.
fn password(flags: PasswordFlags) -> Result<Password> {
    let (text, from) = if let Some(text) = flags.password {
        warn!(
            "--password shows the password to everyone on this machine; --password-file does not"
        );
        (Zeroizing::new(text), "--password".to_owned())
    } else if let Some(path) = flags.password_file {
        let from = format!("--password-file {}", path.display());
        let text = secret::read_line(&path).with_context(|| format!("cannot read {from}"))?;
        (text, from)
    } else if let Some(text) = env::var_os(PASSWORD_VARIABLE) {
        let text = text.into_string();
        let text = text.map_err(|_| anyhow!("{PASSWORD_VARIABLE} is not UTF-8"))?;
        (Zeroizing::new(text), PASSWORD_VARIABLE.to_owned())
    } else if let Some(text) = flags.kept {
        (text, "--config".to_owned())
    } else if let Some(path) = secret::credential(PASSWORD_CREDENTIAL) {
        let from = format!("systemd's credential '{PASSWORD_CREDENTIAL}'");
        let text = secret::read_line(&path).with_context(|| format!("cannot read {from}"))?;
        (text, from)
    } else if stdin().is_terminal() {
        let typed = rpassword::prompt_password("Password: ");
        let typed = typed.context("cannot read the password from the terminal")?;
        (Zeroizing::new(typed), "the terminal".to_owned())
    } else {
        bail!("no password: give --password-file, {PASSWORD_VARIABLE} or --password");
    };
    Password::new(text).ok_or_else(|| anyhow!("the password from {from} is empty"))
}
