//! What a peer may send by TCP.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| rstun::transport::take_frames(bytes));
