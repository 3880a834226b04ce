//! How large packets may be on the way to a peer, and how a connection is set up for that way.

use quinn::congestion::{ControllerFactory, CubicConfig, NewRenoConfig};
use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::congestion::{ModelConfig, Offered};
use super::credit;
use super::probe::{Leeway, Probing};
use crate::memory;
use crate::transport::{Congestion, Tuning};

/// Largest UDP payload that we send or take.
///
/// Four of them fill what one system call with segmentation offload can carry (65507 bytes), and
/// quinn's long headers have no room for a length of 16384 or more.
pub(super) const LARGEST_PAYLOAD: u16 = 16_376;

/// Smallest payload that QUIC works with (RFC 9000, section 14), which every path carries.
const SMALLEST_PAYLOAD: u16 = 1200;

/// What discovery climbs to where the system does not tell the first hop's MTU: Ethernet's with
/// IPv6 and its headers.
const USUAL_PAYLOAD: u16 = 1452;

/// Packets that a connection may send before anything is known of its path.
const INITIAL_PACKETS: u64 = 32;

/// Most bytes that a connection keeps for retransmission, whatever the peer allows us to send; less
/// where memory has a limit.
const SEND_WINDOW: u64 = 128 * 1024 * 1024;

/// Time after which a path that seemed to swallow large packets is tried with them again.
///
/// Random loss of packets of many sizes looks like that too: with quinn's minute, UDP packets of 1200
/// bytes went in two pieces each soon after the beginning, and at 5 % loss twice as many were lost.
const BLACK_HOLE_COOLDOWN: Duration = Duration::from_secs(1);

/// Most bytes of datagrams that wait for a link: a tenth of a second of 80 Mbit/s, beyond which what is
/// late is of less use than what is new.
const WAITING_FOR_LINK: usize = 1024 * 1024;

/// The same where there is no link, and they wait for the peer to get a processor. That takes some
/// 20 ms where all are busy, in which 1 MiB overflowed at 200 MB/s.
const WAITING_FOR_PEER: usize = 8 * 1024 * 1024;

/// Most bytes of datagrams that wait for us to take them.
const WAITING_FOR_US: usize = 4 * 1024 * 1024;

/// What a connection tells its congestion controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    pub(super) leeway: Arc<Leeway>,
    pub(super) offered: Arc<Offered>,
}

/// The way to a peer, as far as this machine's routes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// It does not leave this machine.
    Loopback,
    /// It leaves by a link that carries payloads of at most this size.
    Link(u16),
}

impl Path {
    /// Asks the system about the way to an address.
    pub(super) fn to(remote: SocketAddr) -> Self {
        let headers = match remote.ip().to_canonical() {
            std::net::IpAddr::V4(_) => 20 + 8,
            std::net::IpAddr::V6(_) => 40 + 8,
        };
        match first_hop_mtu(remote) {
            // No link has that; a route through the loopback device does.
            Some(mtu) if mtu >= 65_535 => Self::Loopback,
            Some(mtu) => {
                let payload = mtu.saturating_sub(headers).min(LARGEST_PAYLOAD.into());
                Self::Link((payload as u16).max(SMALLEST_PAYLOAD))
            }
            None => Self::Link(USUAL_PAYLOAD),
        }
    }

    /// Largest UDP payload that can come along it.
    pub(super) fn max_payload(self) -> u16 {
        match self {
            Self::Loopback => LARGEST_PAYLOAD,
            Self::Link(payload) => payload.max(USUAL_PAYLOAD),
        }
    }

    /// UDP payload that a connection begins with.
    fn initial_payload(self) -> u16 {
        match self {
            Self::Loopback => LARGEST_PAYLOAD,
            Self::Link(_) => SMALLEST_PAYLOAD,
        }
    }

    fn controller(
        self,
        congestion: Congestion,
        offered: &Arc<Offered>,
    ) -> Arc<dyn ControllerFactory + Send + Sync> {
        // With less than a few packets, each would wait for the delayed acknowledgement of the last.
        let window = INITIAL_PACKETS * u64::from(self.initial_payload());
        match congestion {
            Congestion::Bbr => Arc::new(ModelConfig {
                offered: offered.clone(),
            }),
            Congestion::Cubic => {
                let mut cubic = CubicConfig::default();
                cubic.initial_window(window);
                Arc::new(cubic)
            }
            Congestion::NewReno => {
                let mut new_reno = NewRenoConfig::default();
                new_reno.initial_window(window);
                Arc::new(new_reno)
            }
        }
    }

    /// A connection's settings: bytes over all streams, and how many of either kind the peer may
    /// open.
    pub(super) fn config(
        self,
        tuning: Tuning,
        hints: &Hints,
        receive_window: u64,
        bidi: u32,
        uni: u32,
    ) -> TransportConfig {
        let mut config = TransportConfig::default();
        match self {
            Self::Loopback => {
                // Nothing on the way could be smaller, so a burst of losses says nothing of it.
                config.min_mtu(LARGEST_PAYLOAD);
                config.mtu_discovery_config(None);
            }
            Self::Link(payload) => {
                let mut discovery = MtuDiscoveryConfig::default();
                discovery.upper_bound(payload);
                discovery.black_hole_cooldown(BLACK_HOLE_COOLDOWN);
                config.mtu_discovery_config(Some(discovery));
            }
        }
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(10u32.into());
        config
            .initial_mtu(self.initial_payload())
            .congestion_controller_factory(Arc::new(Probing {
                inner: self.controller(tuning.congestion, &hints.offered),
                leeway: hints.leeway.clone(),
                smallest: self.initial_payload(),
            }))
            .ack_frequency_config(Some(acks))
            .max_idle_timeout(IdleTimeout::try_from(tuning.idle_timeout).ok())
            .receive_window(super::varint(receive_window))
            .stream_receive_window(credit::stream_window())
            .send_window(memory::share(SEND_WINDOW))
            .max_concurrent_bidi_streams(VarInt::from_u32(bidi))
            .max_concurrent_uni_streams(VarInt::from_u32(uni))
            .datagram_receive_buffer_size(Some(WAITING_FOR_US))
            .datagram_send_buffer_size(match self {
                Self::Loopback => WAITING_FOR_PEER,
                Self::Link(_) => WAITING_FOR_LINK,
            });
        config
    }
}

/// The MTU of the route to an address, from a socket that sends nothing.
#[cfg(target_os = "linux")]
fn first_hop_mtu(remote: SocketAddr) -> Option<u32> {
    use rustix::net::sockopt;

    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    let any = match remote {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    match remote {
        SocketAddr::V4(_) => sockopt::ip_mtu(&socket).ok(),
        SocketAddr::V6(_) => sockopt::ipv6_mtu(&socket).ok(),
    }
}

#[cfg(not(target_os = "linux"))]
fn first_hop_mtu(_remote: SocketAddr) -> Option<u32> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_its_route() {
        assert_eq!(Path::to("127.0.0.1:1".parse().unwrap()), Path::Loopback);
        let mapped = "[::ffff:127.0.0.1]:1".parse().unwrap();
        assert_eq!(Path::to(mapped), Path::Loopback);
    }
}
