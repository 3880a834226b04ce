//! The header at the beginning of each flow's stream.

use super::address::{decode_target, encode_target};
use super::reader::Reader;
use super::{DecodeError, unknown};
use crate::tunnel::Target;

/// Bytes that every flow's header begins with: its kind, and a tunnel's number.
const BEGINNING: usize = 1 + 4;

/// Bytes of the length that follows in a header of the kind [`ASKED`].
const LENGTH: usize = 2;

/// Most bytes of what a visitor asks for.
const MAX_ASKED: usize = 300;

/// The kinds of flow headers.
const FIXED: u8 = 0;
const ASKED: u8 = 1;

/// The number that stands for no tunnel of the login: the client opens a flow to any target that it
/// may reach.
pub const NO_TUNNEL: u32 = u32::MAX;

/// Answer to [`FlowHeader::Asked`]: the target has been reached, and its bytes follow.
pub const CONNECTED: u8 = 0;

/// What the opener of a stream wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowHeader {
    /// A flow through the tunnel of this number, to its target.
    Fixed(u32),
    /// A flow through the tunnel of this number, to what its visitor asked for.
    Asked(u32, Target),
}

/// What is known of a header by some of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// All of it.
    Whole(FlowHeader),
    /// Too little: so many bytes more are needed to tell.
    Missing(usize),
}

impl FlowHeader {
    /// The whole header.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Fixed(tunnel) => [&[FIXED][..], &tunnel.to_be_bytes()].concat(),
            Self::Asked(tunnel, target) => {
                let mut asked = Vec::new();
                encode_target(target, &mut asked);
                let length = (asked.len() as u16).to_be_bytes();
                [&[ASKED][..], &tunnel.to_be_bytes(), &length, &asked].concat()
            }
        }
    }

    /// Reads a header from its first bytes. Whoever adds no more than are missing gets it whole
    /// without a byte of what follows.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
        let mut reader = Reader(bytes);
        if bytes.len() < BEGINNING {
            return Ok(Decoded::Missing(BEGINNING - bytes.len()));
        }
        let kind = reader.u8()?;
        let tunnel = reader.u32()?;
        match kind {
            FIXED => Ok(Decoded::Whole(Self::Fixed(tunnel))),
            ASKED if bytes.len() < BEGINNING + LENGTH => {
                Ok(Decoded::Missing(BEGINNING + LENGTH - bytes.len()))
            }
            ASKED => {
                let length = usize::from(reader.u16()?);
                if length > MAX_ASKED {
                    return Err(DecodeError::TooLong(length as u32));
                }
                let whole = BEGINNING + LENGTH + length;
                if bytes.len() < whole {
                    return Ok(Decoded::Missing(whole - bytes.len()));
                }
                let target = decode_target(&mut reader)?;
                reader.end()?;
                match target {
                    Target::Asked => Err(DecodeError::Text),
                    target => Ok(Decoded::Whole(Self::Asked(tunnel, target))),
                }
            }
            kind => Err(unknown("flow header", kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Vec<FlowHeader> {
        let asked = |target: &str| FlowHeader::Asked(7, target.parse().unwrap());
        let name = format!("{}.{}", vec!["a".repeat(62); 3].join("."), "a".repeat(63));
        vec![
            FlowHeader::Fixed(0x01020304),
            asked("10.0.0.1:80"),
            asked("udp://[2001:db8::1]:53"),
            asked("unix:///run/app.sock"),
            asked(&format!("{name}:65535")),
        ]
    }

    #[test]
    fn headers_survive_the_journey_in_pieces() {
        for header in headers() {
            let bytes = header.encode();
            let mut known = 0;
            while let Decoded::Missing(n) = FlowHeader::decode(&bytes[..known]).unwrap() {
                assert!(n > 0);
                known += n;
            }
            assert_eq!(known, bytes.len());
            assert_eq!(FlowHeader::decode(&bytes).unwrap(), Decoded::Whole(header));
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic_or_ask_for_much() {
        for header in headers() {
            let bytes = header.encode();
            for i in 0..bytes.len() {
                for value in 0..=255 {
                    let mut hostile = bytes.clone();
                    hostile[i] = value;
                    if let Ok(Decoded::Missing(n)) = FlowHeader::decode(&hostile) {
                        assert!(n <= MAX_ASKED);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_target_is_not_asked_for() {
        assert!(FlowHeader::decode(&[9, 0, 0, 0, 0]).is_err());
        assert!(FlowHeader::decode(&[ASKED, 0, 0, 0, 0, 255, 255]).is_err());
        let anything = FlowHeader::Asked(0, Target::Asked).encode();
        assert!(FlowHeader::decode(&anything).is_err());
    }
}
