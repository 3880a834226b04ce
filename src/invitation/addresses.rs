//! By which addresses this machine may be reached from elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::tunnel::{HostPort, ListenAddr};

/// Most addresses that are guessed: a client tries one after the other.
const MOST: usize = 3;

/// Addresses for documentation (RFC 5737, RFC 3849), which are reached as the internet is, if
/// anything is. Nothing is sent there.
const FAR: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        9,
    ),
];

/// Where a server that listens there may be reached, the most likely address first; at least one.
pub(super) fn guess(listen: ListenAddr) -> Vec<HostPort> {
    let of = |ip: IpAddr| SocketAddr::new(ip, listen.port).into();
    if let Some(ip) = listen.ip.filter(|ip| !ip.is_unspecified()) {
        return vec![of(ip)];
    }
    let all = FAR.into_iter().filter_map(towards);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let all: Vec<_> = all.chain(interfaces.iter().map(|i| i.ip())).collect();
    let v4_alone = listen.ip.is_some_and(|ip| ip.is_ipv4());
    let likely = likely(all, v4_alone);
    likely.into_iter().map(of).collect()
}

/// The address that this machine would speak from to another.
fn towards(far: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match far.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The best of all addresses: those of the internet before those of a private network, and of each
/// kind and family the first.
fn likely(all: Vec<IpAddr>, v4_alone: bool) -> Vec<IpAddr> {
    let mut likely: Vec<IpAddr> = Vec::new();
    for ip in all {
        let fits = !v4_alone || ip.is_ipv4();
        let kind = |ip: &IpAddr| (reach(*ip), ip.is_ipv4());
        if fits && reach(ip).is_some() && likely.iter().all(|other| kind(other) != kind(&ip)) {
            likely.push(ip);
        }
    }
    likely.sort_by_key(|ip| reach(*ip));
    likely.truncate(MOST);
    if likely.is_empty() {
        likely.push(Ipv4Addr::LOCALHOST.into());
    }
    likely
}

/// How far away an address can be reached from, the farthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Internet,
    Network,
}

/// None for what is reached from this machine alone, or from its link by a scope.
fn reach(ip: IpAddr) -> Option<Reach> {
    let (useless, private) = match ip {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is behind a provider's NAT (RFC 6598).
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            let useless = ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
            (useless, ip.is_private() || shared)
        }
        IpAddr::V6(ip) => {
            let useless = ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified();
            (useless, ip.is_unique_local())
        }
    };
    match (useless, private) {
        (true, _) => None,
        (false, true) => Some(Reach::Network),
        (false, false) => Some(Reach::Internet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(all: &[&str]) -> Vec<String> {
        let all = all.iter().map(|ip| ip.parse().unwrap()).collect();
        likely(all, false).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_internets_addresses_come_first_and_one_of_a_kind_is_enough() {
        let all = [
            "192.168.1.5",
            "2001:db8::5",
            "127.0.0.1",
            "::1",
            "fe80::1",
            "169.254.1.1",
            "172.17.0.1",
            "2001:db8::6",
            "198.51.100.7",
            "fd00::5",
        ];
        assert_eq!(best(&all), ["2001:db8::5", "198.51.100.7", "192.168.1.5"]);
        assert_eq!(best(&["10.0.0.1", "100.64.0.1"]), ["10.0.0.1"]);
        assert_eq!(best(&["127.0.0.1", "fe80::1"]), ["127.0.0.1"]);
    }

    #[test]
    fn where_it_listens_is_where_it_is_reached() {
        let listen: ListenAddr = "192.0.2.9:7000".parse().unwrap();
        assert_eq!(guess(listen), ["192.0.2.9:7000".parse().unwrap()]);
        let all = guess("7000".parse().unwrap());
        assert!(!all.is_empty() && all.iter().all(|addr| addr.port == 7000));
    }
}
