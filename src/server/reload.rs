//! Follows the file of `--clients`: what it says counts as soon as it is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::access::{Entry, Registry};
use crate::config::ClientsFile;

/// Quiet after which a file is taken for written: it may be emptied first, and filled then.
const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for that.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// A file that is being watched.
#[derive(Debug)]
pub(super) struct Follower {
    file: ClientsFile,
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Follower {
    /// Watches the file's directory, for editors put a new file in the place of the old one, and
    /// that of the file that it is a link to.
    pub(super) fn watch(file: ClientsFile) -> Result<Self> {
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<_>| match event {
                Ok(event) if is_reading(&event) => {}
                _ => tell.notify_one(),
            })?;
        for dir in directories(file.path())? {
            watcher
                .watch(&dir, RecursiveMode::NonRecursive)
                .with_context(|| format!("cannot watch {}", dir.display()))?;
        }
        Ok(Self {
            file,
            changed,
            _watcher: watcher,
        })
    }

    /// Keeps a registry to what the file says, for ever. Cancel-safe.
    pub(super) async fn follow(&self, registry: &Registry) {
        // What was written between the first reading and the watch counts too.
        let mut known = self.file.entries.clone();
        let mut told = String::new();
        loop {
            match self.read(&mut known, registry) {
                Ok(()) => told.clear(),
                // There may be much going on in its directory that has nothing to do with it.
                Err(e) if format!("{e:#}") == told => {}
                Err(e) => {
                    told = format!("{e:#}");
                    told.lines().for_each(|line| error!("{line}"));
                    warn!("the clients stay as they were");
                }
            }
            self.changed.notified().await;
            let quiet = async { while timeout(QUIET, self.changed.notified()).await.is_ok() {} };
            tokio::select! {
                () = quiet => {}
                () = sleep(IMPATIENCE) => {}
            }
        }
    }

    fn read(&self, known: &mut Vec<Entry>, registry: &Registry) -> Result<()> {
        let entries = self.file.read_again()?;
        if entries != *known {
            let path = self.file.path().display();
            info!("{path} has changed: {} clients", entries.len());
            registry.update(entries.clone());
            *known = entries;
        }
        Ok(())
    }
}

/// Whether it was only looked at, as we do ourselves.
fn is_reading(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    matches!(event.kind, EventKind::Access(_)) && event.kind != written
}

fn directories(path: &Path) -> Result<Vec<PathBuf>> {
    let parent = |path: &Path| path.parent().map(Path::to_owned);
    let named = std::path::absolute(path)?;
    let real = named.canonicalize()?;
    let mut dirs: Vec<_> = [parent(&named), parent(&real)]
        .into_iter()
        .flatten()
        .collect();
    dirs.dedup();
    Ok(dirs)
}
