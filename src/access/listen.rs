//! Where a client may listen at the server: `[tcp:|udp:][IP|NETWORK:]PORTS` or `unix:///PATH`.
//! Without an address it may be any; 0.0.0.0 stands for any of IPv4, and [::] for any at all, as
//! they do where one listens.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::rule::{Network, RuleError, Scheme, scheme};
use crate::tunnel::{Listen, ListenAddr, ParseError, Ports, UnixPath, split};

/// One thing that may be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenRule {
    /// TCP ports, whatever visitors speak there.
    Tcp(Addresses, Ports),
    /// UDP ports.
    Udp(Addresses, Ports),
    /// A Unix socket.
    Unix(UnixPath),
}

/// Addresses of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Each, and all at once.
    All,
    /// Each of IPv4, and all of these at once.
    V4,
    /// Those of a network, one at a time.
    Network(Network),
}

impl ListenRule {
    /// Whether this is one of what may be listened on.
    pub fn allows(&self, listen: &Listen) -> bool {
        let inside = |addresses: &Addresses, ports: &Ports, addr: &ListenAddr| {
            addresses.contain(addr.ip) && ports.iter().contains(&addr.port)
        };
        match (self, listen) {
            (
                Self::Tcp(addresses, ports),
                Listen::Tcp(addr) | Listen::Socks5 { addr, .. } | Listen::Http { addr, .. },
            )
            | (Self::Udp(addresses, ports), Listen::Udp { addr, .. }) => {
                inside(addresses, ports, addr)
            }
            (Self::Unix(path), Listen::Unix { path: asked, .. }) => path == asked,
            _ => false,
        }
    }
}

impl Addresses {
    fn contain(&self, ip: Option<IpAddr>) -> bool {
        let ip = ip.map(|ip| ip.to_canonical());
        match (self, ip) {
            (Self::All, _) => true,
            (Self::V4, ip) => ip.is_some_and(|ip| ip.is_ipv4()),
            (Self::Network(network), Some(ip)) => network.contains(ip) && !ip.is_unspecified(),
            (Self::Network(_), None) => false,
        }
    }
}

impl FromStr for ListenRule {
    type Err = RuleError;

    fn from_str(s: &str) -> Result<Self, RuleError> {
        Ok(match scheme(s)? {
            (Scheme::Tcp, rest) => addresses(rest).map(|(a, ports)| Self::Tcp(a, ports))?,
            (Scheme::Udp, rest) => addresses(rest).map(|(a, ports)| Self::Udp(a, ports))?,
            (Scheme::Unix, path) => Self::Unix(path.parse()?),
        })
    }
}

fn addresses(s: &str) -> Result<(Addresses, Ports), RuleError> {
    let (host, ports) = split(s)?;
    let addresses = match host {
        None => Addresses::All,
        Some(network) if network.contains('/') => Addresses::Network(network.parse()?),
        Some(host) => match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) if ip.is_unspecified() => Addresses::V4,
            Ok(IpAddr::V6(ip)) if ip.is_unspecified() => Addresses::All,
            Ok(ip) => Addresses::Network(ip.into()),
            Err(_) => return Err(ParseError::NameToListen(host.into()).into()),
        },
    };
    Ok((addresses, ports))
}

impl fmt::Display for ListenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addresses, ports) => write!(f, "tcp:{addresses}{ports}"),
            Self::Udp(addresses, ports) => write!(f, "udp:{addresses}{ports}"),
            Self::Unix(path) => path.fmt(f),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::V4 => f.write_str("0.0.0.0:"),
            Self::Network(network) => write!(f, "{}:", network.bracketed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::{Direction, Tunnel};

    fn allows(rule: &str, listen: &str) -> bool {
        let mapping = match listen.starts_with("udp://") {
            true => format!("udp://1^{listen}"),
            false => format!("1^{listen}"),
        };
        let tunnel = Tunnel::parse(Direction::In, &mapping).unwrap().remove(0);
        rule.parse::<ListenRule>().unwrap().allows(&tunnel.listen)
    }

    #[test]
    fn just_what_is_listed_is_allowed() {
        for (rule, listen, expected) in [
            ("tcp:127.0.0.1:8000-8999", "127.0.0.1:8000", true),
            ("tcp:127.0.0.1:8000-8999", "127.0.0.1:8999", true),
            ("tcp:127.0.0.1:8000-8999", "127.0.0.1:9000", false),
            ("tcp:127.0.0.1:8000-8999", "127.0.0.1:0", false),
            ("tcp:127.0.0.1:8000-8999", "127.0.0.2:8000", false),
            ("tcp:127.0.0.1:8000-8999", "0.0.0.0:8000", false),
            ("tcp:127.0.0.1:8000-8999", "8000", false),
            ("tcp:127.0.0.1:8000-8999", "udp://127.0.0.1:8000", false),
            ("tcp:127.0.0.1:8000", "[::ffff:127.0.0.1]:8000", true),
            ("127.0.0.1:0", "127.0.0.1:0", true),
            ("127.0.0.1:0", "127.0.0.1:1", false),
            ("udp:0.0.0.0:51820", "udp://0.0.0.0:51820", true),
            ("udp:0.0.0.0:51820", "udp://10.0.0.1:51820", true),
            ("udp:0.0.0.0:51820", "udp://[::]:51820", false),
            ("udp:0.0.0.0:51820", "udp://51820", false),
            ("udp://51820", "udp://51820", true),
            ("[::]:80", "80", true),
            ("[::]:80", "10.0.0.1:80", true),
            ("80", "[2001:db8::1]:80", true),
            ("0.0.0.0/0:80", "0.0.0.0:80", false),
            ("10.0.0.0/8:80", "10.1.1.1:80", true),
            ("10.0.0.0/8:80", "80", false),
            ("unix:///run/a.sock", "unix:///run/a.sock", true),
            ("unix:///run/a.sock", "unix:///run/b.sock", false),
        ] {
            assert_eq!(allows(rule, listen), expected, "{rule} {listen}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for (text, printed) in [
            ("8000-8999", "tcp:8000-8999"),
            ("[::]:1", "tcp:1"),
            ("tcp://0.0.0.0:1", "tcp:0.0.0.0:1"),
            ("udp:[::1]:53", "udp:[::1]:53"),
            ("udp:10.0.0.0/8:53", "udp:10.0.0.0/8:53"),
            ("unix:/run/a.sock", "unix:///run/a.sock"),
        ] {
            let rule: ListenRule = text.parse().unwrap();
            assert_eq!(rule.to_string(), printed);
            assert_eq!(printed.parse(), Ok(rule));
        }
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, says) in [
            ("localhost:80", "is a name"),
            ("10.1.2.3/8:80", "10.0.0.0/8"),
            ("tcp:127.0.0.1", "not a number"),
            ("ftp://1", "no scheme"),
            ("127.0.0.1:9-1", "no range"),
        ] {
            let error = text.parse::<ListenRule>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
