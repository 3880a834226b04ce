//! A line for a measurement that is under way, on a terminal.

use std::collections::VecDeque;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How far back the current rate reaches.
const RECENT: Duration = Duration::from_secs(1);

/// A progress bar with the current rate; invisible where there is no terminal. It goes when
/// dropped.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// When so much was done, oldest first, over [`RECENT`].
    recent: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// A bar of so many steps.
    pub(super) fn new(name: &str, steps: u64) -> Self {
        let bar = if stderr().is_terminal() {
            ProgressBar::new(steps)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix:24} [{bar:30}] {msg}") {
            bar.set_style(style);
        }
        Self {
            bar: bar.with_prefix(name.to_owned()),
            recent: VecDeque::new(),
        }
    }

    /// Moves the bar, and shows the rate that `done` grows at.
    pub(super) fn show(&mut self, step: u64, done: u64, rate: impl Fn(f64) -> String) {
        let now = Instant::now();
        self.recent.push_back((now, done));
        while self.recent.len() > 2 && now - self.recent[1].0 >= RECENT {
            self.recent.pop_front();
        }
        self.bar.set_position(step);
        let (then, before) = self.recent[0];
        let time = (now - then).as_secs_f64();
        if time > 0.0 {
            self.bar.set_message(rate((done - before) as f64 / time));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
