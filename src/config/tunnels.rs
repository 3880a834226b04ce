//! All tunnels of a command line, or all that is wrong with them.

use std::fmt::Display;

use thiserror::Error;

use crate::access::Rule;
use crate::cli::{ClientFlags, Mode};
use crate::tunnel::{Direction, Half, Listen, MAX_TUNNELS, ParseError, Target, Tunnel, redacted};

/// What is wrong, a line for each mistake.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// What was read, if there was no mistake in any.
    fn or<T>(self, read: T) -> Result<T, Self> {
        match self.0.is_empty() {
            true => Ok(read),
            false => Err(self),
        }
    }

    fn note(&mut self, flag: &str, text: &str, error: impl Display) {
        self.0.push(format!("{flag} {}: {error}", redacted(text)));
    }
}

/// The tunnels that a client was asked for.
pub(super) fn tunnels(flags: &ClientFlags) -> Result<Vec<Tunnel>, Mistakes> {
    let mode = match flags.mode {
        Some(Mode::TunnelIn) => Direction::In,
        Some(Mode::TunnelOut) | None => Direction::Out,
    };
    let (out, inward) = (Direction::Out, Direction::In);
    let mapping = |direction| move |text: &str| Tunnel::parse(direction, text);
    let mut reading = Reading::default();
    reading.all("--addr-mapping", &flags.addr_mapping, mapping(mode));
    reading.all("--tunnel-out", &flags.tunnel_out, mapping(out));
    reading.all("--tunnel-in", &flags.tunnel_in, mapping(inward));
    reading.all("--dynamic", &flags.dynamic, |text| {
        Ok(vec![Tunnel::dynamic(text)?])
    });
    let Reading {
        tunnels,
        mut mistakes,
    } = reading;
    match (flags.mode, flags.addr_mapping.is_empty()) {
        (Some(_), true) => mistakes
            .0
            .push("--mode: which way? Give --addr-mapping too".into()),
        (None, false) => mistakes
            .0
            .push("--addr-mapping: which way? Give --mode too".into()),
        _ => {}
    }
    if tunnels.is_empty() && mistakes.0.is_empty() && !flags.tunnels_later {
        let none = "no tunnel was asked for; give at least one, such as --tunnel-out 9900^8800 or \
                    --tunnel-in 3000^18080; tunnel-out = [] in the file of --config waits for \
                    `rstun tunnel add`";
        mistakes.0.push(none.to_owned());
    }
    if tunnels.len() > MAX_TUNNELS {
        mistakes.0.push(format!(
            "{} tunnels are more than the {MAX_TUNNELS} that one client may have",
            tunnels.len()
        ));
    }
    let stdio = tunnels.iter().filter(|t| t.listen == Listen::Stdio);
    if stdio.count() > 1 {
        let once = "stdio: there is one standard input, for one tunnel";
        mistakes.0.push(once.to_owned());
    }
    mistakes.or(tunnels)
}

/// The tunnels that a client is asked for while it runs.
pub fn mappings(
    tunnel_out: &[String],
    tunnel_in: &[String],
    dynamic: &[String],
) -> Result<Vec<Tunnel>, Mistakes> {
    let mapping = |direction| move |text: &str| Tunnel::parse(direction, text);
    let mut reading = Reading::default();
    reading.all("--tunnel-out", tunnel_out, mapping(Direction::Out));
    reading.all("--tunnel-in", tunnel_in, mapping(Direction::In));
    reading.all("--dynamic", dynamic, |text| {
        Ok(vec![Tunnel::dynamic(text)?])
    });
    reading.mistakes.or(reading.tunnels)
}

/// What a server's clients may reach.
pub(super) fn downstream(texts: &[String]) -> Result<Vec<Rule>, Mistakes> {
    let mut mistakes = Mistakes(Vec::new());
    let mut rules = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(rule) => rules.push(rule),
            Err(e) => mistakes.note("--downstream", text, e),
        }
    }
    mistakes.or(rules)
}

#[derive(Debug)]
struct Reading {
    tunnels: Vec<Tunnel>,
    mistakes: Mistakes,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            tunnels: Vec::new(),
            mistakes: Mistakes(Vec::new()),
        }
    }
}

impl Reading {
    fn all(
        &mut self,
        flag: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<Vec<Tunnel>, ParseError>,
    ) {
        for text in texts {
            match read(text) {
                Ok(tunnels) if !cfg!(unix) && tunnels.iter().any(needs_unix) => {
                    let none = "this system has no Unix sockets";
                    self.mistakes.note(flag, text, none);
                }
                Ok(tunnels) => self.tunnels.extend(tunnels),
                Err(e) => self.mistakes.note(flag, text, e),
            }
        }
    }
}

/// Whether the client's own side is a Unix socket.
fn needs_unix(tunnel: &Tunnel) -> bool {
    matches!(
        tunnel.near(),
        Half::Listen(Listen::Unix { .. }, _) | Half::Dial(Target::Unix(_))
    )
}
