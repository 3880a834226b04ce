//! What makes a server the right one, as a client sees it. There is no way to do without.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::known::KnownServer;
use super::{ClientIdentity, Fingerprint, crypto, read_certificates};

/// What a client trusts a server by.
#[derive(Clone)]
pub enum Trust {
    /// It has one of these certificates, byte for byte. Names, dates and authorities play no part.
    Certificates(Vec<CertificateDer<'static>>),
    /// Its certificate has one of these fingerprints. The rest plays no part here either.
    Pins(Vec<Fingerprint>),
    /// An authority that the system trusts says that it has its name.
    System,
    /// Its certificate is the one that it had the first time.
    FirstUse(KnownServer),
}

impl Trust {
    /// Reads copies of servers' certificates, DER or PEM, of which any will do.
    pub fn load(paths: &[PathBuf]) -> Result<Self> {
        let first = |path: &PathBuf| Ok(read_certificates(path)?.swap_remove(0));
        let certificates = paths.iter().map(first).collect::<Result<_>>();
        Ok(Self::Certificates(certificates?))
    }

    /// What a client speaks: TLS 1.3 and one protocol, with a server that it trusts. It may have a
    /// certificate of its own.
    pub fn config(
        &self,
        alpn: &[u8],
        own: Option<&ClientIdentity>,
    ) -> Result<rustls::ClientConfig> {
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::System => Arc::new(rustls_platform_verifier::Verifier::new(crypto())?),
            by_fingerprint => Arc::new(ByFingerprint {
                trust: by_fingerprint.clone(),
                crypto: crypto(),
            }),
        };
        let config = rustls::ClientConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match own.map(ClientIdentity::chain) {
            Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        // Where the name plays no part there is nothing to tell those on the way.
        config.enable_sni = matches!(self, Self::System);
        Ok(config)
    }

    /// Why a server is not trusted, and what to do.
    pub fn complaint(&self, why: &str) -> String {
        const ELSE: &str = "unless someone stands between you and it";
        match self {
            Self::Certificates(_) => format!(
                "the server's certificate is not the one in --cert; copy certificate.der from the \
                 server again, {ELSE}"
            ),
            Self::Pins(_) => format!(
                "the server's certificate is none of --pin; the server logs its SHA-256 when it \
                 starts: give that, {ELSE}"
            ),
            Self::System => format!(
                "the system does not trust the server's certificate, so that it takes --cert or \
                 --pin if `rstun keygen` made it: {why}"
            ),
            Self::FirstUse(known) => format!(
                "the server's certificate is not the one of the first time; remove the line of {} \
                 from {} if it was changed, {ELSE}",
                known.server(),
                known.file().display()
            ),
        }
    }
}

impl From<CertificateDer<'static>> for Trust {
    fn from(certificate: CertificateDer<'static>) -> Self {
        Self::Certificates(vec![certificate])
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |prints: &mut dyn Iterator<Item = Fingerprint>| {
            let mut prints: Vec<_> = prints.map(|print| print.to_string()).collect();
            prints.sort();
            prints.join(",")
        };
        match self {
            Self::Certificates(certificates) => {
                f.write_str(&all(&mut certificates.iter().map(Fingerprint::of)))
            }
            Self::Pins(pins) => f.write_str(&all(&mut pins.iter().copied())),
            Self::System => f.write_str("system"),
            Self::FirstUse(_) => f.write_str("first-use"),
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({self})")
    }
}

/// Accepts a server whose certificate is known by itself, and that signs with its key.
#[derive(Debug)]
struct ByFingerprint {
    trust: Trust,
    crypto: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(end_entity);
        let trusted = match &self.trust {
            Trust::Certificates(pinned) => pinned.contains(end_entity),
            Trust::Pins(pins) => pins.contains(&found),
            // One that was never seen before is remembered when it has signed.
            Trust::FirstUse(known) => known.recall().map_err(general)?.is_none_or(|k| k == found),
            Trust::System => false,
        };
        match trusted {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.crypto.signature_verification_algorithms;
        let signed = verify_tls13_signature(message, cert, dss, algorithms)?;
        if let Trust::FirstUse(known) = &self.trust {
            known.remember(Fingerprint::of(cert)).map_err(general)?;
        }
        Ok(signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn general(error: anyhow::Error) -> rustls::Error {
    rustls::Error::General(format!("{error:#}"))
}
