//! What a user of `rstun` sees, shown with the real binary: a file for each behaviour.
//!
//! Nothing here waits for time to pass. A test waits for a line of output, for bytes on a socket or for
//! the end of a program, each with a deadline after which it fails and shows all output so far.

mod architecture;
mod bad_input;
mod bench;
mod concurrent;
mod connect;
mod drain;
mod end_of_flow;
mod generated;
mod harness;
mod keygen;
mod modes;
mod password;
mod proxy_header;
mod ranges;
mod readme;
mod reconnect;
mod refusals;
mod strangers;
mod unix;
