//! What `rstun check` is to check.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::{ClientConfig, ServerConfig, file, places};
use crate::cli::{self, CheckFlags};
use crate::secret;

/// A configuration to check.
#[derive(Debug)]
pub enum Checked {
    /// A server's.
    Server(Box<ServerConfig>),
    /// A client's.
    Client(Box<ClientConfig>),
}

impl Checked {
    /// Completes and checks what was typed.
    pub fn new(flags: CheckFlags) -> Result<Self> {
        match flags.what {
            Some(cli::Checked::Server(flags)) => {
                Ok(Self::Server(Box::new(ServerConfig::new(*flags)?)))
            }
            Some(cli::Checked::Client(flags)) => {
                Ok(Self::Client(Box::new(ClientConfig::new(*flags)?)))
            }
            None => bail!("nothing to check: say `rstun check server` or `rstun check client`"),
        }
    }
}

/// The arguments of a check that say what is checked: the file does, where nobody did.
pub(super) fn complete(mut args: Vec<OsString>, named: Option<&PathBuf>) -> Result<Vec<OsString>> {
    let (role, file) = match named {
        Some(file) => (role(file)?, file.clone()),
        None => usual()?,
    };
    args.truncate(2);
    args.extend([role.into(), "--config".into(), file.into()]);
    Ok(args)
}

/// The one file that there is in the configuration directory.
fn usual() -> Result<(&'static str, PathBuf)> {
    let dir = places::configuration()?;
    let file = |role| (role, dir.join(format!("{role}.toml")));
    let mut found: Vec<_> = ["server", "client"].map(file).into();
    found.retain(|(_, file)| file.exists());
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => bail!(
            "there is nothing to check in {}: give --config FILE, or what you would type behind \
             `rstun`, as in `rstun check client rstun://... -R 3000^18080`",
            dir.display()
        ),
        (Some(_), Some(_)) => bail!(
            "there are server.toml and client.toml in {}: say `rstun check server` or `rstun check \
             client`",
            dir.display()
        ),
    }
}

/// Whose file it is, by the keys that only one of the two has, or else by its name.
fn role(path: &Path) -> Result<&'static str> {
    let shown = path.display();
    let (text, _) =
        secret::read_text(path).with_context(|| format!("cannot read --config {shown}"))?;
    let fits = ["server", "client"].map(|role| {
        let program = cli::program(&[role]).unwrap_or_default();
        file::known(&text, &program)
    });
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match fits {
        [server, client] if server > client => Ok("server"),
        [server, client] if server < client => Ok("client"),
        _ if name.contains("server") => Ok("server"),
        _ if name.contains("client") => Ok("client"),
        _ => Err(anyhow!(
            "--config {shown}: is it a server's or a client's? Say `rstun check server --config \
             {shown}` or `rstun check client --config {shown}`"
        )),
    }
}
