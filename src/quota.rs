//! How many lines those whom we do not trust may cause in the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Lines that may be written in a [`SPAN`] for as long as there are more.
const LINES: u32 = 30;

const SPAN: Duration = Duration::from_secs(60);

/// Lines of one kind, of which only so many are written.
#[derive(Debug)]
pub(crate) struct Ration {
    /// What they are.
    what: String,
    quota: Mutex<Quota>,
}

impl Ration {
    /// Lines that are `what`: some in a minute.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self::with_store(what, LINES)
    }

    /// The same, where so many may be written at once after a pause.
    pub(crate) fn with_store(what: impl Into<String>, store: u32) -> Self {
        let quota = Mutex::new(Quota::new(store));
        let what = what.into();
        Self { what, quota }
    }

    /// Has a line written, unless there have been many of late. The next one that is written tells how
    /// many were not.
    pub(crate) fn say(&self, line: impl FnOnce()) {
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = quota.take(Instant::now());
        drop(quota);
        let Some(left_out) = taken else {
            return;
        };
        if left_out > 0 {
            warn!("{left_out} {} were left out", self.what);
        }
        line();
    }
}

/// Lets so many lines through, and [`LINES`] more after each span of time; counts the rest. Told the
/// time by its caller.
#[derive(Debug)]
struct Quota {
    /// Most lines at once.
    store: u32,
    left: u32,
    /// When there were more last.
    since: Option<Instant>,
    left_out: u64,
}

impl Quota {
    fn new(store: u32) -> Self {
        Self {
            store,
            left: store,
            since: None,
            left_out: 0,
        }
    }

    /// Takes one line. If it may be said, tells how many were left out since the last that was.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let spans = (now - since).as_secs() / SPAN.as_secs();
        if spans > 0 {
            let more = u64::from(LINES).saturating_mul(spans);
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(self.store);
            self.since = Some(now);
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_with_the_first_line_after_it() {
        let (mut quota, mut now) = (Quota::new(LINES), Instant::now());
        let said = (0..1000).filter(|_| quota.take(now) == Some(0)).count();
        assert_eq!(said, LINES as usize);
        now += SPAN - Duration::from_nanos(1);
        assert_eq!(quota.take(now), None);
        now += Duration::from_nanos(1);
        assert_eq!(quota.take(now), Some(1000 - u64::from(LINES) + 1));
        assert_eq!(quota.take(now), Some(0));
    }

    #[test]
    fn a_store_is_filled_slowly() {
        let (mut quota, mut now) = (Quota::new(100), Instant::now());
        let mut flood = |now| (0..1000).filter(|_| quota.take(now).is_some()).count();
        assert_eq!(flood(now), 100);
        now += SPAN;
        assert_eq!(flood(now), LINES as usize);
        now += 1000 * SPAN;
        assert_eq!(flood(now), 100);
    }
}
