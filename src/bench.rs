//! `rstun bench`: what a tunnel does on this machine.
//!
//! A real server and a real client, each in a thread of its own as they would be in a process, with
//! a certificate just made, over loopback. Plain threads drive TCP through a TunnelOut between
//! them.

mod load;
mod pair;
mod report;

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use self::load::{Bulk, Direction, Target};
use self::pair::Pair;
use self::report::{Figures, Report, Row};
use crate::cli::BenchFlags;

/// Time between two updates of a progress bar.
const TICK: Duration = Duration::from_millis(100);

/// What to measure.
#[derive(Debug)]
pub struct Plan {
    /// Time for each measurement.
    pub seconds: u64,
    /// Numbers of connections for the bulk data.
    pub streams: Vec<u16>,
    /// JSON in place of a table.
    pub json: bool,
}

impl From<BenchFlags> for Plan {
    fn from(flags: BenchFlags) -> Self {
        Self {
            seconds: flags.seconds,
            streams: flags.streams,
            json: flags.json,
        }
    }
}

/// Measures, and prints the report to standard output.
pub fn run(plan: &Plan) -> Result<()> {
    let target = Target::start()?;
    let pair = Pair::start(target.addr())?;
    let stage = Stage {
        time: Duration::from_secs(plan.seconds),
        pair: &pair,
        target: &target,
    };
    let mut report = Report::new(plan.seconds);
    for &streams in &plan.streams {
        for direction in [Direction::Up, Direction::Down] {
            report.add(stage.bulk(direction, streams)?);
        }
    }
    report.add(stage.requests()?);
    report.add(stage.flows()?);
    pair.stop();
    report.print(plan.json)
}

/// What each measurement needs.
struct Stage<'a> {
    time: Duration,
    pair: &'a Pair,
    target: &'a Target,
}

impl Stage<'_> {
    fn bulk(&self, direction: Direction, streams: u16) -> Result<Row> {
        let name = format!("{direction}, {streams} {}", plural(streams, "stream"));
        let bulk = Bulk::start(self.pair.entry(), self.target, direction, streams)?;
        let cpu = self.pair.cpu_time();
        let (start, from) = (Instant::now(), bulk.bytes());
        self.watch(&name, start, |elapsed| {
            let rate = gbit_per_s(bulk.bytes() - from, elapsed);
            format!("{rate:.2} Gbit/s")
        });
        let (bytes, elapsed) = (bulk.bytes() - from, start.elapsed());
        let spent = self
            .pair
            .cpu_time()
            .zip(cpu)
            .map(|(after, before)| after - before);
        bulk.stop()?;
        Ok(Row {
            name,
            figures: Figures::Throughput {
                gbit_per_s: gbit_per_s(bytes, elapsed),
                cpu_s_per_gb: spent.map(|s| s.as_secs_f64() / (bytes as f64 / 1e9)),
            },
        })
    }

    fn requests(&self) -> Result<Row> {
        let name = "requests, 1 at a time".to_owned();
        let bar = self.bar(&name);
        let start = Instant::now();
        let mut times = load::round_trips(self.pair.entry(), self.time, |done| {
            self.show(&bar, start, &format!("{done} done"));
        })?;
        bar.finish_and_clear();
        times.sort_unstable();
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
        Ok(Row {
            name,
            figures: Figures::RoundTrips {
                p50_us: at(0.5).as_secs_f64() * 1e6,
                p99_us: at(0.99).as_secs_f64() * 1e6,
            },
        })
    }

    fn flows(&self) -> Result<Row> {
        let name = "new flows, 8 at a time".to_owned();
        let flows = load::Flows::start(self.pair.entry(), 8);
        let (start, from) = (Instant::now(), flows.done());
        self.watch(&name, start, |elapsed| {
            let rate = (flows.done() - from) as f64 / elapsed.as_secs_f64();
            format!("{rate:.0} flows/s")
        });
        let per_s = (flows.done() - from) as f64 / start.elapsed().as_secs_f64();
        flows.stop()?;
        Ok(Row {
            name,
            figures: Figures::NewFlows { per_s },
        })
    }

    /// Lets a load run for its time, with a progress bar that shows the rate so far.
    fn watch(&self, name: &str, start: Instant, rate: impl Fn(Duration) -> String) {
        let bar = self.bar(name);
        while let Some(left) = self.time.checked_sub(start.elapsed()) {
            std::thread::sleep(left.min(TICK));
            self.show(&bar, start, &rate(start.elapsed()));
        }
        bar.finish_and_clear();
    }

    fn bar(&self, name: &str) -> ProgressBar {
        if !stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(self.time.as_millis() as u64);
        if let Ok(style) = ProgressStyle::with_template("{prefix:24} [{bar:30}] {msg}") {
            bar.set_style(style);
        }
        bar.with_prefix(name.to_owned())
    }

    fn show(&self, bar: &ProgressBar, start: Instant, message: &str) {
        bar.set_position(start.elapsed().as_millis() as u64);
        bar.set_message(message.to_owned());
    }
}

fn gbit_per_s(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 * 8.0 / 1e9 / elapsed.as_secs_f64()
}

fn plural(n: u16, noun: &str) -> String {
    match n {
        1 => noun.to_owned(),
        _ => format!("{noun}s"),
    }
}
