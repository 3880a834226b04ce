//! SOCKS version 5 (RFC 1928), with user and password (RFC 1929), as its server sees it.
//!
//! No message of a visitor's is longer than [`LONGEST`]. Decoders take the bytes that are there, and
//! tell how many were the message's: a visitor need not wait for an answer before it goes on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use thiserror::Error;

use crate::tunnel::{Host, HostPort};

/// Most bytes of any message of a visitor's: a login with all of its fields at their longest.
pub const LONGEST: usize = 1 + 1 + 255 + 1 + 255;

/// The protocol's version, and that of the login within it.
const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;

/// Types of an address.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why bytes are not what the protocol has in their place.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// It begins with another version's number.
    #[error("it does not speak SOCKS version 5")]
    Version,
    /// A login without a user or a password.
    #[error("its login is malformed")]
    Login,
    /// A type of address that is none.
    #[error("its request has an address of an unknown type")]
    AddressType,
    /// A name that is none, or port 0.
    #[error("its request has an address that is none")]
    Address,
    /// A datagram that is too short for its header.
    #[error("its datagram ends within the header")]
    Truncated,
}

/// A message and how many bytes it took, or none while some of its bytes are missing.
pub type Decoded<T> = Result<Option<(T, usize)>, Malformed>;

/// How a visitor is to show who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// Not at all.
    Nothing = 0,
    /// By user and password.
    Password = 2,
    /// In no way that it offers.
    NoneOffered = 0xff,
}

impl Method {
    /// What a server says to a greeting.
    pub fn encode(self) -> [u8; 2] {
        [VERSION, self as u8]
    }
}

/// A visitor's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The methods that it offers.
    pub methods: Vec<u8>,
}

impl Greeting {
    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::of_version(bytes, VERSION)?;
        let methods = reader.counted().map(<[u8]>::to_vec);
        Ok(methods.map(|methods| (Self { methods }, reader.taken)))
    }

    /// The method to take where a password is wanted, or is not.
    pub fn choose(&self, password: bool) -> Method {
        let wanted = match password {
            true => Method::Password,
            false => Method::Nothing,
        };
        match self.methods.contains(&(wanted as u8)) {
            true => wanted,
            false => Method::NoneOffered,
        }
    }
}

/// Who a visitor says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// The user's name.
    pub user: &'a [u8],
    /// The password.
    pub password: &'a [u8],
}

impl<'a> Login<'a> {
    /// Reads one.
    pub fn decode(bytes: &'a [u8]) -> Decoded<Self> {
        let mut reader = Reader::of_version(bytes, LOGIN_VERSION).map_err(|_| Malformed::Login)?;
        let (Some(user), Some(password)) = (reader.counted(), reader.counted()) else {
            return Ok(None);
        };
        Ok(Some((Self { user, password }, reader.taken)))
    }

    /// What a server says to a login.
    pub fn answer(admitted: bool) -> [u8; 2] {
        [LOGIN_VERSION, u8::from(!admitted)]
    }
}

/// What a visitor wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A connection to a target.
    Connect(HostPort),
    /// To send and receive datagrams.
    Associate,
    /// What we do not do, by its number.
    Other(u8),
}

impl Request {
    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        let mut reader = Reader::of_version(bytes, VERSION)?;
        let (Some(command), Some(_reserved)) = (reader.u8(), reader.u8()) else {
            return Ok(None);
        };
        let Some(addr) = reader.address()? else {
            return Ok(None);
        };
        let request = match command {
            1 => Self::Connect(addr.ok_or(Malformed::Address)?),
            // What it says of where it will send from is a guess, behind NAT a wrong one.
            3 => Self::Associate,
            other => Self::Other(other),
        };
        Ok(Some((request, reader.taken)))
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// It was fulfilled.
    Done = 0,
    /// The proxy failed.
    Failure = 1,
    /// The target is not allowed.
    NotAllowed = 2,
    /// There is no way to it.
    NetworkUnreachable = 3,
    /// Its name does not resolve, or it cannot be reached.
    HostUnreachable = 4,
    /// It refused.
    Refused = 5,
    /// It did not answer in time.
    TimedOut = 6,
    /// We do not do this.
    CommandNotSupported = 7,
    /// The type of the address is unknown.
    AddressTypeNotSupported = 8,
}

impl Reply {
    /// The message, with the address that the proxy uses for this visitor, where that is known.
    pub fn encode(self, bound: Option<SocketAddr>) -> Vec<u8> {
        let bound = bound.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let mut message = vec![VERSION, self as u8, 0];
        encode_address(&bound.into(), &mut message);
        message
    }
}

/// Takes the header off a datagram: where it is to go, and what is to arrive there. Of a fragment
/// (none) nothing arrives.
pub fn decode_datagram(bytes: &[u8]) -> Result<Option<(HostPort, &[u8])>, Malformed> {
    let mut reader = Reader { bytes, taken: 0 };
    let (Some(_), Some(_), Some(fragment)) = (reader.u8(), reader.u8(), reader.u8()) else {
        return Err(Malformed::Truncated);
    };
    let addr = reader.address()?.ok_or(Malformed::Truncated)?;
    let addr = addr.ok_or(Malformed::Address)?;
    Ok((fragment == 0).then_some((addr, &bytes[reader.taken..])))
}

/// The header in front of a datagram that came from there.
pub fn encode_datagram_header(from: &HostPort) -> Vec<u8> {
    let mut header = vec![0, 0, 0];
    encode_address(from, &mut header);
    header
}

fn encode_address(addr: &HostPort, out: &mut Vec<u8>) {
    match &addr.host {
        Host::Ip(IpAddr::V4(ip)) => {
            out.push(IPV4);
            out.extend(ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) => {
            out.push(IPV6);
            out.extend(ip.octets());
        }
        Host::Name(name) => {
            // The grammar has no name of more than 253 bytes.
            out.extend([NAME, name.len() as u8]);
            out.extend(name.as_bytes());
        }
    }
    out.extend(addr.port.to_be_bytes());
}

/// Fields out of bytes of which some may not be there yet.
struct Reader<'a> {
    bytes: &'a [u8],
    taken: usize,
}

impl<'a> Reader<'a> {
    /// Of a message that begins with a version; one that is not there yet is not wrong.
    fn of_version(bytes: &'a [u8], version: u8) -> Result<Self, Malformed> {
        match bytes.first() {
            Some(first) if *first != version => Err(Malformed::Version),
            _ => Ok(Self { bytes, taken: 1 }),
        }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let field = self.bytes.get(self.taken..self.taken + n)?;
        self.taken += n;
        Some(field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|field| field[0])
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A field preceded by its length in one byte.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// An address: none while bytes are missing, and within that none if it cannot be dialed.
    fn address(&mut self) -> Result<Option<Option<HostPort>>, Malformed> {
        let host = match self.u8() {
            None => return Ok(None),
            Some(IPV4) => self.array::<4>().map(|ip| Some(Host::Ip(ip.into()))),
            Some(IPV6) => self.array::<16>().map(|ip| Some(Host::Ip(ip.into()))),
            Some(NAME) => self.counted().map(host),
            Some(_) => return Err(Malformed::AddressType),
        };
        let (Some(host), Some(port)) = (host, self.array()) else {
            return Ok(None);
        };
        let port = Some(u16::from_be_bytes(port)).filter(|port| *port != 0);
        let addr = host.zip(port);
        Ok(Some(addr.map(|(host, port)| HostPort { host, port })))
    }
}

/// A host by its name, through the grammar's parser; an address may stand for one.
fn host(name: &[u8]) -> Option<Host> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
