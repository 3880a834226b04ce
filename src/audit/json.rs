//! The audit lines as JSON, one object a line, for programs to read.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The log's file. What goes there is the target `audit` alone, whatever RUST_LOG says.
#[derive(Debug)]
pub struct AuditLog {
    file: File,
    /// A line could not be written, which has been said.
    failed: AtomicBool,
}

impl AuditLog {
    /// Opens a file to add to, and makes it for its owner alone if it is not there.
    ///
    /// It is opened for appending, so that a log rotation may copy and truncate it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self {
            file: options.open(path)?,
            failed: AtomicBool::new(false),
        })
    }

    /// What takes the events of the target `audit`, and costs nothing for others.
    pub fn into_layer<S>(self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.with_filter(Targets::new().with_target(super::TARGET, LevelFilter::INFO))
    }

    fn write(&self, line: &Value) {
        // In one write, so that the lines of two processes do not mix.
        let line = format!("{line}\n");
        if let Err(e) = (&self.file).write_all(line.as_bytes())
            && !self.failed.swap(true, Relaxed)
        {
            eprintln!("error: cannot write the audit log, lines of it are lost: {e}");
        }
    }
}

impl<S: Subscriber> Layer<S> for AuditLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut time = String::new();
        // Writing to a string does not fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut fields = Fields(Map::new());
        fields.0.insert("time".to_owned(), time.into());
        event.record(&mut fields);
        self.write(&Value::Object(fields.0));
    }
}

/// An event's fields by their names; tracing calls its text `message`.
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }
}
