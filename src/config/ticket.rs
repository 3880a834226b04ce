//! A client's ticket: it stands for the flags that say the same.

use std::env;

use anyhow::{Context, Result, anyhow};
use tracing::warn;
use zeroize::Zeroizing;

use crate::cli::{CredentialFlags, Hidden, TrustFlags};
use crate::secret;
use crate::ticket::Ticket;
use crate::tunnel::HostPort;

/// Environment variable for the ticket.
const TICKET_VARIABLE: &str = "RSTUN_TICKET";

/// The ticket's name among the credentials of a systemd service.
const TICKET_CREDENTIAL: &str = "ticket";

/// Finds a ticket, if there is any, sets the flags that it stands for, and tells where the server is.
///
/// What is said in other words needs no ticket: `otherwise` is whether that is so of the server.
pub(super) fn redeem(
    typed: Option<Hidden>,
    otherwise: bool,
    credential: &mut CredentialFlags,
    trust: &mut TrustFlags,
) -> Result<Option<Vec<String>>> {
    if typed.is_some() {
        warn!(
            "the ticket on the command line shows to everyone on this machine; --ticket-file and \
             {TICKET_VARIABLE} do not show it"
        );
    }
    let otherwise = otherwise || trust.is_given() || credential.is_given();
    let Some((word, from)) = find(typed, credential, otherwise)? else {
        return Ok(None);
    };
    let ticket = Ticket::decode(&word).context(from)?;
    trust.pin = vec![ticket.pin.to_string()];
    credential.name = ticket.name;
    credential.password.of_ticket = Some(Hidden(ticket.secret.text()));
    Ok(Some(
        ticket.servers.iter().map(HostPort::to_string).collect(),
    ))
}

/// The ticket, from the first of: the command line, a file, the environment, the file of --config,
/// systemd's credentials; and where it is from.
fn find(
    typed: Option<Hidden>,
    credential: &mut CredentialFlags,
    otherwise: bool,
) -> Result<Option<(Zeroizing<String>, String)>> {
    let kept = credential.kept_ticket.take();
    Ok(if let Some(Hidden(word)) = typed {
        Some((word, "TICKET".to_owned()))
    } else if let Some(path) = &credential.ticket_file {
        let from = format!("--ticket-file {}", path.display());
        let word = secret::read_line(path).with_context(|| format!("cannot read {from}"))?;
        Some((word, from))
    } else if otherwise {
        None
    } else if let Some(word) = env::var_os(TICKET_VARIABLE) {
        let word = word.into_string();
        let word = word.map_err(|_| anyhow!("{TICKET_VARIABLE} is not UTF-8"))?;
        Some((Zeroizing::new(word), TICKET_VARIABLE.to_owned()))
    } else if let Some(Hidden(word)) = kept {
        Some((word, "ticket in --config".to_owned()))
    } else if let Some(path) = secret::credential(TICKET_CREDENTIAL) {
        let from = format!("systemd's credential '{TICKET_CREDENTIAL}'");
        let word = secret::read_line(&path).with_context(|| format!("cannot read {from}"))?;
        Some((word, from))
    } else {
        None
    })
}
