//! From text to tunnels.
//!
//! A side of a mapping is `[SCHEME://]ADDRESS[?KEY=VALUE[&KEY=VALUE]...]`; without a scheme it is
//! TCP, or UDP if the other side is. A range of ports makes a tunnel for each.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::address::{dialed_ports, listen_ports};
use super::options::Options;
use super::{
    Credentials, DEFAULT_MODE, Direction, HostPort, Listen, ListenAddr, MAX_TUNNELS, ParseError,
    Ports, ProxyHeader, Target, Tunnel,
};

impl Tunnel {
    /// Reads `LOCAL^REMOTE`: one tunnel, or one for each port of a range.
    ///
    /// A bare port means 127.0.0.1, except where the server listens: there it means all of the
    /// server's addresses, since being reached from outside is what that direction is for.
    pub fn parse(direction: Direction, mapping: &str) -> Result<Vec<Self>, ParseError> {
        let texts = mapping.split_once('^').ok_or(ParseError::NoCaret)?;
        let (local, remote) = (Side::read(texts.0)?, Side::read(texts.1)?);
        if direction == Direction::In && local.is_bare_proxy() {
            return Ok(vec![Self::inward_proxy(local, remote)?]);
        }
        let scheme = common_scheme(&local, &remote)?;
        let (listens, (targets, proxy)) = match direction {
            Direction::Out => (local.listen(scheme, direction)?, remote.target(scheme)?),
            Direction::In => (remote.listen(scheme, direction)?, local.target(scheme)?),
        };
        if listens.len() != targets.len() {
            let counts = match direction {
                Direction::Out => [listens.len(), targets.len()],
                Direction::In => [targets.len(), listens.len()],
            };
            return Err(ParseError::Lengths(
                [texts.0.into(), texts.1.into()],
                counts,
            ));
        }
        let tunnels = listens.into_iter().zip(targets);
        let tunnels = tunnels.map(|(listen, target)| Self {
            direction,
            listen,
            target,
            proxy,
        });
        Ok(tunnels.collect())
    }

    /// Reads `[socks5://][IP:]PORT` or `http://[IP:]PORT`: a proxy at the client, whose visitors go
    /// out at the server's side. A bare port means 127.0.0.1.
    pub fn dynamic(proxy: &str) -> Result<Self, ParseError> {
        let side = Side::read(proxy)?;
        let scheme = side.scheme.unwrap_or(Scheme::Socks5);
        side.proxy(scheme, Direction::Out)
    }

    /// `socks5^[IP:]PORT` or `http^[IP:]PORT`: a proxy at the server, whose visitors go out here.
    fn inward_proxy(local: Side<'_>, remote: Side<'_>) -> Result<Self, ParseError> {
        local
            .options
            .end("those of a proxy stand behind its address")?;
        match local.scheme {
            Some(scheme) if remote.may_be(Scheme::Tcp) => remote.proxy(scheme, Direction::In),
            _ => Err(ParseError::NotAProxy),
        }
    }
}

impl FromStr for Target {
    type Err = ParseError;

    /// Reads a target by itself: `[tcp://|udp://][HOST:]PORT` or `unix:///PATH`.
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let Side {
            scheme,
            text,
            options,
        } = Side::read(s)?;
        options.end("a target by itself takes none")?;
        match scheme {
            None | Some(Scheme::Tcp) => Ok(Self::Tcp(without_user(text)?.parse()?)),
            Some(Scheme::Udp) => Ok(Self::Udp(without_user(text)?.parse()?)),
            Some(Scheme::Unix) => Ok(Self::Unix(text.parse()?)),
            Some(scheme) => Err(ParseError::NotATarget(scheme.name())),
        }
    }
}

/// What a side without a scheme is.
fn common_scheme(local: &Side<'_>, remote: &Side<'_>) -> Result<Scheme, ParseError> {
    let sides = [local, remote];
    if sides.iter().all(|side| side.scheme != Some(Scheme::Udp)) {
        Ok(Scheme::Tcp)
    } else if sides.iter().all(|side| side.may_be(Scheme::Udp)) {
        Ok(Scheme::Udp)
    } else {
        Err(ParseError::Mixed)
    }
}

/// What can stand in front of `://`; the last three also in place of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Tcp,
    Udp,
    Unix,
    Socks5,
    Http,
    Stdio,
}

impl Scheme {
    const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Udp,
        Self::Unix,
        Self::Socks5,
        Self::Http,
        Self::Stdio,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Socks5 => "socks5",
            Self::Http => "http",
            Self::Stdio => "stdio",
        }
    }

    fn read(name: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|scheme| scheme.name() == name);
        found.ok_or_else(|| ParseError::Scheme(name.into()))
    }
}

/// One side of a mapping, taken apart.
#[derive(Debug)]
struct Side<'a> {
    scheme: Option<Scheme>,
    /// The address; empty where a word stands for the whole side.
    text: &'a str,
    options: Options<'a>,
}

impl<'a> Side<'a> {
    fn read(s: &'a str) -> Result<Self, ParseError> {
        let (address, options) = match s.split_once('?') {
            Some((address, options)) => (address, Options::read(options)?),
            None => (s, Options::default()),
        };
        let (scheme, text) = match (address, address.split_once("://")) {
            ("socks5" | "http" | "stdio", _) => (Some(Scheme::read(address)?), ""),
            (_, Some((name, text))) => match Scheme::read(name)? {
                Scheme::Stdio => return Err(ParseError::StdioSide),
                _ if text.is_empty() => return Err(ParseError::Empty),
                scheme => (Some(scheme), text),
            },
            _ => (None, address),
        };
        Ok(Self {
            scheme,
            text,
            options,
        })
    }

