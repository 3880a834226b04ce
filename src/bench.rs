//! `rstun bench`: what a tunnel does, on this machine or to a server elsewhere.
//!
//! On this machine: a real server and a real client, each in a thread of its own as they would be
//! in a process, with a certificate just made, over loopback. To a server elsewhere: the client
//! alone, over the real network. Either way plain threads drive TCP through a TunnelOut, to a
//! `Target` that the server's process runs when `--allow-bench` lets it.
//!
//! # JSON
//!
//! One object; these names stay, and more may come:
//!
//! - `version` of rstun; `seconds` that each measurement was to take; `complete`: false if it was
//!   cut short by a signal or a failure;
//! - `server` that was measured, null for one in this process;
//! - `cpu` (a name), `cores`, `kernel`;
//! - `udp_payload`, bytes, as of the end, and `congestion`, the client's controller: both null if
//!   there is no connection at the end; `cipher`, the client's first choice;
//! - `results`, an array of objects, each with a `name` for people and its `scenario`, and then
//!   - `up`, `down`: `streams`; `gbit_per_s`, 10^9 bits of carried data; `cpu_s_per_gb`, processor
//!     time of the ends that are in this process for 10^9 bytes, null where it is not known;
//!   - `requests`: `payload`, bytes of a request and of its answer; `p50_us`, `p99_us`; `per_s`;
//!   - `flows`: `per_s`, connections made, used and closed;
//!   - `idle`: `flows`, how many there were; `kb_per_flow`, resident memory (1024 bytes) that each
//!     added to this process, with the ends that are in it and some 1 KB of the load's own;
//!     `fresh_mb`, what the process had before. On Linux alone.

mod ends;
mod interrupt;
mod load;
mod machine;
mod plan;
mod progress;
mod report;
mod target;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tracing::{info, warn};

use self::ends::Ends;
use self::interrupt::Interrupt;
use self::load::{Direction, Load, Samples};
use self::plan::Step;
use self::progress::Progress;
use self::report::{Figures, Report, Row};

pub use self::plan::Plan;
pub(crate) use self::target::Target;

/// Time between two updates of a progress bar.
const TICK: Duration = Duration::from_millis(100);

/// What is interrupted before this says too little to be reported.
const LEAST: Duration = Duration::from_millis(100);

/// Silence at the end of a measurement that is told, since the figure hides it.
const STALL: Duration = Duration::from_secs(1);

/// Connections that are made at a time for the rate of new ones.
const FLOWS_AT_A_TIME: u16 = 8;

/// Idle flows, as far as there are descriptors for them.
const IDLE_FLOWS: usize = 1000;

/// Descriptors of one flow in this process: at the load's end and at the client's; and at the
/// server's and the target's, if they are here.
const DESCRIPTORS: usize = 2;

/// Descriptors that are left for all else.
const SPARE_DESCRIPTORS: usize = 64;

/// Time for the last flows to become idle.
const SETTLING: Duration = Duration::from_millis(500);

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All was measured.
    Complete,
    /// A signal came before that.
    Interrupted,
}

/// Measures, and prints the report to standard output: of all that was measured before a signal or
/// a failure.
pub fn run(plan: &Plan) -> Result<Ended> {
    let interrupt = Interrupt::listen()?;
    let ends = match &plan.remote {
        Some(remote) => Ends::with(remote, plan.tuning)?,
        None => Ends::here(plan.ways.clone(), plan.tuning)?,
    };
    if !ends.wait(&interrupt)? {
        return Ok(Ended::Interrupted);
    }
    let stage = Stage {
        plan,
        ends: &ends,
        interrupt: &interrupt,
    };
    let mut rows = Vec::new();
    let measured = stage.measure_all(&mut rows);
    let complete = measured.is_ok() && !interrupt.is_set();
    if !rows.is_empty() || measured.is_ok() {
        Report::new(plan, &ends, rows, complete).print(plan.json)?;
    }
    ends.stop();
    measured?;
    Ok(match interrupt.is_set() {
        true => Ended::Interrupted,
        false => Ended::Complete,
    })
}

/// What each measurement needs.
struct Stage<'a> {
    plan: &'a Plan,
    ends: &'a Ends,
    interrupt: &'a Interrupt,
}

/// What a load has done, in which time, and at what cost.
struct Measured {
    done: u64,
    time: Duration,
    cpu: Option<Duration>,
}

impl Measured {
    /// How much was done in a second.
    fn per_s(&self) -> f64 {
        self.done as f64 / self.time.as_secs_f64()
    }
}

