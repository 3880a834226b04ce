//! What goes over a connection beside the carried bytes: messages of the control stream, and the
//! header of each flow's stream. PROTOCOL.md says the same in prose.
//!
//! Pure: bytes in, values out. Everything here may come from a hostile peer, so each length is
//! bounded before anything is allocated for it, and text is cleaned before anyone can print it.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use crate::tunnel::{Direction, Host, ListenAddr, MAX_TUNNELS, Target, Tunnel};

/// Name of the protocol and its version, as ALPN carries it (RFC 7301).
pub const ALPN: &[u8] = b"rstun/1";

/// Most bytes that a message's body may have.
pub const MAX_BODY: usize = 64 * 1024;

/// Bytes in front of a message's body: its type, and its length.
pub const FRAME_HEADER: usize = 1 + 4;

/// Most bytes of a text; a longer one is cut. [`MAX_TUNNELS`] of them fit a message.
const MAX_TEXT: usize = 300;

/// Bytes of a flow's header.
pub const FLOW_HEADER: usize = 1 + 4;

/// The only kind of flow header so far: a connection through a tunnel of the login.
const FLOW_THROUGH_TUNNEL: u8 = 0;

/// The only kind of credential so far: HMAC-SHA-256 over the TLS exporter, keyed by the password.
const CREDENTIAL_PASSWORD: u8 = 0;

/// A message of the control stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// The client's first: who it is, and the tunnels that it wants.
    Login(Login),
    /// The server's answer: what became of each tunnel, in the order of the login.
    Welcome(Vec<Grant>),
    /// Either side's: no new flows from now on, those that are open may finish.
    Drain,
}

/// What a client says first.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// A random number that a client process keeps: a second login with it replaces the first.
    pub instance: [u8; 16],
    /// Proof of the password, bound to this connection.
    pub proof: [u8; 32],
    /// The tunnels; a tunnel's number is its place here.
    pub tunnels: Vec<Tunnel>,
}

/// What became of a tunnel that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// TunnelOut: the client may open flows.
    Open,
    /// TunnelIn: the server listens there.
    Listening(SocketAddr),
    /// Neither, and this is why, for people.
    Refused(String),
}

/// Why bytes are no message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The body is longer than any message's.
    #[error("a message of {0} bytes is longer than any may be")]
    TooLong(u32),
    /// A field reaches beyond the end of the body.
    #[error("a message ends in the middle of a field")]
    Truncated,
    /// The body goes on after its last field.
    #[error("a message has {0} bytes too many")]
    Trailing(usize),
    /// A number that stands for nothing in this version.
    #[error("{field} {value} is unknown")]
    Unknown {
        /// What the number stands for.
        field: &'static str,
        /// The number.
        value: u32,
    },
    /// More tunnels than a session may have.
    #[error("{0} tunnels are more than the {MAX_TUNNELS} that a session may have")]
    TooManyTunnels(u16),
    /// Text that is not UTF-8, or a host that is none.
    #[error("a message holds malformed text")]
    Text,
}

impl Message {
    /// The whole message, framed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; FRAME_HEADER];
        out[0] = match self {
            Self::Login(login) => {
                encode_login(login, &mut out);
                1
            }
            Self::Welcome(results) => {
                encode_welcome(results, &mut out);
                2
            }
            Self::Drain => 3,
        };
        let length = (out.len() - FRAME_HEADER) as u32;
        out[1..FRAME_HEADER].copy_from_slice(&length.to_be_bytes());
        out
    }

    /// The length of the body that follows a frame's header.
    pub fn body_length(header: &[u8; FRAME_HEADER]) -> Result<usize, DecodeError> {
        let [_, a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]);
        match length as usize {
            n if n <= MAX_BODY => Ok(n),
            _ => Err(DecodeError::TooLong(length)),
        }
    }

    /// Reads a message from its frame's header and its whole body.
    pub fn decode(header: &[u8; FRAME_HEADER], body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(body);
        let message = match header[0] {
            1 => Self::Login(decode_login(&mut reader)?),
            2 => Self::Welcome(decode_welcome(&mut reader)?),
            3 => Self::Drain,
            n => return Err(unknown("message type", n)),
        };
        match reader.0.len() {
            0 => Ok(message),
            n => Err(DecodeError::Trailing(n)),
        }
    }
}

/// The header that opens the stream of a flow through the tunnel with this number.
pub fn encode_flow_header(tunnel: u32) -> [u8; FLOW_HEADER] {
    let [a, b, c, d] = tunnel.to_be_bytes();
    [FLOW_THROUGH_TUNNEL, a, b, c, d]
}

