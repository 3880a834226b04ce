//! What is said to a proxy, and what it says: [`socks5`] and [`http`].
//!
//! Pure: bytes or heads in, values out. Everything here may come from a hostile visitor, so nothing
//! is taken that is longer than its protocol has it.

pub mod http;
pub mod socks5;
