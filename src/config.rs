//! Flags and environment in, complete and valid configurations out.
//!
//! After this module nothing is missing: no defaults and no sentinels further down. Whatever is
//! wrong with a command line or the files it names is found here, before anything is started.

mod checked;
mod clients;
mod connect;
mod file;
mod identity;
mod invitation;
mod places;
mod reload;
mod settings;
mod ticket;
mod transport;
mod trust;
mod tunnels;
mod web;

use std::env;
use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tracing::warn;
use zeroize::Zeroizing;

use self::identity::Identity;
use self::transport::ways;
use self::trust::trust;
use crate::access::{Access, Credential, Password};
use crate::cli::{
    self, BenchFlags, ClientFlags, CongestionFlags, CredentialFlags, Hidden, IdleFlags,
    KeygenFlags, PasswordFlags, ServerFlags, TransportFlags, TrustFlags,
};
use crate::invitation::Invitation;
use crate::keygen::{self, Wanted};
#[cfg(unix)]
use crate::privileges::Account;
use crate::secret;
use crate::tls::{ClientIdentity, ServerIdentity, Trust};
use crate::transport::{Congestion, Hop, Tuning};
use crate::tunnel::{HostPort, ListenAddr, Tunnel};

pub use checked::Checked;
pub use clients::ClientsFile;
pub use connect::ConnectConfig;
pub use reload::{ClientChanges, ServerChanges, Source};
pub use settings::{Asked, NotUnderstood, Origins, read};
pub use transport::Ways;
pub use tunnels::{Mistakes, mappings};
pub use web::{Serves, WebConfig};

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
    /// What to tell whoever started it, if there is anything.
    pub invitation: Option<Invitation>,
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
    /// Where it can be watched.
    pub web: WebConfig,
    /// Whom to go on as when the socket is bound.
    #[cfg(unix)]
    pub user: Option<Account>,
}

