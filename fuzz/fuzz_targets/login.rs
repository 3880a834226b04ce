//! What a stranger may say first, whatever its length says, and what it is checked by.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rstun::access::{Password, StoredKey};
use rstun::tunnel::MAX_TUNNELS;
use rstun::wire::{Credential, FRAME_HEADER, Login, MAX_BODY, Message};

/// The types of Login and Welcome (PROTOCOL.md).
const LOGIN: u8 = 1;
const WELCOME: u8 = 2;

/// Most bytes of a client's name.
const MAX_NAME: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    for kind in [LOGIN, WELCOME] {
        // As the type and length of what is there: the bytes are the body alone, and so all are used.
        if let Ok(message) = Message::decode(&header(kind, bytes.len()), bytes) {
            let encoded = message.encode();
            let (header, body) = encoded.split_first_chunk().expect("a frame");
            assert_eq!(Message::body_length(header), Ok(body.len()));
            assert!(body.len() <= MAX_BODY);
            if let Message::Login(login) = &message {
                check(login);
            }
            assert_eq!(Message::decode(header, body), Ok(message));
        }
    }
});

fn header(kind: u8, len: usize) -> [u8; FRAME_HEADER] {
    let [a, b, c, d] = (len as u32).to_be_bytes();
    [kind, a, b, c, d]
}

/// Bounded, and the proof of nobody.
fn check(login: &Login) {
    assert!(login.tunnels.len() <= MAX_TUNNELS);
    match &login.credential {
        Credential::Password(proof) => {
            let password = Password::new("a password".to_owned().into()).expect("a password");
            assert!(!password.verifies(&[7; 32], proof));
        }
        Credential::Secret { name, proof } => {
            assert!(name.len() <= MAX_NAME);
            assert!(!StoredKey::unknown().verifies(&[7; 32], proof));
        }
        Credential::Key => {}
    }
}