    fn may_be(&self, scheme: Scheme) -> bool {
        self.scheme.is_none_or(|own| own == scheme)
    }

    fn is_bare_proxy(&self) -> bool {
        self.text.is_empty() && matches!(self.scheme, Some(Scheme::Socks5 | Scheme::Http))
    }

    /// As the side that listens.
    fn listen(mut self, default: Scheme, direction: Direction) -> Result<Vec<Listen>, ParseError> {
        match self.scheme.unwrap_or(default) {
            Scheme::Tcp => {
                let takes = "a TCP port to listen on takes none (proxy=v1|v2 goes with the target)";
                self.options.end(takes)?;
                Ok(listen_addrs(self.text, direction)?
                    .map(Listen::Tcp)
                    .collect())
            }
            Scheme::Udp => {
                let timeout = self.options.timeout()?;
                self.options
                    .end("a UDP port to listen on takes timeout=SECONDS")?;
                let addrs = listen_addrs(self.text, direction)?;
                Ok(addrs.map(|addr| Listen::Udp { addr, timeout }).collect())
            }
            Scheme::Unix => {
                let mode = self.options.mode()?;
                self.options
                    .end("a Unix socket to listen on takes mode=OCTAL")?;
                let (path, mode) = (self.text.parse()?, mode.unwrap_or(DEFAULT_MODE));
                Ok(vec![Listen::Unix { path, mode }])
            }
            Scheme::Stdio if direction == Direction::Out => {
                self.options.end("stdio takes none")?;
                Ok(vec![Listen::Stdio])
            }
            Scheme::Stdio => Err(ParseError::StdioSide),
            scheme => Err(ParseError::ProxySide(scheme.name())),
        }
    }

    /// As the side that is dialed.
    fn target(mut self, default: Scheme) -> Result<(Vec<Target>, Option<ProxyHeader>), ParseError> {
        let scheme = self.scheme.unwrap_or(default);
        let mut proxy = None;
        if let Scheme::Tcp | Scheme::Unix = scheme {
            proxy = self.options.proxy()?;
            self.options.end("a target takes proxy=v1|v2")?;
        }
        let targets = match scheme {
            Scheme::Tcp => targets(self.text)?.map(Target::Tcp).collect(),
            Scheme::Udp => {
                self.options.end("a UDP target takes none")?;
                targets(self.text)?.map(Target::Udp).collect()
            }
            Scheme::Unix => vec![Target::Unix(self.text.parse()?)],
            Scheme::Stdio => return Err(ParseError::StdioSide),
            scheme => return Err(ParseError::ProxySide(scheme.name())),
        };
        Ok((targets, proxy))
    }

    /// As the address of a proxy.
    fn proxy(mut self, scheme: Scheme, direction: Direction) -> Result<Tunnel, ParseError> {
        let listen: fn(ListenAddr, Option<Credentials>) -> Listen = match scheme {
            Scheme::Socks5 => |addr, auth| Listen::Socks5 { addr, auth },
            Scheme::Http => |addr, auth| Listen::Http { addr, auth },
            _ => return Err(ParseError::NotAProxy),
        };
        let (user, text) = match self.text.rsplit_once('@') {
            Some((user, text)) => (Some(Credentials::typed(user)?), text),
            None => (None, self.text),
        };
        let file = self.options.auth();
        self.options.end("a proxy takes auth=FILE")?;
        let auth = match (user, file) {
            (Some(_), Some(_)) => return Err(ParseError::Twice("auth".into())),
            (None, Some(file)) => Some(Credentials::load(file)?),
            (user, None) => user,
        };
        let addr: ListenAddr = text.parse()?;
        let ip = addr.ip.or(default_ip(direction));
        Ok(Tunnel {
            direction,
            listen: listen(ListenAddr { ip, ..addr }, auth),
            target: Target::Asked,
            proxy: None,
        })
    }
}

/// Where a bare port is listened on.
fn default_ip(direction: Direction) -> Option<IpAddr> {
    match direction {
        Direction::Out => Some(Ipv4Addr::LOCALHOST.into()),
        Direction::In => None,
    }
}

fn listen_addrs(
    text: &str,
    direction: Direction,
) -> Result<impl Iterator<Item = ListenAddr>, ParseError> {
    let (ip, ports) = listen_ports(without_user(text)?)?;
    let ip = ip.or(default_ip(direction));
    Ok(few(ports)?.map(move |port| ListenAddr { ip, port }))
}

fn targets(text: &str) -> Result<impl Iterator<Item = HostPort>, ParseError> {
    let (host, ports) = dialed_ports(without_user(text)?)?;
    Ok(few(ports)?.map(move |port| HostPort {
        host: host.clone(),
        port,
    }))
}

/// No more ports than a client may have tunnels.
fn few(ports: Ports) -> Result<RangeInclusive<u16>, ParseError> {
    match ports.iter().len() {
        n if n > MAX_TUNNELS => Err(ParseError::TooMany(n)),
        _ => Ok(ports.iter()),
    }
}

/// The text of an address that nobody has to log in to. The error does not repeat the password.
fn without_user(text: &str) -> Result<&str, ParseError> {
    if text.contains('@') {
        return Err(ParseError::UserInfo);
    }
    Ok(text)
}

/// A mapping as it may be shown: without the password in front of an '@'.
pub fn redacted(mapping: &str) -> String {
    let side = |side: &str| {
        let shown = side.rsplit_once('@').and_then(|(user, address)| {
            let start = user.find("://").map_or(0, |at| at + 3);
            let colon = start + user[start..].find(':')?;
            Some(format!("{}:***@{address}", &user[..colon]))
        });
        shown.unwrap_or_else(|| side.to_owned())
    };
    mapping.split('^').map(side).collect::<Vec<_>>().join("^")
}

#[cfg(test)]
mod tests;
