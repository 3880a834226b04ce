//! What a QUIC DATAGRAM frame carries: packets of one UDP flow, or a word about the flow.
//!
//! The first varint (RFC 9000, section 16) holds the flow's number, which side of the connection
//! gave it that number, and the kind of what follows.

use bytes::{BufMut, Bytes, BytesMut};

use super::reader::Reader;
use super::{DecodeError, Decoded, FlowHeader, unknown};

/// Largest payload that a UDP packet can have, in bytes.
pub const MAX_PACKET: usize = 65_507;

/// Most pieces of a packet that is too large for one datagram.
pub const MAX_FRAGMENTS: usize = 255;

/// The kinds.
const PACKET: u8 = 0;
const PACKETS: u8 = 1;
const FRAGMENT: u8 = 2;
const INTRODUCTION: u8 = 3;
const KNOWN: u8 = 4;
const UNKNOWN: u8 = 5;
const REFUSED: u8 = 6;

/// Bits of the first varint below the flow's number.
const KIND_BITS: u32 = 3;
const FLOW_SHIFT: u32 = KIND_BITS + 1;

/// Largest number of a flow.
pub const MAX_FLOW: u64 = (1 << (62 - FLOW_SHIFT)) - 1;

/// Most bytes of a varint.
const VARINT: usize = 8;

/// Bytes of a fragment's own header: its packet's number, its place, and how many there are.
const FRAGMENT_HEADER: usize = 2 + 1 + 1;

/// Which flow a datagram is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// Whether it is the side that sends this datagram which listens for the flow's visitor, and so
    /// chose the number.
    pub senders: bool,
    /// Its number, at most [`MAX_FLOW`].
    pub number: u64,
}

/// One datagram, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The flow.
    pub flow: FlowId,
    /// What it says.
    pub content: Content,
}

/// What a datagram says.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Something that goes through the flow, and what the flow is, for as long as the sender cannot
    /// be sure that the receiver knows.
    Carried(Option<Introduction>, Carried),
    /// The sender has been introduced to the flow.
    Known,
    /// The sender has not, or has forgotten: the receiver has to introduce it again.
    Unknown,
    /// The target is not reached, for the reason of this code.
    Refused(u8),
}

/// What goes through a flow.
#[derive(Debug, PartialEq, Eq)]
pub enum Carried {
    /// One packet or more, all of the same size.
    Packets {
        /// The size of each; 0 for one empty packet.
        size: usize,
        /// One behind the other.
        bytes: Bytes,
    },
    /// A piece of a packet that is too large for one datagram.
    Fragment {
        /// Tells its packet from others of the flow.
        packet: u16,
        /// Its place, from 0.
        index: u8,
        /// How many there are, more than `index`.
        count: u8,
        /// The piece.
        bytes: Bytes,
    },
}

/// What a flow is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its tunnel and, if its visitor chose one, its target.
    pub header: FlowHeader,
    /// Seconds of silence after which it is over; 0 leaves that to the receiver.
    pub idle: u32,
}

impl Introduction {
    /// As it stands in a datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.encode();
        out.extend(self.idle.to_be_bytes());
        out
    }

    /// Takes it from the front of a datagram.
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let mut known = 0;
        let header = loop {
            let front = bytes.get(..known).ok_or(DecodeError::Truncated)?;
            match FlowHeader::decode(front)? {
                Decoded::Whole(header) => break header,
                Decoded::Missing(n) => known += n,
            }
        };
        let _ = bytes.split_to(known);
        let idle = u32::from_be_bytes(take(bytes)?);
        Ok(Self { header, idle })
    }
}

impl Datagram {
    /// Takes a datagram apart.
    pub fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        let first = decode_varint(&mut bytes)?;
        let flow = FlowId {
            senders: first & 1 == 0,
            number: first >> FLOW_SHIFT,
        };
        let kind = (first >> 1) as u8 & ((1 << KIND_BITS) - 1);
        let content = match kind {
            PACKET | PACKETS | FRAGMENT => Content::Carried(None, Carried::decode(kind, bytes)?),
            INTRODUCTION => {
                let introduction = Introduction::decode(&mut bytes)?;
                let [kind] = take(&mut bytes)?;
                Content::Carried(Some(introduction), Carried::decode(kind, bytes)?)
            }
            KNOWN => ended(bytes, Content::Known)?,
            UNKNOWN => ended(bytes, Content::Unknown)?,
            REFUSED => {
                let [code] = take(&mut bytes)?;
                ended(bytes, Content::Refused(code))?
            }
            n => return Err(unknown("datagram", n)),
        };
        Ok(Self { flow, content })
    }

    /// A datagram that carries nothing, but says something of a flow.
    pub fn word(flow: FlowId, word: Word) -> Bytes {
        let mut out = BytesMut::with_capacity(VARINT + 1);
        let (kind, code) = match word {
            Word::Known => (KNOWN, None),
            Word::Unknown => (UNKNOWN, None),
            Word::Refused(code) => (REFUSED, Some(code)),
        };
        encode_varint(first(flow, kind), &mut out);
        out.extend(code);
        out.freeze()
    }
}

