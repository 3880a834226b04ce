//! `rstun keygen`: a key and a self-signed certificate for a server, as two files, or a client's
//! credential.

mod client;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::access::Password;
use crate::tls::Fingerprint;

pub use client::entry_by_secret;

/// Name of the certificate's file.
pub const CERTIFICATE: &str = "certificate.der";

/// Name of the private key's file.
pub const PRIVATE_KEY: &str = "priv_key.der";

/// Days until a certificate expires that a server made for itself: its clients look at its
/// fingerprint, and at nothing else.
const OWN_DAYS: u32 = 36_500;

/// What to make, and where to put it.
#[derive(Debug)]
pub struct Request {
    /// Directory for the files.
    pub out_dir: PathBuf,
    /// Whether files that are there may be replaced.
    pub force: bool,
    /// What it is.
    pub wanted: Wanted,
}

/// What can be made.
#[derive(Debug)]
pub enum Wanted {
    /// A certificate with these names and addresses, valid for so many days, and its key.
    Server(Vec<String>, u32),
    /// A key for the client of this name, with a certificate for so many days.
    Client(String, u32),
    /// A secret for the client of this name.
    Secret(String),
}

/// Makes it, writes the files, and says what to do with them.
pub fn run(request: &Request) -> Result<()> {
    let (dir, force) = (&request.out_dir, request.force);
    fs::create_dir_all(dir).with_context(|| format!("cannot make directory {}", dir.display()))?;
    match &request.wanted {
        Wanted::Server(hosts, days) => server(dir, force, hosts, *days),
        Wanted::Client(name, days) => client::key(dir, force, name, *days),
        Wanted::Secret(name) => client::secret(dir, force, name),
    }
}

/// Makes a server that was given none a certificate and a key of its own, in a directory that is made
/// too. What is left of a pair that was not finished is replaced.
pub fn make_own(dir: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(dir)
        .with_context(|| format!("cannot make directory {}", dir.display()))?;
    let (certificate, key) = certify(&["localhost".to_owned()], OWN_DAYS)?;
    write(&dir.join(PRIVATE_KEY), key.secret_der(), true, true)?;
    write(&dir.join(CERTIFICATE), &certificate, false, true)
}

/// Makes a password, in a file that was not there.
pub fn make_password(path: &Path) -> Result<()> {
    let password = Password::generate();
    let line = Zeroizing::new([password.as_bytes(), b"\n"].concat());
    write(path, &line, true, false)
}

fn server(dir: &Path, force: bool, hosts: &[String], days: u32) -> Result<()> {
    let (certificate, key) = certify(hosts, days)?;
    let (cert_path, key_path) = (dir.join(CERTIFICATE), dir.join(PRIVATE_KEY));
    if !force {
        // Both are looked at before either is written: half a pair is of no use to anyone.
        for path in [&cert_path, &key_path] {
            if path.symlink_metadata().is_ok() {
                return Err(in_the_way(path));
            }
        }
    }
    write(&key_path, key.secret_der(), true, force)?;
    write(&cert_path, &certificate, false, force)?;
    println!("certificate {}", cert_path.display());
    println!("private key {}", key_path.display());
    println!("SHA-256     {}", Fingerprint::of(&certificate));
    Ok(())
}

/// Makes an ECDSA P-256 key and a certificate for it as `self_signed` does, in DER.
pub fn certify(
    hosts: &[String],
    days: u32,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let (certificate, key) = self_signed(hosts, days)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| anyhow!(e))?;
    Ok((certificate.der().clone(), key))
}

/// Makes an ECDSA P-256 key and a certificate for it, signed with itself.
///
/// It is valid from a day ago, for the sake of clocks that are behind.
fn self_signed(hosts: &[String], days: u32) -> Result<(Certificate, KeyPair)> {
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(hosts)
        .with_context(|| format!("--host {} cannot stand in a certificate", hosts.join(", ")))?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(host) = hosts.first() {
        params
            .distinguished_name
            .push(DnType::CommonName, host.as_str());
    }
    params.not_before = (now - day).into();
    params.not_after = (now + day * days).into();
    Ok((params.self_signed(&key)?, key))
}

/// Writes a file that is not there, or with force in place of one that is.
fn write(path: &Path, bytes: &[u8], secret: bool, force: bool) -> Result<()> {
    if force {
        // A new file, so that neither the old one's mode nor a link to elsewhere stays in force.
        match fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(anyhow!(e).context(format!("cannot replace {}", path.display())));
            }
            _ => {}
        }
    }
    let mut file = create(path, secret).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => in_the_way(path),
        _ => anyhow!(e).context(format!("cannot write {}", path.display())),
    })?;
    file.write_all(bytes)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Makes a file that was not there; a secret one is its owner's alone from its first moment.
fn create(path: &Path, secret: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = secret;
    options.open(path)
}

fn in_the_way(path: &Path) -> anyhow::Error {
    anyhow!(
        "{} is there already, and others know its owner by it, so nothing was changed. Use --force \
         to replace it, or --out-dir for another place",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use rustls::server::ParsedCertificate;

    use super::*;

    #[test]
    fn names_and_addresses_go_into_the_certificate() {
        let hosts = ["tunnel.example.org".to_owned(), "10.1.2.3".to_owned()];
        let (certificate, _) = certify(&hosts, 1).unwrap();
        assert!(ParsedCertificate::try_from(&certificate).is_ok());
        let holds = |part: &[u8]| certificate.windows(part.len()).any(|w| w == part);
        assert!(holds(b"tunnel.example.org"));
        assert!(holds(&[10, 1, 2, 3]));
    }

    #[test]
    fn a_name_that_is_none_is_an_error() {
        assert!(certify(&["ünïcode".to_owned()], 1).is_err());
    }
}
