//! What a server does with a configuration that has changed: that of `--clients`, and all the rest.

use anyhow::Result;
use tracing::{error, info, warn};

use super::Server;
use crate::access::{Entry, Registry};
use crate::config::{ClientsFile, ServerConfig, Source};
use crate::reload::{self, Files};
use crate::session::ALPN;

impl Server {
    /// Reads the configuration again and takes over what can change while it runs, in place of
    /// `current`. Returns what that was.
    pub(super) async fn reload(
        &self,
        source: &Source,
        current: &mut Option<ServerConfig>,
    ) -> Result<Vec<String>> {
        let source = source.clone();
        let new = reload::read(move || source.server()).await?;
        let old = current.as_ref().unwrap_or(&self.config);
        let changes = old.changes(&new);
        if changes.identity {
            let tls = new.identity.config(ALPN, new.clients.is_some())?;
            self.endpoint.set_tls(tls)?;
        }
        if changes.password {
            self.shared.registry.set_password(new.password.clone());
        }
        *current = Some(new);
        Ok(changes.lines)
    }
}

/// Keeps a registry to what the file of `--clients` says, for ever: that counts as soon as it is
/// written. Cancel-safe.
pub(super) async fn follow(file: &ClientsFile, registry: &Registry) {
    let mut known = file.entries.clone();
    let mut files = Files::new(vec![file.path().to_owned()]);
    loop {
        // The first time this is what was written since the file was loaded.
        if let Err(e) = read(file, &mut known, registry).await {
            format!("{e:#}").lines().for_each(|line| error!("{line}"));
            warn!("the clients stay as they were");
        }
        files.changed().await;
    }
}

async fn read(file: &ClientsFile, known: &mut Vec<Entry>, registry: &Registry) -> Result<()> {
    let again = file.clone();
    let entries = reload::read(move || again.read_again()).await?;
    if entries != *known {
        let path = file.path().display();
        info!("{path} has changed: {} clients", entries.len());
        registry.update(entries.clone());
        *known = entries;
    }
    Ok(())
}
