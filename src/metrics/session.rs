//! The sessions that there are, and what their connections say of themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Account, Counts, Dropped, Kind, Metrics, OTHERS, labelled};

/// Who can say how a session is.
pub trait Probe: fmt::Debug + Send + Sync {
    /// How it is now.
    fn look(&self) -> Look;
}

/// How a session is at one time.
#[derive(Clone, Debug)]
pub struct Look {
    /// Where the peer is.
    pub from: SocketAddr,
    /// What carries it: `quic` or `tcp`.
    pub transport: &'static str,
    /// Time to the peer and back.
    pub rtt: Duration,
    /// Largest payload of a packet, in bytes; 0 where nobody here decides that.
    pub mtu: u64,
    /// Most bytes in flight.
    pub cwnd: u64,
    /// Packets sent, and those of them that were lost.
    pub packets: [u64; 2],
    /// Whether the peer is out of hearing.
    pub deaf: bool,
    /// Whether it takes no new flows.
    pub draining: bool,
    /// Datagrams that were lost on this side.
    pub dropped: Vec<(Dropped, u64)>,
}

/// A session that there is.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is, or which server it is with.
    pub peer: String,
    /// When it began.
    pub since: Instant,
    /// Its tunnels.
    pub account: Arc<Account>,
    /// Who knows more.
    pub probe: Arc<dyn Probe>,
    packets: Arc<Packets>,
}

/// Packets of sessions that are over.
#[derive(Debug, Default)]
pub(super) struct Packets {
    sent: AtomicU64,
    lost: AtomicU64,
}

/// What lists a session, until it is dropped.
#[derive(Debug)]
pub struct Listed {
    number: u64,
    metrics: Arc<Metrics>,
}

impl Metrics {
    /// Lists a session with a peer.
    pub fn list(
        self: &Arc<Self>,
        peer: &str,
        account: Arc<Account>,
        probe: Arc<dyn Probe>,
    ) -> Listed {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let mut live = self.live();
        let packets = labelled(&mut live.peers, peer.to_owned(), OTHERS.to_owned());
        let session = Session {
            peer: peer.to_owned(),
            since: Instant::now(),
            account,
            probe,
            packets,
        };
        live.sessions.insert(number, session);
        Listed {
            number,
            metrics: self.clone(),
        }
    }

    /// All sessions that there are, by their numbers, which are never used again.
    pub fn sessions(&self) -> BTreeMap<u64, Session> {
        self.live().sessions.clone()
    }

    /// Datagrams that were lost in sessions that are over.
    pub fn dropped(&self) -> &Counts<Dropped> {
        &self.dropped
    }

    /// Packets sent and lost in sessions that are over, by peer.
    pub fn packets(&self) -> BTreeMap<String, [u64; 2]> {
        let load =
            |packets: &Packets| [&packets.sent, &packets.lost].map(|n| n.load(Ordering::Relaxed));
        let live = self.live();
        let peers = live.peers.iter();
        peers
            .map(|(peer, past)| (peer.clone(), load(past)))
            .collect()
    }

    /// What a peer is called among those with numbers of their own.
    pub fn label<'a>(&self, peer: &'a str) -> &'a str {
        match self.live().peers.contains_key(peer) {
            true => peer,
            false => OTHERS,
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let Some(session) = self.metrics.live().sessions.remove(&self.number) else {
            return;
        };
        let last = session.probe.look();
        session
            .packets
            .sent
            .fetch_add(last.packets[0], Ordering::Relaxed);
        session
            .packets
            .lost
            .fetch_add(last.packets[1], Ordering::Relaxed);
        for (kind, n) in last.dropped {
            self.metrics.dropped.add(kind, n);
        }
    }
}

impl Look {
    /// How many datagrams were lost there.
    pub fn dropped(&self, kind: Dropped) -> u64 {
        let same = self
            .dropped
            .iter()
            .filter(|(at, _)| at.index() == kind.index());
        same.map(|(_, n)| n).sum()
    }
}
