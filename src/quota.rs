//! How many lines those whom we do not trust may cause in the log.

use std::time::{Duration, Instant};

/// Lines in a [`SPAN`].
const LINES: u32 = 30;

const SPAN: Duration = Duration::from_secs(60);

/// Lets so many lines through in a span of time, and counts the rest. Told the time by its caller.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    began: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Quota {
    /// Takes one line. If it may be said, tells how many were left out since the last that was.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now - began >= SPAN) {
            self.began = Some(now);
            self.said = 0;
        }
        if self.said == LINES {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_with_the_first_line_after_it() {
        let (mut quota, mut now) = (Quota::default(), Instant::now());
        let said = (0..1000).filter(|_| quota.take(now) == Some(0)).count();
        assert_eq!(said, LINES as usize);
        now += SPAN - Duration::from_nanos(1);
        assert_eq!(quota.take(now), None);
        now += Duration::from_nanos(1);
        assert_eq!(quota.take(now), Some(1000 - u64::from(LINES) + 1));
        assert_eq!(quota.take(now), Some(0));
    }
}
