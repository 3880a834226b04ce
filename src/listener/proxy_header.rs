//! The header of the PROXY protocol, versions 1 and 2, by its specification of 2020/03/05
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).

use std::net::{IpAddr, SocketAddr};

use crate::tunnel::ProxyHeader;

/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 and the command PROXY, in one byte.
const PROXY: u8 = 0x21;

/// A family and a transport, in one byte: unknown, TCP over IPv4, TCP over IPv6.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Says that a connection came from the first address to the second, or that this is unknown.
pub(super) fn encode(version: ProxyHeader, addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    // Both are of one socket, and so of one family once a mapped address is what it stands for.
    let canonical = |addr: SocketAddr| (addr.ip().to_canonical(), addr.port());
    let addresses = addresses.map(|(from, to)| (canonical(from), canonical(to)));
    match version {
        ProxyHeader::V1 => text(addresses).into_bytes(),
        ProxyHeader::V2 => binary(addresses),
    }
}

type Address = (IpAddr, u16);

fn text(addresses: Option<(Address, Address)>) -> String {
    match addresses {
        Some(((from, from_port), (to, to_port))) if from.is_ipv4() == to.is_ipv4() => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n")
        }
        _ => "PROXY UNKNOWN\r\n".to_owned(),
    }
}

fn binary(addresses: Option<(Address, Address)>) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match addresses {
        Some(((IpAddr::V4(from), _), (IpAddr::V4(to), _))) => {
            body.extend([from.octets(), to.octets()].concat());
            TCP4
        }
        Some(((IpAddr::V6(from), _), (IpAddr::V6(to), _))) => {
            body.extend([from.octets(), to.octets()].concat());
            TCP6
        }
        _ => UNSPECIFIED,
    };
    if let (TCP4 | TCP6, Some(((_, from_port), (_, to_port)))) = (family, addresses) {
        body.extend(from_port.to_be_bytes());
        body.extend(to_port.to_be_bytes());
    }
    let length = (body.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[PROXY, family], &length, &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(from: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    #[test]
    fn version_1_is_a_line() {
        for (addresses, line) in [
            (
                addresses("192.0.2.7:5000", "198.51.100.1:80"),
                "PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n",
            ),
            (
                addresses("192.0.2.7:5000", "[::ffff:198.51.100.1]:80"),
                "PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n",
            ),
            (
                addresses("[2001:db8::7]:65535", "[2001:db8::1]:443"),
                "PROXY TCP6 2001:db8::7 2001:db8::1 65535 443\r\n",
            ),
            (None, "PROXY UNKNOWN\r\n"),
        ] {
            assert_eq!(encode(ProxyHeader::V1, addresses), line.as_bytes());
        }
    }

    #[test]
    fn version_2_is_exactly_these_bytes() {
        let signature = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a";
        let ipv4 = b"\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x13\x88\x00\x50";
        assert_eq!(
            encode(
                ProxyHeader::V2,
                addresses("192.0.2.7:5000", "198.51.100.1:80")
            ),
            [&signature[..], ipv4].concat()
        );
        let ipv6 = b"\x21\x21\x00\x24\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\x01\xbb";
        assert_eq!(
            encode(
                ProxyHeader::V2,
                addresses("[2001:db8::7]:65535", "[2001:db8::1]:443")
            ),
            [&signature[..], ipv6].concat()
        );
        assert_eq!(
            encode(ProxyHeader::V2, None),
            [&signature[..], b"\x21\x00\x00\x00"].concat()
        );
    }
}
