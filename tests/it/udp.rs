//! UDP through a tunnel: packets of all sizes, many visitors, faults, and peers that mean no good.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rstun::transport::Connection;

use crate::harness::entries::By;
#[cfg(target_os = "linux")]
use crate::harness::link::{Link, say};
use crate::harness::peer::{Peer, block_on, tunnel_out};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::{DEADLINE, Program, Signal, Site};

in_both_modes!(
    packets_of_every_size,
    many_visitors,
    over_ipv6,
    a_server_that_comes_again,
    silent_flows_are_forgotten,
    a_closed_port,
    a_stopped_reader,
);

/// Sizes of payloads: empty, usual, larger than a link carries, and the largest there is.
const SIZES: [usize; 10] = [0, 1, 200, 1200, 1452, 1500, 9000, 16_384, 40_000, 65_507];

/// Sends each packet back to where it came from, until dropped.
struct Echo {
    socket: UdpSocket,
    over: Arc<AtomicBool>,
}

impl Echo {
    fn new(ip: impl Into<IpAddr>) -> Self {
        let socket = UdpSocket::bind((ip.into(), 0)).expect("a free port");
        let over = Arc::new(AtomicBool::new(false));
        let (echo, ended) = (socket.try_clone().expect("a descriptor"), over.clone());
        echo.set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !ended.load(Relaxed) {
                if let Ok((n, from)) = echo.recv_from(&mut buffer) {
                    let _ = echo.send_to(&buffer[..n], from);
                }
            }
        });
        Self { socket, over }
    }

    fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

/// A server and a client with one UDP tunnel.
struct Tunnel {
    site: Site,
    server: Program,
    server_addr: SocketAddr,
    client: Program,
    entrance: SocketAddr,
    mode: Mode,
}

impl Tunnel {
    fn new(mode: Mode, target: SocketAddr) -> Self {
        Self::with(mode, target, "127.0.0.1:0", &[])
    }

    /// With the entrance at `at`, which may have options, and more arguments for both programs.
    fn with(mode: Mode, target: SocketAddr, at: &str, more: &[&str]) -> Self {
        let site = Site::new();
        let server = start_server(&site, "127.0.0.1:0", target, more);
        Self::joined(site, server, mode, target, at, more)
    }

    #[cfg(target_os = "linux")]
    fn over(link: &Link, mode: Mode, target: SocketAddr) -> Self {
        let site = Site::new();
        let addr = Link::server_addr().to_string();
        let server = link.at_server(|| start_server(&site, &addr, target, &[]));
        link.at_client(|| Self::joined(site, server, mode, target, "127.0.0.1:0", &[]))
    }

    fn joined(
        site: Site,
        server: Program,
        mode: Mode,
        target: SocketAddr,
        at: &str,
        more: &[&str],
    ) -> Self {
        let server_addr = server.server_addr();
        let (tunnel, announcement) = match mode {
            Mode::Out => (
                ["-L".to_owned(), format!("udp://{at}^{target}")],
                ": listening on ",
            ),
            Mode::In => (
                ["-R".to_owned(), format!("{target}^udp://{at}")],
                ": the server listens on ",
            ),
        };
        let tunnel = tunnel.iter().map(String::as_str);
        let args: Vec<_> = tunnel.chain(more.iter().copied()).collect();
        let client = site.client(server_addr, &args);
        let entrance = client.entrance(announcement);
        Self {
            site,
            server,
            server_addr,
            client,
            entrance,
            mode,
        }
    }

    /// The program that dials.
    fn dialing(&self) -> &Program {
        match self.mode {
            Mode::Out => &self.server,
            Mode::In => &self.client,
        }
    }
}

fn start_server(site: &Site, addr: &str, target: SocketAddr, more: &[&str]) -> Program {
    let target = format!("udp://{target}");
    let args = [&["--downstream", &target], more].concat();
    site.server_with(addr, &[], &args)
}

