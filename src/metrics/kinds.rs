//! What is told apart where things are counted: closed sets, so that their names are bounded.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// A closed set of kinds, each with a name that is fit for a label.
pub trait Kind: Copy + 'static {
    /// All of them, in the order of their numbers.
    const ALL: &'static [Self];

    /// What it is called.
    fn name(self) -> &'static str;

    /// Its place in [`Kind::ALL`].
    fn index(self) -> usize;
}

macro_rules! kinds {
    ($(#[$doc:meta])* $set:ident { $($(#[$each:meta])* $kind:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $set { $($(#[$each])* $kind,)+ }

        impl Kind for $set {
            const ALL: &'static [Self] = &[$(Self::$kind,)+];

            fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

kinds! {
    /// How a login ended.
    Login {
        /// There is a session.
        Accepted = "accepted",
        /// Nobody is known by what the client showed.
        Refused = "refused",
        /// The client may not have one of its tunnels.
        TunnelRefused = "tunnel_refused",
        /// It was not over in time.
        TimedOut = "timed_out",
        /// The connection or the protocol broke, or the server is not trusted.
        Failed = "failed",
        /// Its source had to wait after earlier failures.
        TurnedAway = "turned_away",
        /// Too many were logging in.
        Full = "full",
    }
}

kinds! {
    /// Why a flow was not to be had.
    Refusal {
        /// There was no session, or the peer was out of hearing.
        NoSession = "no_session",
        /// Too many were open.
        TooMany = "too_many",
        /// The target refused it.
        Refused = "refused",
        /// There is no way to the target.
        Unreachable = "unreachable",
        /// The target did not answer in time.
        TimedOut = "timed_out",
        /// The target's name does not resolve.
        NoSuchName = "no_such_name",
        /// The target is not allowed.
        NotAllowed = "not_allowed",
        /// The side that was to dial was shutting down.
        Draining = "draining",
        /// A side had no descriptors left, or no memory.
        Overloaded = "overloaded",
        /// It was not understood.
        BadHeader = "bad_header",
    }
}

kinds! {
    /// Where datagrams, and packets in them, were lost on this side.
    Dropped {
        /// In the queue of the connection, which was full.
        Unsent = "send_queue",
        /// In the connection, where they came faster than they were taken.
        Unread = "receive_queue",
        /// A socket or a queue behind the tunnel had no room.
        NoRoom = "socket",
        /// They were faster than the client may be.
        TooFast = "rate_limit",
        /// A piece of them was missing.
        Incomplete = "reassembly",
        /// They were none of the protocol's.
        Malformed = "malformed",
    }
}

/// A number for each of a set of kinds.
#[derive(Debug)]
pub struct Counts<K> {
    numbers: Vec<AtomicU64>,
    kinds: PhantomData<K>,
}

impl<K: Kind> Default for Counts<K> {
    fn default() -> Self {
        Self {
            numbers: K::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            kinds: PhantomData,
        }
    }
}

impl<K: Kind> Counts<K> {
    /// Adds to the number of one kind.
    pub fn add(&self, kind: K, n: u64) {
        self.numbers[kind.index()].fetch_add(n, Ordering::Relaxed);
    }

    /// The number of one kind.
    pub fn of(&self, kind: K) -> u64 {
        self.numbers[kind.index()].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_place() {
        let counts = Counts::default();
        for (n, kind) in (1..).zip(Refusal::ALL) {
            counts.add(*kind, n);
        }
        assert_eq!(counts.of(Refusal::NoSession), 1);
        assert_eq!(counts.of(Refusal::BadHeader), Refusal::ALL.len() as u64);
    }
}
