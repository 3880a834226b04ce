//! When a program that runs reads its configuration again: a file changes, SIGHUP comes, or somebody
//! asks.
//!
//! Files are looked at now and then, by their paths. So it does not matter how one changes: in place,
//! by another that takes its name, behind a symbolic link that is turned elsewhere, with its whole
//! directory, or on another machine that shares it.

use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::systemd;

/// Time between two looks at files, of some microseconds each.
const LOOK: Duration = Duration::from_millis(200);

/// Quiet after which a file is taken for written: it may be emptied first, and filled then.
const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for that.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// What has changed, a line for each thing; or why nothing did.
pub type Report = Result<Vec<String>, String>;

/// Has somebody who asked for it know.
pub type Answer = oneshot::Sender<Report>;

/// Asks for it.
pub async fn ask(ask: &mpsc::Sender<Answer>) -> Report {
    let (answer, answered) = oneshot::channel();
    let nothing = "there is nothing to be read again, or the program is about to end";
    let asked = ask.send(answer).await;
    asked.map_err(|_| nothing)?;
    answered.await.map_err(|_| nothing)?
}

/// All occasions on which a configuration is read again.
#[derive(Debug)]
pub struct Occasions {
    files: Files,
    asked: mpsc::Receiver<Answer>,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Occasions {
    /// Those of a configuration from these files, and how to ask; must be called within a runtime.
    pub fn new(files: Vec<PathBuf>) -> (mpsc::Sender<Answer>, Self) {
        let (ask, asked) = mpsc::channel(1);
        #[cfg(unix)]
        let hangup = {
            use tokio::signal::unix::{SignalKind, signal};
            let hangup = signal(SignalKind::hangup());
            hangup
                .inspect_err(|e| warn!("SIGHUP cannot be listened for: {e}"))
                .ok()
        };
        let occasions = Self {
            files: Files::new(files),
            asked,
            #[cfg(unix)]
            hangup,
        };
        (ask, occasions)
    }

    /// Applies what is read on each occasion, for ever: `apply` says what has changed, or fails and
    /// changes nothing.
    pub async fn follow(mut self, mut apply: impl AsyncFnMut() -> Result<Vec<String>>) {
        loop {
            let answer = self.next().await;
            systemd::reloading();
            let report = apply().await.map_err(|e| format!("{e:#}"));
            systemd::ready();
            match &report {
                Ok(changes) => changes.iter().for_each(|line| info!("{line}")),
                Err(why) => {
                    why.lines().for_each(|line| error!("{line}"));
                    warn!("the configuration stays as it was");
                }
            }
            if let Some(answer) = answer {
                // Who does not wait any more finds it in the log.
                let _ = answer.send(report);
            }
        }
    }

    /// Waits for the next occasion, and returns who is to have an answer. Cancel-safe.
    async fn next(&mut self) -> Option<Answer> {
        let hangup = async {
            #[cfg(unix)]
            if let Some(hangup) = &mut self.hangup
                && hangup.recv().await.is_some()
            {
                return;
            }
            pending().await
        };
        tokio::select! {
            () = self.files.changed() => None,
            () = hangup => None,
            Some(answer) = self.asked.recv() => Some(answer),
        }
    }
}

/// Files, as they were when they were looked at last.
#[derive(Debug)]
pub struct Files {
    paths: Arc<[PathBuf]>,
    seen: Vec<State>,
}

impl Files {
    /// As they are now.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let seen = look(&paths);
        let paths = paths.into();
        Self { paths, seen }
    }

    /// Waits until one is another, or written anew, and all have been left alone for a moment.
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        while self.look().await == self.seen {
            sleep(LOOK).await;
        }
        let patience = Instant::now() + IMPATIENCE;
        let mut before = self.look().await;
        loop {
            sleep(QUIET).await;
            let now = self.look().await;
            if now == before || Instant::now() > patience {
                self.seen = now;
                return;
            }
            before = now;
        }
    }

    /// As they are now. A file system that is out of reach may take its time, which is no one else's.
    async fn look(&self) -> Vec<State> {
        let paths = self.paths.clone();
        match spawn_blocking(move || look(&paths)).await {
            Ok(seen) => seen,
            // The program is about to end.
            Err(_) => pending().await,
        }
    }
}

/// Reads a configuration, which may take as long as the file system likes. Not cancel-safe.
pub async fn read<T: Send + 'static>(
    read: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(read).await?
}

fn look(paths: &[PathBuf]) -> Vec<State> {
    paths.iter().map(|path| State::of(path)).collect()
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
