//! What a peer may send on the control stream, in front of a flow, and in datagrams.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rstun::wire::{Datagram, Decoded, FRAME_HEADER, FlowHeader, MAX_BODY, Message};

fuzz_target!(|bytes: &[u8]| {
    let _ = Datagram::decode(Bytes::copy_from_slice(bytes));
    if let Ok(Decoded::Whole(header)) = FlowHeader::decode(bytes) {
        let encoded = header.encode();
        assert_eq!(FlowHeader::decode(&encoded), Ok(Decoded::Whole(header)));
    }
    let Some((header, body)) = bytes.split_first_chunk::<FRAME_HEADER>() else {
        return;
    };
    assert!(
        Message::body_length(header).is_ok_and(|n| n <= MAX_BODY)
            == (header[1..] <= [0, 1, 0, 0][..])
    );
    if let Ok(message) = Message::decode(header, body) {
        let encoded = message.encode();
        let (header, body) = encoded.split_first_chunk().expect("a frame");
        assert_eq!(Message::body_length(header), Ok(body.len()));
        assert_eq!(Message::decode(header, body), Ok(message));
    }
});