/// What a datagram may say that carries nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// [`Content::Known`].
    Known,
    /// [`Content::Unknown`].
    Unknown,
    /// [`Content::Refused`].
    Refused(u8),
}

impl Carried {
    fn decode(kind: u8, mut bytes: Bytes) -> Result<Self, DecodeError> {
        let carried = match kind {
            PACKET => {
                let size = bytes.len();
                Self::Packets { size, bytes }
            }
            PACKETS => {
                let size = decode_varint(&mut bytes)? as usize;
                if size == 0 || bytes.is_empty() || !bytes.len().is_multiple_of(size) {
                    return Err(DecodeError::Truncated);
                }
                Self::Packets { size, bytes }
            }
            FRAGMENT => {
                let packet = u16::from_be_bytes(take(&mut bytes)?);
                let [index, count] = take(&mut bytes)?;
                if index >= count {
                    return Err(unknown("fragment", index));
                }
                Self::Fragment {
                    packet,
                    index,
                    count,
                    bytes,
                }
            }
            n => return Err(unknown("datagram", n)),
        };
        match &carried {
            Self::Packets { size, .. } if *size > MAX_PACKET => {
                Err(DecodeError::TooLong(*size as u32))
            }
            _ => Ok(carried),
        }
    }
}

/// Makes the datagrams that carry a flow's packets.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The flow.
    pub flow: FlowId,
    /// What [`Introduction::encode`] made, as long as the receiver may not know the flow.
    pub introduction: Option<&'a [u8]>,
}

impl Envelope<'_> {
    /// How many packets of this size go into a datagram of at most so many bytes; 0 if they have to
    /// be sent in fragments.
    pub fn room(&self, size: usize, datagram: usize) -> usize {
        let left = datagram.saturating_sub(self.overhead());
        match left.saturating_sub(VARINT).checked_div(size) {
            None => 1,
            Some(0) if size <= left => 1,
            Some(n) => n,
        }
    }

    /// Packets of one size, of which there is at least one. Empty ones have to go one by one.
    pub fn packets<'p>(&self, packets: impl ExactSizeIterator<Item = &'p [u8]>) -> Bytes {
        let mut packets = packets.peekable();
        let size = packets.peek().map_or(0, |packet| packet.len());
        let count = packets.len();
        let mut out = BytesMut::with_capacity(self.overhead() + VARINT + count * size);
        if count == 1 {
            self.begin(PACKET, &mut out);
        } else {
            self.begin(PACKETS, &mut out);
            encode_varint(size as u64, &mut out);
        }
        packets.for_each(|packet| out.extend_from_slice(packet));
        out.freeze()
    }

    /// The pieces of a packet, for datagrams of at most so many bytes; none if they would be too
    /// many.
    pub fn fragments<'p>(
        &'p self,
        number: u16,
        packet: &'p [u8],
        datagram: usize,
    ) -> impl Iterator<Item = Bytes> + 'p {
        let room = datagram.saturating_sub(self.overhead() + FRAGMENT_HEADER);
        let pieces = packet.chunks(room.max(1));
        let count = pieces.len();
        let fit = if count <= MAX_FRAGMENTS { count } else { 0 };
        pieces.take(fit).enumerate().map(move |(index, piece)| {
            let length = self.overhead() + FRAGMENT_HEADER + piece.len();
            let mut out = BytesMut::with_capacity(length);
            self.begin(FRAGMENT, &mut out);
            out.put_u16(number);
            out.extend([index as u8, count as u8]);
            out.extend_from_slice(piece);
            out.freeze()
        })
    }

    /// Most bytes in front of what is carried.
    fn overhead(&self) -> usize {
        VARINT + self.introduction.map_or(0, |bytes| bytes.len() + 1)
    }

    fn begin(&self, kind: u8, out: &mut BytesMut) {
        match self.introduction {
            None => encode_varint(first(self.flow, kind), out),
            Some(introduction) => {
                encode_varint(first(self.flow, INTRODUCTION), out);
                out.extend_from_slice(introduction);
                out.put_u8(kind);
            }
        }
    }
}

fn first(flow: FlowId, kind: u8) -> u64 {
    flow.number << FLOW_SHIFT | u64::from(kind) << 1 | u64::from(!flow.senders)
}

fn encode_varint(value: u64, out: &mut BytesMut) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

fn decode_varint(bytes: &mut Bytes) -> Result<u64, DecodeError> {
    let length = 1 << (bytes.first().ok_or(DecodeError::Truncated)? >> 6);
    if bytes.len() < length {
        return Err(DecodeError::Truncated);
    }
    let field = bytes.split_to(length);
    let value = field.iter().fold(0, |value, b| value << 8 | u64::from(*b));
    Ok(value & (u64::MAX >> (66 - 8 * length)))
}

/// A field of a few bytes from the front.
fn take<const N: usize>(bytes: &mut Bytes) -> Result<[u8; N], DecodeError> {
    let field = Reader(bytes).array()?;
    let _ = bytes.split_to(N);
    Ok(field)
}

/// What was read, if nothing is left.
fn ended(rest: Bytes, content: Content) -> Result<Content, DecodeError> {
    Reader(&rest).end()?;
    Ok(content)
}

#[cfg(test)]
mod tests;
