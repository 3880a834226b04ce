//! How a program is at one time, as all see it who look: `rstun status`, whoever collects metrics, and
//! the status page.
//!
//! In base units throughout (seconds, bytes), and times as ages, so that no clock is taken at its word.

mod openmetrics;
mod table;
mod units;
#[cfg(unix)]
pub mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Counts, Dropped, Kind, Metrics, PACE, Totals};

pub use openmetrics::Format;

/// The version of the form of a [`Snapshot`]. Fields may come without a new one, and none go.
pub const SCHEMA: u32 = 1;

/// What a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `rstun server`.
    Server,
    /// `rstun client`.
    Client,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// What snapshots of a program are taken from.
#[derive(Clone, Debug)]
pub struct Observed {
    role: Role,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

/// A program at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The program's version.
    pub version: String,
    /// What it is.
    pub role: Role,
    /// Its process.
    pub pid: u32,
    /// Time since it began.
    pub uptime_seconds: f64,
    /// Whether it does what it is there for; null, or why not.
    pub not_ready: Option<String>,
    /// The sessions that it has.
    pub sessions: Vec<Session>,
    /// The tunnels that it has.
    pub tunnels: Vec<Tunnel>,
    /// The last errors, the newest first.
    pub errors: Vec<Error>,
    /// What only grows.
    pub counters: Counters,
    /// How fast it went lately over all tunnels.
    pub history: History,
    /// By peer and tunnel, over sessions that are gone too.
    #[serde(skip)]
    sums: BTreeMap<(String, String), Totals>,
    /// Packets sent and lost by peer, over sessions that are gone too.
    #[serde(skip)]
    packets: BTreeMap<String, [u64; 2]>,
    /// The worst of the sessions of each peer.
    #[serde(skip)]
    paths: BTreeMap<String, Path>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its number, which no other session of this process has had.
    pub session: u64,
    /// At the server the client's name, at the client the server as it was written.
    pub peer: String,
    /// Where the peer is.
    pub address: String,
    /// What carries it: `quic` or `tcp`.
    pub transport: String,
    /// Time since it began.
    pub age_seconds: f64,
    /// Time to the peer and back.
    pub rtt_seconds: f64,
    /// Packets that left.
    pub packets_sent: u64,
    /// Those of them that were lost.
    pub packets_lost: u64,
    /// Largest payload of a packet; 0 where that is not decided here.
    pub mtu_bytes: u64,
    /// Most bytes in flight.
    pub cwnd_bytes: u64,
    /// Whether the peer is out of hearing.
    pub deaf: bool,
    /// Whether it takes no new flows.
    pub draining: bool,
}

/// A tunnel, of a session at the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tunnel {
    /// The session's number, at the server.
    pub session: Option<u64>,
    /// The client's name, at the server.
    pub peer: Option<String>,
    /// As it is written.
    pub tunnel: String,
    /// `out` if the client listens, `in` if the server does.
    pub direction: Direction,
    /// Where visitors are received, as far as it is known on this side; empty if nowhere.
    pub listening: Vec<String>,
    /// Why the server refuses it, at a client whose tunnel is refused.
    #[serde(default)]
    pub refused: Option<String>,
    /// Flows that are open.
    pub flows_open: u64,
    /// Flows that were begun.
    pub flows_total: u64,
    /// Flows that were not to be had.
    pub flows_refused: u64,
    /// Payload from this side into the tunnel.
    pub sent_bytes: u64,
    /// Payload out of the tunnel to this side.
    pub received_bytes: u64,
    /// The same a second, over the last one.
    pub sent_bytes_per_second: u64,
    /// The same a second, over the last one.
    pub received_bytes_per_second: u64,
    /// What went wrong last.
    pub last_error: Option<Error>,
}

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The client.
    Out,
    /// The server.
    In,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// Time since then.
    pub age_seconds: f64,
    /// What it was.
    pub what: String,
}

/// What only grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Logins by how they ended.
    pub logins: BTreeMap<String, u64>,
    /// Flows that were not to be had, by why.
    pub flows_refused: BTreeMap<String, u64>,
    /// Datagrams, and packets in them, that were lost on this side, by where.
    pub datagrams_dropped: BTreeMap<String, u64>,
    /// Sources that had to wait after failed logins.
    pub penalties: u64,
    /// Sessions that came after another one with the same server.
    pub reconnects: u64,
}

/// Bytes a second over all tunnels, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Time between two.
    pub interval_seconds: f64,
    /// Into tunnels.
    pub sent: Vec<u64>,
    /// Out of tunnels.
    pub received: Vec<u64>,
}

/// The path to a peer, the worst where there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Path {
    sessions: u64,
    deaf: u64,
    rtt_seconds: f64,
    cwnd_bytes: u64,
    mtu_bytes: u64,
}

impl Observed {
    /// Of a program that stops when `stop` is cancelled.
    pub fn new(role: Role, metrics: Arc<Metrics>, stop: CancellationToken) -> Self {
        Self {
            role,
            metrics,
            stop,
        }
    }

    /// Looks how fast it goes, for ever. Cancel-safe.
    pub async fn keep_pace(&self) {
        let mut looks = interval(PACE);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = looks.tick().await;
        loop {
            let now = looks.tick().await;
            self.metrics.tick(now - last);
            last = now;
        }
    }

