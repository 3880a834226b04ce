//! Addresses that no wide rule stands for: through them a client would reach the server itself, or
//! what trusts it for where it is, such as a cloud's metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rule::Network;

/// The first 96 bits of IPv4 addresses as a NAT64 has them (RFC 6052, section 2.1).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// The blocks, with the reason for each.
const BLOCKS: [Network; 17] = [
    // "This network" (RFC 791, section 3.2); systems take 0.0.0.0 for loopback.
    v4([0, 0, 0, 0], 8),
    // Loopback (RFC 1122, section 3.2.1.3).
    v4([127, 0, 0, 0], 8),
    // Link-local (RFC 3927), where clouds keep their metadata.
    v4([169, 254, 0, 0], 16),
    // The metadata of clouds that keep it elsewhere: Alibaba's, Azure's and Oracle's.
    v4([100, 100, 100, 200], 32),
    v4([168, 63, 129, 16], 32),
    v4([192, 0, 0, 192], 32),
    // Multicast (RFC 5771).
    v4([224, 0, 0, 0], 4),
    // Broadcast (RFC 919).
    v4([255, 255, 255, 255], 32),
    // Unspecified, which systems take for loopback, and loopback (RFC 4291, sections 2.5.2, 2.5.3).
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    // IPv4 addresses in a form that is not in use any more (RFC 4291, section 2.5.5.1).
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
    // IPv4 addresses as translators have them (RFC 2765, section 2.1, and RFC 8215): just where they
    // hold the address is up to the network.
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    // Link-local (RFC 4291, section 2.5.6).
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    // Multicast (RFC 4291, section 2.7).
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    // The metadata of Amazon's and Google's clouds for machines with IPv6.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32),
];

const fn v4(ip: [u8; 4], bits: u8) -> Network {
    let [a, b, c, d] = ip;
    Network::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits)
}

const fn v6(ip: [u16; 8], bits: u8) -> Network {
    let [a, b, c, d, e, f, g, h] = ip;
    Network::new(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits)
}

/// The address that a packet to this one ends up at: IPv4's, where the other is a form of it.
pub(super) fn judged(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if ip.segments()[..6] == NAT64 => {
            let [.., a, b, c, d] = ip.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        ip => ip,
    }
}

/// The reserved block that a judged address is in: a rule has to lie within that to name it.
pub(super) fn block(ip: IpAddr) -> Option<Network> {
    let found = BLOCKS.into_iter().find(|block| block.contains(ip));
    // 6to4 (RFC 3056) leads to the IPv4 address that it holds.
    let through = || match ip {
        IpAddr::V6(ip) if ip.segments()[0] == 0x2002 => {
            let [_, _, a, b, c, d, ..] = ip.octets();
            let held = Ipv4Addr::new(a, b, c, d).into();
            BLOCKS
                .iter()
                .any(|block| block.contains(held))
                .then(|| Network::from(IpAddr::V6(ip)))
        }
        _ => None,
    };
    found.or_else(through)
}
