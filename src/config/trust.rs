//! What a client was told to trust its server by.

use anyhow::{Context, Result};

use super::{existing, places};
use crate::cli::{TrustBy, TrustFlags};
use crate::keygen;
use crate::tls::{KnownServer, Trust};
use crate::tunnel::HostPort;

/// Name of the file with the servers of `--trust first-use`.
const KNOWN_SERVERS: &str = "known_servers";

impl TrustFlags {
    /// Whether anything was typed.
    pub(super) fn is_given(&self) -> bool {
        !self.cert.is_empty() || !self.pin.is_empty() || self.by.is_some()
    }
}

/// What the flags say, or else the certificate at its usual place.
pub(super) fn trust(flags: &TrustFlags, server: Option<&HostPort>) -> Result<Trust> {
    if !flags.pin.is_empty() {
        let pins = flags.pin.iter().map(|pin| pin.parse().context("--pin"));
        return Ok(Trust::Pins(pins.collect::<Result<_>>()?));
    }
    match flags.by {
        Some(TrustBy::System) => return Ok(Trust::System),
        Some(TrustBy::FirstUse) => return first_use(server),
        None => {}
    }
    if !flags.cert.is_empty() {
        return Trust::load(&flags.cert).context("--cert");
    }
    let path = existing(None, keygen::CERTIFICATE).context(
        "nothing says which server is the right one; give a ticket, --cert FILE (as a rule its \
         certificate.der), --pin SHA256, --trust system or --trust first-use",
    )?;
    Trust::load(&[path]).context("--cert")
}

fn first_use(server: Option<&HostPort>) -> Result<Trust> {
    let server = server.context("--trust first-use: which server is meant? Give --server-addr")?;
    let dir = places::state().context("--trust first-use: there is no place to remember in")?;
    let known = KnownServer::new(dir.join(KNOWN_SERVERS), server.to_string());
    let known = known.context("--trust first-use")?;
    known.recall().context("--trust first-use")?;
    Ok(Trust::FirstUse(known))
}
