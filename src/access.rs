//! Who is let in, and what they may do.
//!
//! A [`Registry`] knows the identities of a server by their credentials: that of all who know the
//! password, and those that have an [`Entry`] of their own. [`Access`] is what one of them may do,
//! and whatever it does not list is denied.

mod credential;
mod entry;
mod identity;
mod listen;
mod own;
mod registry;
mod reserved;
mod rule;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use crate::tunnel::{Host, HostPort, Listen, Target, UnixPath};

pub use credential::{ChannelBinding, Credential, NoVerifier, Password, Proof, StoredKey};
pub use entry::{Entry, Mistake, Verifier, is_name, read};
pub use identity::{Held, Identity};
pub use listen::{Addresses, ListenRule};
pub use registry::{Claim, PASSWORD_IDENTITY, Registry};
pub use rule::{Machines, Network, Rule, RuleError};

/// The first port that a client with the password alone may listen on: those below are the system's
/// own (RFC 6335, section 6).
const FIRST_UNPRIVILEGED: u16 = 1024;

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

/// What one identity may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Where it may listen at the server.
    pub listen: Listening,
    /// All that it may reach at the server's side.
    pub reach: Vec<Rule>,
    /// Most tunnels over all of its sessions.
    pub max_tunnels: usize,
    /// Most flows at once over all of its sessions.
    pub max_flows: usize,
    /// Most bytes per second each way over all of its flows; none for no limit.
    pub rate: Option<NonZeroU64>,
    /// Where the server takes the load of `rstun bench`, if it does.
    pub bench: Option<SocketAddr>,
}

/// Where an identity may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// On all ports that are not the system's own, and on Unix sockets directly in this directory.
    Unprivileged(Option<PathBuf>),
    /// On what is listed alone.
    Listed(Vec<ListenRule>),
}

impl Access {
    /// Nothing.
    pub fn none() -> Self {
        Self {
            listen: Listening::Listed(Vec::new()),
            reach: Vec::new(),
            max_tunnels: usize::MAX,
            max_flows: usize::MAX,
            rate: None,
            bench: None,
        }
    }

    /// What those have who know the password: they may reach what is listed, and listen on ports
    /// from 1024 and on Unix sockets in one directory, if there is one.
    pub fn by_password(downstream: Vec<Rule>, unix_dir: Option<PathBuf>) -> Self {
        Self {
            listen: Listening::Unprivileged(unix_dir),
            reach: downstream,
            ..Self::none()
        }
    }

    /// Whether a target is listed by its name or path; others may yet be, by their addresses.
    pub fn names(&self, target: &Target) -> bool {
        let is_address = match target {
            Target::Tcp(addr) | Target::Udp(addr) => matches!(addr.host, Host::Ip(_)),
            Target::Unix(_) | Target::Asked => false,
        };
        !is_address && self.reach.iter().any(|rule| rule.names(target))
    }

    /// Those of a target's addresses that may be dialed, in the form in which they were judged.
    ///
    /// A target is listed by its own name, or by an address that its name resolves to: then just
    /// that address may be dialed, whatever else the name stands for. Reserved addresses and the
    /// server's own have to be listed as such: neither a wide network nor a name stands for them,
    /// for whoever holds the name can let it resolve to anything at any time.
    pub fn reachable(&self, target: &Target, resolved: Vec<SocketAddr>) -> Vec<SocketAddr> {
        self.reachable_from(target, resolved, own::is_own)
    }

