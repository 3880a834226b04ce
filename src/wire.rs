//! What goes over a connection beside the carried bytes: messages of the control stream, and the
//! header of each flow's stream. PROTOCOL.md says the same in prose.
//!
//! Pure: bytes in, values out. Everything here may come from a hostile peer, so each length is
//! bounded before anything is allocated for it, and text is cleaned before anyone can print it.

mod address;
mod datagram;
mod flow;
mod login;
mod reader;

use std::net::SocketAddr;

use thiserror::Error;

use self::reader::Reader;
use crate::tunnel::MAX_TUNNELS;

pub use datagram::{
    Carried, Content, Datagram, Envelope, FlowId, Introduction, MAX_FLOW, MAX_FRAGMENTS,
    MAX_PACKET, Word,
};
pub use flow::{CONNECTED, Decoded, FlowHeader, NO_TUNNEL};
pub use login::{Credential, Former, Login, Request};

/// Name of the protocol and its version, as ALPN carries it (RFC 7301).
pub const ALPN: &[u8] = b"rstun/1";

/// Most bytes that a message's body may have.
pub const MAX_BODY: usize = 64 * 1024;

/// Bytes in front of a message's body: its type, and its length.
pub const FRAME_HEADER: usize = 1 + 4;

/// Most bytes of a text; a longer one is cut. [`MAX_TUNNELS`] of them fit a message.
const MAX_TEXT: usize = 300;

/// A message of the control stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// The client's first: who it is, and the tunnels that it wants.
    Login(Login),
    /// The server's answer: what became of each tunnel, in the order of the login.
    Welcome(Vec<Grant>),
    /// Either side's: no new flows from now on, those that are open may finish.
    Drain,
    /// The client's: it wants one more tunnel.
    Open(Request),
    /// The server's answer: what became of the tunnel of this number.
    Opened(u32, Grant),
    /// The client's: no new flows through the tunnel of this number.
    Close(u32),
    /// The server's answer: it listens no more for the tunnel of this number.
    Closed(u32),
}

/// What became of a tunnel that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// As asked: the client may open flows, or the server listens at the path that it was told.
    Open,
    /// The server listens there.
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
    /// A tunnel's number that is none, or not larger than the one before it.
    #[error("the numbers of tunnels do not rise")]
    Number,
    /// Text that is not UTF-8, or a host or path that is none.
    #[error("a message holds malformed text")]
    Text,
}

impl Message {
    /// The whole message, framed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; FRAME_HEADER];
        out[0] = match self {
            Self::Login(login) => {
                login.encode(&mut out);
                1
            }
            Self::Welcome(results) => {
                encode_welcome(results, &mut out);
                2
            }
            Self::Drain => 3,
            Self::Open(request) => {
                request.encode(&mut out);
                4
            }
            Self::Opened(number, grant) => {
                out.extend(number.to_be_bytes());
                grant.encode(&mut out);
                5
            }
            Self::Close(number) => {
                out.extend(number.to_be_bytes());
                6
            }
            Self::Closed(number) => {
                out.extend(number.to_be_bytes());
                7
            }
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
            1 => Self::Login(Login::decode(&mut reader)?),
            2 => Self::Welcome(decode_welcome(&mut reader)?),
            3 => Self::Drain,
            4 => Self::Open(Request::decode(&mut reader)?),
            5 => Self::Opened(reader.u32()?, Grant::decode(&mut reader)?),
            6 => Self::Close(reader.u32()?),
            7 => Self::Closed(reader.u32()?),
            n => return Err(unknown("message type", n)),
        };
        reader.end()?;
        Ok(message)
    }
}

impl Grant {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open => out.push(0),
            Self::Listening(addr) => {
                out.push(1);
                address::encode_socket_addr(*addr, out);
            }
            Self::Refused(reason) => {
                out.push(2);
                reader::encode_text(reason, MAX_TEXT, out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            0 => Self::Open,
            1 => Self::Listening(address::decode_socket_addr(reader)?),
            2 => Self::Refused(reader.text()?),
            n => return Err(unknown("grant", n)),
        })
    }
}

fn encode_welcome(grants: &[Grant], out: &mut Vec<u8>) {
    out.extend((grants.len() as u16).to_be_bytes());
    for grant in grants {
        grant.encode(out);
    }
}

fn decode_welcome(reader: &mut Reader<'_>) -> Result<Vec<Grant>, DecodeError> {
    let count = reader.u16()?;
    if usize::from(count) > MAX_TUNNELS {
        return Err(DecodeError::TooManyTunnels(count));
    }
    (0..count).map(|_| Grant::decode(reader)).collect()
}

