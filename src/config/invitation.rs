//! Whom a server invites, and what `rstun ticket` is to print.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use zeroize::Zeroizing;

use super::identity::Identity;
use super::{ClientsFile, DEFAULT_PORT, password, places};
use crate::access::{Password, StoredKey, Verifier};
use crate::cli::TicketFlags;
use crate::invitation::{Invitation, NewEntry};
use crate::keygen;
use crate::tunnel::{HostPort, ListenAddr};

/// What the ticket of each client's own is derived for.
const PURPOSE: &str = "rstun ticket for ";

/// An invitation of all who may know the password.
pub(super) fn of_all(
    identity: &Identity,
    secret: &Password,
    listen: ListenAddr,
    qr: bool,
) -> Invitation {
    Invitation {
        pin: identity.own.fingerprint(),
        name: None,
        secret: secret.clone(),
        public: Vec::new(),
        listen,
        qr,
        entry: None,
        again: format!("{}rstun ticket", places::prefix()),
    }
}

impl Invitation {
    /// Completes and checks what was typed for `rstun ticket`. A client that is not listed yet gets
    /// its entry.
    pub fn new(flags: TicketFlags) -> Result<Self> {
        let listen: ListenAddr = flags
            .listen
            .parse()
            .with_context(|| format!("--listen {}", flags.listen))?;
        let identity = Identity::of_started(flags.keys)?;
        let given = flags.password.is_given();
        let mut entry = None;
        let (name, secret) = match flags.name {
            Some(name) => {
                let clients = flags.clients.context(
                    "--for NAME: in which file is the client's entry? Give --clients FILE, as the \
                     server does",
                )?;
                let secret = match given {
                    true => password(flags.password)?,
                    false => derived(&identity, &name),
                };
                if !is_listed(&clients, &name, &secret.stored_key(), given)? {
                    let text = keygen::entry_by_secret(&name, &secret);
                    entry = Some(NewEntry {
                        file: clients,
                        text,
                    });
                }
                (Some(name), secret)
            }
            None => (None, identity.password(flags.password)?),
        };
        let default = match listen.port {
            0 => DEFAULT_PORT,
            port => port,
        };
        let public = flags.public.iter().map(|addr| {
            let read = HostPort::of_server(addr, default);
            let read = read.with_context(|| format!("--addr {addr}"));
            // Of a range of ports the first will do.
            read.map(|(first, _)| first)
        });
        Ok(Self {
            public: public.collect::<Result<_>>()?,
            name,
            entry,
            ..of_all(&identity, &secret, listen, flags.qr)
        })
    }
}

/// A client's secret. It is made of the server's private key, so it can be printed again at any time
/// and is stored nowhere.
fn derived(identity: &Identity, name: &str) -> Password {
    let purpose = format!("{PURPOSE}{name}");
    Password::from_bits(&Zeroizing::new(identity.own.derive(purpose.as_bytes())))
}

/// Whether a client has an entry, which has to know its secret then.
fn is_listed(file: &Path, name: &str, verifier: &StoredKey, given: bool) -> Result<bool> {
    let shown = file.display();
    if !file.exists() {
        return Ok(false);
    }
    let entries = ClientsFile::load(file.to_owned())?.entries;
    let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
        return Ok(false);
    };
    match &entry.verifier {
        Verifier::Secret(known) if known == verifier => {}
        Verifier::Secret(_) if given => {
            bail!("{name} has another secret: its verifier in {shown} does not fit")
        }
        Verifier::Secret(_) => bail!(
            "{name} has a secret that was made by `rstun keygen`: give it by --password-file, or \
             take its entry out of {shown} for a new one"
        ),
        Verifier::Key(_) => bail!(
            "{name} logs in by a key, which does not leave its machine; take its entry out of \
             {shown} to give it a ticket in place of that"
        ),
    }
    ensure!(!entry.disabled, "{name} is disabled in {shown}");
    Ok(true)
}
