//! Who is let in, and what they may do.
//!
//! The password never crosses the wire. The client sends an HMAC-SHA-256, keyed by the password,
//! over keying material that TLS exports for this one connection (RFC 5705, RFC 9266): the proof
//! is worth nothing on any other.

mod rule;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::tunnel::{Host, HostPort, Target, UnixPath};

pub use rule::{Rule, RuleError};

/// Label under which TLS exports what a proof is made over.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-rstun-login";

/// The target that stands for the load of `rstun bench`, if the server takes it. No machine has
/// this name, nor ever will (RFC 2606, section 2).
pub fn bench_target() -> Target {
    Target::Tcp(HostPort {
        host: Host::Name(BENCH_HOST.to_owned()),
        port: BENCH_PORT,
    })
}

const BENCH_HOST: &str = "bench.rstun.invalid";
const BENCH_PORT: u16 = 1;

/// Whether a target is [`bench_target`].
pub fn is_bench(target: &Target) -> bool {
    *target == bench_target()
}

/// Keying material of one connection.
pub type ChannelBinding = [u8; 32];

/// A password, wiped from memory when dropped and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password, which is to be of at least one byte.
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// Proves on one connection that this password is known.
    pub fn prove(&self, binding: &ChannelBinding) -> [u8; 32] {
        let mut proof = [0; 32];
        proof.copy_from_slice(hmac::sign(&self.key(), binding).as_ref());
        proof
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// What a server's administrator allows.
#[derive(Debug)]
pub struct Access {
    /// What every client must know.
    pub password: Password,
    /// All that clients may reach at the server's side.
    pub downstream: Vec<Rule>,
    /// Where TunnelIn may make Unix sockets, if anywhere: directly in this directory.
    pub unix_dir: Option<PathBuf>,
    /// Where the server takes the load of `rstun bench`, if it does.
    pub bench: Option<SocketAddr>,
}

impl Access {
    /// Lets those who know the password reach what is listed, make no Unix sockets and measure
    /// nothing.
    pub fn new(password: Password, downstream: Vec<Rule>) -> Self {
        Self {
            password,
            downstream,
            unix_dir: None,
            bench: None,
        }
    }

    /// Whether a proof made for this connection shows the password; takes the same time for any.
    pub fn admits(&self, binding: &ChannelBinding, proof: &[u8; 32]) -> bool {
        hmac::verify(&self.password.key(), binding, proof).is_ok()
    }

    /// Whether a target is listed as it is written; what a name stands for may be listed too.
    pub fn names(&self, target: &Target) -> bool {
        self.downstream.iter().any(|rule| rule.names(target))
    }

    /// Those of a target's addresses that may be dialed.
    ///
    /// A target is listed by its own name, or by an address that its name resolves to: then just
    /// that address may be dialed, whatever else the name stands for.
    pub fn reachable(&self, target: &Target, resolved: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let named = self.names(target);
        let listed = |addr| self.downstream.iter().any(|rule| rule.covers(target, addr));
        let mut addrs = resolved;
        addrs.retain(|addr| named || listed(*addr));
        addrs
    }

    /// Whether TunnelIn may make this Unix socket. Only the path's text counts, so that no `..` or
    /// further directory leads elsewhere.
    pub fn may_make(&self, path: &UnixPath) -> bool {
        let name = |dir: &PathBuf| path.as_path().strip_prefix(dir).ok()?.to_str();
        let name = self.unix_dir.as_ref().and_then(name);
        name.is_some_and(|name| !name.is_empty() && name != ".." && !name.contains('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(downstream: &[&str]) -> Access {
        Access::new(
            Password::new(Zeroizing::new("secret".into())).unwrap(),
            downstream.iter().map(|d| d.parse().unwrap()).collect(),
        )
    }

    #[test]
    fn a_proof_holds_for_its_password_and_connection_alone() {
        let access = access(&[]);
        let proof = access.password.prove(&[1; 32]);
        assert!(access.admits(&[1; 32], &proof));
        assert!(!access.admits(&[2; 32], &proof));
        let other = Password::new(Zeroizing::new("Secret".into())).unwrap();
        assert!(!access.admits(&[1; 32], &other.prove(&[1; 32])));
    }

    #[test]
    fn the_password_is_not_in_debug_output() {
        assert!(!format!("{:?}", access(&[])).contains("secret"));
    }

    #[test]
    fn the_bench_target_is_no_other() {
        assert!(is_bench(&bench_target()));
        assert!(is_bench(&"bench.rstun.invalid:1".parse().unwrap()));
        for other in ["bench.rstun.invalid:2", "rstun.invalid:1", "1"] {
            assert!(!is_bench(&other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn only_listed_addresses_are_reachable() {
        let access = access(&["8800", "db.internal:5432", "10.0.0.0/8:80"]);
        let reach = |target: &str, resolved: &[&str]| {
            let resolved = resolved.iter().map(|a| a.parse().unwrap()).collect();
            access.reachable(&target.parse().unwrap(), resolved).len()
        };
        assert_eq!(reach("8800", &["127.0.0.1:8800"]), 1);
        assert_eq!(reach("8801", &["127.0.0.1:8801"]), 0);
        let mapped = "[::ffff:127.0.0.1]:8800";
        assert_eq!(reach(mapped, &[mapped]), 1);
        assert_eq!(
            reach("localhost:8800", &["[::1]:8800", "127.0.0.1:8800"]),
            1
        );
        assert_eq!(reach("db.internal:5432", &["10.0.0.5:5432"]), 1);
        assert_eq!(reach("db.internal:22", &["10.0.0.5:22"]), 0);
        assert_eq!(reach("any.where:80", &["10.0.0.5:80", "192.0.2.1:80"]), 1);
        assert_eq!(reach("udp://8800", &["127.0.0.1:8800"]), 0);
    }

    #[test]
    fn unix_sockets_are_made_in_their_directory_alone() {
        let mut access = access(&[]);
        let path = |path: &str| path.parse().unwrap();
        assert!(!access.may_make(&path("/run/rstun/a.sock")));
        access.unix_dir = Some("/run/rstun".into());
        assert!(access.may_make(&path("/run/rstun/a.sock")));
        for elsewhere in [
            "/run/a.sock",
            "/run/rstun",
            "/run/rstun/..",
            "/run/rstun/../a.sock",
            "/run/rstun/b/a.sock",
            "/run/rstun2/a.sock",
            "/a.sock",
        ] {
            assert!(!access.may_make(&path(elsewhere)), "{elsewhere}");
        }
    }
}