fn unknown(field: &'static str, value: u8) -> DecodeError {
    DecodeError::Unknown {
        field,
        value: value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::{Direction, MAX_UNIX_PATH, Tunnel};

    fn requests(direction: Direction, mapping: &str) -> Vec<Request> {
        let tunnels = Tunnel::parse(direction, mapping).unwrap();
        let numbered = (0..).zip(&tunnels);
        numbered.map(|(n, t)| Request::new(n, t)).collect()
    }

    fn named() -> Credential {
        Credential::Secret {
            name: "n".repeat(64),
            proof: [9; 32],
        }
    }

    fn login(credential: Credential) -> Message {
        let mut tunnels = vec![Request::new(0, &Tunnel::dynamic("1080").unwrap())];
        for (direction, mapping) in [
            (Direction::Out, "9900^db.internal:5432"),
            (Direction::Out, "[::1]:0^[2001:db8::1]:80"),
            (Direction::Out, "udp://5353^53"),
            (Direction::Out, "stdio^unix:///run/app.sock"),
            (Direction::In, "3000?proxy=v1^18080"),
            (
                Direction::In,
                "unix:///run/app.sock^unix:///run/rstun/app.sock?mode=0666",
            ),
            (Direction::In, "5353^udp://10.0.0.1:53?timeout=5"),
            (Direction::In, "socks5^1080"),
        ] {
            tunnels.extend(requests(direction, mapping));
        }
        (7..).zip(&mut tunnels).for_each(|(n, t)| t.number = n);
        Message::Login(Login {
            instance: [7; 16],
            former: Former::Retires,
            credential,
            tunnels,
        })
    }

    fn welcome() -> Message {
        Message::Welcome(vec![
            Grant::Open,
            Grant::Listening("[::]:18080".parse().unwrap()),
            Grant::Refused("port 1 is taken".into()),
        ])
    }

    fn messages() -> [Message; 10] {
        let password = login(Credential::Password([9; 32]));
        let (secret, key) = (login(named()), login(Credential::Key));
        [
            password,
            secret,
            key,
            welcome(),
            Message::Drain,
            Message::Open(requests(Direction::In, "3000^18080").remove(0)),
            Message::Opened(7, Grant::Listening("[::]:18080".parse().unwrap())),
            Message::Opened(7, Grant::Refused("port 1 is taken".into())),
            Message::Close(7),
            Message::Closed(7),
        ]
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let (header, body) = bytes.split_first_chunk().unwrap();
        assert_eq!(Message::body_length(header).unwrap(), body.len());
        Message::decode(header, body)
    }

    #[test]
    fn messages_survive_the_journey() {
        for message in messages() {
            assert_eq!(decode(&message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn every_truncation_and_every_longer_body_is_an_error() {
        for message in messages() {
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
        for message in messages() {
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
        let mut many = vec![0; 16 + 1 + 1 + 32];
        many.extend(u16::MAX.to_be_bytes());
        assert_eq!(
            Message::decode(&[1, 0, 0, 0, 52], &many).unwrap_err(),
            DecodeError::TooManyTunnels(u16::MAX)
        );
    }

    #[test]
    fn numbers_of_tunnels_rise() {
        let mut tunnels = requests(Direction::In, "3000-3001^18080-18081");
        for numbers in [[1, 1], [1, 0], [0, NO_TUNNEL]] {
            (tunnels[0].number, tunnels[1].number) = (numbers[0], numbers[1]);
            let login = Message::Login(Login {
                instance: [0; 16],
                former: Former::Breaks,
                credential: Credential::Key,
                tunnels: tunnels.clone(),
            });
            assert_eq!(decode(&login.encode()), Err(DecodeError::Number));
        }
        let open = Message::Open(tunnels.remove(1));
        assert_eq!(decode(&open.encode()), Err(DecodeError::Number));
    }

    #[test]
    fn the_largest_messages_fit() {
        let name = format!("{}.{}", vec!["a".repeat(62); 3].join("."), "a".repeat(63));
        let path = format!("/{}", "a".repeat(MAX_UNIX_PATH - 1));
        for (direction, mapping) in [
            (Direction::Out, format!("[::1]:65535^{name}:65535")),
            (
                Direction::In,
                format!("{name}:1?proxy=v2^unix://{path}?mode=0666"),
            ),
        ] {
            let request = requests(direction, &mapping).remove(0);
            let login = Message::Login(Login {
                instance: [0; 16],
                former: Former::Breaks,
                credential: named(),
                tunnels: (0..MAX_TUNNELS as u32)
                    .map(|number| Request {
                        number,
                        ..request.clone()
                    })
                    .collect(),
            });
            assert!(decode(&login.encode()).is_ok());
        }
        let reason = "é".repeat(MAX_TEXT);
        let welcome = Message::Welcome(vec![Grant::Refused(reason); MAX_TUNNELS]);
        assert!(decode(&welcome.encode()).is_ok());
    }

    #[test]
    fn a_peers_text_cannot_steer_a_terminal() {
        let message = Message::Welcome(vec![Grant::Refused("\u{1b}[2Jgone\n".into())]);
        assert_eq!(
            decode(&message.encode()).unwrap(),
            Message::Welcome(vec![Grant::Refused("\u{fffd}[2Jgone\u{fffd}".into())])
        );
    }
}