fn visitor(entrance: SocketAddr) -> UdpSocket {
    let any: IpAddr = match entrance {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let visitor = UdpSocket::bind((any, 0)).expect("a free port");
    visitor.connect(entrance).expect("an address of ours");
    visitor
}

fn packet(size: usize, seed: usize) -> Vec<u8> {
    (0..size)
        .map(|i| (i * 31 + seed * 7 + i / 251) as u8)
        .collect()
}

/// Sends a packet until it comes back, as packets may be lost, and says how often that was.
fn assert_echoed(visitor: &UdpSocket, packet: &[u8]) -> usize {
    let deadline = Instant::now() + DEADLINE;
    let mut patience = Duration::from_millis(50);
    let mut buffer = vec![0; 1 << 16];
    for sent in 1.. {
        assert!(
            Instant::now() < deadline,
            "{} bytes never came",
            packet.len()
        );
        let _ = visitor.send(packet);
        let end = Instant::now() + patience;
        patience = (patience * 2).min(Duration::from_secs(2));
        while let Some(left) = end
            .checked_duration_since(Instant::now())
            .filter(|t| !t.is_zero())
        {
            visitor.set_read_timeout(Some(left)).expect("a timeout");
            match visitor.recv(&mut buffer) {
                Ok(n) if buffer[..n] == *packet => return sent,
                // An echo of one that was sent before, or that nobody listens yet.
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => break,
            }
        }
    }
    unreachable!("it is tried for ever")
}

fn packets_of_every_size(mode: Mode) {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let tunnel = Tunnel::new(mode, echo.addr());
    let visitor = visitor(tunnel.entrance);
    for size in SIZES {
        assert_echoed(&visitor, &packet(size, size));
    }
}

fn many_visitors(mode: Mode) {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let tunnel = Tunnel::new(mode, echo.addr());
    let visitors: Vec<_> = (0..100).map(|_| visitor(tunnel.entrance)).collect();
    for round in 0..3 {
        for (n, visitor) in visitors.iter().enumerate() {
            assert_echoed(visitor, &packet(100 + n, round));
        }
    }
}

fn over_ipv6(mode: Mode) {
    if UdpSocket::bind("[::1]:0").is_err() {
        return eprintln!("this machine has no IPv6, nothing is shown");
    }
    let echo = Echo::new(Ipv6Addr::LOCALHOST);
    let tunnel = Tunnel::with(mode, echo.addr(), "[::1]:0", &[]);
    let visitor = visitor(tunnel.entrance);
    for size in SIZES {
        assert_echoed(&visitor, &packet(size, size));
    }
}

/// A port of all addresses answers from the address that it was asked at: these sockets take nothing else.
#[test]
fn answers_come_from_where_they_were_asked() {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    for at in ["0.0.0.0:0", "0"] {
        let tunnel = Tunnel::with(Mode::In, echo.addr(), at, &[]);
        for ip in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 1, 2, 3]] {
            let entrance = SocketAddr::from((ip, tunnel.entrance.port()));
            assert_echoed(&visitor(entrance), b"who is there");
        }
    }
}

/// The visitor's socket stays, and so does the client's.
fn a_server_that_comes_again(mode: Mode) {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let tunnel = Tunnel::with(mode, echo.addr(), "127.0.0.1:0", &[]);
    let mut visitor = visitor(tunnel.entrance);
    assert_echoed(&visitor, b"before");
    tunnel.server.kill();
    let target = format!("udp://{}", echo.addr());
    let args = ["--downstream", &target];
    let _server = tunnel
        .site
        .server_again_with(tunnel.server_addr, &[], &args);
    if mode == Mode::In {
        // The server chose another port.
        let entrance = tunnel.client.nth_addr(2, ": the server listens on ");
        visitor = self::visitor(entrance);
    }
    assert_echoed(&visitor, b"after");
}

