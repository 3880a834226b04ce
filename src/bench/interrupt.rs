//! Ctrl-C and SIGTERM, as a flag for the loops that measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{process, thread};

use anyhow::{Context, Result};

use crate::EXIT_INTERRUPTED;
use crate::signals::Signals;

/// Whether a signal has come. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for signals from now on; a second one ends the process at once.
    pub(super) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.0.clone();
        let runtime = crate::worker_runtime()?;
        let signals = runtime.block_on(async { Signals::new() });
        let mut signals = signals.context("cannot listen for signals")?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    signals.next().await;
                    flag.store(true, Relaxed);
                    signals.next().await;
                    process::exit(EXIT_INTERRUPTED);
                });
            })?;
        Ok(interrupt)
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}
