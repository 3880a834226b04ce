//! What a server's administrator lists as reachable: `[tcp:|udp:]HOST:PORTS`, where HOST is a name,
//! an address or a network in CIDR notation, or `unix:///PATH`. `tcp://` is `tcp:` too, and so on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use super::reserved::judged;
use crate::tunnel::{Host, HostPort, ParseError, Ports, Target, UnixPath, split};

/// One thing that may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// TCP ports.
    Tcp(Machines, Ports),
    /// UDP ports.
    Udp(Machines, Ports),
    /// A Unix socket.
    Unix(UnixPath),
}

/// One machine or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machines {
    /// One by its name, whatever the name stands for.
    Named(String),
    /// All of a network, by their addresses, whatever they are called.
    Network(Network),
}

impl Rule {
    /// Whether a target is listed as it is written. One that is not may yet be, by its address.
    pub fn names(&self, target: &Target) -> bool {
        let listed = |machines: &Machines, ports: &Ports, target: &HostPort| {
            let host = match (machines, &target.host) {
                (Machines::Named(name), Host::Name(asked)) => name == asked,
                (Machines::Network(network), Host::Ip(ip)) => network.contains(*ip),
                _ => false,
            };
            host && ports.iter().contains(&target.port)
        };
        match (self, target) {
            (Self::Tcp(machines, ports), Target::Tcp(target))
            | (Self::Udp(machines, ports), Target::Udp(target)) => listed(machines, ports, target),
            (Self::Unix(path), Target::Unix(target)) => path == target,
            _ => false,
        }
    }

    /// The network in which this lists an address that a target resolved to, for the target's
    /// protocol; none if it does not.
    pub fn covers(&self, target: &Target, addr: SocketAddr) -> Option<Network> {
        let (machines, ports) = match (self, target) {
            (Self::Tcp(machines, ports), Target::Tcp(_)) => (machines, ports),
            (Self::Udp(machines, ports), Target::Udp(_)) => (machines, ports),
            _ => return None,
        };
        match machines {
            Machines::Network(network) if network.contains(addr.ip()) => Some(*network),
            _ => None,
        }
        .filter(|_| ports.iter().contains(&addr.port()))
    }
}

/// Why a text is no rule.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// What is wrong with it is wrong with any address.
    #[error(transparent)]
    Address(#[from] ParseError),
    /// Not a network.
    #[error("'{0}' is no network: write ADDRESS/BITS, as in 10.0.0.0/8 or [2001:db8::/32]")]
    Network(String),
    /// A network's address goes on behind its prefix.
    #[error("{0} is an address within a network; the network itself is {1}")]
    HostBits(String, Network),
    /// A network without ports.
    #[error(
        "'{0}' has no ports: write NETWORK:PORT or NETWORK:FIRST-LAST, as in 10.0.0.0/8:1-65535"
    )]
    NoPorts(String),
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(s: &str) -> Result<Self, RuleError> {
        Ok(match scheme(s)? {
            (Scheme::Tcp, rest) => machines(rest).map(|(m, ports)| Self::Tcp(m, ports))?,
            (Scheme::Udp, rest) => machines(rest).map(|(m, ports)| Self::Udp(m, ports))?,
            (Scheme::Unix, path) => Self::Unix(path.parse()?),
        })
    }
}

/// What a rule is about.
pub(super) enum Scheme {
    Tcp,
    Udp,
    Unix,
}

