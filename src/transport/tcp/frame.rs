//! Frames <-> bytes. Pure, and lengths are bounded before anything is kept.
//!
//! A frame is a type (1 byte), a length (2 bytes), and so many bytes. What QUIC has frames for has
//! frames here too, with the same meaning and the same codes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes before a frame's body.
pub(super) const HEADER: usize = 1 + 2;

/// Bytes of a stream's number.
const STREAM: usize = 8;

/// Bytes of a closing reason that are taken note of at most.
const MAX_REASON: usize = 1024;

const DATA: u8 = 0;
const END: u8 = 1;
const RESET: u8 = 2;
const STOP: u8 = 3;
const LIMIT: u8 = 4;
const DATAGRAM: u8 = 5;
const PING: u8 = 6;
const PONG: u8 = 7;
const CLOSE: u8 = 8;

/// What one side tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Bytes of a stream, perhaps none.
    Data(u64, Bytes),
    /// A stream has no more bytes in this direction.
    End(u64),
    /// A stream is broken in this direction, by this code.
    Reset(u64, u32),
    /// No more of a stream is wanted, by this code.
    Stop(u64, u32),
    /// The offset that a stream's bytes must not pass.
    Limit(u64, u64),
    /// Bytes that belong to no stream.
    Datagram(Bytes),
    /// Asks for a [`Frame::Pong`].
    Ping,
    /// Answers a [`Frame::Ping`].
    Pong,
    /// The end of the connection: a code, and a reason for people.
    Close(u32, Bytes),
}

/// What is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the peer broke the protocol: a malformed frame")]
pub(super) struct Malformed;

impl Frame {
    /// Appends this to what is to be sent, but for the bytes of [`Frame::Data`] and
    /// [`Frame::Datagram`], which are to follow it uncopied. They are at most 65,527 bytes, and 65,535.
    pub(super) fn head(&self, out: &mut BytesMut) {
        match self {
            Self::Data(stream, bytes) => {
                begin(out, DATA, STREAM + bytes.len());
                out.put_u64(*stream);
            }
            Self::End(stream) => {
                begin(out, END, STREAM);
                out.put_u64(*stream);
            }
            Self::Reset(stream, code) => {
                begin(out, RESET, STREAM + 4);
                out.put_u64(*stream);
                out.put_u32(*code);
            }
            Self::Stop(stream, code) => {
                begin(out, STOP, STREAM + 4);
                out.put_u64(*stream);
                out.put_u32(*code);
            }
            Self::Limit(stream, limit) => {
                begin(out, LIMIT, STREAM + 8);
                out.put_u64(*stream);
                out.put_u64(*limit);
            }
            Self::Datagram(bytes) => begin(out, DATAGRAM, bytes.len()),
            Self::Ping => begin(out, PING, 0),
            Self::Pong => begin(out, PONG, 0),
            Self::Close(code, reason) => {
                let reason = &reason[..reason.len().min(MAX_REASON)];
                begin(out, CLOSE, 4 + reason.len());
                out.put_u32(*code);
                out.put_slice(reason);
            }
        }
    }

    /// What is to follow the head.
    pub(super) fn into_body(self) -> Bytes {
        match self {
            Self::Data(_, bytes) | Self::Datagram(bytes) => bytes,
            _ => Bytes::new(),
        }
    }
}

fn begin(out: &mut BytesMut, kind: u8, length: usize) {
    out.put_u8(kind);
    out.put_u16(length as u16);
}

/// Takes frames from what has come. Bytes of streams need not wait for the whole of their frame.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The stream whose bytes are next, and how many there are.
    data: Option<(u64, usize)>,
}

