//! A snapshot as text for those who collect metrics: Prometheus' format 0.0.4, or OpenMetrics 1.0.
//!
//! By hand, for it is a page of code, and the numbers are in the snapshot already.

use std::fmt::Write;

use super::Snapshot;

/// The two formats, which differ in how counters and units are declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What Prometheus has always read.
    Prometheus,
    /// The standard that came of it.
    OpenMetrics,
}

impl Format {
    /// What it is called in HTTP.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Counter,
    Gauge,
}

struct Text {
    format: Format,
    text: String,
}

impl Snapshot {
    /// All numbers, with labels from bounded sets alone.
    pub fn metrics(&self, format: Format) -> String {
        let mut text = Text {
            format,
            text: String::new(),
        };
        self.process(&mut text);
        self.peers(&mut text);
        self.tunnels(&mut text);
        if format == Format::OpenMetrics {
            text.text.push_str("# EOF\n");
        }
        text.text
    }

    fn process(&self, text: &mut Text) {
        let role = self.role.to_string();
        let labels = [("version", self.version.as_str()), ("role", &role)];
        let build = "Version and role of the program; always 1";
        text.gauge("rstun_build_info", build).sample(&labels, 1.0);
        let up = "Time since the program began";
        text.gauge("rstun_uptime_seconds", up)
            .sample::<&str>(&[], self.uptime_seconds);
        let ready = "Whether the program does what it is there for, as /readyz says";
        text.gauge("rstun_ready", ready)
            .sample::<&str>(&[], f64::from(u8::from(self.not_ready.is_none())));
        let counters = &self.counters;
        for (name, help, label, counts) in [
            (
                "rstun_logins",
                "Logins by how they ended",
                "result",
                &counters.logins,
            ),
            (
                "rstun_flows_refused",
                "Flows that were not to be had, by why",
                "reason",
                &counters.flows_refused,
            ),
            (
                "rstun_datagrams_dropped",
                "Datagrams, and packets in them, that were lost on this side, by where",
                "where",
                &counters.datagrams_dropped,
            ),
        ] {
            let mut family = text.counter(name, help);
            for (kind, n) in counts {
                family.sample(&[(label, kind)], *n as f64);
            }
        }
        let help = "Sources that had to wait after failed logins";
        text.counter("rstun_penalties", help)
            .sample::<&str>(&[], counters.penalties as f64);
        let help = "Sessions that came after another one with the same server";
        text.counter("rstun_reconnects", help)
            .sample::<&str>(&[], counters.reconnects as f64);
    }

    fn peers(&self, text: &mut Text) {
        type Value = fn(&super::Path) -> f64;
        let gauges: [(&str, &str, Value); 5] = [
            ("rstun_sessions", "Sessions by peer", |p| p.sessions as f64),
            (
                "rstun_sessions_deaf",
                "Sessions whose peer is out of hearing",
                |p| p.deaf as f64,
            ),
            (
                "rstun_session_rtt_seconds",
                "Time to the peer and back; the longest where it has several sessions",
                |p| p.rtt_seconds,
            ),
            (
                "rstun_session_cwnd_bytes",
                "Most bytes in flight; the fewest where the peer has several sessions",
                |p| p.cwnd_bytes as f64,
            ),
            (
                "rstun_session_mtu_bytes",
                "Largest payload of a packet; the smallest where the peer has several sessions",
                |p| p.mtu_bytes as f64,
            ),
        ];
        for (name, help, value) in gauges {
            let mut family = text.gauge(name, help);
            for (peer, path) in &self.paths {
                family.sample(&[("peer", peer)], value(path));
            }
        }
        let names = ["rstun_packets_sent", "rstun_packets_lost"];
        let helps = [
            "Packets that left for the peer",
            "Those of them that were lost on the way",
        ];
        for (way, (name, help)) in names.iter().zip(helps).enumerate() {
            let mut family = text.counter(name, help);
            for (peer, packets) in &self.packets {
                family.sample(&[("peer", peer)], packets[way] as f64);
            }
        }
    }

    fn tunnels(&self, text: &mut Text) {
        let labels = |(peer, tunnel): &'_ (String, String)| {
            [("peer", peer.clone()), ("tunnel", tunnel.clone())]
        };
        let mut family = text.gauge("rstun_flows_open", "Flows that are open");
        for (label, sum) in &self.sums {
            family.sample(&labels(label), sum.open as f64);
        }
        let mut family = text.counter("rstun_flows", "Flows that were begun");
        for (label, sum) in &self.sums {
            family.sample(&labels(label), sum.flows as f64);
        }
        let help = "Payload through tunnels: sent into them on this side, or received from them";
        let mut family = text.counter("rstun_tunnel_bytes", help);
        for (label, sum) in &self.sums {
            let [peer, tunnel] = labels(label);
            for (way, n) in [("sent", sum.sent), ("received", sum.received)] {
                let labels = [peer.clone(), tunnel.clone(), ("direction", way.to_owned())];
                family.sample(&labels, n as f64);
            }
        }
    }
}

/// A metric and its samples.
struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Text {
    fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, Type::Gauge)
    }

    fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, Type::Counter)
    }

    fn family(&mut self, name: &str, help: &str, kind: Type) -> Family<'_> {
        let sample = match kind {
            Type::Counter => format!("{name}_total"),
            Type::Gauge => name.to_owned(),
        };
        let family = match self.format {
            Format::Prometheus => sample.as_str(),
            Format::OpenMetrics => name,
        };
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        let text = &mut self.text;
        let _ = writeln!(text, "# HELP {family} {help}.\n# TYPE {family} {kind}");
        Family { text, name: sample }
    }
}

impl Family<'_> {
    /// Writes a sample; a label without a value is left out.
    fn sample<V: AsRef<str>>(&mut self, labels: &[(&str, V)], value: f64) {
        let named = labels
            .iter()
            .filter(|(_, value)| !value.as_ref().is_empty());
        let labels: Vec<_> = named
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value.as_ref())))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }
}

/// A label's value. Other control characters than the line's end are allowed.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out() {
        let mut text = Text {
            format: Format::Prometheus,
            text: String::new(),
        };
        text.counter("n", "N").sample(&[("l", "a\"b\\c\nd")], 2.0);
        assert_eq!(
            text.text,
            "# HELP n_total N.\n# TYPE n_total counter\nn_total{l=\"a\\\"b\\\\c\\nd\"} 2\n"
        );
    }
}
