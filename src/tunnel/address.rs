//! Addresses: where to listen, what to dial, and how each is written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use super::ParseError;

/// Longest host name that DNS can carry (RFC 1035, section 2.3.4), in bytes.
const MAX_NAME: usize = 253;

/// Longest path of a Unix socket, in bytes: what every system takes (Linux would have room for four more).
pub const MAX_UNIX_PATH: usize = 103;

/// An address to listen on, written `PORT`, `IP:PORT` or `[IPV6]:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    /// The address, or none for all that the machine has, IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    /// The port; 0 lets the system choose one.
    pub port: u16,
}

impl ListenAddr {
    /// Reads a server's own address, whose port may be the first of several. Tells how many follow it.
    pub fn of_server(s: &str) -> Result<(Self, u16), ParseError> {
        let (ip, ports) = listen_ports(s)?;
        let (port, more) = ports.first_and_more();
        Ok((Self { ip, port }, more))
    }
}

impl FromStr for ListenAddr {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let (ip, ports) = listen_ports(s)?;
        let port = ports.single()?;
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

/// A port of a machine, written `PORT`, `HOST:PORT` or `[IPV6]:PORT`; a bare port is at 127.0.0.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The machine to dial.
    pub host: Host,
    /// The port to dial, never 0.
    pub port: u16,
}

impl HostPort {
    /// Reads a server's address: its port may be left out, or be the first of several. Tells how many
    /// follow it.
    pub fn of_server(s: &str, port: u16) -> Result<(Self, u16), ParseError> {
        let has_port = match s.rsplit_once(']') {
            Some((_, rest)) => rest.starts_with(':'),
            None => s.contains(':') || s.bytes().all(|b| b.is_ascii_digit()),
        };
        let (host, ports) = if has_port {
            dialed_ports(s)?
        } else {
            dialed_ports(&format!("{s}:{port}"))?
        };
        let (port, more) = ports.first_and_more();
        Ok((Self { host, port }, more))
    }
}

impl FromStr for HostPort {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let (host, ports) = dialed_ports(s)?;
        let port = ports.single()?;
        Ok(Self { host, port })
    }
}

impl From<SocketAddr> for HostPort {
    fn from(addr: SocketAddr) -> Self {
        Self {
            host: Host::Ip(addr.ip()),
            port: addr.port(),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A machine: its address, or a name that is resolved each time it is dialed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, in lower case.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl FromStr for Host {
    type Err = ParseError;

    /// Reads a name, or an address without brackets.
    fn from_str(s: &str) -> Result<Self, ParseError> {
        if let Ok(ip) = s.parse() {
            return Ok(Self::Ip(ip));
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
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

/// The path of a Unix socket: absolute, of at most [`MAX_UNIX_PATH`] bytes, and fit to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPath(String);

impl UnixPath {
    /// As the file system has it.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnixPath {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        let absolute = s.starts_with('/') && !s.ends_with('/');
        // What stands for something in a mapping cannot stand in a path.
        let plain = !s.contains(|c: char| c.is_control() || c == '^' || c == '?');
        if absolute && plain && s.len() <= MAX_UNIX_PATH {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseError::UnixPath(s.into()))
        }
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0)
    }
}

/// One port, or several in a row; 0 only by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// All of them, in order.
    pub fn iter(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    fn first_and_more(self) -> (u16, u16) {
        (self.first, self.last - self.first)
    }

    fn single(self) -> Result<u16, ParseError> {
        if self.first == self.last {
            Ok(self.first)
        } else {
            Err(ParseError::RangeForOne(self))
        }
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(ports: RangeInclusive<u16>) -> Self {
        let (first, last) = ports.into_inner();
        Self { first, last }
    }
}

impl FromStr for Ports {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        // Digits alone: the standard parser would take "+80" too.
        let port = |digits: &str| {
            Some(digits)
                .filter(|s| s.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|s| s.parse().ok())
                .ok_or_else(|| ParseError::Port(s.into()))
        };
        let Some((first, last)) = s.split_once('-') else {
            let port = port(s)?;
            return Ok(Self::from(port..=port));
        };
        let (first, last) = (port(first)?, port(last)?);
        if first == 0 || first > last {
            return Err(ParseError::Backwards(s.into()));
        }
        Ok(Self::from(first..=last))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last > self.first {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

/// Reads where to listen: an address of this machine, or none for all, and ports.
pub(super) fn listen_ports(s: &str) -> Result<(Option<IpAddr>, Ports), ParseError> {
    let (host, ports) = split(s)?;
    match host.map(str::parse).transpose()? {
        None => Ok((None, ports)),
        Some(Host::Ip(ip)) => Ok((Some(ip), ports)),
        Some(Host::Name(name)) => Err(ParseError::NameToListen(name)),
    }
}

/// Reads what to dial: a machine, which is this one if none is named, and ports.
pub(super) fn dialed_ports(s: &str) -> Result<(Host, Ports), ParseError> {
    let (host, ports) = split(s)?;
    if ports.iter().contains(&0) {
        return Err(ParseError::DialZero);
    }
    let host = host.map(str::parse).transpose()?;
    Ok((host.unwrap_or(Host::Ip(Ipv4Addr::LOCALHOST.into())), ports))
}

/// Takes `PORTS`, `HOST:PORTS` or `[HOST]:PORTS` apart.
///
/// Brackets are for IPv6, and other hosts may stand in them too: who puts a host of any kind in
/// front of a port, as ssh does with `[%h]:%p`, needs them for the sake of one kind.
pub(crate) fn split(s: &str) -> Result<(Option<&str>, Ports), ParseError> {
    if s.is_empty() {
        return Err(ParseError::Empty);
    }
    if let Some(rest) = s.strip_prefix('[') {
        let (host, ports) = rest
            .split_once("]:")
            .ok_or_else(|| ParseError::Host(s.into()))?;
        return Ok((Some(host), ports.parse()?));
    }
    match s.rsplit_once(':') {
        None => Ok((None, s.parse()?)),
        Some((host, _)) if host.contains(':') => Err(ParseError::Brackets(s.into())),
        Some((host, ports)) => Ok((Some(host), ports.parse()?)),
    }
}
