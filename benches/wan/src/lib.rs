//! Joins two network namespaces by an emulated wide-area link.
//!
//! Where the kernel has no netem queueing discipline, or one does not care to set it up, this does in
//! user space: a link is one TUN device in each [`Namespace`] and a thread for each direction between
//! them. TCP and UDP cross it alike. [`Conditions`] says what a packet meets on its way; they can be
//! changed while the link is up.
//!
//! Linux alone, and it needs the right to make network namespaces and TUN devices: that of root, or of
//! whoever runs it under `unshare -rn` where /dev/net/tun is open to all.

mod conditions;
mod device;
mod direction;
mod link;
mod namespace;

pub use conditions::{Conditions, InvalidOption};
pub use link::{Counts, LEFT, Link, RIGHT};
pub use namespace::Namespace;
