//! A client's credential: its own half in a file that is its owner's alone, the server's half as an
//! entry for `--clients` on standard output, and nothing else there, so that it can be appended.

use std::path::Path;

use anyhow::Result;
use zeroize::Zeroizing;

use super::{self_signed, write};
use crate::access::Password;
use crate::tls::Fingerprint;

pub(super) fn key(dir: &Path, force: bool, name: &str, days: u32) -> Result<()> {
    let (certificate, key) = self_signed(&[name.to_owned()], days)?;
    let path = dir.join(format!("{name}.pem"));
    let key = Zeroizing::new(key.serialize_pem());
    let pem = Zeroizing::new([key.as_str(), &certificate.pem()].concat());
    write(&path, pem.as_bytes(), true, force)?;
    let fingerprint = Fingerprint::of(certificate.der());
    let path = path.display();
    eprintln!("{path} is for the client alone: rstun client --identity {path}");
    print!(
        "{}",
        entry(name, &format!("key = \"SHA256:{fingerprint}\""))
    );
    Ok(())
}

pub(super) fn secret(dir: &Path, force: bool, name: &str) -> Result<()> {
    let secret = Password::generate();
    let path = dir.join(format!("{name}.secret"));
    let line = Zeroizing::new([secret.as_bytes(), b"\n"].concat());
    write(&path, &line, true, force)?;
    let path = path.display();
    eprintln!("{path} is for the client alone: rstun client --name {name} --password-file {path}");
    print!("{}", entry_by_secret(name, &secret));
    Ok(())
}

/// The entry of a client that knows this secret.
pub fn entry_by_secret(name: &str, secret: &Password) -> String {
    entry(name, &format!("verifier = \"{}\"", secret.stored_key()))
}

fn entry(name: &str, credential: &str) -> String {
    format!(
        "[[client]]\nname = \"{name}\"\n{credential}\n\
         listen = []  # such as \"tcp:127.0.0.1:8000-8999\", \"udp:0.0.0.0:51820\"\n\
         reach = []   # such as \"10.0.0.0/8:5432\", \"db.internal:5432\"\n"
    )
}
