//! What may be typed or pasted for a ticket.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rstun::ticket::Ticket;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Ticket::decode(text);
    }
    if let Ok(ticket) = Ticket::from_bytes(bytes) {
        let written = ticket.encode().expect("what was read can be written");
        let again = Ticket::decode(&written).expect("what was written can be read");
        assert_eq!(again.encode().expect("the same"), written);
    }
});
