//! SOCKS5 proxies, `-D` and `-R socks5^`: a visitor says where it wants to go.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::load::{Transfer, end};
use crate::harness::proxy::Proxy;
use crate::harness::sockets::{
    ClosedPort, Target, assert_joined, assert_reset, finish, receive, receive_all, reset, send,
    visit,
};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::web::curl;
use crate::harness::{Signal, Site, is_installed};

in_both_modes!(
    failures_are_told_apart,
    what_comes_early_is_not_lost,
    ends_and_resets_are_passed_on,
    a_password_is_asked_for,
    two_hundred_at_once,
);

/// A greeting that offers to show no password.
const GREETING: &[u8] = &[5, 1, 0];

/// A request for a connection to an address.
fn connect(addr: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(addr) = addr else {
        panic!("{addr} is not IPv4")
    };
    let ip = addr.ip().octets();
    [&[5, 1, 0, 1][..], &ip, &addr.port().to_be_bytes()].concat()
}

/// Goes in and asks for something; the first four bytes of the answer's ten.
fn ask(entrance: SocketAddr, request: &[u8]) -> (TcpStream, Vec<u8>) {
    let visitor = visit(entrance);
    send(&visitor, GREETING);
    assert_eq!(receive(&visitor, 2), [5, 0]);
    send(&visitor, request);
    let answer = receive(&visitor, 10);
    assert_eq!(answer[4..], [0; 6]);
    (visitor, answer[..4].to_vec())
}

/// Goes in, and out at a target of the test's.
fn join(entrance: SocketAddr, target: &Target) -> (TcpStream, TcpStream) {
    let (visitor, answer) = ask(entrance, &connect(target.addr()));
    assert_eq!(answer, [5, 0, 0, 1]);
    let end = target.accept();
    assert_joined(&visitor, &end);
    (visitor, end)
}

fn failures_are_told_apart(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "socks5");
    let closed = ClosedPort::new();
    let broadcast = (Ipv4Addr::BROADCAST, 9).into();
    let mut cases = vec![
        (connect(closed.addr()), 5),
        (connect(broadcast), 4),
        (b"\x05\x01\0\x03\x0fnowhere.invalid\0\x50".to_vec(), 4),
        (b"\x05\x01\0\x03\x03a b\0\x50".to_vec(), 4),
        (b"\x05\x02\0\x01\x7f\0\0\x01\0\x50".to_vec(), 7),
        (b"\x05\x01\0\x09".to_vec(), 8),
    ];
    if mode == Mode::Out {
        let elsewhere = (Ipv4Addr::BROADCAST, 1).into();
        cases.push((connect(elsewhere), 2));
    }
    for (request, reply) in cases {
        let (visitor, answer) = ask(proxy.entrance, &request);
        assert_eq!(answer, [5, reply, 0, 1], "{request:?}");
        assert_eq!(receive_all(&visitor), b"");
    }
    if is_installed("curl") {
        let url = format!("http://{}", closed.addr());
        let curl = curl(&["--socks5", &proxy.entrance.to_string(), &url]);
        assert_eq!(curl.code, 97);
        assert!(curl.stderr.contains("(5)"), "{}", curl.stderr);
    }
}

/// A visitor need not wait for answers, and what follows its request is its target's.
fn what_comes_early_is_not_lost(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "socks5");
    let target = Target::new();
    let visitor = visit(proxy.entrance);
    let early = [b'e'; 1000];
    send(
        &visitor,
        [GREETING, &connect(target.addr()), &early].concat(),
    );
    let end = target.accept();
    assert_eq!(receive(&end, early.len()), early);
    assert_eq!(receive(&visitor, 12)[..4], [5, 0, 5, 0]);
    assert_joined(&visitor, &end);
    // A byte at a time comes to the same.
    let visitor = visit(proxy.entrance);
    visitor.set_nodelay(true).expect("TCP_NODELAY");
    for byte in [GREETING, &connect(target.addr()), b"e"].concat() {
        send(&visitor, [byte]);
    }
    assert_eq!(receive(&target.accept(), 1), b"e");
}

fn ends_and_resets_are_passed_on(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "socks5");
    let target = Target::new();

    let (visitor, end) = join(proxy.entrance, &target);
    finish(&visitor);
    assert_eq!(receive_all(&end), b"");
    send(&end, b"still here");
    drop(end);
    assert_eq!(receive_all(&visitor), b"still here");

    let (visitor, end) = join(proxy.entrance, &target);
    reset(end);
    assert_reset(&visitor);

    let (visitor, end) = join(proxy.entrance, &target);
    reset(visitor);
    assert_reset(&end);
}

