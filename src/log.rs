//! Where log lines go, and what they look like there.
//!
//! They go to standard error: in colour on a terminal, without times and with their priorities in
//! front into systemd's journal, or as JSON. All lines about one flow share a span, which costs
//! nothing where debug lines are not asked for.

#[cfg(unix)]
mod journal;

use std::env;
use std::io::{self, IsTerminal};

use tracing::dispatcher::has_been_set;
use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{self, Format, Writer};
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use crate::audit::AuditLog;
use crate::cli::LogFormat;

/// What log lines look like.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    format: LogFormat,
    /// Standard error is a stream of systemd's journal, which keeps time itself.
    journal: bool,
}

impl Log {
    /// Lines of this format, as they are fit for what standard error is.
    pub fn new(format: LogFormat) -> Self {
        #[cfg(unix)]
        let journal = journal::is_stderr();
        #[cfg(not(unix))]
        let journal = false;
        Self { format, journal }
    }

    /// Begins to log: as much as RUST_LOG asks for, or else what is of this level; lines for an
    /// audit go to its log too.
    pub fn start(self, default: LevelFilter, audit: Option<AuditLog>) {
        // Levels by target alone: filtering by span and field would add half a megabyte of regex.
        let levels: Targets = env::var("RUST_LOG")
            .ok()
            .and_then(|levels| levels.parse().ok())
            .unwrap_or_else(|| Targets::new().with_default(default));
        tracing_subscriber::registry()
            .with(self.lines().with_filter(levels))
            .with(audit.map(AuditLog::into_layer))
            .init();
    }

    /// What writes the lines.
    fn lines<S>(self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let lines = fmt::layer().with_writer(io::stderr);
        let text = format::format().with_target(false);
        let prefix = self.journal;
        match (self.format, self.journal) {
            (LogFormat::Json, _) => {
                let line = format::json().flatten_event(true).with_span_list(false);
                lines.json().event_format(Prefixed { prefix, line }).boxed()
            }
            (LogFormat::Text, true) => {
                let line = text.without_time().with_level(false);
                lines
                    .with_ansi(false)
                    .event_format(Prefixed { prefix, line })
                    .boxed()
            }
            (LogFormat::Text, false) => lines.with_ansi(is_coloured()).event_format(text).boxed(),
        }
    }

    /// Says why the program ends: of several mistakes each has a line of its own.
    pub fn last_words(self, error: &anyhow::Error) {
        if self.format == LogFormat::Json && !has_been_set() {
            self.start(LevelFilter::ERROR, None);
        }
        for line in format!("{error:#}").lines() {
            match self.format {
                LogFormat::Json => error!("{line}"),
                LogFormat::Text if self.journal => eprintln!("<3>error: {line}"),
                LogFormat::Text => eprintln!("error: {line}"),
            }
        }
    }
}

/// Whether people look on who like colours (<https://no-color.org>).
fn is_coloured() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !refused && !dumb
}

/// Lines with their priority in front, as sd-daemon(3) has it, if the journal reads them.
struct Prefixed<F> {
    prefix: bool,
    line: F,
}

impl<S, N, L, T> FormatEvent<S, N> for Prefixed<Format<L, T>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    Format<L, T>: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if self.prefix {
            write!(writer, "<{}>", priority(*event.metadata().level()))?;
        }
        self.line.format_event(context, writer, event)
    }
}

/// syslog's number for a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
