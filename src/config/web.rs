//! Where a program can be watched by HTTP.

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use directories::ProjectDirs;
use tracing::warn;

use crate::cli::WebFlags;
use crate::tunnel::ListenAddr;
use crate::web::Token;

/// Where systemd says that a service's state is kept (systemd.exec(5), StateDirectory=).
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// The token's file in the state directory.
const TOKEN: &str = "metrics-token";

/// What listens for HTTP, and what is asked of those who come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// The addresses, and what each serves.
    pub listeners: Vec<(SocketAddr, Serves)>,
    /// What shows that somebody may see more than health, and its file; without the former it is made
    /// there unless it is there already.
    pub token: Option<(Option<Token>, PathBuf)>,
}

/// What is served at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serves {
    /// The flag that says so.
    pub flag: &'static str,
    /// The status page and metrics, for those with the token.
    pub status: bool,
    /// Health, for everybody.
    pub health: bool,
}

impl WebConfig {
    /// Completes and checks what was typed.
    pub fn new(flags: WebFlags) -> Result<Self> {
        let addr = |flag: &str, addr: Option<String>| {
            let parsed = addr.map(|addr| {
                let parsed = addr.parse::<ListenAddr>();
                parsed.with_context(|| format!("{flag} {addr}"))
            });
            Ok::<_, anyhow::Error>(parsed.transpose()?.map(local))
        };
        let status = addr("--metrics", flags.metrics)?;
        let health = addr("--health", flags.health)?;
        let mut listeners = Vec::new();
        if let Some(addr) = status {
            if !addr.ip().is_loopback() {
                warn!(
                    "--metrics {addr}: the token goes over the network in clear; a loopback address \
                     behind a proxy with TLS is safer"
                );
            }
            let health = health == Some(addr);
            let (flag, status) = ("--metrics", true);
            listeners.push((
                addr,
                Serves {
                    flag,
                    status,
                    health,
                },
            ));
        }
        if let Some(addr) = health.filter(|_| health != status) {
            let (flag, status, health) = ("--health", false, true);
            listeners.push((
                addr,
                Serves {
                    flag,
                    status,
                    health,
                },
            ));
        }
        let token = status
            .map(|_| token(flags.metrics_token_file))
            .transpose()?;
        Ok(Self { listeners, token })
    }
}

/// An address to listen on; without an IP address it is for this machine alone.
fn local(addr: ListenAddr) -> SocketAddr {
    let ip = addr.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    SocketAddr::new(ip, addr.port)
}

fn token(path: Option<PathBuf>) -> Result<(Option<Token>, PathBuf)> {
    if let Some(path) = path {
        let token = Token::load(&path);
        let token = token.with_context(|| format!("--metrics-token-file {}", path.display()))?;
        return Ok((Some(token), path));
    }
    let dir = state_dir()
        .context("--metrics: no home directory for a token; give --metrics-token-file")?;
    Ok((None, dir.join(TOKEN)))
}

fn state_dir() -> Option<PathBuf> {
    if let Some(dirs) = env::var_os(STATE_DIRECTORY) {
        // The first of a list with colons between them.
        let first = dirs.to_string_lossy().split(':').next().map(PathBuf::from);
        return first.filter(|dir| !dir.as_os_str().is_empty());
    }
    let dirs = ProjectDirs::from("", "", "rstun")?;
    let dir: &Path = dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir());
    Some(dir.to_owned())
}