/// Takes the scheme off a rule, which is TCP's where there is none.
pub(super) fn scheme(s: &str) -> Result<(Scheme, &str), ParseError> {
    for (word, scheme) in [
        ("tcp:", Scheme::Tcp),
        ("udp:", Scheme::Udp),
        ("unix:", Scheme::Unix),
    ] {
        if let Some(rest) = s.strip_prefix(word) {
            return Ok((scheme, rest.strip_prefix("//").unwrap_or(rest)));
        }
    }
    match s.split_once("://") {
        None => Ok((Scheme::Tcp, s)),
        Some((other, _)) => Err(ParseError::Scheme(other.into())),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(machines, ports) => write!(f, "{machines}:{ports}"),
            Self::Udp(machines, ports) => write!(f, "udp://{machines}:{ports}"),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

fn machines(s: &str) -> Result<(Machines, Ports), RuleError> {
    if s.contains('/') && !s.contains(':') {
        return Err(RuleError::NoPorts(s.into()));
    }
    let (host, ports) = split(s)?;
    if ports.iter().contains(&0) {
        return Err(ParseError::DialZero.into());
    }
    let machines = match host {
        None => Machines::Network(IpAddr::from(Ipv4Addr::LOCALHOST).into()),
        Some(network) if network.contains('/') => Machines::Network(network.parse()?),
        Some(host) => match host.parse()? {
            Host::Ip(ip) => Machines::Network(ip.into()),
            Host::Name(name) => Machines::Named(name),
        },
    };
    Ok((machines, ports))
}

impl fmt::Display for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Network(network) => f.write_str(&network.bracketed()),
        }
    }
}

/// The addresses that begin with the same bits. An IPv4 address is the same in whatever form it is
/// written: ::ffff:10.0.0.1 is 10.0.0.1, and so is 64:ff9b::10.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of this first address, all of whose bits behind so many are 0.
    pub(super) const fn new(base: IpAddr, bits: u8) -> Self {
        Self { base, bits }
    }

    /// Whether it is of one address.
    pub fn is_single(&self) -> bool {
        self.bits == if self.base.is_ipv4() { 32 } else { 128 }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.base
    }

    /// Whether all of another's addresses are of this one too.
    pub fn covers(&self, other: Self) -> bool {
        self.bits <= other.bits && self.contains(other.base)
    }

    /// Whether an address is one of these.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, judged(ip)) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let differing = (base.to_bits() ^ ip.to_bits()).leading_zeros();
                differing >= self.bits.into()
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let differing = (base.to_bits() ^ ip.to_bits()).leading_zeros();
                differing >= self.bits.into()
            }
            _ => false,
        }
    }

    /// As it stands in front of a port.
    pub(super) fn bracketed(&self) -> String {
        match self.base {
            IpAddr::V4(_) => self.to_string(),
            IpAddr::V6(_) => format!("[{self}]"),
        }
    }

    /// The network that an address is in.
    fn around(ip: IpAddr, bits: u8) -> Self {
        let base = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4((ip.to_bits() & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6((ip.to_bits() & mask).into())
            }
        };
        Self { base, bits }
    }
}

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        let base = judged(ip);
        let bits = if base.is_ipv4() { 32 } else { 128 };
        Self { base, bits }
    }
}

impl FromStr for Network {
    type Err = RuleError;

