//! A connection, whatever carries it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::{CloseCode, Description, Lost, Receiver, Sender, Stats};
use super::{quic, tcp};
use crate::memory::Account;
use crate::tls::Fingerprint;

/// An encrypted connection to a peer. Clones are the same connection.
#[derive(Clone, Debug)]
pub enum Connection {
    /// QUIC.
    Quic(quic::Connection),
    /// TLS over TCP.
    Tcp(tcp::Connection),
}

impl Connection {
    /// The peer's address as of now.
    pub fn remote_address(&self) -> SocketAddr {
        match self {
            Self::Quic(inner) => inner.remote_address(),
            Self::Tcp(inner) => inner.remote_address(),
        }
    }

    /// Keying material of this connection alone (RFC 9266): what is made with it is of no use on
    /// another.
    pub fn channel_binding(&self) -> Result<[u8; 32], Lost> {
        match self {
            Self::Quic(inner) => inner.channel_binding(),
            Self::Tcp(inner) => inner.channel_binding(),
        }
    }

    /// The fingerprint of the certificate that the peer has shown to be its own, if it has.
    pub fn peer_certificate(&self) -> Option<Fingerprint> {
        match self {
            Self::Quic(inner) => inner.peer_certificate(),
            Self::Tcp(inner) => inner.peer_certificate(),
        }
    }

    /// Lets a peer that has logged in open as many flows, and send as much, as any may.
    pub fn admit(&self) {
        match self {
            Self::Quic(inner) => inner.admit(),
            Self::Tcp(inner) => inner.admit(),
        }
    }

    /// Opens a stream, waiting until the peer allows one more. Cancel-safe.
    ///
    /// The peer knows of it as soon as something is written.
    pub async fn open(&self) -> Result<(Sender, Receiver), Lost> {
        match self {
            Self::Quic(inner) => {
                let (tx, rx) = inner.open().await?;
                Ok((Sender::Quic(tx), rx.into()))
            }
            Self::Tcp(inner) => {
                let (tx, rx) = inner.open().await?;
                Ok((Sender::Tcp(tx), rx.into()))
            }
        }
    }

    /// Waits for a stream of the peer's. Cancel-safe.
    pub async fn accept(&self) -> Result<(Sender, Receiver), Lost> {
        match self {
            Self::Quic(inner) => {
                let (tx, rx) = inner.accept().await?;
                Ok((Sender::Quic(tx), rx.into()))
            }
            Self::Tcp(inner) => {
                let (tx, rx) = inner.accept().await?;
                Ok((Sender::Tcp(tx), rx.into()))
            }
        }
    }

    /// The largest datagram that can be sent as of now, in bytes; 0 if the peer takes none.
    pub fn max_datagram(&self) -> usize {
        match self {
            Self::Quic(inner) => inner.max_datagram(),
            Self::Tcp(inner) => inner.max_datagram(),
        }
    }

    /// Sends a datagram when the path has room for it. Until then it is kept; when too much is kept,
    /// the oldest are dropped.
    ///
    /// One that is larger than [`Connection::max_datagram`] is dropped too, which that may be
    /// lowered to any time.
    pub fn send_datagram(&self, datagram: Bytes) {
        match self {
            Self::Quic(inner) => inner.send_datagram(datagram),
            Self::Tcp(inner) => inner.send_datagram(datagram),
        }
    }

    /// Waits for a datagram of the peer's. Cancel-safe.
    pub async fn read_datagram(&self) -> Result<Bytes, Lost> {
        match self {
            Self::Quic(inner) => inner.read_datagram().await,
            Self::Tcp(inner) => inner.read_datagram().await,
        }
    }

    /// What it has measured and counted so far.
    pub fn stats(&self) -> Stats {
        match self {
            Self::Quic(inner) => inner.stats(),
            Self::Tcp(inner) => inner.stats(),
        }
    }

    /// Exchanges with the peer how much each flow may send. It has to run for as long as there are
    /// flows, and ends when the peer breaks the protocol, or the connection is lost.
    pub async fn exchange_credit(&self) {
        match self {
            Self::Quic(inner) => inner.exchange_credit().await,
            Self::Tcp(inner) => inner.exchange_credit().await,
        }
    }

    /// Sends something small that the peer has to answer, whatever is in flight.
    pub fn probe(&self) {
        match self {
            Self::Quic(inner) => inner.probe(),
            Self::Tcp(inner) => inner.probe(),
        }
    }

    /// Ends what [`Connection::probe`] began: the peer is heard.
    pub fn relax(&self) {
        match self {
            Self::Quic(inner) => inner.relax(),
            Self::Tcp(inner) => inner.relax(),
        }
    }

    /// At a client, goes on from a new local socket if it can, in case that a NAT, a firewall or a
    /// route holds something against the old one. At a server it does nothing.
    pub fn rebind(&self) -> io::Result<()> {
        match self {
            Self::Quic(inner) => inner.rebind(),
            Self::Tcp(inner) => inner.rebind(),
        }
    }

    /// What the connection works with as of now.
    pub fn describe(&self) -> Description {
        match self {
            Self::Quic(inner) => inner.describe(),
            Self::Tcp(inner) => inner.describe(),
        }
    }

    /// The time to the peer and back, smoothed.
    pub fn rtt(&self) -> Duration {
        match self {
            Self::Quic(inner) => inner.rtt(),
            Self::Tcp(inner) => inner.rtt(),
        }
    }

    /// A number that grows whenever something comes from the peer, whatever it is.
    pub fn heard(&self) -> u64 {
        match self {
            Self::Quic(inner) => inner.heard(),
            Self::Tcp(inner) => inner.heard(),
        }
    }

    /// What its flows keep in memory.
    pub fn account(&self) -> &Account {
        match self {
            Self::Quic(inner) => inner.account(),
            Self::Tcp(inner) => inner.account(),
        }
    }

    /// Waits for the end of the connection, and tells its reason. Cancel-safe.
    pub async fn closed(&self) -> Lost {
        match self {
            Self::Quic(inner) => inner.closed().await,
            Self::Tcp(inner) => inner.closed().await,
        }
    }

    /// Closes the connection at once, with all of its flows; the reason reaches the peer.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        match self {
            Self::Quic(inner) => inner.close(code, reason).await,
            Self::Tcp(inner) => inner.close(code, reason).await,
        }
    }
}
