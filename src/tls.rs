//! Keys, certificates and the TLS configurations made of them.
//!
//! A server has one certificate, and a client may have one. What makes a certificate the right one
//! is up to its reader: to a client [`Trust`], to a server the login.

mod client;
mod fingerprint;
mod known;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs};

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::hmac;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use zeroize::Zeroizing;

use self::client::AnyClient;
use crate::secret;

pub use client::ClientIdentity;
pub use fingerprint::{Fingerprint, NoFingerprint};
pub use known::KnownServer;
pub use trust::Trust;

/// A server's certificate chain and key, known to belong together.
pub struct ServerIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<PrivateKeyDer<'static>>,
    files: Vec<PathBuf>,
}

impl ServerIdentity {
    /// Reads both files, DER or PEM, and checks that the key is the certificate's.
    pub fn load(cert: &Path, key: &Path) -> Result<Self> {
        let identity = Self {
            chain: read_certificates(cert).context("--cert")?,
            key: read_key(key).context("--key")?,
            files: vec![cert.to_owned(), key.to_owned()],
        };
        identity.config(&[], false).with_context(|| {
            format!(
                "{} is not the key of the certificate in {}",
                key.display(),
                cert.display()
            )
        })?;
        Ok(identity)
    }

    /// A certificate just made, and its key.
    pub fn new(cert: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        Self {
            chain: vec![cert],
            key: Zeroizing::new(key),
            files: Vec::new(),
        }
    }

    /// The files that it was read from, if it was.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether this is the same chain and key.
    pub fn is(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key.secret_der() == other.key.secret_der()
    }

    /// The SHA-256 of the certificate that clients compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.chain[0])
    }

    /// What a server speaks: TLS 1.3 and one protocol. It may ask clients for a certificate, and
    /// takes those too that have none.
    pub fn config(&self, alpn: &[u8], ask_clients: bool) -> Result<rustls::ServerConfig> {
        let config = rustls::ServerConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let config = match ask_clients {
            true => config.with_client_cert_verifier(Arc::new(AnyClient(crypto()))),
            false => config.with_no_client_auth(),
        };
        let mut config = config.with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }

    /// A secret that stays the same for as long as the key does, for one use alone.
    ///
    /// With it a server that was started again can answer for connections of the one before it.
    pub fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.secret_der());
        let mut secret = [0; 32];
        secret.copy_from_slice(hmac::sign(&key, purpose).as_ref());
        secret
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerIdentity({})", self.fingerprint())
    }
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

/// All certificates of a file, the server's own first; at least one.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path)?;
    let chain = if is_pem(&bytes) {
        CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("{} is malformed PEM", path.display()))?
    } else {
        vec![CertificateDer::from(bytes.to_vec())]
    };
    let valid = chain.iter().all(|c| ParsedCertificate::try_from(c).is_ok());
    if !valid || chain.is_empty() {
        if parse_key(&bytes).is_ok() {
            bail!(
                "{} holds a private key and no certificate; are --cert and --key swapped?",
                path.display()
            );
        }
        bail!(
            "{} holds no X.509 certificate; `rstun keygen` makes one",
            path.display()
        );
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>> {
    let shown = path.display();
    let no_key = |bytes: &[u8]| match is_certificate(bytes) {
        true => {
            anyhow!("{shown} is a certificate and no private key; are --cert and --key swapped?")
        }
        false => anyhow!("{shown} holds no private key; `rstun keygen` makes one"),
    };
    match (secret::read(path), read(path)) {
        (Ok(bytes), _) => parse_key(&bytes).map_err(|_| no_key(&bytes)),
        // To close a certificate to others would not make a key of it.
        (Err(_), Ok(bytes)) if is_certificate(&bytes) && parse_key(&bytes).is_err() => {
            Err(no_key(&bytes))
        }
        (Err(e), _) => Err(anyhow!(e).context(format!("cannot read {shown}"))),
    }
}

fn is_certificate(bytes: &[u8]) -> bool {
    ParsedCertificate::try_from(&CertificateDer::from(bytes)).is_ok()
        || CertificateDer::from_pem_slice(bytes).is_ok()
}

fn parse_key(bytes: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>> {
    let key = Zeroizing::new(if is_pem(bytes) {
        PrivateKeyDer::from_pem_slice(bytes)?
    } else {
        PrivateKeyDer::try_from(bytes.to_vec()).map_err(|e| anyhow!(e))?
    });
    crypto().key_provider.load_private_key(key.clone_key())?;
    Ok(key)
}

/// Reads a file in which a key may stand beside what is looked for.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    fs::read(path)
        .map(Zeroizing::new)
        .with_context(|| format!("cannot read {}", path.display()))
}

/// PEM may have text in front of its first block; DER begins with a SEQUENCE.
fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(10).any(|w| w == b"-----BEGIN")
}