    fn from_str(s: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError::Network(s.into());
        let (ip, bits) = s.split_once('/').ok_or_else(wrong)?;
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        // A network of mapped or translated addresses is one of IPv4.
        let mapped = if ip.is_ipv6() && judged(ip).is_ipv4() {
            96
        } else {
            0
        };
        let bits = bits.checked_sub(mapped).ok_or_else(wrong)?;
        let ip = judged(ip);
        if bits > if ip.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        let network = Self::around(ip, bits);
        if network.base != ip {
            return Err(RuleError::HostBits(s.into(), network));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.base, self.bits) {
            (IpAddr::V4(ip), 32) => ip.fmt(f),
            (IpAddr::V6(ip), 128) => ip.fmt(f),
            (ip, bits) => write!(f, "{ip}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(s: &str) -> Rule {
        s.parse().unwrap()
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for (text, printed) in [
            ("8800", "127.0.0.1:8800"),
            ("5000-5999", "127.0.0.1:5000-5999"),
            ("db.internal:5432", "db.internal:5432"),
            ("tcp://DB.internal.:5432", "db.internal:5432"),
            ("tcp:8800", "127.0.0.1:8800"),
            ("udp:10.0.0.0/8:53", "udp://10.0.0.0/8:53"),
            ("10.0.0.0/8:5000-5999", "10.0.0.0/8:5000-5999"),
            ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
            ("[::1]:22", "[::1]:22"),
            ("[::/0]:1-65535", "[::/0]:1-65535"),
            ("0.0.0.0/0:1-65535", "0.0.0.0/0:1-65535"),
            ("[::ffff:10.0.0.0/104]:1", "10.0.0.0/8:1"),
            ("udp://127.0.0.1:53", "udp://127.0.0.1:53"),
            ("unix:///run/app.sock", "unix:///run/app.sock"),
        ] {
            assert_eq!(rule(text).to_string(), printed);
            assert_eq!(rule(printed), rule(text));
        }
    }

    #[test]
    fn addresses_are_matched_by_what_they_are() {
        for (text, addr, expected) in [
            ("8800", "127.0.0.1:8800", true),
            ("8800", "127.0.0.1:8801", false),
            ("8800", "[::ffff:127.0.0.1]:8800", true),
            ("8800", "[::1]:8800", false),
            ("10.0.0.0/8:5000-5999", "10.255.0.1:5000", true),
            ("10.0.0.0/8:5000-5999", "10.255.0.1:5999", true),
            ("10.0.0.0/8:5000-5999", "10.255.0.1:6000", false),
            ("10.0.0.0/8:5000-5999", "11.0.0.1:5000", false),
            ("10.0.0.0/8:5000-5999", "[::ffff:10.1.2.3]:5000", true),
            ("10.0.0.128/25:1", "10.0.0.127:1", false),
            ("0.0.0.0/0:1", "192.0.2.1:1", true),
            ("0.0.0.0/0:1", "[2001:db8::1]:1", false),
            ("[::/0]:1", "[2001:db8::1]:1", true),
            ("[::/0]:1", "[::ffff:192.0.2.1]:1", false),
            ("[2001:db8::/33]:1", "[2001:db8:8000::1]:1", false),
            ("udp://127.0.0.1:53", "127.0.0.1:53", false),
            ("db.internal:1", "10.0.0.1:1", false),
        ] {
            let addr: SocketAddr = addr.parse().unwrap();
            let target = Target::Tcp("any.name:1".parse().unwrap());
            assert_eq!(
                rule(text).covers(&target, addr).is_some(),
                expected,
                "{text} {addr}"
            );
        }
    }

    #[test]
    fn targets_are_named_as_they_are_written() {
        for (text, target, expected) in [
            ("db.internal:5432", "db.internal:5432", true),
            ("db.internal:5432", "DB.Internal.:5432", true),
            ("db.internal:5432", "internal:5432", false),
            ("db.internal:5432", "udp://db.internal:5432", false),
            ("udp://127.0.0.1:53", "udp://53", true),
            ("unix:///run/app.sock", "unix:///run/app.sock", true),
            ("unix:///run/app.sock", "unix:///run/../run/app.sock", false),
        ] {
            let target = target.parse().unwrap();
            assert_eq!(rule(text).names(&target), expected, "{text} {target}");
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, says) in [
            ("10.0.0.0/8", "no ports"),
            ("10.1.2.3/8:80", "10.0.0.0/8"),
            ("10.0.0.0/33:80", "no network"),
            ("db.internal/8:80", "no network"),
            ("2001:db8::/32:80", "brackets"),
            ("[2001:db8::/129]:80", "no network"),
            ("127.0.0.1:0", "port 0"),
            ("127.0.0.1:9-1", "no range"),
            ("ftp://127.0.0.1:21", "no scheme"),
            ("unix://app.sock", "unix:///path"),
            ("8800^8800", "8800^8800"),
            ("", "missing"),
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