/// The number of the tunnel that a flow's stream belongs to.
pub fn decode_flow_header(header: &[u8; FLOW_HEADER]) -> Result<u32, DecodeError> {
    match *header {
        [FLOW_THROUGH_TUNNEL, a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d])),
        [kind, ..] => Err(unknown("flow header", kind)),
    }
}

fn encode_login(login: &Login, out: &mut Vec<u8>) {
    out.extend(login.instance);
    out.push(CREDENTIAL_PASSWORD);
    out.extend(login.proof);
    out.extend((login.tunnels.len() as u16).to_be_bytes());
    for tunnel in &login.tunnels {
        out.push(match tunnel.direction {
            Direction::Out => 0,
            Direction::In => 1,
        });
        // Of the two addresses, the server needs to know only the one at its own side; the other
        // is sent for the server's log.
        encode_listen(&tunnel.listen, out);
        encode_target(&tunnel.target, out);
    }
}

fn decode_login(reader: &mut Reader<'_>) -> Result<Login, DecodeError> {
    let instance = reader.array()?;
    match reader.u8()? {
        CREDENTIAL_PASSWORD => {}
        n => return Err(unknown("credential", n)),
    }
    let proof = reader.array()?;
    let count = reader.u16()?;
    if usize::from(count) > MAX_TUNNELS {
        return Err(DecodeError::TooManyTunnels(count));
    }
    let tunnels = (0..count).map(|_| {
        Ok(Tunnel {
            direction: match reader.u8()? {
                0 => Direction::Out,
                1 => Direction::In,
                n => return Err(unknown("direction", n)),
            },
            listen: decode_listen(reader)?,
            target: decode_target(reader)?,
        })
    });
    Ok(Login {
        instance,
        proof,
        tunnels: tunnels.collect::<Result<_, _>>()?,
    })
}

fn encode_welcome(grants: &[Grant], out: &mut Vec<u8>) {
    out.extend((grants.len() as u16).to_be_bytes());
    for grant in grants {
        match grant {
            Grant::Open => out.push(0),
            Grant::Listening(addr) => {
                out.push(1);
                encode_ip(addr.ip(), out);
                out.extend(addr.port().to_be_bytes());
            }
            Grant::Refused(reason) => {
                out.push(2);
                encode_text(reason, out);
            }
        }
    }
}

fn decode_welcome(reader: &mut Reader<'_>) -> Result<Vec<Grant>, DecodeError> {
    let count = reader.u16()?;
    if usize::from(count) > MAX_TUNNELS {
        return Err(DecodeError::TooManyTunnels(count));
    }
    let grants = (0..count).map(|_| {
        Ok(match reader.u8()? {
            0 => Grant::Open,
            1 => {
                let family = reader.u8()?;
                let ip = decode_ip(family, reader)?;
                Grant::Listening(SocketAddr::new(ip, reader.u16()?))
            }
            2 => Grant::Refused(reader.text()?),
            n => return Err(unknown("grant", n)),
        })
    });
    grants.collect()
}

/// An address: its family (0 for none, 4, 6, or 1 for a name), its bytes, and a port.
fn encode_listen(addr: &ListenAddr, out: &mut Vec<u8>) {
    match addr.ip {
        None => out.push(0),
        Some(ip) => encode_ip(ip, out),
    }
    out.extend(addr.port.to_be_bytes());
}

fn decode_listen(reader: &mut Reader<'_>) -> Result<ListenAddr, DecodeError> {
    let ip = match reader.u8()? {
        0 => None,
        family => Some(decode_ip(family, reader)?),
    };
    Ok(ListenAddr {
        ip,
        port: reader.u16()?,
    })
}

fn encode_target(target: &Target, out: &mut Vec<u8>) {
    match &target.host {
        Host::Ip(ip) => encode_ip(*ip, out),
        Host::Name(name) => {
            out.push(1);
            encode_text(name, out);
        }
    }
    out.extend(target.port.to_be_bytes());
}

fn decode_target(reader: &mut Reader<'_>) -> Result<Target, DecodeError> {
    match reader.u8()? {
        1 => {
            // Through the grammar's parser, so that no other name than it allows gets any further.
            let name = reader.text()?;
            let port = reader.u16()?;
            let target: Target = format!("{name}:{port}")
                .parse()
                .map_err(|_| DecodeError::Text)?;
            match target.host {
                Host::Name(_) => Ok(target),
                Host::Ip(_) => Err(DecodeError::Text),
            }
        }
        family => Ok(Target {
            host: Host::Ip(decode_ip(family, reader)?),
            port: reader.u16()?,
        }),
    }
}

