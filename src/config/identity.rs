//! The server's certificate and key: those that it was given, or its own, which it makes when it is
//! started for the first time, with a password to go with them.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::places;
use crate::access::Password;
use crate::cli::{KeyFlags, PasswordFlags};
use crate::keygen;
use crate::secret;
use crate::tls::ServerIdentity;

/// Name of the file with the password that a server made for itself.
const PASSWORD: &str = "password";

/// What a server is known by.
pub(super) struct Identity {
    /// The certificate and its key.
    pub(super) own: ServerIdentity,
    /// Where they are, if the server made them itself.
    pub(super) state: Option<PathBuf>,
}

impl Identity {
    /// Reads the one that was given; else the server's own, which is made if it is not there yet and the
    /// server `starts`: what one that runs does not find may be away for a moment alone.
    pub(super) fn of_server(flags: KeyFlags, starts: bool) -> Result<Self> {
        if let Some(given) = Self::given(&flags)? {
            return Ok(given);
        }
        let dir = places::state().context(NONE)?;
        if starts && !dir.join(keygen::CERTIFICATE).exists() {
            keygen::make_own(&dir).context(NONE)?;
        }
        Self::made(dir)
    }

    /// Reads that of a server which has been started here.
    pub(super) fn of_started(flags: KeyFlags) -> Result<Self> {
        if let Some(given) = Self::given(&flags)? {
            return Ok(given);
        }
        let dir = places::state_with(keygen::CERTIFICATE);
        Self::made(dir.context(
            "no server has been started here yet: start `rstun server` first, or give its --cert",
        )?)
    }

    fn given(flags: &KeyFlags) -> Result<Option<Self>> {
        let Some(cert) = super::existing(flags.cert.clone(), keygen::CERTIFICATE) else {
            return match flags.key {
                Some(_) => Err(anyhow!("--key is for a certificate: give its --cert too")),
                None => Ok(None),
            };
        };
        let beside = || cert.with_file_name(keygen::PRIVATE_KEY);
        let key = flags.key.clone().unwrap_or_else(beside);
        Ok(Some(Self {
            own: ServerIdentity::load(&cert, &key)?,
            state: None,
        }))
    }

    fn made(dir: PathBuf) -> Result<Self> {
        let [cert, key] = [keygen::CERTIFICATE, keygen::PRIVATE_KEY].map(|name| dir.join(name));
        Ok(Self {
            own: ServerIdentity::load(&cert, &key)?,
            state: Some(dir),
        })
    }

    /// The password that was given; else the one that goes with the server's own certificate, if that
    /// is what this is, made now if it is not there yet; else whatever there is.
    pub(super) fn password(&self, flags: PasswordFlags) -> Result<Password> {
        let Some(dir) = self.state.as_ref().filter(|_| !flags.is_given()) else {
            return super::password(flags);
        };
        let path = dir.join(PASSWORD);
        if !flags.never_ask && !path.exists() {
            keygen::make_password(&path)?;
        }
        let shown = path.display();
        let line = secret::read_line(&path).with_context(|| format!("cannot read {shown}"))?;
        Password::new(line).with_context(|| format!("{shown} is empty"))
    }
}

const NONE: &str = "no certificate; `rstun keygen` makes one for --cert";
