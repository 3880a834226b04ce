//! What a tunnel is, and how it is written: `LOCAL^REMOTE`, the client's side first.
//!
//! The side that listens is named by a [`ListenAddr`], the side that is dialed by a [`Target`].
//! There is one parser, for the command line and for whatever else names a tunnel.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// Most tunnels that one client may have.
pub const MAX_TUNNELS: usize = 200;

/// Longest host name that DNS can carry (RFC 1035, section 2.3.4), in bytes.
const MAX_NAME: usize = 253;

/// One forwarding rule: where to listen, and what to dial for each connection that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Which side listens.
    pub direction: Direction,
    /// The address that the listening side binds.
    pub listen: ListenAddr,
    /// The address that the other side dials.
    pub target: Target,
}

impl Tunnel {
    /// Reads `LOCAL^REMOTE`.
    ///
    /// A bare port means 127.0.0.1, except where the server listens: there it means all of the
    /// server's addresses, since being reached from outside is what that direction is for.
    pub fn parse(direction: Direction, mapping: &str) -> Result<Self, ParseError> {
        let (local, remote) = mapping.split_once('^').ok_or(ParseError::NoCaret)?;
        let (listen, target) = match direction {
            Direction::Out => {
                let mut listen: ListenAddr = local.parse()?;
                listen.ip.get_or_insert(Ipv4Addr::LOCALHOST.into());
                (listen, remote.parse()?)
            }
            Direction::In => (remote.parse()?, local.parse()?),
        };
        Ok(Self {
            direction,
            listen,
            target,
        })
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            direction,
            listen,
            target,
        } = self;
        match direction {
            Direction::Out => write!(f, "{direction} {listen}^{target}"),
            Direction::In => write!(f, "{direction} {target}^{listen}"),
        }
    }
}

/// Which way connections go through a tunnel, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client listens; traffic goes out at the server's side.
    Out,
    /// The server listens; traffic comes in to the client's side.
    In,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "TunnelOut",
            Self::In => "TunnelIn",
        })
    }
}

/// An address to listen on, written `PORT`, `IP:PORT` or `[IPV6]:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    /// The address, or none for all that the machine has, IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    /// The port; 0 lets the system choose one.
    pub port: u16,
}

impl FromStr for ListenAddr {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let (host, port) = split(s)?;
        let ip = match host {
            None => None,
            Some(Host::Ip(ip)) => Some(ip),
            Some(Host::Name(name)) => return Err(ParseError::NameToListen(name)),
        };
        Ok(Self { ip, port })
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Self {
            ip: Some(addr.ip()),
            port: addr.port(),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => self.port.fmt(f),
        }
    }
}

/// What is dialed, written `PORT`, `HOST:PORT` or `[IPV6]:PORT`; a bare port is at 127.0.0.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The machine to dial.
    pub host: Host,
    /// The port to dial, never 0.
    pub port: u16,
}

impl Target {
    /// Reads a target whose port may be left out, as for a server's own address.
    pub fn with_default_port(s: &str, port: u16) -> Result<Self, ParseError> {
        let has_port = match s.rsplit_once(']') {
            Some((_, rest)) => rest.starts_with(':'),
            None => s.contains(':') || s.bytes().all(|b| b.is_ascii_digit()),
        };
        if has_port {
            s.parse()
        } else {
            format!("{s}:{port}").parse()
        }
    }
}

