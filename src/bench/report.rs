//! What was measured, as a table for people or as JSON.

use anyhow::Result;
use serde::Serialize;

use super::ends::Ends;
use super::{Plan, machine};
use crate::cli::Scenario;

/// All that one run has measured. The names of its fields are those of the JSON, and stay; what
/// they mean is told in the parent module.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    complete: bool,
    seconds: u64,
    server: Option<String>,
    cpu: String,
    cores: usize,
    kernel: String,
    udp_payload: Option<u16>,
    cipher: String,
    congestion: Option<String>,
    results: Vec<Row>,
}

/// One measurement.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// What was measured, for people.
    pub(super) name: String,
    /// What was measured, for programs.
    pub(super) scenario: Scenario,
    /// What came out.
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// What came out.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Figures {
    /// Bulk data: 10^9 bits in a second, and processor time for 10^9 bytes.
    Throughput {
        streams: u16,
        gbit_per_s: f64,
        cpu_s_per_gb: Option<f64>,
    },
    /// Requests: microseconds that half of them, and 99 of 100, did not take longer than.
    RoundTrips {
        payload: u32,
        p50_us: f64,
        p99_us: f64,
        per_s: f64,
    },
    /// Connections made, used and closed in a second.
    NewFlows { per_s: f64 },
    /// Units of 1024 bytes that each idle flow adds to the process, and of 1024^2 without any.
    Idle {
        flows: usize,
        kb_per_flow: f64,
        fresh_mb: f64,
    },
}

impl Report {
    /// Describes the machine and the tunnel as they are now, after the measurements: only then is
    /// it known how large packets may be.
    pub(super) fn new(plan: &Plan, ends: &Ends, results: Vec<Row>, complete: bool) -> Self {
        let description = ends.describe();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            complete,
            seconds: plan.seconds,
            server: plan.remote.as_ref().map(|r| r.server.to_string()),
            cpu: machine::cpu(),
            cores: machine::cores(),
            kernel: machine::kernel(),
            udp_payload: description.and_then(|d| d.udp_payload),
            cipher: ends.cipher().to_owned(),
            congestion: description
                .and_then(|d| d.congestion)
                .map(|c| c.to_string()),
            results,
        }
    }

    /// Prints it to standard output.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        self.print_header();
        println!();
        let names = self.results.iter().map(|row| row.name.chars().count());
        let width = names.max().unwrap_or_default();
        for row in &self.results {
            println!("{:width$}  {}", row.name, row.figures.describe());
        }
        if !self.complete {
            println!("(cut short)");
        }
        Ok(())
    }

    fn print_header(&self) {
        let way = match &self.server {
            Some(server) => format!("a tunnel to {server}; processor and memory of the client"),
            None => "a tunnel over loopback; processor and memory of both ends".to_owned(),
        };
        println!("rstun {}, {} s each: {way}", self.version, self.seconds);
        let plural = if self.cores == 1 { "" } else { "s" };
        println!("cpu         {}, {} core{plural}", self.cpu, self.cores);
        println!("kernel      {}", self.kernel);
        match self.udp_payload {
            Some(bytes) => println!("mtu         {bytes} bytes of UDP payload"),
            None => println!("mtu         unknown, the connection was lost"),
        }
        println!("cipher      {} (the client's first choice)", self.cipher);
        println!(
            "congestion  {}",
            self.congestion.as_deref().unwrap_or("unknown")
        );
    }
}

impl Figures {
    fn describe(&self) -> String {
        match self {
            Self::Throughput {
                gbit_per_s,
                cpu_s_per_gb,
                ..
            } => {
                let rate = rate(*gbit_per_s);
                let cpu = cpu_s_per_gb.map(|s| format!("  {s:8.2} CPU s/GB"));
                format!("{rate}{}", cpu.unwrap_or_default())
            }
            Self::RoundTrips {
                p50_us,
                p99_us,
                per_s,
                ..
            } => format!("{p50_us:8.0} us p50  {p99_us:8.0} us p99  {per_s:8.0} requests/s"),
            Self::NewFlows { per_s } => format!("{per_s:8.0} flows/s"),
            Self::Idle {
                kb_per_flow,
                fresh_mb,
                ..
            } => format!("{kb_per_flow:8.1} KB/flow {fresh_mb:8.1} MB before"),
        }
    }
}

/// A rate in the unit that shows its digits.
pub(super) fn rate(gbit_per_s: f64) -> String {
    if gbit_per_s < 1.0 {
        format!("{:8.2} Mbit/s", gbit_per_s * 1e3)
    } else {
        format!("{gbit_per_s:8.2} Gbit/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_rate_keeps_its_digits() {
        assert_eq!(rate(9.514), "    9.51 Gbit/s");
        assert_eq!(rate(0.0421), "   42.10 Mbit/s");
    }
}
