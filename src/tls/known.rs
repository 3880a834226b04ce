//! Servers by the certificate that they had the first time: a file with a line for each,
//! `HOST:PORT SHA256:AB:CD:...`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tracing::info;

use super::Fingerprint;

/// A server's place in the file, whether it has a line there yet or not.
#[derive(Clone, Debug)]
pub struct KnownServer {
    file: PathBuf,
    server: String,
}

impl KnownServer {
    /// A server as it is written in the file, which need not be there; its directory is made.
    pub fn new(file: PathBuf, server: String) -> Result<Self> {
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)
                .with_context(|| format!("cannot make directory {}", dir.display()))?;
        }
        Ok(Self { file, server })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The certificate that it had the first time, if there was one. A line that cannot be read is
    /// an error: it may be the one that matters.
    pub fn recall(&self) -> Result<Option<Fingerprint>> {
        let shown = self.file.display();
        let text = match fs::read_to_string(&self.file) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {shown}"))?,
        };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let known = line
                .split_once(' ')
                .ok_or_else(|| anyhow!("{shown}:{number}: write HOST:PORT SHA256:AB:CD:..."));
            let (server, fingerprint) = known?;
            if server == self.server {
                let fingerprint = fingerprint.trim().parse();
                return Ok(Some(
                    fingerprint.with_context(|| format!("{shown}:{number}"))?,
                ));
            }
        }
        Ok(None)
    }

    /// Writes down the certificate of a server that has no line yet.
    pub(super) fn remember(&self, fingerprint: Fingerprint) -> Result<()> {
        if self.recall()?.is_some() {
            return Ok(());
        }
        let (server, shown) = (&self.server, self.file.display());
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.file)
            // At once, so that another client's line does not come in between.
            .and_then(|mut file| {
                file.write_all(format!("{server} SHA256:{fingerprint}\n").as_bytes())
            });
        written.with_context(|| format!("cannot write {shown}"))?;
        info!("{server} is trusted from now on by its certificate, SHA-256 {fingerprint}: {shown}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state/known_servers");
        let known = |server: &str| KnownServer::new(file.clone(), server.into()).unwrap();
        let (first, second) = (Fingerprint::of_bytes(b"1"), Fingerprint::of_bytes(b"2"));
        assert_eq!(known("a:1").recall().unwrap(), None);
        known("a:1").remember(first).unwrap();
        known("b:1").remember(second).unwrap();
        known("a:1").remember(second).unwrap();
        assert_eq!(known("a:1").recall().unwrap(), Some(first));
        assert_eq!(known("b:1").recall().unwrap(), Some(second));
        assert_eq!(known("a:2").recall().unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known");
        for text in ["a:1\n", "# a comment\n\na:1 SHA256:12\n", "\u{0}"] {
            fs::write(&file, text).unwrap();
            let known = KnownServer::new(file.clone(), "a:1".into()).unwrap();
            assert!(known.recall().is_err(), "{text:?}");
            assert!(known.remember(Fingerprint::of_bytes(b"1")).is_err());
        }
    }
}
