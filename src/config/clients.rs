//! The file of `--clients`, and what it says as of now.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::access::{self, Entry};

/// A file of clients that is valid.
#[derive(Clone, Debug)]
pub struct ClientsFile {
    path: PathBuf,
    /// Its entries when it was read.
    pub entries: Vec<Entry>,
}

impl ClientsFile {
    /// Reads a file.
    pub fn load(path: PathBuf) -> Result<Self> {
        let entries = read(&path)?;
        Ok(Self { path, entries })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says by now.
    pub fn read_again(&self) -> Result<Vec<Entry>> {
        read(&self.path)
    }
}

/// All entries, or all that is wrong, a line for each mistake.
fn read(path: &Path) -> Result<Vec<Entry>> {
    let shown = path.display();
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read --clients {shown}"))?;
    access::read(&text).map_err(|mistakes| {
        let lines = mistakes.iter().map(|mistake| format!("{shown}:{mistake}"));
        anyhow!(lines.collect::<Vec<_>>().join("\n"))
    })
}