fn encode_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend(ip.octets());
        }
    }
}

fn decode_ip(family: u8, reader: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    match family {
        4 => Ok(reader.array::<4>()?.into()),
        6 => Ok(reader.array::<16>()?.into()),
        n => Err(unknown("address family", n)),
    }
}

/// Text as a length of two bytes and UTF-8; what is too long is cut.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend((end as u16).to_be_bytes());
    out.extend(&text.as_bytes()[..end]);
}

fn unknown(field: &'static str, value: u8) -> DecodeError {
    DecodeError::Unknown {
        field,
        value: value.into(),
    }
}

/// What is left of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let length = self.u16()?.into();
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| DecodeError::Text)?;
        Ok(printable(text))
    }
}

/// Text of a peer's without the control characters that could lead a terminal or a log astray.
fn printable(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Message {
        let tunnel = |direction, mapping| Tunnel::parse(direction, mapping).unwrap();
        Message::Login(Login {
            instance: [7; 16],
            proof: [9; 32],
            tunnels: vec![
                tunnel(Direction::Out, "9900^db.internal:5432"),
                tunnel(Direction::Out, "[::1]:0^[2001:db8::1]:80"),
                tunnel(Direction::In, "3000^18080"),
            ],
        })
    }

    fn welcome() -> Message {
        Message::Welcome(vec![
            Grant::Open,
            Grant::Listening("[::]:18080".parse().unwrap()),
            Grant::Refused("port 1 is taken".into()),
        ])
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let (header, body) = bytes.split_first_chunk().unwrap();
        assert_eq!(Message::body_length(header).unwrap(), body.len());
        Message::decode(header, body)
    }

    #[test]
    fn messages_survive_the_journey() {
        for message in [login(), welcome(), Message::Drain] {
            assert_eq!(decode(&message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn every_truncation_and_every_longer_body_is_an_error() {
        for message in [login(), welcome(), Message::Drain] {
            let bytes = message.encode();
            let (header, body) = bytes.split_first_chunk().unwrap();
            for n in 0..body.len() {
                assert!(Message::decode(header, &body[..n]).is_err(), "{n}");
            }
            let longer = [body, &[0]].concat();
            assert_eq!(
                Message::decode(header, &longer).unwrap_err(),
                DecodeError::Trailing(1)
            );
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic() {
        for message in [login(), welcome()] {
            let bytes = message.encode();
            for i in 0..bytes.len() {
                for value in 0..=255 {
                    let mut hostile = bytes.clone();
                    hostile[i] = value;
                    let (header, body) = hostile.split_first_chunk().unwrap();
                    let _ = Message::body_length(header);
                    let _ = Message::decode(header, body);
                }
            }
        }
    }

    #[test]
    fn lengths_are_bounded_before_allocation() {
        assert_eq!(
            Message::body_length(&[1, 255, 255, 255, 255]).unwrap_err(),
            DecodeError::TooLong(u32::MAX)
        );
        let mut many = vec![0; 16 + 1 + 32];
        many.extend(u16::MAX.to_be_bytes());
        assert_eq!(
            Message::decode(&[1, 0, 0, 0, 51], &many).unwrap_err(),
            DecodeError::TooManyTunnels(u16::MAX)
        );
    }

    #[test]
    fn the_largest_messages_fit() {
        let name = format!("{}.{}", vec!["a".repeat(62); 3].join("."), "a".repeat(63));
        let mapping = format!("[::1]:65535^{name}:65535");
        let login = Message::Login(Login {
            instance: [0; 16],
            proof: [0; 32],
            tunnels: vec![Tunnel::parse(Direction::Out, &mapping).unwrap(); MAX_TUNNELS],
        });
        let reason = "é".repeat(MAX_TEXT);
        let welcome = Message::Welcome(vec![Grant::Refused(reason); MAX_TUNNELS]);
        for message in [login, welcome] {
            assert!(decode(&message.encode()).is_ok());
        }
    }

    #[test]
    fn a_peers_text_cannot_steer_a_terminal() {
        let message = Message::Welcome(vec![Grant::Refused("\u{1b}[2Jgone\n".into())]);
        assert_eq!(
            decode(&message.encode()).unwrap(),
            Message::Welcome(vec![Grant::Refused("\u{fffd}[2Jgone\u{fffd}".into())])
        );
    }

    #[test]
    fn flow_headers_survive_the_journey() {
        let header = encode_flow_header(0x01020304);
        assert_eq!(decode_flow_header(&header).unwrap(), 0x01020304);
        assert!(decode_flow_header(&[9, 0, 0, 0, 0]).is_err());
    }
}
