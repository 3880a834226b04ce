//! Follows the file of `--clients`: what it says counts as soon as it is written.
//!
//! The file is looked at now and then, by its path. So it does not matter how it changes: in place,
//! by another that takes its name, behind a symbolic link that is turned elsewhere, with its whole
//! directory, or on another machine that shares it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::access::{Entry, Registry};
use crate::config::ClientsFile;

/// Time between two looks at the file, of some microseconds each.
const LOOK: Duration = Duration::from_millis(200);

/// Quiet after which a file is taken for written: it may be emptied first, and filled then.
const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for that.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// Keeps a registry to what the file says, for ever. Cancel-safe.
pub(super) async fn follow(file: &ClientsFile, registry: &Registry) {
    let mut known = file.entries.clone();
    let mut seen = State::of(file.path());
    loop {
        // The first time this is what was written since the file was loaded.
        if let Err(e) = read(file, &mut known, registry) {
            format!("{e:#}").lines().for_each(|line| error!("{line}"));
            warn!("the clients stay as they were");
        }
        seen = next(file.path(), seen).await;
    }
}

/// Waits until a file is another, or written anew.
async fn next(path: &Path, seen: State) -> State {
    while State::of(path) == seen {
        sleep(LOOK).await;
    }
    let patience = Instant::now() + IMPATIENCE;
    let mut before = State::of(path);
    loop {
        sleep(QUIET).await;
        let now = State::of(path);
        if now == before || Instant::now() > patience {
            return now;
        }
        before = now;
    }
}

fn read(file: &ClientsFile, known: &mut Vec<Entry>, registry: &Registry) -> Result<()> {
    let entries = file.read_again()?;
    if entries != *known {
        let path = file.path().display();
        info!("{path} has changed: {} clients", entries.len());
        registry.update(entries.clone());
        *known = entries;
    }
    Ok(())
}

/// What tells a file from another, and from itself before it was written; nothing if it is not there.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    modified: Option<SystemTime>,
    length: u64,
    /// The device, the file's number there, and when either the file or its rights changed.
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl State {
    fn of(path: &Path) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;

        let Ok(file) = fs::metadata(path) else {
            return Self::default();
        };
        Self {
            modified: file.modified().ok(),
            length: file.len(),
            #[cfg(unix)]
            inode: (file.dev(), file.ino(), file.ctime(), file.ctime_nsec()),
        }
    }
}