impl ServerConfig {
    /// Completes and checks what was typed.
    pub fn new(flags: ServerFlags) -> Result<Self> {
        let downstream = tunnels::downstream(&flags.downstream)?;
        let starts = !flags.password.never_ask;
        let identity = Identity::of_server(flags.keys, starts)?;
        let unix_dir = flags.unix_dir.map(directory).transpose()?;
        let access = Access::by_password(downstream, unix_dir);
        let clients = flags.clients.map(ClientsFile::load).transpose()?;
        let given = flags.password.is_given();
        let password = match (&clients, given) {
            // Nobody need know a password where there are entries.
            (Some(_), false) => None,
            _ => Some(identity.password(flags.password)?),
        };
        let (addr, more_ports) =
            ListenAddr::of_server(&flags.addr).with_context(|| format!("--addr {}", flags.addr))?;
        let all = password.as_ref();
        let all = all.filter(|_| flags.qr || (identity.state.is_some() && !given));
        let invitation = all.map(|all| invitation::of_all(&identity, all, addr, flags.qr));
        ensure!(
            invitation.is_some() || !flags.qr,
            "--qr shows the ticket of all who know the password, and there is none; \
             `rstun ticket --for NAME --qr` shows that of one client"
        );
        Ok(Self {
            addr,
            identity: identity.own,
            password: password.map(|password| (password, access)),
            invitation,
            clients,
            tuning: Tuning {
                hop: Hop {
                    interval: None,
                    more_ports,
                },
                ..tuning(&flags.congestion, &flags.idle)
            },
            drain: Duration::from_secs(flags.drain.seconds),
            udp_idle: Duration::from_secs(flags.udp.timeout),
            allow_bench: flags.allow_bench,
            control: true,
            web: WebConfig::new(flags.web)?,
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
    /// How many ports that follow this one are the server's too.
    pub more_ports: u16,
    /// What makes it the right one.
    pub trust: Trust,
}

/// All that a client needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The servers that it may go through, the preferred one first; at least one, and none twice.
    pub servers: Vec<Upstream>,
    /// Whether there is to be a session with each of them, and not with one alone.
    pub all_servers: bool,
    /// What proves who we are.
    pub credential: Credential,
    /// None where it was said that they come later.
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
    /// Where it can be watched.
    pub web: WebConfig,
}

impl ClientConfig {
    /// What all of its servers are trusted by.
    pub fn trust(&self) -> &Trust {
        // There is at least one.
        &self.servers[0].trust
    }

    /// Completes and checks what was typed.
    pub fn new(mut flags: ClientFlags) -> Result<Self> {
        let ticket = flags.ticket.take();
        let otherwise = !flags.server_addr.is_empty();
        if let Some(addrs) =
            ticket::redeem(ticket, otherwise, &mut flags.credential, &mut flags.trust)?
        {
            flags.server_addr = addrs;
        }
        let addrs = server_addrs(&flags.server_addr)?;
        ensure!(
            !addrs.is_empty(),
            "which server? Give the ticket that `rstun ticket` prints there, or its --server-addr \
             HOST[:PORT]"
        );
        let tunnels = tunnels::tunnels(&flags)?;
        Ok(Self {
            tunnels,
            servers: upstreams(addrs, &flags.trust, &flags.transport)?,
            all_servers: flags.all_servers,
            credential: credential(flags.credential)?,
            tuning: Tuning {
                hop: Hop {
                    interval: flags.hop.interval.map(Duration::from_secs),
                    more_ports: 0,
                },
                ..tuning(&flags.congestion, &flags.idle)
            },
            drain: Duration::from_secs(flags.drain.seconds),
            udp_idle: Duration::from_secs(flags.udp.timeout),
            control: true,
            web: WebConfig::new(flags.web)?,
        })
    }
}

/// The servers as they were typed, each with how many ports it has beside the first.
fn server_addrs(texts: &[String]) -> Result<Vec<(HostPort, u16)>> {
    let mut addrs: Vec<(HostPort, u16)> = Vec::new();
    for text in texts {
        let (addr, more_ports) = server_addr(text)?;
        let known = addrs.iter().any(|(known, _)| *known == addr);
        ensure!(!known, "--server-addr {text}: it is there twice");
        addrs.push((addr, more_ports));
    }
    Ok(addrs)
}

fn server_addr(text: &str) -> Result<(HostPort, u16)> {
    HostPort::of_server(text, DEFAULT_PORT).with_context(|| format!("--server-addr {text}"))
}

/// The servers, each with what makes it the right one.
fn upstreams(
    addrs: Vec<(HostPort, u16)>,
    flags: &TrustFlags,
    transport: &TransportFlags,
) -> Result<Vec<Upstream>> {
    let upstream = |(addr, more_ports)| {
        let trust = trust(flags, Some(&addr))?;
        let ways = ways(transport, &addr)?;
        Ok(Upstream {
            addr,
            ways,
            more_ports,
            trust,
        })
    };
    addrs.into_iter().map(upstream).collect()
}

pub(crate) fn tuning(congestion: &CongestionFlags, idle: &IdleFlags) -> Tuning {
    Tuning {
        congestion: congestion.control.into(),
        idle_timeout: Duration::from_secs(idle.seconds),
        hop: Hop::default(),
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
    pub fn new(mut flags: BenchFlags) -> Result<Option<Self>> {
        let otherwise = flags.server_addr.is_some();
        if let Some(addrs) =
            ticket::redeem(None, otherwise, &mut flags.credential, &mut flags.trust)?
        {
            flags.server_addr = addrs.into_iter().next();
        }
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
        // The first of its ports will do.
        let (server, _) = server_addr(&addr)?;
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
/// configuration directory, if it is there.
fn existing(path: Option<PathBuf>, name: &str) -> Option<PathBuf> {
    let configured = || {
        let path = places::configuration().ok()?.join(name);
        path.exists().then_some(path)
    };
    path.or_else(|| secret::credential(name))
        .or_else(configured)
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
            of_ticket,
            never_ask: _,
        } = &self.password;
        let (key, name) = (&self.identity, &self.name);
        let file = password_file.is_some() || kept.is_some() || of_ticket.is_some();
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

/// The password, from the first of: a ticket, a flag, a file, the environment, the file of --config, systemd's
/// credentials, a prompt.
fn password(flags: PasswordFlags) -> Result<Password> {
    let (text, from) = if let Some(Hidden(text)) = flags.of_ticket {
        (text, "the ticket".to_owned())
    } else if let Some(text) = flags.password {
        if !flags.never_ask {
            let better = "--password-file does not";
            warn!("--password shows the password to everyone on this machine; {better}");
        }
        (Zeroizing::new(text), "--password".to_owned())
    } else if let Some(path) = flags.password_file {
        let from = format!("--password-file {}", path.display());
        let text = secret::read_line(&path).with_context(|| format!("cannot read {from}"))?;
        (text, from)
    } else if let Some(text) = env::var_os(PASSWORD_VARIABLE) {
        let text = text.into_string();
        let text = text.map_err(|_| anyhow!("{PASSWORD_VARIABLE} is not UTF-8"))?;
        (Zeroizing::new(text), PASSWORD_VARIABLE.to_owned())
    } else if let Some(Hidden(text)) = flags.kept {
        (text, "--config".to_owned())
    } else if let Some(path) = secret::credential(PASSWORD_CREDENTIAL) {
        let from = format!("systemd's credential '{PASSWORD_CREDENTIAL}'");
        let text = secret::read_line(&path).with_context(|| format!("cannot read {from}"))?;
        (text, from)
    } else if flags.never_ask {
        bail!(
            "the password was typed, and is not asked for again: give --password-file or \
             {PASSWORD_VARIABLE}"
        );
    } else if stdin().is_terminal() {
        let typed = rpassword::prompt_password("Password: ");
        let typed = typed.context("cannot read the password from the terminal")?;
        (Zeroizing::new(typed), "the terminal".to_owned())
    } else {
        bail!("no password: give --password-file, {PASSWORD_VARIABLE} or --password");
    };
    Password::new(text).ok_or_else(|| anyhow!("the password from {from} is empty"))
}