    /// Whether the program does what it is there for, or else why not.
    pub fn ready(&self) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err(format!("the {} is being stopped", self.role));
        }
        if self.role == Role::Server {
            return Ok(());
        }
        let looks: Vec<_> = self
            .metrics
            .sessions()
            .values()
            .map(|session| session.probe.look())
            .collect();
        match looks.iter().any(|look| !look.deaf && !look.draining) {
            true => Ok(()),
            false if looks.iter().any(|look| look.deaf) => {
                Err("nothing is heard from the server".into())
            }
            false => Err("there is no session with a server".into()),
        }
    }

    /// How it is now.
    pub fn snapshot(&self) -> Snapshot {
        let metrics = &self.metrics;
        let mut packets = metrics.packets();
        let mut dropped = counts(metrics.dropped());
        let mut paths: BTreeMap<String, Path> = BTreeMap::new();
        let (mut sessions, mut tunnels) = (Vec::new(), Vec::new());
        for (number, session) in metrics.sessions() {
            let look = session.probe.look();
            let peer = metrics.label(&session.peer);
            let sum = packets.entry(peer.to_owned()).or_default();
            for (sum, n) in sum.iter_mut().zip(look.packets) {
                *sum += n;
            }
            for kind in Dropped::ALL {
                let sum = dropped.entry(kind.name().to_owned()).or_default();
                *sum += look.dropped(*kind);
            }
            paths.entry(peer.to_owned()).or_default().worsen(&look);
            if self.role == Role::Server {
                let owner = Some((number, session.peer.as_str()));
                let account = session.account.tunnels();
                tunnels.extend(account.iter().filter_map(|t| self.tunnel(t, owner)));
            }
            sessions.push(Session::new(number, &session, look));
        }
        if self.role == Role::Client {
            let own = metrics.accounts().into_iter().flat_map(|a| a.tunnels());
            tunnels.extend(own.filter_map(|tunnel| self.tunnel(&tunnel, None)));
        }
        let history = metrics.history();
        Snapshot {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: self.role,
            pid: std::process::id(),
            uptime_seconds: metrics.uptime().as_secs_f64(),
            not_ready: self.ready().err(),
            sessions,
            tunnels,
            errors: metrics.faults().into_iter().map(Error::from).collect(),
            counters: Counters {
                logins: counts(metrics.logins()),
                flows_refused: counts(metrics.refused()),
                datagrams_dropped: dropped,
                penalties: metrics.penalties(),
                reconnects: metrics.reconnects(),
            },
            history: History {
                interval_seconds: PACE.as_secs_f64(),
                sent: history.iter().map(|rates| rates[0]).collect(),
                received: history.iter().map(|rates| rates[1]).collect(),
            },
            sums: metrics.tunnel_sums(),
            packets,
            paths,
        }
    }

    /// A tunnel, unless it is there for nobody so far.
    fn tunnel(&self, tunnel: &metrics::Tunnel, owner: Option<(u64, &str)>) -> Option<Tunnel> {
        let totals = tunnel.totals();
        if tunnel.implied && totals.flows + totals.refused == 0 {
            return None;
        }
        let client = self.role == Role::Client;
        let [sent, received] = tunnel.rate();
        Some(Tunnel {
            session: owner.map(|owner| owner.0),
            peer: owner.map(|owner| owner.1.to_owned()),
            tunnel: tunnel.text.clone(),
            direction: match tunnel.listens == client {
                true => Direction::Out,
                false => Direction::In,
            },
            listening: tunnel.listening(),
            refused: tunnel.why_refused(),
            flows_open: totals.open,
            flows_total: totals.flows,
            flows_refused: totals.refused,
            sent_bytes: totals.sent,
            received_bytes: totals.received,
            sent_bytes_per_second: sent,
            received_bytes_per_second: received,
            last_error: tunnel.last_fault().map(Error::from),
        })
    }
}

impl Session {
    fn new(number: u64, session: &metrics::Session, look: metrics::Look) -> Self {
        let [packets_sent, packets_lost] = look.packets;
        Self {
            session: number,
            peer: session.peer.clone(),
            address: look.from.to_string(),
            transport: look.transport.to_owned(),
            age_seconds: session.since.elapsed().as_secs_f64(),
            rtt_seconds: look.rtt.as_secs_f64(),
            packets_sent,
            packets_lost,
            mtu_bytes: look.mtu,
            cwnd_bytes: look.cwnd,
            deaf: look.deaf,
            draining: look.draining,
        }
    }

    /// The share of packets that were lost, from 0 to 1.
    pub fn loss(&self) -> f64 {
        self.packets_lost as f64 / self.packets_sent.max(1) as f64
    }
}

impl Path {
    fn worsen(&mut self, look: &metrics::Look) {
        let smaller = |so_far: u64, n: u64| if so_far == 0 { n } else { so_far.min(n) };
        self.sessions += 1;
        self.deaf += u64::from(look.deaf);
        self.rtt_seconds = self.rtt_seconds.max(look.rtt.as_secs_f64());
        self.cwnd_bytes = smaller(self.cwnd_bytes, look.cwnd);
        self.mtu_bytes = smaller(self.mtu_bytes, look.mtu);
    }
}

impl From<metrics::Fault> for Error {
    fn from(fault: metrics::Fault) -> Self {
        Self {
            age_seconds: fault.at.elapsed().as_secs_f64(),
            what: fault.what,
        }
    }
}

fn counts<K: Kind>(counts: &Counts<K>) -> BTreeMap<String, u64> {
    let each = K::ALL.iter();
    each.map(|kind| (kind.name().to_owned(), counts.of(*kind)))
        .collect()
}
