//! Strangers at the server's TCP port: none of them gets more than a place for five seconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::harness::tunnel::{Mode, Tunnel};
use crate::strangers::{client_tls, crypto};

/// What a server gives a stranger, twice: for a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(2 * 5);

/// Places of one source.
const PLACES: usize = 32;

/// What no stranger may make a server take more of.
const FLAT: u64 = 16 << 20;

/// The frames of PROTOCOL.md's.
const DATA: u8 = 0;
const DATAGRAM: u8 = 5;
const PING: u8 = 6;
const CLOSE: u8 = 8;

fn tunnel() -> Tunnel {
    Tunnel::with(Mode::Out, &[])
}

fn connect(tunnel: &Tunnel) -> TcpStream {
    let stream = TcpStream::connect(tunnel.server_addr).expect("a connection");
    let timeout = stream.set_read_timeout(Some(DEADLINE));
    timeout.expect("a timeout");
    stream
}

/// Reads until the server has closed the connection.
fn until_closed(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("it stays open"),
            Err(_) => return all,
        }
    }
}

#[test]
fn noise_and_silence_end_soon_and_take_few_places() {
    let tunnel = tunnel();
    let before = tunnel.server.peak_memory();
    let start = Instant::now();
    let silent: Vec<_> = (0..10 * PLACES).map(|_| connect(&tunnel)).collect();
    let closed: Vec<Duration> = std::thread::scope(|scope| {
        let waits: Vec<_> = silent
            .iter()
            .map(|stream| {
                scope.spawn(move || {
                    until_closed(stream);
                    start.elapsed()
                })
            })
            .collect();
        waits
            .into_iter()
            .map(|wait| wait.join().expect("closed"))
            .collect()
    });
    let kept = closed.iter().filter(|wait| **wait > Duration::from_secs(4));
    assert!(kept.count() <= PLACES, "{closed:?}");
    assert!(closed.iter().all(|wait| *wait < DEADLINE), "{closed:?}");
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 70_000],
        &[22, 3, 1, 0xff, 0xff, 1],
    ] {
        let mut stream = connect(&tunnel);
        let _ = stream.write_all(noise);
        until_closed(stream);
    }
    // A ClientHello of which the last byte never comes.
    let mut hello = Vec::new();
    client(&tunnel, b"rstun/1")
        .write_tls(&mut hello)
        .expect("a hello");
    let mut stream = connect(&tunnel);
    stream.write_all(&hello[..hello.len() - 1]).expect("room");
    until_closed(stream);
    let grown = tunnel.server.peak_memory() - before;
    assert!(grown < FLAT, "{grown}");
    tunnel.flow();
    assert_eq!(tunnel.client.count("connected to "), 1);
}

#[test]
fn frames_before_login_that_may_not_be() {
    let data = |stream: u64, bytes: &[u8]| frame(DATA, &[&stream.to_be_bytes(), bytes].concat());
    for (what, frames) in [
        ("a datagram", frame(DATAGRAM, b"early")),
        ("an unknown frame", frame(9, b"")),
        ("a frame of a wrong length", frame(CLOSE, b"x")),
        ("a stream of the server's", data(1, b"")),
        ("a second stream", [data(0, b""), data(2, b"")].concat()),
        (
            "a message that is too long",
            data(0, &[1, 0xff, 0xff, 0xff, 0xff]),
        ),
    ] {
        // Each its own server, which remembers who fails.
        let tunnel = tunnel();
        let mut peer = peer(tunnel.server_addr, &tunnel);
        peer.write_all(&frames).expect("room");
        let said = until_closed(peer);
        // Nothing else that a server says to a stranger has this byte in it.
        let at = said.iter().position(|byte| *byte == CLOSE);
        let at = at.unwrap_or_else(|| panic!("{what}: {said:?}"));
        assert_eq!(said[at + 3..at + 7], [0, 0, 0, 2], "{what}: {said:?}");
    }
}

/// What is sent and never logs in is read no further than it may be, and ends with its time.
#[test]
fn a_login_that_never_ends() {
    let tunnel = tunnel();
    let before = tunnel.server.peak_memory();
    let start = Instant::now();
    let body = [&0u64.to_be_bytes()[..], &[1, 0, 1, 0, 0], &[7; 1000]].concat();
    let mut slow = peer(tunnel.server_addr, &tunnel);
    slow.write_all(&frame(DATA, &body)).expect("room");
    until_closed(slow);
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    let grown = tunnel.server.peak_memory() - before;
    assert!(grown < FLAT, "{grown}");
    tunnel.server.line("no login in time");
}

/// Whatever it says keeps the server busy, and it need not be waited for.
#[test]
fn one_that_says_much_and_never_logs_in() {
    let tunnel = tunnel();
    let start = Instant::now();
    let mut peer = peer(tunnel.server_addr, &tunnel);
    for _ in 0..100 {
        peer.write_all(&frame(PING, b"").repeat(1000))
            .expect("room");
    }
    let said = until_closed(peer);
    assert!(start.elapsed() < DEADLINE / 2, "{:?}", start.elapsed());
    let close = [&[0, 0, 0, 2], &b"too much before a login"[..]].concat();
    assert!(said.ends_with(&frame(CLOSE, &close)), "{said:?}");
    tunnel.flow();
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn client(tunnel: &Tunnel, alpn: &[u8]) -> ClientConnection {
    let name = ServerName::from(tunnel.server_addr.ip());
    let config = client_tls(crypto(), alpn);
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// One that has gone through the handshake, and trusts anybody.
fn peer(server: SocketAddr, tunnel: &Tunnel) -> StreamOwned<ClientConnection, TcpStream> {
    assert_eq!(server, tunnel.server_addr);
    let mut stream = StreamOwned::new(client(tunnel, b"rstun/1"), connect(tunnel));
    stream
        .conn
        .complete_io(&mut stream.sock)
        .expect("a handshake");
    stream
}
