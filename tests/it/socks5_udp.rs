//! UDP ASSOCIATE: datagrams through a SOCKS5 proxy.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::proxy::Proxy;
use crate::harness::sockets::{finish, receive, receive_all, send, visit};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::{DEADLINE, Site};

in_both_modes!(datagrams_go_both_ways, they_end_with_the_connection);

/// A UDP socket at an address, with a deadline for what it receives.
fn socket(ip: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("a free port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    socket
}

/// Asks for an association, and returns its connection and where datagrams are to go.
fn associate(proxy: &Proxy) -> (TcpStream, SocketAddr) {
    let visitor = visit(proxy.entrance);
    send(&visitor, [5, 1, 0]);
    assert_eq!(receive(&visitor, 2), [5, 0]);
    send(&visitor, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let answer = receive(&visitor, 10);
    assert_eq!(answer[..8], [5, 0, 0, 1, 127, 0, 0, 1]);
    let port = u16::from_be_bytes([answer[8], answer[9]]);
    (visitor, (Ipv4Addr::LOCALHOST, port).into())
}

/// A datagram's header for a target at 127.0.0.1.
fn header(fragment: u8, target: &UdpSocket) -> Vec<u8> {
    let port = target.local_addr().expect("an address").port();
    [&[0, 0, fragment, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat()
}

/// Receives one datagram: its bytes, and where it is from.
fn receive_from(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let (n, from) = socket.recv_from(&mut bytes).expect("a datagram");
    bytes.truncate(n);
    (bytes, from)
}

fn datagrams_go_both_ways(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "socks5");
    let (_visitor, relay) = associate(&proxy);
    let [near, one, two] = [(); 3].map(|()| socket(Ipv4Addr::LOCALHOST));
    for (target, payload) in [
        (&one, vec![b'1'; 10]),
        (&two, vec![b'2'; 4000]),
        (&one, vec![]),
    ] {
        let header = header(0, target);
        let datagram = [&header[..], &payload].concat();
        near.send_to(&datagram, relay).expect("sent");
        let (received, from) = receive_from(target);
        assert_eq!(received, payload);
        target.send_to(b"answer", from).expect("sent");
        let (answer, from) = receive_from(&near);
        assert_eq!(from, relay);
        assert_eq!(answer, [&header[..], b"answer"].concat());
    }
    // A name is looked up at the far side.
    let port = one.local_addr().expect("an address").port().to_be_bytes();
    let named = [b"\0\0\0\x03\x09localhost", &port[..]].concat();
    near.send_to(&[&named[..], b"by name"].concat(), relay)
        .expect("sent");
    assert_eq!(receive_from(&one).0, b"by name");
}

/// What is not passed on comes before what is, and is not seen.
#[test]
fn strangers_and_fragments_are_not_heard() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "socks5");
    let (_visitor, relay) = associate(&proxy);
    let target = socket(Ipv4Addr::LOCALHOST);
    let near = socket(Ipv4Addr::LOCALHOST);
    let stranger = socket(Ipv4Addr::new(127, 0, 0, 2));
    let whole = |text: &[u8]| [&header(0, &target)[..], text].concat();
    let send = |from: &UdpSocket, datagram: &[u8]| {
        from.send_to(datagram, relay).expect("sent");
    };
    send(&stranger, &whole(b"stranger"));
    send(&near, &[&header(1, &target)[..], b"fragment"].concat());
    send(&near, b"\0\0\0");
    send(&near, &whole(b"first"));
    assert_eq!(receive_from(&target).0, b"first");
    // From then on it is this port alone.
    send(&socket(Ipv4Addr::LOCALHOST), &whole(b"other"));
    send(&near, &whole(b"second"));
    assert_eq!(receive_from(&target).0, b"second");
}

fn they_end_with_the_connection(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "socks5");
    let (visitor, relay) = associate(&proxy);
    finish(&visitor);
    assert_eq!(receive_all(&visitor), b"");
    // The port is free again: what is sent there is refused.
    let near = socket(Ipv4Addr::LOCALHOST);
    near.connect(relay).expect("an address");
    let deadline = Instant::now() + DEADLINE;
    near.set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a deadline");
    loop {
        let sent = near.send(b"x").and_then(|_| near.recv(&mut [0; 1]));
        if sent.is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
            break;
        }
        assert!(Instant::now() < deadline, "{relay} is still bound");
    }
}
