//! The client's first message.

use std::fmt;

use super::reader::{self, Reader};
use super::{DecodeError, NO_TUNNEL, address, unknown};
use crate::tunnel::{Direction, Half, Listen, MAX_TUNNELS, Target, Tunnel};

/// Most bytes of a label; a longer one is cut. [`MAX_TUNNELS`] of the largest requests fit a message.
const MAX_LABEL: usize = 64;

/// Most bytes of a client's name.
const MAX_NAME: usize = 64;

/// What a client shows for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A proof of the password.
    Password([u8; 32]),
    /// A proof of the secret that goes with a name.
    Secret {
        /// Whose secret it is.
        name: String,
        /// That it is known.
        proof: [u8; 32],
    },
    /// The certificate that it presented in the handshake.
    Key,
}

/// What becomes of a session that a client process has still, when it logs in anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Former {
    /// It is closed, with all of its flows.
    Breaks = 0,
    /// It gives what it listens on to the new one, and ends with its flows.
    Retires = 1,
}

/// What a client says first.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// A random number that a client process keeps: a second login with it replaces the first.
    pub instance: [u8; 16],
    /// What becomes of the first.
    pub former: Former,
    /// Who it is.
    pub credential: Credential,
    /// The tunnels, their numbers rising.
    pub tunnels: Vec<Request>,
}

/// A tunnel as the server needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number, which the client has chosen: no other tunnel of the session ever has it.
    pub number: u32,
    /// What the server does for it.
    pub half: Half,
    /// What to call the client's side in a log.
    pub near: String,
}

impl Request {
    /// Of the client's side only what may be known elsewhere: no path of a file.
    pub fn new(number: u32, tunnel: &Tunnel) -> Self {
        let near = match tunnel.near() {
            Half::Listen(Listen::Unix { .. }, _) | Half::Dial(Target::Unix(_)) => "unix".into(),
            Half::Listen(Listen::Socks5 { addr, .. }, _) => format!("socks5://{addr}"),
            Half::Listen(Listen::Http { addr, .. }, _) => format!("http://{addr}"),
            Half::Listen(listen, _) => listen.to_string(),
            Half::Dial(target) => target.to_string(),
        };
        let half = tunnel.far();
        Self { number, half, near }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_be_bytes());
        match &self.half {
            Half::Dial(target) => {
                out.push(0);
                address::encode_target(target, out);
            }
            Half::Listen(listen, proxy) => {
                out.push(1);
                address::encode_listen(listen, out);
                out.push(address::proxy_code(*proxy));
            }
        }
        reader::encode_text(&self.near, MAX_LABEL, out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = reader.u32()?;
        if number == NO_TUNNEL {
            return Err(DecodeError::Number);
        }
        let half = match reader.u8()? {
            0 => Half::Dial(address::decode_target(reader)?),
            1 => {
                let listen = address::decode_listen(reader)?;
                Half::Listen(listen, address::decode_proxy(reader)?)
            }
            n => return Err(unknown("direction", n)),
        };
        let near = reader.text()?;
        if near.len() > MAX_LABEL {
            return Err(DecodeError::Text);
        }
        Ok(Self { number, half, near })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { half, near, .. } = self;
        match half {
            Half::Dial(target) => write!(f, "{} {near}^{target}", Direction::Out),
            Half::Listen(listen, _) => write!(f, "{} {near}^{listen}", Direction::In),
        }
    }
}

impl Login {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.instance);
        out.push(self.former as u8);
        self.credential.encode(out);
        out.extend((self.tunnels.len() as u16).to_be_bytes());
        for tunnel in &self.tunnels {
            tunnel.encode(out);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let instance = reader.array()?;
        let former = match reader.u8()? {
            0 => Former::Breaks,
            1 => Former::Retires,
            n => return Err(unknown("former session's end", n)),
        };
        let credential = Credential::decode(reader)?;
        let count = reader.u16()?;
        if usize::from(count) > MAX_TUNNELS {
            return Err(DecodeError::TooManyTunnels(count));
        }
        let tunnels = (0..count).map(|_| Request::decode(reader));
        let tunnels = tunnels.collect::<Result<Vec<_>, _>>()?;
        if !tunnels.is_sorted_by(|a, b| a.number < b.number) {
            return Err(DecodeError::Number);
        }
        Ok(Self {
            instance,
            former,
            credential,
            tunnels,
        })
    }
}

impl Credential {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Password(proof) => {
                out.push(0);
                out.extend(proof);
            }
            Self::Secret { name, proof } => {
                out.push(1);
                reader::encode_text(name, MAX_NAME, out);
                out.extend(proof);
            }
            Self::Key => out.push(2),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            0 => Self::Password(reader.array()?),
            1 => {
                let name = reader.text()?;
                if name.len() > MAX_NAME {
                    return Err(DecodeError::Text);
                }
                let proof = reader.array()?;
                Self::Secret { name, proof }
            }
            2 => Self::Key,
            n => return Err(unknown("credential", n)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_no_longer_than_it_may_be() {
        let mut request = requests(Direction::Out, "9900^8800").remove(0);
        for (length, fits) in [(MAX_LABEL, true), (MAX_LABEL + 1, false), (65_000, false)] {
            request.near = "x".repeat(length);
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            // Cut by whoever keeps to the protocol.
            bytes.truncate(bytes.len() - 2 - MAX_LABEL);
            bytes.extend((length as u16).to_be_bytes());
            bytes.extend(request.near.bytes());
            assert_eq!(
                Request::decode(&mut Reader(&bytes)).is_ok(),
                fits,
                "{length}"
            );
        }
    }

    fn requests(direction: Direction, mapping: &str) -> Vec<Request> {
        let tunnels = Tunnel::parse(direction, mapping).unwrap();
        (0..)
            .zip(&tunnels)
            .map(|(n, t)| Request::new(n, t))
            .collect()
    }

    #[test]
    fn the_server_learns_no_more_than_it_needs() {
        for (direction, mapping, shown) in [
            (
                Direction::Out,
                "9900^8800",
                "TunnelOut 127.0.0.1:9900^127.0.0.1:8800",
            ),
            (Direction::In, "3000^18080", "TunnelIn 127.0.0.1:3000^18080"),
            (
                Direction::In,
                "unix:///run/docker.sock^1",
                "TunnelIn unix^1",
            ),
            (
                Direction::Out,
                "unix:///home/me/a^1",
                "TunnelOut unix^127.0.0.1:1",
            ),
        ] {
            assert_eq!(requests(direction, mapping)[0].to_string(), shown);
        }
        let proxy = Tunnel::dynamic("alice:hunter2@1080").unwrap();
        let request = Request::new(0, &proxy);
        assert_eq!(
            request.to_string(),
            "TunnelOut socks5://127.0.0.1:1080^what visitors ask for"
        );
    }
}
