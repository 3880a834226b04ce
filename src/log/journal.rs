//! Whether it is systemd's journal that reads what we say.

use std::env;

use rustix::fs::fstat;

/// Where systemd says which of the standard streams goes to the journal, by its device and its
/// number there (systemd.exec(5)).
const VARIABLE: &str = "JOURNAL_STREAM";

/// Whether standard error goes to the journal. A program that was started by a service, with its
/// output elsewhere, has the variable too.
pub(super) fn is_stderr() -> bool {
    let Ok(named) = env::var(VARIABLE) else {
        return false;
    };
    let stream = fstat(rustix::stdio::stderr());
    stream.is_ok_and(|stream| named == format!("{}:{}", stream.st_dev, stream.st_ino))
}