impl Stage<'_> {
    fn measure_all(&self, rows: &mut Vec<Row>) -> Result<()> {
        for step in self.plan.steps() {
            let row = match step {
                _ if self.interrupt.is_set() => return Ok(()),
                Step::Idle => self.idle()?,
                Step::Bulk(direction, streams) => self.bulk(direction, streams)?,
                Step::Requests => self.requests()?,
                Step::Flows => self.flows()?,
            };
            if let Some((name, figures)) = row {
                info!("measured {name}");
                let scenario = step.scenario();
                rows.push(Row {
                    name,
                    scenario,
                    figures,
                });
            }
        }
        Ok(())
    }

    fn bulk(&self, direction: Direction, streams: u16) -> Result<Option<(String, Figures)>> {
        let way = match direction {
            Direction::Up => "up",
            Direction::Down => "down",
        };
        let plural = if streams == 1 { "" } else { "s" };
        let name = format!("{way}, {streams} stream{plural}");
        let load = Load::bulk(self.ends.entry(), direction, streams)?;
        let rate = |bytes: f64| report::rate(bytes * 8.0 / 1e9);
        let Some(measured) = self.drive(&name, load, rate)? else {
            return Ok(None);
        };
        let gigabytes = measured.done as f64 / 1e9;
        let figures = Figures::Throughput {
            streams,
            gbit_per_s: measured.per_s() * 8.0 / 1e9,
            cpu_s_per_gb: measured.cpu.map(|cpu| cpu.as_secs_f64() / gigabytes),
        };
        Ok(Some((name, figures)))
    }

    fn requests(&self) -> Result<Option<(String, Figures)>> {
        let payload = self.plan.payload;
        let name = format!("requests, {payload} bytes");
        let samples = Arc::new(Mutex::new(Samples::default()));
        let load = Load::requests(self.ends.entry(), payload, samples.clone())?;
        let rate = |per_s: f64| format!("{per_s:8.0} requests/s");
        let Some(measured) = self.drive(&name, load, rate)? else {
            return Ok(None);
        };
        let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut quantile = |q| samples.quantile(q).context("no request was answered");
        let figures = Figures::RoundTrips {
            payload,
            p50_us: quantile(0.5)?.as_secs_f64() * 1e6,
            p99_us: quantile(0.99)?.as_secs_f64() * 1e6,
            per_s: measured.per_s(),
        };
        Ok(Some((name, figures)))
    }

    fn flows(&self) -> Result<Option<(String, Figures)>> {
        let name = format!("new flows, {FLOWS_AT_A_TIME} at a time");
        let load = Load::flows(self.ends.entry(), FLOWS_AT_A_TIME)?;
        let rate = |per_s: f64| format!("{per_s:8.0} flows/s");
        let measured = self.drive(&name, load, rate)?;
        Ok(measured.map(|measured| {
            let per_s = measured.per_s();
            (name, Figures::NewFlows { per_s })
        }))
    }

    fn idle(&self) -> Result<Option<(String, Figures)>> {
        let entry = self.ends.entry();
        // The first flow of a process costs more than its own memory.
        drop(load::idle_flows(entry, 1, self.interrupt, drop)?);
        let Some(before) = machine::resident() else {
            warn!("idle memory is measured on Linux alone");
            return Ok(None);
        };
        let count = self.idle_count();
        let name = format!("idle, {count} flows");
        let progress = Mutex::new(Progress::new(&name, count as u64));
        let opened = |flows: usize| {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            let rate = |per_s: f64| format!("{per_s:8.0} flows/s");
            progress.show(flows as u64, flows as u64, rate);
        };
        let flows = load::idle_flows(entry, count, self.interrupt, opened)?;
        self.pause(SETTLING);
        if self.interrupt.is_set() {
            return Ok(None);
        }
        let after = machine::resident().unwrap_or(before);
        let figures = Figures::Idle {
            flows: flows.len(),
            kb_per_flow: after.saturating_sub(before) as f64 / 1024.0 / count as f64,
            fresh_mb: before as f64 / 1024.0 / 1024.0,
        };
        Ok(Some((name, figures)))
    }

    /// How many idle flows this process has descriptors for, at most [`IDLE_FLOWS`].
    fn idle_count(&self) -> usize {
        let each = match self.ends.are_both_here() {
            true => 2 * DESCRIPTORS,
            false => DESCRIPTORS,
        };
        let free = machine::descriptors().saturating_sub(SPARE_DESCRIPTORS);
        let count = IDLE_FLOWS.min(free / each).max(1);
        if count < IDLE_FLOWS {
            warn!("only {count} idle flows: the limit of open files (ulimit -n) is low");
        }
        count
    }

    /// Lets a load run for its time; none if it was interrupted too early to say anything.
    fn drive(
        &self,
        name: &str,
        load: Load,
        rate: impl Fn(f64) -> String,
    ) -> Result<Option<Measured>> {
        let begun = load.wait_for_first(self.interrupt);
        let measured = begun.map(|()| self.watch(name, &load, rate));
        // What broke says more than that nothing came.
        load.stop().with_context(|| name.to_owned())?;
        let measured = measured.with_context(|| name.to_owned())?;
        if self.interrupt.is_set() && (measured.time < LEAST || measured.done == 0) {
            return Ok(None);
        }
        ensure!(
            measured.done > 0,
            "{name}: nothing came through the tunnel in {:.0} s",
            measured.time.as_secs_f64()
        );
        Ok(Some(measured))
    }

    /// Watches a load until its time is over, or it breaks, or is interrupted.
    fn watch(&self, name: &str, load: &Load, rate: impl Fn(f64) -> String) -> Measured {
        let time = Duration::from_secs(self.plan.seconds);
        let mut progress = Progress::new(name, time.as_millis() as u64);
        let cpu = self.ends.cpu_time();
        let (start, from) = (Instant::now(), load.done());
        let mut moved = (start, from);
        while let Some(left) = time.checked_sub(start.elapsed())
            && !self.interrupt.is_set()
            && !load.is_broken()
        {
            thread::sleep(left.min(TICK));
            let (now, done) = (Instant::now(), load.done());
            if done != moved.1 {
                moved = (now, done);
            }
            progress.show((now - start).as_millis() as u64, done, &rate);
        }
        let stalled = moved.0.elapsed();
        if stalled >= STALL && !load.is_broken() {
            let seconds = stalled.as_secs_f64();
            warn!("{name}: nothing came through the tunnel for the last {seconds:.1} s");
        }
        let (done, time) = (load.done() - from, start.elapsed());
        let after = self.ends.cpu_time();
        let cpu = after.zip(cpu).map(|(after, before)| after - before);
        Measured { done, time, cpu }
    }

    fn pause(&self, time: Duration) {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed())
            && !self.interrupt.is_set()
        {
            thread::sleep(left.min(TICK));
        }
    }
}