/// Nobody has to wait for the connection before the first packet, if it is there soon; what is late is lost.
#[test]
fn a_packet_waits_a_moment_for_the_connection() {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let site = Site::new();
    let server = start_server(&site, "127.0.0.1:0", echo.addr(), &[]);
    let addr = server.server_addr();
    let tunnel = format!("udp://127.0.0.1:0^{}", echo.addr());
    let start = || {
        let client = site.client(addr, &["-L", &tunnel]);
        let visitor = visitor(client.addr(": listening on "));
        visitor.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        (client, visitor)
    };
    let mut buffer = [0; 16];
    let soon = (0..10).any(|_| {
        let (client, visitor) = start();
        let sent = Instant::now();
        visitor.send(b"first").expect("a packet sent");
        client.line("connected to ");
        // A busy machine may take longer than a packet waits.
        let soon = sent.elapsed() < Duration::from_millis(500);
        if soon {
            let n = visitor.recv(&mut buffer).expect("the packet");
            assert_eq!(&buffer[..n], b"first");
        }
        soon
    });
    assert!(soon, "it takes long to connect");
    server.kill();

    let (client, visitor) = start();
    visitor.send(b"late").expect("a packet sent");
    let over = Instant::now() + Duration::from_secs(2);
    (1..).find(|n| {
        client.nth_line(*n, "retry in ");
        Instant::now() > over
    });
    let target = format!("udp://{}", echo.addr());
    let _server = site.server_again_with(addr, &[], &["--downstream", &target]);
    client.line("connected to ");
    visitor.send(b"now").expect("a packet sent");
    let n = visitor.recv(&mut buffer).expect("the packet");
    assert_eq!(&buffer[..n], b"now");
}

fn silent_flows_are_forgotten(mode: Mode) {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let tunnel = Tunnel::with(mode, echo.addr(), "127.0.0.1:0?timeout=4", &[]);
    let first = visitor(tunnel.entrance);
    assert_echoed(&first, b"the first");
    let before = tunnel.dialing().descriptors();
    let visitors: Vec<_> = (0..50).map(|_| visitor(tunnel.entrance)).collect();
    for visitor in &visitors {
        assert_echoed(visitor, b"one of many");
    }
    assert!(tunnel.dialing().descriptors() >= before + 40);
    let deadline = Instant::now() + DEADLINE;
    while tunnel.dialing().descriptors() > before {
        assert!(Instant::now() < deadline, "descriptors are kept");
        thread::sleep(Duration::from_millis(50));
    }
    // Who comes again is let in again.
    assert_echoed(&visitors[7], b"again");
}

