//! Floods of packets at the server's port, by raw sockets.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Keys, Version};
use rustls::{CipherSuite, Side};

use crate::harness::Site;
use crate::harness::sockets::Target;
use crate::harness::tunnel::{Mode, Tunnel};
use crate::strangers::{client_tls, crypto};

/// What a flood may make a server take more of: 64 handshakes that nobody goes on with are most of it.
const FLAT: u64 = 16 << 20;

/// Pauses so that so many packets go in a second: what is tested is not the machine's speed.
struct Pace {
    began: Instant,
    sent: u32,
    rate: u32,
}

impl Pace {
    fn new(rate: u32) -> Self {
        let began = Instant::now();
        Self {
            began,
            sent: 0,
            rate,
        }
    }

    fn keep(&mut self) {
        self.sent += 1;
        let due = Duration::from_secs(1) * self.sent / self.rate;
        std::thread::sleep(due.saturating_sub(self.began.elapsed()));
    }
}

/// Ten seconds of noise, of all lengths and from many ports: there is no answer to any of it.
#[test]
fn random_datagrams() {
    let tunnel = Tunnel::new(Mode::Out);
    let before = tunnel.server.peak_memory();
    let sockets: Vec<UdpSocket> = (0..50)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect(tunnel.server_addr).expect("a peer");
            socket.set_nonblocking(true).expect("a socket of its own");
            socket
        })
        .collect();
    let mut pace = Pace::new(2_000);
    let mut noise = [0; 1500];
    while pace.began.elapsed() < Duration::from_secs(10) {
        ::aws_lc_rs::rand::fill(&mut noise).expect("random bytes");
        let len = 1 + usize::from(u16::from_le_bytes([noise[0], noise[1]])) % 1498;
        let socket = &sockets[pace.sent as usize % sockets.len()];
        // What does not fit the socket's buffer is not sent.
        let _ = socket.send(&noise[2..][..len]);
        pace.keep();
    }
    // The server has seen all of it before it answers this.
    tunnel.flow();
    for socket in sockets {
        let answer = socket.recv(&mut noise).map_err(|e| e.kind());
        assert_eq!(answer, Err(ErrorKind::WouldBlock));
    }
    let more = tunnel.server.peak_memory() - before;
    println!("{} datagrams took {more} bytes", pace.sent);
    assert!(more < FLAT, "{more}");
    assert_eq!(tunnel.client.count("connected to "), 1);
}

/// Ten thousand first packets of handshakes from as many ports, and nobody goes on with any. In the middle
/// somebody logs in.
#[test]
fn half_handshakes() {
    const ALL: u32 = 10_000;
    let site = Site::new();
    let server = site.server(&[]);
    let addr = server.server_addr();
    let before = server.peak_memory();
    let hello = client_hello();
    let mut pace = Pace::new(4_000);
    let mut knock = |until: u32| {
        while pace.sent < until {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let id = u64::from(pace.sent).to_be_bytes();
            socket.send_to(&initial(&id, &hello), addr).expect("sent");
            pace.keep();
        }
    };
    knock(ALL / 2);
    let took = std::thread::scope(|scope| {
        let login = scope.spawn(|| good_login(&site, addr));
        knock(ALL);
        login.join().expect("a login")
    });
    let more = server.peak_memory() - before;
    println!("beside them a login took {took:?}, and they {more} bytes");
    // 2 s is the promise; a busy machine gets twice that.
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(more < FLAT, "{more}");
}

/// Logs in as others do, and tells how long that took.
fn good_login(site: &Site, addr: SocketAddr) -> Duration {
    let target = Target::new();
    let began = Instant::now();
    let args = Mode::In.args(target.addr());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(addr, &args);
    client.line("connected to ");
    began.elapsed()
}

/// The connection id by which a server would know these clients, all the same.
const SOURCE_ID: [u8; 8] = *b"floods!!";

/// A ClientHello of our protocol's, small enough for one packet.
fn client_hello() -> Vec<u8> {
    // Its one transport parameter is initial_source_connection_id (RFC 9000, section 18.2).
    let parameters = [&[0x0f, SOURCE_ID.len() as u8], &SOURCE_ID[..]].concat();
    let mut provider = (*crypto()).clone();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let tls = Arc::new(client_tls(Arc::new(provider), b"rstun/1"));
    let name = ServerName::try_from("rstun").expect("a name");
    let client = ClientConnection::new(tls, Version::V1, name, parameters);
    let mut hello = Vec::new();
    assert!(client.expect("a client").write_hs(&mut hello).is_none());
    hello
}

/// A client's first packet, to a connection id of its choice (RFC 9000, section 17.2.2, and RFC 9001,
/// section 5).
fn initial(id: &[u8; 8], hello: &[u8]) -> Vec<u8> {
    const SIZE: usize = 1200;
    const TAG: usize = 16;
    let varint = |n: usize| (0x4000 | n as u16).to_be_bytes();
    let mut packet = vec![0xc3, 0, 0, 0, 1, id.len() as u8];
    packet.extend(id);
    packet.push(SOURCE_ID.len() as u8);
    packet.extend(SOURCE_ID);
    packet.push(0);
    let number_at = packet.len() + 2;
    packet.extend(varint(SIZE - number_at));
    packet.extend([0; 4]);
    let payload_at = packet.len();
    packet.extend([6, 0]);
    packet.extend(varint(hello.len()));
    packet.extend(hello);
    assert!(packet.len() <= SIZE - TAG, "the ClientHello is too long");
    packet.resize(SIZE - TAG, 0);

    let keys = initial_keys(id);
    let (header, payload) = packet.split_at_mut(payload_at);
    let tag = keys.local.packet.encrypt_in_place(0, header, payload);
    packet.extend(tag.expect("a sealed packet").as_ref());
    let (header, sample) = packet.split_at_mut(payload_at);
    let (first, rest) = header.split_first_mut().expect("a header");
    let number = &mut rest[number_at - 1..];
    let hidden = keys
        .local
        .header
        .encrypt_in_place(&sample[..16], first, number);
    hidden.expect("a hidden header");
    packet
}

fn initial_keys(id: &[u8; 8]) -> Keys {
    let suites = crypto().cipher_suites.clone();
    let aes = |suite: &rustls::SupportedCipherSuite| {
        suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256
    };
    let suite = suites.into_iter().find(aes).and_then(|suite| suite.tls13());
    let suite = suite.and_then(|suite| suite.quic_suite());
    suite
        .expect("QUIC's first suite")
        .keys(id, Side::Client, Version::V1)
}