    fn reachable_from(
        &self,
        target: &Target,
        resolved: Vec<SocketAddr>,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Vec<SocketAddr> {
        let named = self.names(target);
        let mut addrs = resolved;
        addrs.iter_mut().for_each(|addr| {
            // A scope (RFC 4007) stays with its address.
            if addr.ip() != addr.ip().to_canonical() {
                addr.set_ip(addr.ip().to_canonical());
            }
        });
        addrs.retain(|addr| {
            let judged = SocketAddr::new(reserved::judged(addr.ip()), addr.port());
            let mut listed = self.reach.iter().filter_map(|r| r.covers(target, judged));
            if let Some(block) = reserved::block(judged.ip()) {
                let localhost = named && is_localhost(target) && judged.ip().is_loopback();
                return localhost || listed.any(|network| block.covers(network));
            }
            let listed: Vec<_> = listed.collect();
            let exactly = listed.iter().any(|network| network.is_single());
            exactly || ((named || !listed.is_empty()) && !is_own(judged.ip()))
        });
        addrs
    }

    /// Whether a flow may go on to a target that was dialed at this address, if it has one.
    pub fn still_reaches(&self, target: &Target, dialed: Option<SocketAddr>) -> bool {
        match dialed {
            _ if is_bench(target) => self.bench.is_some(),
            Some(addr) => !self.reachable(target, vec![addr]).is_empty(),
            None => self.names(target),
        }
    }

    /// Why a target may not be reached, though some of its addresses may be listed.
    pub fn refusal(&self, target: &Target) -> String {
        let list = match self.listen {
            Listening::Unprivileged(_) if self.reach.is_empty() => {
                return format!(
                    "{target} may not be reached: the server was started without --downstream"
                );
            }
            Listening::Unprivileged(_) => "the server's --downstream",
            Listening::Listed(_) => "this client's reach at the server",
        };
        let named = |addr: &HostPort| {
            let probe = |ip| SocketAddr::new(ip, addr.port);
            match addr.host {
                Host::Ip(ip) => self
                    .reach
                    .iter()
                    .any(|r| r.covers(target, probe(ip)).is_some()),
                Host::Name(_) => self.names(target),
            }
        };
        match target {
            Target::Tcp(addr) | Target::Udp(addr) if named(addr) => format!(
                "{target} is in {list}, but stands for an address of the server's own or a \
                 reserved one, which has to be listed as such"
            ),
            _ => format!("{target} is not in {list}"),
        }
    }

    /// Whether it may listen there, or else why not.
    pub fn may_listen(&self, listen: &Listen) -> Result<(), String> {
        match (&self.listen, listen) {
            (Listening::Listed(rules), _) => match rules.iter().any(|rule| rule.allows(listen)) {
                true => Ok(()),
                false => {
                    let everywhere = listen.addr().is_some_and(|addr| addr.ip.is_none());
                    let whole = if everywhere { " on all addresses" } else { "" };
                    Err(format!(
                        "{listen}{whole} is not in this client's listen at the server"
                    ))
                }
            },
            (Listening::Unprivileged(dir), Listen::Unix { path, .. }) => {
                may_make(dir.as_deref(), path)
            }
            (Listening::Unprivileged(_), _) => match listen.addr() {
                Some(addr) if (1..FIRST_UNPRIVILEGED).contains(&addr.port) => Err(format!(
                    "port {} is below {FIRST_UNPRIVILEGED}: that needs an entry in the server's \
                     --clients that lists it",
                    addr.port
                )),
                _ => Ok(()),
            },
        }
    }
}

/// Whether TunnelIn may make this Unix socket. Only the path's text counts, so that no `..` or
/// further directory leads elsewhere.
fn may_make(dir: Option<&Path>, path: &UnixPath) -> Result<(), String> {
    let Some(dir) = dir else {
        return Err(format!(
            "{path} may not be made: the server was started without --unix-dir"
        ));
    };
    let name = path.as_path().strip_prefix(dir).ok().and_then(Path::to_str);
    if name.is_some_and(|name| !name.is_empty() && name != ".." && !name.contains('/')) {
        return Ok(());
    }
    let dir = dir.display();
    Err(format!("{path} is not in the server's --unix-dir {dir}"))
}

/// Whether a target is asked for by the one name that stands for loopback (RFC 6761, section 6.3).
fn is_localhost(target: &Target) -> bool {
    match target {
        Target::Tcp(addr) | Target::Udp(addr) => addr.host == Host::Name("localhost".into()),
        Target::Unix(_) | Target::Asked => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn access(downstream: &[&str]) -> Access {
        let rules = downstream.iter().map(|d| d.parse().unwrap()).collect();
        Access::by_password(rules, None)
    }

    /// What of `resolved` may be dialed, where 192.0.2.7 is the server's own.
    fn reach(access: &Access, target: &str, resolved: &[&str]) -> Vec<String> {
        let resolved = resolved.iter().map(|a| a.parse().unwrap()).collect();
        let own = |ip: IpAddr| ip == IpAddr::from([192, 0, 2, 7]);
        let addrs = access.reachable_from(&target.parse().unwrap(), resolved, own);
        addrs.iter().map(ToString::to_string).collect()
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
        let reach = |target: &str, resolved: &[&str]| reach(&access, target, resolved).len();
        assert_eq!(reach("8800", &["127.0.0.1:8800"]), 1);
        assert_eq!(reach("8801", &["127.0.0.1:8801"]), 0);
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
    fn what_is_dialed_is_what_was_judged() {
        let access = access(&["8800", "198.51.100.1:80"]);
        let mapped = "[::ffff:127.0.0.1]:8800";
        assert_eq!(reach(&access, mapped, &[mapped]), ["127.0.0.1:8800"]);
        let translated = "[64:ff9b::c633:6401]:80";
        assert_eq!(reach(&access, "a.name:80", &[translated]), [translated]);
    }

    #[test]
    fn a_wide_rule_names_nothing_reserved_and_nothing_of_the_servers_own() {
        let wide = access(&["0.0.0.0/0:80", "[::/0]:80", "evil.example:80"]);
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.7",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:0.0.0.0]",
            "[::ffff:169.254.169.254]",
            "[::ffff:192.0.2.7]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b::c000:207]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::1]",
            "[::7f00:1]",
            "[fd00:ec2::254]",
            "[::ffff:0:7f00:1]",
            "[64:ff9b:1::7f00:1]",
            "100.100.100.200",
            "[::ffff:168.63.129.16]",
            "192.0.0.192",
        ] {
            let addr = format!("{ip}:80");
            // By its address, and by a name that is listed and now resolves to it.
            assert_eq!(reach(&wide, &addr, &[&addr]), [""; 0], "{addr}");
            assert_eq!(reach(&wide, "evil.example:80", &[&addr]), [""; 0], "{addr}");
            let exact = access(&[&addr]);
            assert_eq!(reach(&exact, &addr, &[&addr]).len(), 1, "{addr}");
        }
        for addr in [
            "198.51.100.1:80",
            "[2001:db8::1]:80",
            "[2002:c633:6401::1]:80",
        ] {
            assert_eq!(reach(&wide, addr, &[addr]), [addr]);
            assert_eq!(reach(&wide, "evil.example:80", &[addr]), [addr]);
        }
        let named = access(&["127.0.0.0/8:80", "169.254.0.0/16:80", "192.0.2.0/24:80"]);
        assert_eq!(reach(&named, "127.1.1.1:80", &["127.1.1.1:80"]).len(), 1);
        let metadata = "169.254.169.254:80";
        assert_eq!(reach(&named, metadata, &[metadata]).len(), 1);
        assert_eq!(reach(&named, "192.0.2.7:80", &["192.0.2.7:80"]).len(), 0);
    }

    #[test]
    fn localhost_is_loopback_and_nothing_else() {
        let access = access(&["localhost:80"]);
        let resolved = ["127.0.0.1:80", "[::1]:80", "169.254.0.1:80", "192.0.2.7:80"];
        assert_eq!(
            reach(&access, "localhost:80", &resolved),
            ["127.0.0.1:80", "[::1]:80"]
        );
        assert_eq!(reach(&access, "127.0.0.1:80", &["127.0.0.1:80"]), [""; 0]);
    }

    proptest! {
        /// Whatever form an IPv4 address comes in, the answer is the same.
        #[test]
        fn every_form_of_an_address_is_judged_alike(ip: u32, port in 1u16.., rule in 0usize..5) {
            let ip = std::net::Ipv4Addr::from(ip);
            let rules = ["0.0.0.0/0", "127.0.0.0/8", "10.0.0.0/8", "128.0.0.0/1", "169.254.0.0/16"];
            let access = access(&[&format!("{}:1-65535", rules[rule])]);
            let plain = format!("{ip}:{port}");
            let [a, b, c, d] = ip.octets();
            let octets = format!("{a:02x}{b:02x}:{c:02x}{d:02x}");
            let mapped = format!("[::ffff:{octets}]:{port}");
            let translated = format!("[64:ff9b::{octets}]:{port}");
            let may = |addr: &str| reach(&access, addr, &[addr]).len();
            prop_assert_eq!(may(&plain), may(&mapped));
            prop_assert_eq!(may(&plain), may(&translated));
        }
    }

    #[test]
    fn unix_sockets_are_made_in_their_directory_alone() {
        let listen = |path: &str| Listen::Unix {
            path: path.parse().unwrap(),
            mode: 0o600,
        };
        let none = access(&[]);
        assert!(none.may_listen(&listen("/run/rstun/a.sock")).is_err());
        let some = Access::by_password(vec![], Some("/run/rstun".into()));
        assert!(some.may_listen(&listen("/run/rstun/a.sock")).is_ok());
        for elsewhere in [
            "/run/a.sock",
            "/run/rstun",
            "/run/rstun/..",
            "/run/rstun/../a.sock",
            "/run/rstun/b/a.sock",
            "/run/rstun2/a.sock",
            "/a.sock",
        ] {
            assert!(some.may_listen(&listen(elsewhere)).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn the_password_is_for_ports_that_are_not_the_systems() {
        let access = access(&[]);
        let listen = |port| Listen::Tcp(SocketAddr::from(([0, 0, 0, 0], port)).into());
        for port in [0, 1024, 65535] {
            assert!(access.may_listen(&listen(port)).is_ok(), "{port}");
        }
        for port in [1, 80, 1023] {
            let why = access.may_listen(&listen(port)).unwrap_err();
            assert!(why.contains("--clients"), "{port}: {why}");
        }
        let nothing = Access::none();
        assert!(nothing.may_listen(&listen(8000)).is_err());
    }
}