fn a_password_is_asked_for(mode: Mode) {
    let site = Site::new();
    site.write("auth", "alice:hunter2\n");
    let proxy = Proxy::with(&site, mode, "socks5", "?auth=auth", &[]);
    let target = Target::new();
    let log_in = |login: &[u8]| {
        let visitor = visit(proxy.entrance);
        send(&visitor, [5, 2, 0, 2]);
        assert_eq!(receive(&visitor, 2), [5, 2]);
        send(&visitor, login);
        let answer = receive(&visitor, 2);
        (visitor, answer)
    };
    let (visitor, answer) = log_in(b"\x01\x05alice\x07hunter2");
    assert_eq!(answer, [1, 0]);
    send(&visitor, connect(target.addr()));
    assert_eq!(receive(&visitor, 10)[..2], [5, 0]);
    assert_joined(&visitor, &target.accept());
    for wrong in [
        &b"\x01\x05alice\x07Hunter2"[..],
        b"\x01\x05alicE\x07hunter2",
        b"\x01\0\0",
    ] {
        let (visitor, answer) = log_in(wrong);
        assert_eq!(answer, [1, 1]);
        assert_eq!(receive_all(&visitor), b"");
    }
    let visitor = visit(proxy.entrance);
    send(&visitor, GREETING);
    assert_eq!(receive_all(&visitor), [5, 0xff]);
    if is_installed("curl") {
        for (password, code) in [("hunter2", 52), ("hunter3", 97)] {
            let user = format!("alice:{password}@{}", proxy.entrance);
            let url = format!("http://{}", target.addr());
            std::thread::scope(|scope| {
                let curl = scope.spawn(|| curl(&["--socks5", &user, &url]));
                if code == 52 {
                    let end = target.accept();
                    receive(&end, 4);
                    finish(&end);
                    receive_all(&end);
                }
                assert_eq!(curl.join().expect("curl").code, code);
            });
        }
    }
    for program in [&proxy.client, &proxy.server] {
        assert_eq!(program.count("hunter"), 0);
    }
}

fn two_hundred_at_once(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "socks5");
    let target = Target::new();
    let request = [GREETING, &connect(target.addr())].concat();
    let visitors: Vec<TcpStream> = (0..200)
        .map(|_| {
            let visitor = visit(proxy.entrance);
            send(&visitor, &request);
            visitor
        })
        .collect();
    let ends: Vec<TcpStream> = visitors.iter().map(|_| target.accept()).collect();
    for (n, visitor) in visitors.iter().enumerate() {
        assert_eq!(receive(visitor, 12)[..4], [5, 0, 5, 0]);
        send(visitor, [n as u8]);
    }
    let mut seen: Vec<u8> = ends.iter().map(|end| receive(end, 1)[0]).collect();
    seen.sort();
    assert_eq!(seen, (0..200).collect::<Vec<u8>>());
    for end in &ends {
        send(end, b"!");
    }
    for visitor in &visitors {
        assert_eq!(receive(visitor, 1), b"!");
    }
}

#[test]
fn bytes_arrive_as_they_were() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "socks5");
    let (visitor, target) = join(proxy.entrance, &Target::new());
    let transfers = [
        Transfer::new(&visitor, &target),
        Transfer::new(&target, &visitor),
    ];
    for transfer in &transfers {
        transfer.wait_for(8 << 20);
    }
    end(transfers);
}

#[test]
fn who_does_not_speak_it_is_let_go() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "socks5");
    let mut random = fastrand::Rng::with_seed(1);
    for n in 0..200 {
        let visitor = visit(proxy.entrance);
        let mut noise = vec![0; n];
        random.fill(&mut noise);
        // A beginning that goes on for longer each time.
        let known = [GREETING, &[5, 1, 0, 3, 9]].concat();
        let known = &known[..n % known.len()];
        send(&visitor, [known, &noise].concat());
        finish(&visitor);
        let mut answer = Vec::new();
        // It ends, in whatever way.
        let ended = (&visitor).take(100).read_to_end(&mut answer);
        assert!(ended.is_err() || answer.len() <= 12, "{answer:?}");
    }
    join(proxy.entrance, &Target::new());
}

#[test]
fn who_says_nothing_is_let_go() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "socks5");
    let start = Instant::now();
    let silent = visit(proxy.entrance);
    let halting = visit(proxy.entrance);
    send(&halting, [GREETING, &[5, 1]].concat());
    assert_eq!(receive_all(&silent), b"");
    assert_eq!(receive_all(&halting), [5, 0]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    join(proxy.entrance, &Target::new());
}

#[test]
fn without_a_session_a_visitor_is_told() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "socks5");
    proxy.server.signal(Signal::Terminate);
    assert_eq!(proxy.server.ended().code, 0);
    proxy.client.line("cannot connect to ");
    let (visitor, answer) = ask(proxy.entrance, &connect("127.0.0.1:1".parse().expect("it")));
    assert_eq!(answer, [5, 3, 0, 1]);
    assert_eq!(receive_all(&visitor), b"");
}

#[test]
fn an_open_proxy_is_warned_of() {
    let site = Site::new();
    site.write("auth", "alice:hunter2\n");
    let proxies = [
        "-D",
        "0.0.0.0:0",
        "-D",
        "127.0.0.1:0",
        "-D",
        "0.0.0.0:0?auth=auth",
    ];
    let client = site.client("127.0.0.1:9", &proxies);
    client.line("TunnelOut socks5://0.0.0.0:0?auth=auth: listening on ");
    assert_eq!(client.count("asks for no password"), 1);
    let args = ["-R", "socks5^0.0.0.0:0"];
    let server = site.server(&[]);
    let _client = site.client(server.server_addr(), &args);
    server.line("asks for no password");
}
