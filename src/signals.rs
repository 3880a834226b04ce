//! The signals that ask a process to end, and one that would end it by mistake.

/// Waits for the signals that ask a process to end: SIGTERM, SIGINT, and SIGHUP where it says that the
/// process's terminal was closed. Any other SIGHUP asks for a configuration to be read again.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    /// None where there is no terminal, or where `nohup` says that its end is not to matter.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Must be called within a runtime, before anyone else listens for signals.
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let goes_with_terminal = has_terminal() && !is_hangup_ignored();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: goes_with_terminal
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = closed(&mut self.hangup) => {}
        }
    }
}

/// Answers SIGUSR2 in the log, for ever: it has a server give its place to a new process, and would end
/// any other program.
pub(crate) async fn decline_succession() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        if let Ok(mut asked) = signal(SignalKind::user_defined2()) {
            while asked.recv().await.is_some() {
                tracing::warn!(
                    "SIGUSR2 is for servers, nothing is done: stop the client and start it anew"
                );
            }
        }
    }
    std::future::pending().await
}

/// Waits until the terminal is closed. Cancel-safe.
#[cfg(unix)]
async fn closed(hangup: &mut Option<tokio::signal::unix::Signal>) {
    if let Some(hangup) = hangup {
        while hangup.recv().await.is_some() {
            if !has_terminal() {
                return;
            }
        }
    }
    std::future::pending().await
}

/// Whether the process has a controlling terminal, which it loses when that is closed.
#[cfg(unix)]
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether SIGHUP is ignored, as `nohup` arranges it; not known but on Linux.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The mask's lowest bit is signal 1, and that is SIGHUP (proc_pid_status(5)).
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
