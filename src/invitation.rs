//! What the person has to be told who sets a client up: its ticket, and what to type.

mod addresses;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::access::Password;
use crate::ticket::Ticket;
use crate::tls::Fingerprint;
use crate::tunnel::{HostPort, ListenAddr};

/// What clients of a server are given.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The SHA-256 of the server's certificate.
    pub pin: Fingerprint,
    /// The client that it is for; none for all who may know the password.
    pub name: Option<String>,
    /// Its secret, or the password.
    pub secret: Password,
    /// Where clients reach the server, if that was said.
    pub public: Vec<HostPort>,
    /// Where the server listens.
    pub listen: ListenAddr,
    /// Whether to show it as a QR code too.
    pub qr: bool,
    /// What is to be added to the server's list of clients for it.
    pub entry: Option<NewEntry>,
    /// The command that prints it again.
    pub again: String,
}

/// A client that is not listed yet.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The list.
    pub file: PathBuf,
    /// What is to be added.
    pub text: String,
}

impl NewEntry {
    fn add(&self) -> Result<()> {
        let shown = self.file.display();
        let failed = || format!("--clients {shown}: cannot be written to");
        let mut options = OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .open(&self.file)
            .with_context(failed)?;
        let gap = if file.metadata().with_context(failed)?.len() > 0 {
            "\n"
        } else {
            ""
        };
        // All at once: the server may look at any time.
        file.write_all([gap, &self.text].concat().as_bytes())
            .with_context(failed)?;
        eprintln!("It has an entry in {shown} now, where listen and reach say what it may do.");
        Ok(())
    }
}

impl Invitation {
    /// Tells whoever sits in front of a server that has just been started. The ticket is a secret, so
    /// it goes to a person's terminal and nowhere else.
    pub fn show(mut self, bound: SocketAddr) -> Result<()> {
        self.listen.port = bound.port();
        let again = &self.again;
        if !io::stderr().is_terminal() {
            info!("`{again}` prints the ticket that clients need");
            if self.qr {
                warn!("--qr: this is no terminal; `{again} --qr` prints it wherever it is to go");
            }
            return Ok(());
        }
        let (ticket, note) = self.ticket()?;
        eprintln!(
            "\nTo show the world port 3000 of another machine on port 18080 of this one, type there:\n"
        );
        eprintln!("    rstun client {} -R 3000^18080\n", *ticket);
        if self.qr {
            eprintln!("{}", *code(&ticket)?);
        }
        eprintln!("{note}Whoever has the ticket may use this server. `{again}` prints it again.\n");
        Ok(())
    }

    /// Prints the ticket alone, and what there is to know of it on standard error.
    pub fn print(&self) -> Result<()> {
        let (ticket, note) = self.ticket()?;
        if let Some(entry) = &self.entry {
            entry.add()?;
        }
        println!("{}", *ticket);
        if self.qr {
            print!("{}", *code(&ticket)?);
        }
        eprint!("{note}");
        Ok(())
    }

    /// The ticket, and a note on its addresses if they were guessed.
    fn ticket(&self) -> Result<(Zeroizing<String>, String)> {
        let servers = match self.public.is_empty() {
            false => self.public.clone(),
            true => addresses::guess(self.listen),
        };
        let mut note = String::new();
        if self.public.is_empty() {
            let guessed: Vec<_> = servers.iter().map(HostPort::to_string).collect();
            note = format!(
                "It names what look like this machine's addresses: {}. If clients reach it by others: \
                 {} --addr HOST[:PORT]\n",
                guessed.join(", "),
                self.again
            );
        }
        let ticket = Ticket {
            servers,
            pin: self.pin,
            name: self.name.clone(),
            secret: self.secret.clone(),
        };
        Ok((ticket.encode()?, note))
    }
}

/// A QR code for a terminal that is dark: two of its rows to a line.
fn code(ticket: &str) -> Result<Zeroizing<String>> {
    let code = QrCode::with_error_correction_level(ticket, EcLevel::L);
    let code = code.context("--qr: the ticket does not fit in a QR code")?;
    let image = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Ok(Zeroizing::new(image + "\n"))
}
