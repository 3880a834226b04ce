//! A snapshot as lines of text for people.

use std::fmt::{self, Write};

use super::units::{bytes, percent, rtt, time};
use super::{Role, Session, Snapshot, Tunnel};

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        if !self.sessions.is_empty() {
            let head = [
                "PEER", "ADDRESS", "VIA", "UP", "RTT", "LOSS", "MTU", "WINDOW", "STATE",
            ];
            let rows = self.sessions.iter().map(session);
            write!(f, "\n{}", table(&head, rows.collect()))?;
        }
        if !self.tunnels.is_empty() {
            let server = self.role == Role::Server;
            let mut head = vec![
                "TUNNEL",
                "LISTENS AT",
                "OPEN",
                "TOTAL",
                "REFUSED",
                "SENT",
                "RECEIVED",
                "SENT/s",
                "RECEIVED/s",
            ];
            if server {
                head.insert(0, "PEER");
            }
            let rows = self.tunnels.iter().map(|tunnel| {
                let mut row = tunnel_row(tunnel);
                if server {
                    row.insert(0, tunnel.peer.clone().unwrap_or_default());
                }
                row
            });
            write!(f, "\n{}", table(&head, rows.collect()))?;
        }
        for tunnel in &self.tunnels {
            if let Some(why) = &tunnel.refused {
                writeln!(f, "\n{}: refused, and tried again: {why}", tunnel.tunnel)?;
            }
        }
        let tunnels = self.tunnels.iter();
        let failed = tunnels.filter_map(|t| Some((t.tunnel.as_str(), t.last_error.as_ref()?)));
        let errors = failed.chain(self.errors.iter().map(|e| ("", e)));
        for (n, (of, error)) in errors.enumerate() {
            if n == 0 {
                writeln!(f, "\nLast errors:")?;
            }
            let colon = if of.is_empty() { "" } else { ": " };
            let age = time(error.age_seconds);
            writeln!(f, "  {age} ago: {of}{colon}{}", error.what)?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// All in one line.
    pub fn headline(&self) -> String {
        let (version, role, pid) = (&self.version, self.role, self.pid);
        let up = time(self.uptime_seconds);
        let state = self.not_ready.as_deref().unwrap_or("ready");
        format!("rstun {version} {role}, process {pid}, up {up}: {state}")
    }
}

fn session(session: &Session) -> Vec<String> {
    let mtu = match session.mtu_bytes {
        0 => "-".to_owned(),
        mtu => mtu.to_string(),
    };
    vec![
        session.peer.clone(),
        session.address.clone(),
        session.transport.clone(),
        time(session.age_seconds),
        rtt(session.rtt_seconds),
        percent(session.loss()),
        mtu,
        bytes(session.cwnd_bytes),
        session.state().to_owned(),
    ]
}

impl Session {
    /// What it is like, in one word.
    pub fn state(&self) -> &'static str {
        match (self.deaf, self.draining) {
            (true, _) => "deaf",
            (_, true) => "draining",
            _ => "up",
        }
    }
}

fn tunnel_row(tunnel: &Tunnel) -> Vec<String> {
    let at = match (tunnel.listening.join(" "), &tunnel.refused) {
        (at, Some(_)) => format!("{at} (refused)").trim_start().to_owned(),
        (at, None) if at.is_empty() => "-".to_owned(),
        (at, None) => at,
    };
    vec![
        tunnel.tunnel.clone(),
        at,
        tunnel.flows_open.to_string(),
        tunnel.flows_total.to_string(),
        tunnel.flows_refused.to_string(),
        bytes(tunnel.sent_bytes),
        bytes(tunnel.received_bytes),
        bytes(tunnel.sent_bytes_per_second),
        bytes(tunnel.received_bytes_per_second),
    ]
}

/// Columns that hold no numbers.
const TEXTS: [&str; 6] = ["PEER", "ADDRESS", "VIA", "STATE", "TUNNEL", "LISTENS AT"];

/// Most characters that a column is made wide for; one text that is longer is not to push all others
/// out of sight.
const WIDEST: usize = 400;

/// Columns of the same width in all rows; those of numbers are on the right.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let all: Vec<_> = std::iter::once(&head).chain(&rows).collect();
    let width = |column: usize| {
        let cells = all.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let is_number = |column: usize| !TEXTS.contains(&head[column].as_str());
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match is_number(column) {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![
            vec!["a".into(), "1".into()],
            vec!["longer".into(), "200 B".into()],
        ];
        let text = "PEER     SENT\na           1\nlonger  200 B\n";
        assert_eq!(table(&["PEER", "SENT"], rows), text);
    }

    #[test]
    fn a_text_may_be_as_long_as_it_likes() {
        let row = |peer: &str| vec![peer.to_owned(), "1".to_owned()];
        let text = table(&["PEER", "SENT"], vec![row(&"x".repeat(100_000)), row("y")]);
        assert_eq!(text.lines().last().map(str::len), Some(WIDEST + 6));
    }
}
