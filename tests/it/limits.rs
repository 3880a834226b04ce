//! Room for flows is given back however they end: after a thousand of them there is as much as before.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Instant;

use crate::harness::entries::By;
use crate::harness::sockets::{
    ClosedPort, Target, assert_joined, assert_turned_away, finish, join, receive, receive_all,
    reset, send, visit,
};
use crate::harness::{DEADLINE, Site};

const MAX_FLOWS: usize = 40;

/// How often each way to end is gone.
const ROUNDS: usize = 100;

#[test]
fn a_thousand_flows_later() {
    let site = Site::new();
    let (target, closed) = (Target::new(), ClosedPort::new());
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let udp = echo.local_addr().expect("an address");
    let rights = format!(
        "listen = [\"tcp:127.0.0.1:0\"]\nreach = [\"{}\", \"{}\", \"udp:{udp}\"]\n\
         max_flows = {MAX_FLOWS}",
        target.addr(),
        closed.addr()
    );
    let server = site.server_for(&[&site.entry("one", By::Key, &rights)], &[]);
    let tunnels = [
        ("-L", format!("127.0.0.1:0^{}", target.addr())),
        ("-R", format!("{}^127.0.0.1:0", target.addr())),
        ("-L", format!("127.0.0.1:0^{}", closed.addr())),
        ("-R", format!("{}^127.0.0.1:0", closed.addr())),
        ("-L", format!("udp://127.0.0.1:0^udp://{udp}")),
        ("-D", "socks5://127.0.0.1:0".to_owned()),
        ("-R", "socks5^127.0.0.1:0".to_owned()),
        ("-R", "http^127.0.0.1:0".to_owned()),
    ];
    let args = tunnels
        .each_ref()
        .map(|(flag, mapping)| [*flag, mapping.as_str()]);
    let args = [&args.concat()[..], &["--udp-timeout", "1"]].concat();
    let client = site.client_as(server.server_addr(), "one", By::Key, &args);
    client.line("connected to ");
    let at = |mapping: &str| {
        let line = client.line(&format!("{mapping}: "));
        let addr = line
            .rsplit_once("listening on ")
            .or(line.rsplit_once("listens on "));
        let (_, addr) = addr.expect("an announcement");
        addr.parse::<SocketAddr>().expect("an address")
    };
    let [
        out,
        inward,
        out_closed,
        in_closed,
        udp_at,
        dynamic,
        socks,
        http,
    ] = tunnels.each_ref().map(|(_, mapping)| at(mapping));

    for _ in 0..ROUNDS {
        for entrance in [out, inward] {
            // In order, by an RST of the visitor's, by one of the target's.
            let (visitor, end) = join(entrance, &target);
            finish(&visitor);
            finish(&end);
            assert_eq!(receive_all(&visitor), b"");
            reset(join(entrance, &target).0);
            reset(join(entrance, &target).1);
        }
        for entrance in [out_closed, in_closed] {
            assert_turned_away(entrance, b"hello");
        }
        for entrance in [dynamic, socks] {
            let (visitor, answer) = ask(entrance, target.addr());
            assert_eq!(answer, 0);
            reset(visitor);
            drop(target.accept());
            assert_eq!(ask(entrance, closed.addr()).1, 5);
        }
        let get = format!("GET http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n", target.addr());
        let connect = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\n", target.addr());
        for request in [get, connect] {
            let visitor = visit(http);
            send(&visitor, &request);
            let end = target.accept();
            reset(visitor);
            drop(end);
        }
    }
    let visitors = [(); 8].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    for visitor in &visitors {
        visitor.send_to(b"hello", udp_at).expect("sent");
        echo.recv(&mut [0; 8]).expect("a datagram");
    }

    let mut held = Vec::new();
    let deadline = Instant::now() + DEADLINE;
    while held.len() < MAX_FLOWS {
        let (entrance, so_far) = (
            if held.len() % 2 == 0 { dynamic } else { socks },
            held.len(),
        );
        let (visitor, answer) = ask(entrance, target.addr());
        match answer {
            0 => held.push((visitor, target.accept())),
            _ => assert!(Instant::now() < deadline, "room for {so_far} flows alone"),
        }
    }
    for (visitor, end) in &held {
        assert_joined(visitor, end);
    }
    for entrance in [out, inward] {
        assert_turned_away(entrance, b"one too many");
    }
    for entrance in [dynamic, socks] {
        assert_eq!(ask(entrance, target.addr()).1, 1);
    }
}

/// Asks a SOCKS5 proxy for an address, and returns what it answers.
fn ask(entrance: SocketAddr, addr: SocketAddr) -> (TcpStream, u8) {
    let SocketAddr::V4(addr) = addr else {
        panic!("{addr} is not IPv4")
    };
    let visitor = visit(entrance);
    send(&visitor, [5, 1, 0]);
    assert_eq!(receive(&visitor, 2), [5, 0]);
    let port = addr.port().to_be_bytes();
    send(
        &visitor,
        [&[5, 1, 0, 1][..], &addr.ip().octets(), &port].concat(),
    );
    let answer = receive(&visitor, 10)[1];
    (visitor, answer)
}
