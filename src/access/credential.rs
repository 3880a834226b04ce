//! What shows who a client is, from both sides.
//!
//! Nothing that could be used again crosses the wire. A proof is made over keying material that TLS
//! exports for this one connection ([`ChannelBinding`]), so it is worth nothing on any other. A
//! client that is known by a key has shown it in the handshake already.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest, hmac, rand};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::tls::ClientIdentity;

/// Keying material of one connection.
pub type ChannelBinding = [u8; 32];

/// What a client shows for itself on one connection.
pub type Proof = [u8; 32];

/// How a client shows who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// It knows the password of all who have no entry of their own.
    Password(Password),
    /// It knows the secret of the entry of this name.
    Secret(String, Password),
    /// It has the key of an entry.
    Key(ClientIdentity),
}

impl Credential {
    /// Whether this is the same.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Password(ours), Self::Password(theirs)) => ours.is(theirs),
            (Self::Secret(name, ours), Self::Secret(another, theirs)) => {
                name == another && ours.is(theirs)
            }
            (Self::Key(ours), Self::Key(theirs)) => ours.fingerprint() == theirs.fingerprint(),
            _ => false,
        }
    }

    /// The key that is shown in the handshake, if it is one.
    pub fn key(&self) -> Option<&ClientIdentity> {
        match self {
            Self::Key(identity) => Some(identity),
            Self::Password(_) | Self::Secret(..) => None,
        }
    }
}

/// A password, wiped from memory when dropped and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Whether this is the same. Not for what a peer shows: it takes longer the more is alike.
    pub fn is(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }

    /// Takes a password, which is to be of at least one byte.
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// A secret of 256 random bits, in hexadecimal.
    pub fn generate() -> Self {
        let mut random = Zeroizing::new([0; 32]);
        // It fails only where the system has no randomness, and then nothing here can go on.
        rand::fill(random.as_mut()).expect("random bytes");
        Self::from_bits(&random)
    }

    /// A secret of these 256 bits, in hexadecimal.
    pub fn from_bits(bits: &[u8; 32]) -> Self {
        Self(Zeroizing::new(hex(bits)))
    }

    /// A copy of its text.
    pub fn text(&self) -> Zeroizing<String> {
        self.0.clone()
    }

    /// Its bytes, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Proves on one connection that this password is known.
    pub fn prove(&self, binding: &ChannelBinding) -> Proof {
        sign(self.0.as_bytes(), binding)
    }

    /// Whether a proof shows this password; takes the same time for any.
    pub fn verifies(&self, binding: &ChannelBinding, proof: &Proof) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        hmac::verify(&key, binding, proof).is_ok()
    }

    /// Proves on one connection that this is the secret behind a [`StoredKey`].
    pub fn prove_stored(&self, binding: &ChannelBinding) -> Proof {
        let key = self.client_key();
        let signature = sign(&StoredKey::of(&key).0, binding);
        std::array::from_fn(|i| key[i] ^ signature[i])
    }

    /// What a server keeps of a secret.
    pub fn stored_key(&self) -> StoredKey {
        StoredKey::of(&self.client_key())
    }

    fn client_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(sign(self.0.as_bytes(), b"Client Key"))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// What a server keeps of a generated secret: enough to know it, too little to log in with (the
/// StoredKey of RFC 5802, section 3).
///
/// The secret is of 256 random bits, so what makes guesses slow for passwords, the salt and the
/// iterations, has nothing to protect here.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey([u8; 32]);

impl StoredKey {
    /// One whose secret nobody knows.
    pub fn unknown() -> Self {
        Password::generate().stored_key()
    }

    fn of(client_key: &[u8; 32]) -> Self {
        Self(sha256(client_key))
    }

    /// Whether a proof shows the secret behind this; takes the same time for any.
    pub fn verifies(&self, binding: &ChannelBinding, proof: &Proof) -> bool {
        let signature = sign(&self.0, binding);
        let key = Zeroizing::new(std::array::from_fn(|i| proof[i] ^ signature[i]));
        constant_time::verify_slices_are_equal(&Self::of(&key).0, &self.0).is_ok()
    }
}

