//! What a certificate is known by.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use thiserror::Error;

/// A certificate's SHA-256, printed as other tools print it: AB:CD:...
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Not the form of a fingerprint.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no SHA-256: write 64 hexadecimal digits as in AB:CD:..., as `rstun keygen` does")]
pub struct NoFingerprint(String);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self::of_bytes(certificate)
    }

    /// The fingerprint of any bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// The SHA-256 itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Reads 64 hexadecimal digits, with or without `SHA256:` in front and colons between.
    fn from_str(s: &str) -> Result<Self, NoFingerprint> {
        let wrong = || NoFingerprint(s.into());
        let digits = s.strip_prefix("SHA256:").unwrap_or(s).bytes();
        let digits = digits.filter(|byte| *byte != b':');
        let digits = digits.map(|byte| (byte as char).to_digit(16).map(|digit| digit as u8));
        let digits: Vec<u8> = digits.collect::<Option<_>>().ok_or_else(wrong)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(hash) if rest.is_empty() => Ok(Self(hash)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_printed_as_openssl_prints_it_and_read_in_any_form() {
        let empty = Fingerprint::of_bytes(b"");
        let printed = empty.to_string();
        assert!(printed.starts_with("E3:B0:C4:42:"));
        assert_eq!(printed.len(), 32 * 3 - 1);
        let plain = printed.replace(':', "");
        for text in [
            printed.clone(),
            format!("SHA256:{printed}"),
            plain.to_lowercase(),
            plain.clone(),
        ] {
            assert_eq!(text.parse(), Ok(empty), "{text}");
        }
        for text in [
            "",
            "AB",
            &plain[1..],
            &format!("{plain}0"),
            &plain.replace('E', "é"),
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
