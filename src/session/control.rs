//! The control stream: the one that the client opens first, and that lives as long as the session.

use bytes::Bytes;

use super::SessionError;
use crate::transport::{Receiver, Sender};
use crate::wire::{FRAME_HEADER, Message};

/// Messages both ways, in order.
#[derive(Debug)]
pub(super) struct Control {
    tx: Sender,
    rx: Receiver,
    /// The frame that is being read, so that reading can be cancelled between its bytes.
    frame: Vec<u8>,
}

impl Control {
    pub(super) fn new((tx, rx): (Sender, Receiver)) -> Self {
        Self {
            tx,
            rx,
            frame: Vec::new(),
        }
    }

    /// Sends a message. Not cancel-safe.
    pub(super) async fn write(&mut self, message: &Message) -> Result<(), SessionError> {
        Ok(self.tx.write(Bytes::from(message.encode())).await?)
    }

    /// Waits for a message. Cancel-safe.
    pub(super) async fn read(&mut self) -> Result<Message, SessionError> {
        loop {
            let missing = match self.frame.split_first_chunk::<FRAME_HEADER>() {
                None => FRAME_HEADER - self.frame.len(),
                Some((header, body)) => {
                    let missing = Message::body_length(header)? - body.len();
                    if missing == 0 {
                        let message = Message::decode(header, body)?;
                        self.frame.clear();
                        return Ok(message);
                    }
                    missing
                }
            };
            match self.rx.read_some(missing).await? {
                Some(bytes) => self.frame.extend_from_slice(&bytes),
                None => return Err(SessionError::Unexpected),
            }
        }
    }
}