/// Not the form of a verifier.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "a verifier is 64 hexadecimal digits, as `rstun keygen --client NAME --secret` prints them"
)]
pub struct NoVerifier;

impl FromStr for StoredKey {
    type Err = NoVerifier;

    fn from_str(s: &str) -> Result<Self, NoVerifier> {
        let digits = s.as_bytes().as_chunks::<2>();
        let (pairs, []) = digits else {
            return Err(NoVerifier);
        };
        let mut key = [0; 32];
        if pairs.len() != key.len() {
            return Err(NoVerifier);
        }
        for (byte, [high, low]) in key.iter_mut().zip(pairs) {
            let digit = |c: &u8| (*c as char).to_digit(16).ok_or(NoVerifier);
            *byte = (digit(high)? << 4 | digit(low)?) as u8;
        }
        Ok(Self(key))
    }
}

impl fmt::Display for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKey(hidden)")
    }
}

fn sign(key: &[u8], message: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&key, message).as_ref());
    tag
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(Zeroizing::new(text.into())).unwrap()
    }

    #[test]
    fn a_proof_holds_for_its_password_and_connection_alone() {
        let secret = password("secret");
        let proof = secret.prove(&[1; 32]);
        assert!(secret.verifies(&[1; 32], &proof));
        assert!(!secret.verifies(&[2; 32], &proof));
        assert!(!secret.verifies(&[1; 32], &password("Secret").prove(&[1; 32])));
    }

    #[test]
    fn a_secret_is_known_by_its_verifier_alone() {
        let secret = Password::generate();
        let stored: StoredKey = secret.stored_key().to_string().parse().unwrap();
        let proof = secret.prove_stored(&[1; 32]);
        assert!(stored.verifies(&[1; 32], &proof));
        assert!(!stored.verifies(&[2; 32], &proof));
        let another = Password::generate();
        assert!(!stored.verifies(&[1; 32], &another.prove_stored(&[1; 32])));
        assert!(!StoredKey::unknown().verifies(&[1; 32], &proof));
    }

    /// Who has read the server's file proves nothing by what stands there.
    #[test]
    fn a_verifier_is_no_secret_to_log_in_with() {
        let stored = Password::generate().stored_key();
        let read = password(&stored.to_string());
        assert!(!stored.verifies(&[1; 32], &read.prove_stored(&[1; 32])));
        assert!(!stored.verifies(&[1; 32], &read.prove(&[1; 32])));
        assert!(!stored.verifies(&[1; 32], &sign(&stored.0, &[1; 32])));
        assert!(!stored.verifies(&[1; 32], &[0; 32]));
    }

    /// By RFC 5802, section 3, with the secret in place of SaltedPassword; made with Python's hmac.
    #[test]
    fn a_verifier_is_what_the_rfc_says() {
        assert_eq!(
            password("pencil").stored_key().to_string(),
            "4f58cf9ceadcbdbc83379f970031ff92e40d2e537fcfb5dc3c29df9b0c8168fc"
        );
    }

    #[test]
    fn a_credential_is_the_same_in_all_of_its_parts() {
        let all = |text| {
            let secret = |name: &str| Credential::Secret(name.into(), password(text));
            [
                Credential::Password(password(text)),
                secret("a"),
                secret("b"),
            ]
        };
        let (these, same, others) = (all("one"), all("one"), all("other"));
        for (i, it) in these.iter().enumerate() {
            for (j, same) in same.iter().enumerate() {
                assert_eq!(it.is(same), i == j);
            }
            assert!(others.iter().all(|other| !it.is(other)));
        }
    }

    #[test]
    fn no_secret_is_in_debug_output() {
        let credential = Credential::Secret("laptop".into(), password("hunter2"));
        assert!(!format!("{credential:?}").contains("hunter2"));
        let stored = password("hunter2").stored_key();
        assert!(!format!("{stored:?}").contains(&stored.to_string()[..8]));
    }

    #[test]
    fn what_is_no_verifier_is_an_error() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
            assert_eq!(text.parse::<StoredKey>(), Err(NoVerifier), "{text}");
        }
        assert!("é".repeat(32).parse::<StoredKey>().is_err());
    }
}
