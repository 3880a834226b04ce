//! What was measured, as a table for people or as JSON.

use anyhow::Result;
use serde::Serialize;

/// All that one run has measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    seconds: u64,
    results: Vec<Row>,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// What was measured.
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// What came out.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Figures {
    /// Bulk data: 10^9 bits in a second, and processor time of both ends for 10^9 bytes.
    Throughput {
        gbit_per_s: f64,
        cpu_s_per_gb: Option<f64>,
    },
    /// Small requests, in microseconds.
    RoundTrips { p50_us: f64, p99_us: f64 },
    /// Connections made, used and closed in a second.
    NewFlows { per_s: f64 },
}

impl Report {
    pub(super) fn new(seconds: u64) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            seconds,
            results: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.results.push(row);
    }

    /// Prints it to standard output.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        println!(
            "rstun {}: one tunnel over loopback, both ends on this machine, {} s each",
            self.version, self.seconds
        );
        for row in &self.results {
            println!("{:24}{}", row.name, row.figures.describe());
        }
        Ok(())
    }
}

impl Figures {
    fn describe(&self) -> String {
        match self {
            Self::Throughput {
                gbit_per_s,
                cpu_s_per_gb,
            } => {
                let cpu = cpu_s_per_gb.map(|s| format!("   {s:.2} CPU s/GB"));
                format!("{gbit_per_s:8.2} Gbit/s{}", cpu.unwrap_or_default())
            }
            Self::RoundTrips { p50_us, p99_us } => {
                format!("{p50_us:8.0} us p50  {p99_us:8.0} us p99")
            }
            Self::NewFlows { per_s } => format!("{per_s:8.0} flows/s"),
        }
    }
}