impl FromStr for Target {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let (host, port) = split(s)?;
        if port == 0 {
            return Err(ParseError::DialZero);
        }
        let host = host.unwrap_or(Host::Ip(Ipv4Addr::LOCALHOST.into()));
        Ok(Self { host, port })
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self {
            host: Host::Ip(addr.ip()),
            port: addr.port(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A machine: its address, or a name that is resolved each time it is dialed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, in lower case.
    Name(String),
}

/// Why a text names no tunnel or address.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// A mapping has one `^` between its sides.
    #[error("a mapping is written LOCAL^REMOTE, and there is no '^'")]
    NoCaret,
    /// A side of a mapping, or the whole address, is empty.
    #[error("an address is missing")]
    Empty,
    /// Not a number from 0 to 65535.
    #[error("port '{0}' is not a number from 0 to 65535")]
    Port(String),
    /// Neither an address nor a name that DNS could hold.
    #[error("'{0}' is neither an IP address nor a host name")]
    Host(String),
    /// An IPv6 address runs into its port.
    #[error("'{0}' has several colons: write an IPv6 address in brackets, as in [::1]:8080")]
    Brackets(String),
    /// Listening needs an address of this machine.
    #[error("'{0}' is a name, and listening needs an IP address, such as 127.0.0.1 or 0.0.0.0")]
    NameToListen(String),
    /// Nothing listens on port 0.
    #[error("port 0 cannot be dialed; it only lets the listening side choose a port")]
    DialZero,
}

/// Takes `PORT`, `HOST:PORT` or `[IPV6]:PORT` apart.
fn split(s: &str) -> Result<(Option<Host>, u16), ParseError> {
    if s.is_empty() {
        return Err(ParseError::Empty);
    }
    if let Some(rest) = s.strip_prefix('[') {
        let (ip, port) = rest
            .split_once("]:")
            .ok_or_else(|| ParseError::Host(s.into()))?;
        let ip = ip.parse().map_err(|_| ParseError::Host(ip.into()))?;
        return Ok((Some(Host::Ip(IpAddr::V6(ip))), parse_port(port)?));
    }
    match s.rsplit_once(':') {
        None => Ok((None, parse_port(s)?)),
        Some((host, _)) if host.contains(':') => Err(ParseError::Brackets(s.into())),
        Some((host, port)) => Ok((Some(parse_host(host)?), parse_port(port)?)),
    }
}

fn parse_port(s: &str) -> Result<u16, ParseError> {
    // Digits alone: the standard parser would take "+80" too.
    Some(s)
        .filter(|s| s.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| ParseError::Port(s.into()))
}

fn parse_host(s: &str) -> Result<Host, ParseError> {
    if let Ok(ip) = s.parse() {
        return Ok(Host::Ip(ip));
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A name of digits and dots alone is a mistyped address, which some resolvers would take.
    let name = s.strip_suffix('.').unwrap_or(s);
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric || name.len() > MAX_NAME || !name.split('.').all(label) {
        return Err(ParseError::Host(s.into()));
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(s: &str) -> Result<Tunnel, ParseError> {
        Tunnel::parse(Direction::Out, s)
    }

    fn inward(s: &str) -> Result<Tunnel, ParseError> {
        Tunnel::parse(Direction::In, s)
    }

    #[test]
    fn bare_ports_mean_loopback_except_where_the_server_listens() {
        assert_eq!(
            out("9900^8800").unwrap().to_string(),
            "TunnelOut 127.0.0.1:9900^127.0.0.1:8800"
        );
        let tunnel = inward("3000^18080").unwrap();
        assert_eq!(tunnel.listen.ip, None);
        assert_eq!(tunnel.to_string(), "TunnelIn 127.0.0.1:3000^18080");
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for mapping in [
            "0.0.0.0:9900^8800",
            "[::1]:0^db.internal:5432",
            "1^[2001:db8::1]:65535",
            "10.0.0.1:1^LOCALHOST:22",
        ] {
            let tunnel = out(mapping).unwrap();
            let printed = tunnel.to_string();
            let again = out(printed.split_once(' ').unwrap().1).unwrap();
            assert_eq!(tunnel, again, "{mapping}");
        }
    }

    #[test]
    fn names_are_for_the_dialed_side_alone() {
        assert!(out("9900^example.org:80").is_ok());
        assert!(inward("example.org:80^0").is_ok());
        assert_eq!(
            out("localhost:9900^80").unwrap_err(),
            ParseError::NameToListen("localhost".into())
        );
    }

    #[test]
    fn mistakes_are_told_apart() {
        let port = |s: &str| ParseError::Port(s.into());
        for (mapping, error) in [
            ("9900", ParseError::NoCaret),
            ("9900^", ParseError::Empty),
            ("^80", ParseError::Empty),
            ("70000^80", port("70000")),
            ("1^127.0.0.1:", port("")),
            ("1^+80", port("+80")),
            ("1^2^3", port("2^3")),
            ("1^0", ParseError::DialZero),
            ("1^::1:80", ParseError::Brackets("::1:80".into())),
            ("1^[::1]", ParseError::Host("[::1]".into())),
            ("1^300.1.1.1:80", ParseError::Host("300.1.1.1".into())),
            ("1^a b:80", ParseError::Host("a b".into())),
            ("1^:80", ParseError::Host("".into())),
        ] {
            assert_eq!(out(mapping).unwrap_err(), error, "{mapping}");
        }
    }

    #[test]
    fn a_server_address_may_leave_its_port_out() {
        let read = |s| Target::with_default_port(s, 6060).unwrap().to_string();
        assert_eq!(read("example.org"), "example.org:6060");
        assert_eq!(read("example.org:1"), "example.org:1");
        assert_eq!(read("1.2.3.4"), "1.2.3.4:6060");
        assert_eq!(read("[::1]"), "[::1]:6060");
        assert_eq!(read("[::1]:2"), "[::1]:2");
        assert_eq!(read("7000"), "127.0.0.1:7000");
    }
}