/// The target's refusals (ICMP) end nothing, and a target that begins to listen is reached.
fn a_closed_port(mode: Mode) {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let addr = echo.addr();
    let tunnel = Tunnel::new(mode, addr);
    let visitor = visitor(tunnel.entrance);
    assert_echoed(&visitor, b"open");
    let closed = echo.socket.try_clone().expect("a descriptor");
    drop((echo, closed));
    for _ in 0..200 {
        let _ = visitor.send(b"is anybody there");
    }
    let echo = loop {
        // The thread of the echo may still hold the port.
        if let Ok(socket) = UdpSocket::bind(addr) {
            break socket;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let answering = thread::spawn(move || {
        let mut buffer = [0; 64];
        loop {
            let Ok((n, from)) = echo.recv_from(&mut buffer) else {
                continue;
            };
            let _ = echo.send_to(&buffer[..n], from);
            if &buffer[..n] == b"open again" {
                return;
            }
        }
    });
    assert_echoed(&visitor, b"open again");
    answering.join().expect("an echo");
}

/// A flood to a target that reads nothing is lost there, and not kept by us.
fn a_stopped_reader(mode: Mode) {
    let target = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let tunnel = Tunnel::new(mode, target.local_addr().expect("an address"));
    let visitor = visitor(tunnel.entrance);
    let packet = packet(1200, 1);
    for _ in 0..200_000 {
        let _ = visitor.send(&packet);
    }
    for program in [&tunnel.server, &tunnel.client] {
        let peak = program.peak_memory() >> 20;
        assert!(peak < 64, "{peak} MiB for 240 MB");
    }
    // Others are served meanwhile.
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let other = Tunnel::new(mode, echo.addr());
    assert_echoed(&self::visitor(other.entrance), b"another");
}

#[test]
fn a_flow_does_not_hold_up_the_end() {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let tunnel = Tunnel::with(Mode::Out, echo.addr(), "127.0.0.1:0", &["--drain", "3600"]);
    assert_echoed(&visitor(tunnel.entrance), b"hello");
    tunnel.client.signal(Signal::Terminate);
    assert_eq!(tunnel.client.ended().code, 0);
    tunnel.server.signal(Signal::Terminate);
    assert_eq!(tunnel.server.ended().code, 0);
}

/// Large packets go in pieces, each of which may be lost or come late.
#[cfg(target_os = "linux")]
#[test]
fn large_packets_over_a_bad_link() {
    let Some(link) = Link::new("delay=10 loss=2 reorder=5 duplicate=5 rate=50") else {
        return;
    };
    for mode in [Mode::Out, Mode::In] {
        let echo = link.at_target(mode, || Echo::new(Ipv4Addr::LOCALHOST));
        let tunnel = Tunnel::over(&link, mode, echo.addr());
        let visitor = link.at_visitor(mode, || visitor(tunnel.entrance));
        for size in SIZES {
            assert_echoed(&visitor, &packet(size, size));
        }
    }
}

/// A program that has said little begins to send 29 Mbit/s: no packet waits for a window to grow, nor for
/// another that is lost. How late a busy machine makes packets by itself is seen from others, that go
/// beside the tunnel; and the best of some tries counts.
#[cfg(target_os = "linux")]
#[test]
fn a_load_that_begins_at_once_is_not_late() {
    const TRIES: usize = 5;
    const DELAY: Duration = Duration::from_millis(25);
    const PROMISE: Duration = Duration::from_millis(10);
    let Some(link) = Link::new("delay=25 loss=5 rate=100") else {
        return;
    };
    let in_time = (0..TRIES).any(|_| {
        let [through, beside] = begin_to_send(&link);
        say(&format!(
            "through the tunnel {through:?}, beside it {beside:?}"
        ));
        // Two more programs are to be woken.
        let machine = 3 * beside.late.saturating_sub(DELAY);
        through.share >= beside.share - 0.03 && through.late <= DELAY + PROMISE + machine
    });
    assert!(in_time, "late in each of {TRIES} tries");
}

/// What became of packets.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Arrivals {
    /// The share that arrived.
    share: f64,
    /// The delay that three in a hundred exceed.
    late: Duration,
}

/// A new connection's packets, some now and then, and then a load; and as many beside it.
#[cfg(target_os = "linux")]
fn begin_to_send(link: &Link) -> [Arrivals; 2] {
    const SIZE: usize = 1200;
    let patience = Some(Duration::from_secs(1));
    let [through, beside] = [Ipv4Addr::LOCALHOST, wan::RIGHT].map(|ip| {
        let target = link.at_server(|| UdpSocket::bind((ip, 0)).expect("a free port"));
        target.set_read_timeout(patience).expect("a timeout");
        target
    });
    let addr = through.local_addr().expect("an address");
    let tunnel = Tunnel::over(link, Mode::Out, addr);
    let entrances = [tunnel.entrance, beside.local_addr().expect("an address")];
    let visitors = entrances.map(|entrance| {
        let socket = link.at_client(|| UdpSocket::bind("0.0.0.0:0").expect("a free port"));
        socket.connect(entrance).expect("a peer");
        socket
    });
    let begin = Instant::now();
    let delays = [through, beside].map(|target| {
        thread::spawn(move || {
            let mut delays = Vec::new();
            let mut buffer = [0; SIZE];
            while target.recv(&mut buffer).is_ok() {
                let sent = u64::from_le_bytes(std::array::from_fn(|i| buffer[i]));
                delays.push(begin.elapsed().saturating_sub(Duration::from_nanos(sent)));
            }
            delays
        })
    });
    let mut sent = 0;
    for (rate, packets) in [(200, 100), (3000, 3000)] {
        let start = Instant::now();
        for n in 0..packets {
            let due = Duration::from_secs(1) * n / rate;
            thread::sleep(due.saturating_sub(start.elapsed()));
            sent += 1;
            for visitor in &visitors {
                let mut packet = [0; SIZE];
                let now = begin.elapsed().as_nanos() as u64;
                packet[..8].copy_from_slice(&now.to_le_bytes());
                visitor.send(&packet).expect("sent");
            }
        }
    }
    delays.map(|delays| {
        let mut delays = delays.join().expect("a target");
        delays.sort();
        Arrivals {
            share: delays.len() as f64 / f64::from(sent),
            late: delays[delays.len() * 97 / 100],
        }
    })
}

/// A client of our own making, that has logged in with one UDP tunnel to `target`, and says what it likes.
fn hostile<T>(
    site: &Site,
    server: SocketAddr,
    target: SocketAddr,
    act: impl AsyncFnOnce(Connection) -> T,
) -> T {
    block_on(async {
        let peer = Peer::new(site, server);
        let connection = peer.connect().await;
        let tunnel = tunnel_out(&format!("udp://9^{target}"));
        let _session = peer.log_in(&connection, &[tunnel]).await;
        let acted = tokio::time::timeout(DEADLINE, act(connection));
        acted.await.expect("an end in time")
    })
}

/// An introduction of flow 1 in tunnel 0, and what goes on with it.
fn introduced(more: &[u8]) -> Bytes {
    Bytes::from([&[0x16, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], more].concat())
}

#[test]
fn garbage_in_datagrams_harms_nobody() {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let tunnel = Tunnel::new(Mode::Out, echo.addr());
    let before = tunnel.server.peak_memory();
    hostile(
        &tunnel.site,
        tunnel.server_addr,
        echo.addr(),
        async |peer| {
            for first in 0..=255 {
                for length in 0..40_u8 {
                    let datagram: Vec<_> = std::iter::once(first).chain(0..length).collect();
                    peer.send_datagram(datagram.into());
                }
                tokio::task::yield_now().await;
            }
            // First pieces of many large packets, whose rest never comes.
            for packet in 0..20_000_u32 {
                let mut piece =
                    introduced(&[2, (packet >> 8) as u8, packet as u8, 0, 200]).to_vec();
                piece.resize(1100, 7);
                peer.send_datagram(piece.into());
                tokio::task::yield_now().await;
            }
            // It is served all the same.
            let asked = introduced(b"\0hello");
            loop {
                peer.send_datagram(asked.clone());
                let answer = tokio::time::timeout(Duration::from_millis(100), peer.read_datagram());
                match answer.await {
                    Ok(Ok(answer)) if answer.ends_with(b"hello") => break,
                    Ok(Ok(_)) | Err(_) => {}
                    Ok(Err(lost)) => panic!("the connection was lost: {lost}"),
                }
            }
        },
    );
    let grown = (tunnel.server.peak_memory() - before) >> 20;
    assert!(grown < 24, "{grown} MiB");
    assert_echoed(&visitor(tunnel.entrance), b"still here");
}

/// What a flow's first introduction said holds, and what is not allowed is refused.
#[test]
fn a_flow_keeps_its_target() {
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let tunnel = Tunnel::new(Mode::Out, echo.addr());
    hostile(
        &tunnel.site,
        tunnel.server_addr,
        echo.addr(),
        async |peer| {
            let next = async || loop {
                let answer = peer.read_datagram().await.expect("a connection");
                // All but that the flow is known now.
                if answer[..] != [0x19] {
                    return answer;
                }
            };
            peer.send_datagram(introduced(b"\0one"));
            assert_eq!(next().await, &b"\x11one"[..]);
            // To nowhere, by way of no tunnel, in a flow that is there: it goes where the flow goes.
            let elsewhere =
                b"\x16\x01\xff\xff\xff\xff\x00\x08\x01\x04\x7f\0\0\x01\0\x01\0\0\0\0\0two";
            peer.send_datagram(Bytes::from_static(elsewhere));
            assert_eq!(next().await, &b"\x11two"[..]);
            // The same in a flow of its own is refused: not allowed.
            let anew = [&[0x26], &elsewhere[1..]].concat();
            peer.send_datagram(anew.into());
            assert_eq!(next().await, &[0x29][..]);
            assert_eq!(next().await, &[0x2d, 0x15][..]);
            // And a flow that nobody has introduced is not known.
            peer.send_datagram(Bytes::from_static(b"\x30hello"));
            assert_eq!(next().await, &[0x3b][..]);
        },
    );
}

/// A client's entry bounds packets as it bounds connections: where to, how many flows, and how fast.
#[test]
fn an_entry_bounds_packets_too() {
    let site = Site::new();
    let echo = Echo::new(Ipv4Addr::LOCALHOST);
    let addr = echo.addr();
    let rights = format!(
        "reach = [\"udp:{addr}\"]\nlisten = [\"udp:127.0.0.1:0\"]\nmax_flows = 1\nrate = 100_000"
    );
    let entry = site.entry("phone", By::Secret, &rights);
    let server = site.server_for(&[&entry], &[]);
    let at = server.server_addr();
    let ended = site.client_as(at, "phone", By::Secret, &["-L", &format!("0^{addr}")]);
    let ended = ended.ended();
    assert!(ended.error().contains("reach"), "{}", ended.stderr);
    let ended = site.client_as(at, "phone", By::Secret, &["-R", "1^udp://127.0.0.1:5000"]);
    assert_ne!(
        ended.ended().code,
        0,
        "one side is UDP and the other is not"
    );
    let there = format!("{addr}^udp://127.0.0.1:5000");
    let ended = site.client_as(at, "phone", By::Secret, &["-R", &format!("udp://{there}")]);
    let ended = ended.ended();
    assert!(ended.error().contains("listen"), "{}", ended.stderr);
    for (flag, mapping, announcement) in [
        (
            "-L",
            format!("udp://127.0.0.1:0^udp://{addr}"),
            ": listening on ",
        ),
        (
            "-R",
            format!("udp://{addr}^udp://127.0.0.1:0"),
            ": the server listens on ",
        ),
    ] {
        let client = site.client_as(at, "phone", By::Secret, &[flag, &mapping]);
        let entrance = client.entrance(announcement);
        let first = visitor(entrance);
        assert_echoed(&first, b"hello");
        visitor(entrance)
            .send(b"one too many")
            .expect("a packet sent");
        match flag {
            "-L" => client.line("allows this client no more flows"),
            _ => server.line("too many flows are open"),
        };
        assert_echoed(&first, b"hello");

        // Twice a second's worth at once: more than what may go in a burst is lost.
        for _ in 0..200 {
            first.send(&[0; 1000]).expect("a packet sent");
        }
        let pause = Some(Duration::from_millis(500));
        first.set_read_timeout(pause).expect("a timeout");
        let came = (0..200)
            .take_while(|_| first.recv(&mut [0; 1500]).is_ok())
            .count();
        assert!((5..100).contains(&came), "{came}");
        client.signal(Signal::Terminate);
        assert_eq!(client.ended().code, 0);
        server.line("event=\"tunnel-down\" identity=\"phone\"");
    }
}
