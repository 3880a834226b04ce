//! The user and password that a proxy's visitors have to give (RFC 1929, RFC 7617).

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::ParseError;
use crate::secret;

/// Most bytes of a user's name, and of a password (RFC 1929, section 2).
const MAX_FIELD: usize = 255;

/// A user and a password, kept as a digest: it is enough to compare with what a visitor gives, and
/// all that the side which listens needs to be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    digest: [u8; 32],
    source: Source,
}

/// How credentials were written, as far as that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// In front of the address.
    Typed { user: String },
    /// In a file.
    File(PathBuf),
    /// By the peer.
    Peer,
}

impl Credentials {
    /// Reads `user:password`, as it stands in front of an address.
    pub(super) fn typed(text: &str) -> Result<Self, ParseError> {
        let (user, digest) = parse(text).ok_or(ParseError::Credentials)?;
        let source = Source::Typed { user: user.into() };
        Ok(Self { digest, source })
    }

    /// Reads `user:password` from the first line of a file.
    pub(super) fn load(path: &Path) -> Result<Self, ParseError> {
        let failed = |why: String| ParseError::AuthFile(path.display().to_string(), why);
        let line = secret::read_line(path).map_err(|e| failed(e.to_string()))?;
        let (_, digest) = parse(&line)
            .ok_or_else(|| failed("its first line is to be user:password".to_owned()))?;
        let source = Source::File(path.to_owned());
        Ok(Self { digest, source })
    }

    /// What a peer sent.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        let source = Source::Peer;
        Self { digest, source }
    }

    /// Whether these are they; takes the same time for any of the same length.
    pub fn admit(&self, user: &[u8], password: &[u8]) -> bool {
        let given = hash(user, password);
        given.is_some_and(|given| verify_slices_are_equal(&given, &self.digest).is_ok())
    }

    /// SHA-256 of the user's name, preceded by its length in one byte, and the password.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What is printed in front of the address. A typed password is not shown, and so not read back.
    pub(super) fn prefix(&self) -> String {
        match &self.source {
            Source::Typed { user } => format!("{user}:***@"),
            Source::File(_) | Source::Peer => String::new(),
        }
    }

    /// What is printed as an option behind it.
    pub(super) fn option(&self) -> Option<String> {
        match &self.source {
            Source::Typed { .. } => None,
            Source::File(path) => Some(format!("auth={}", path.display())),
            Source::Peer => Some("auth".to_owned()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.source).finish()
    }
}

fn parse(text: &str) -> Option<(&str, [u8; 32])> {
    let (user, password) = text.split_once(':')?;
    if user.contains(char::is_control) {
        return None;
    }
    Some((user, hash(user.as_bytes(), password.as_bytes())?))
}

fn hash(user: &[u8], password: &[u8]) -> Option<[u8; 32]> {
    let fits = |field: &[u8]| (1..=MAX_FIELD).contains(&field.len());
    if !fits(user) || !fits(password) {
        return None;
    }
    let material = Zeroizing::new([&[user.len() as u8], user, password].concat());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &material).as_ref());
    Some(hash)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn where_the_user_ends_matters() {
        let digest = |text| *Credentials::typed(text).unwrap().digest();
        assert_eq!(digest("a:bc"), digest("a:bc"));
        assert_ne!(digest("a:bc"), digest("ab:c"));
        assert_ne!(digest("a:b"), digest("a:B"));
    }

    #[test]
    fn just_they_are_admitted() {
        let credentials = Credentials::typed("alice:s:ecret").unwrap();
        assert!(credentials.admit(b"alice", b"s:ecret"));
        let long = [b'x'; 300];
        for (user, password) in [
            (&b"alice"[..], &b"secret"[..]),
            (b"alice:s", b"ecret"),
            (b"", b""),
            (b"alice", &long),
            (&long, b"s:ecret"),
        ] {
            assert!(!credentials.admit(user, password));
        }
    }

    #[test]
    fn both_fields_are_needed_and_bounded() {
        let long = "x".repeat(MAX_FIELD + 1);
        for text in [
            "",
            "a",
            ":b",
            "a:",
            &format!("{long}:b"),
            &format!("a:{long}"),
        ] {
            assert_eq!(
                Credentials::typed(text),
                Err(ParseError::Credentials),
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_holds_them_in_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth");
        fs::write(&path, "alice:s:ecret\nrest\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let loaded = Credentials::load(&path).unwrap();
        assert_eq!(
            loaded.digest(),
            Credentials::typed("alice:s:ecret").unwrap().digest()
        );
        fs::write(&path, "alice\n").unwrap();
        assert!(
            Credentials::load(&path)
                .unwrap_err()
                .to_string()
                .contains("user:password")
        );
        assert!(Credentials::load(&dir.path().join("none")).is_err());
    }

    #[test]
    fn no_secret_is_shown() {
        let typed = Credentials::typed("alice:hunter2").unwrap();
        assert!(!format!("{typed:?}{}", typed.prefix()).contains("hunter2"));
    }
}