impl Decoder {
    /// Takes the next frame, or a part of one of [`Frame::Data`], from the front; none until more has
    /// come, of which no more than 64 KiB are wanted at once.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
        if let Some((stream, left)) = self.data {
            return Ok(self.data(input, stream, left));
        }
        let Some((&[kind, high, low], body)) = input.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let fits = match kind {
            DATA => length >= STREAM,
            END => length == STREAM,
            RESET | STOP => length == STREAM + 4,
            LIMIT => length == STREAM + 8,
            DATAGRAM => true,
            PING | PONG => length == 0,
            CLOSE => (4..=4 + MAX_REASON).contains(&length),
            _ => false,
        };
        if !fits {
            return Err(Malformed);
        }
        if kind == DATA && body.len() >= STREAM {
            input.advance(HEADER);
            let stream = input.get_u64();
            let left = length - STREAM;
            // An empty one counts too: it may begin a stream.
            return Ok(match left {
                0 => Some(Frame::Data(stream, Bytes::new())),
                left => self.data(input, stream, left),
            });
        }
        if kind == DATA || body.len() < length {
            return Ok(None);
        }
        input.advance(HEADER);
        Ok(Some(whole(kind, input.split_to(length))))
    }

    fn data(&mut self, input: &mut BytesMut, stream: u64, left: usize) -> Option<Frame> {
        let bytes = input.split_to(left.min(input.len())).freeze();
        let left = left - bytes.len();
        self.data = (left > 0).then_some((stream, left));
        (!bytes.is_empty()).then_some(Frame::Data(stream, bytes))
    }
}

/// Reads a body of a kind and length that were looked at.
fn whole(kind: u8, mut body: BytesMut) -> Frame {
    match kind {
        END => Frame::End(body.get_u64()),
        RESET => Frame::Reset(body.get_u64(), body.get_u32()),
        STOP => Frame::Stop(body.get_u64(), body.get_u32()),
        LIMIT => Frame::Limit(body.get_u64(), body.get_u64()),
        DATAGRAM => Frame::Datagram(body.freeze()),
        PING => Frame::Ping,
        PONG => Frame::Pong,
        _ => Frame::Close(body.get_u32(), body.freeze()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(frames: &[Frame]) -> BytesMut {
        let mut out = BytesMut::new();
        for frame in frames {
            frame.head(&mut out);
            out.extend_from_slice(&frame.clone().into_body());
        }
        out
    }

    /// All frames of some bytes that come in pieces, with the parts of data put together.
    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, Malformed> {
        let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
        let mut frames: Vec<Frame> = Vec::new();
        for piece in bytes.chunks(piece) {
            input.extend_from_slice(piece);
            while let Some(frame) = decoder.next(&mut input)? {
                match (frames.last_mut(), frame) {
                    (Some(Frame::Data(before, all)), Frame::Data(stream, bytes))
                        if *before == stream =>
                    {
                        *all = [&all[..], &bytes].concat().into();
                    }
                    (_, frame) => frames.push(frame),
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        let frames = [
            Frame::Data(4, Bytes::from_static(b"some bytes")),
            Frame::Data(7, Bytes::new()),
            Frame::End(4),
            Frame::Reset(7, 0x10),
            Frame::Stop(9, 0x19),
            Frame::Limit(u64::MAX, u64::MAX),
            Frame::Datagram(Bytes::from(vec![5; 65_535])),
            Frame::Datagram(Bytes::new()),
            Frame::Ping,
            Frame::Pong,
            Frame::Close(3, Bytes::from_static(b"the server was stopped")),
        ];
        let bytes = encode(&frames);
        for piece in [1, 2, 3, 10, 11, 1000, bytes.len()] {
            assert_eq!(decode(&bytes, piece).unwrap(), frames, "{piece}");
        }
    }

    #[test]
    fn lengths_and_types_that_cannot_be_are_seen_at_once() {
        for bytes in [
            [DATA, 0, 7],
            [END, 0, 9],
            [RESET, 0, 11],
            [LIMIT, 0, 0],
            [PING, 0, 1],
            [CLOSE, 0, 3],
            [CLOSE, 0xff, 0xff],
            [9, 0, 0],
            [b'G', b'E', b'T'],
        ] {
            assert_eq!(decode(&bytes, 3), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_little_is_kept(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            piece in 1usize..100,
        ) {
            let _ = decode(&bytes, piece);
        }
    }
}
