//! The token: what shows that somebody may see how the program is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use zeroize::Zeroizing;

use crate::secret;

/// Bytes of chance in a token that is made here.
const LENGTH: usize = 24;

/// A token, as a digest: enough to compare with what somebody shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// Reads one from the first line of a file, which has to be its owner's alone.
    pub fn load(path: &Path) -> io::Result<Self> {
        let line = secret::read_line(path)?;
        let token = line.trim();
        if token.is_empty() {
            let what = "its first line is to hold a token";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self::of(token))
    }

    /// The same, from a file that is made with a new one if it is not there.
    pub fn load_or_make(path: &Path) -> io::Result<Self> {
        match make(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        Self::load(path)
    }

    fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Whether this is what somebody shows; takes the same time whatever is right of it.
    pub fn is(&self, shown: &str) -> bool {
        verify_slices_are_equal(&Self::of(shown).0, &self.0).is_ok()
    }
}

/// Makes a file with a new token. It has its name when it is whole, so that another program that starts
/// now finds all of it or nothing.
fn make(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if let Some(dir) = path.parent() {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(dir)?;
    }
    let mut bytes = Zeroizing::new([0; LENGTH]);
    rand::fill(&mut *bytes).map_err(|_| io::Error::other("no random numbers"))?;
    let token = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes));
    let unfinished = path.with_extension(std::process::id().to_string());
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(&unfinished)?, "{}", *token)?;
    // Unlike a rename it fails where somebody was faster.
    let made = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    made
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/token");
        let made = Token::load_or_make(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 32);
        assert!(made.is(text.trim()) && !made.is("") && !made.is(&text));
        assert!(Token::load_or_make(&path).unwrap().is(text.trim()));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("state")).unwrap().count(), 1);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(Token::load(&path).is_err());
    }
}
