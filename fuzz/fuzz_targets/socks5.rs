//! What a visitor of a SOCKS5 proxy may send.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rstun::proxy::socks5::{
    Decoded, Greeting, LONGEST, Login, Request, decode_datagram, encode_datagram_header,
};

fuzz_target!(|bytes: &[u8]| {
    bounded(bytes, Greeting::decode);
    bounded(bytes, Login::decode);
    bounded(bytes, Request::decode);
    if let Ok(Some((addr, payload))) = decode_datagram(bytes) {
        let again = [&encode_datagram_header(&addr)[..], payload].concat();
        assert_eq!(decode_datagram(&again), Ok(Some((addr, payload))));
    }
});

/// A message does not depend on what follows it, and none waits for ever to be whole.
fn bounded<'a, T: PartialEq>(bytes: &'a [u8], decode: impl Fn(&'a [u8]) -> Decoded<T>) {
    match decode(bytes) {
        Ok(Some((message, taken))) => {
            assert!(taken <= LONGEST);
            assert!(decode(&bytes[..taken]) == Ok(Some((message, taken))));
        }
        Ok(None) => assert!(bytes.len() < LONGEST),
        Err(_) => {}
    }
}
