//! SOCKS5 proxies, `-D` and `-R socks5^`: a visitor says where it wants to go.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::load::{Transfer, end};
use crate::harness::proxy::Proxy;
use crate::harness::sockets::{
    ClosedPort, Target, assert_joined, assert_reset, finish, receive, receive_all, reset, send,
    visit,
};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::web::{curl, in_path, nginx};
use crate::harness::{PASSWORD, Program, Signal, Site, is_installed};

in_both_modes!(
    curl_fetches,
    failures_are_told_apart,
    what_comes_early_is_not_lost,
    ends_and_resets_are_passed_on,
    a_password_is_asked_for,
    two_hundred_at_once,
    git_clones,
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

fn curl_fetches(mode: Mode) {
    if !is_installed("nginx") || !is_installed("curl") {
        return;
    }
    let site = Site::new();
    let large = large_file(&site);
    let dir = site.path("");
    let _nginx = nginx(&site, "", &format!("root {};", dir.display()));
    let (proxy, web) = Proxy::beside_web(&site, mode, "socks5", "");
    let entrance = proxy.entrance.to_string();
    for (flag, host) in [
        ("--socks5", "127.0.0.1"),
        ("--socks5-hostname", "127.0.0.1"),
        ("--socks5-hostname", "localhost"),
    ] {
        let url = format!("http://{host}:{}/large", web.port());
        let out = site.path("fetched");
        let out = out.to_str().expect("a path in UTF-8");
        let curl = curl(&[flag, &entrance, "-o", out, &url]);
        assert_eq!(curl.code, 0, "{}", curl.stderr);
        assert!(site.read("fetched") == large, "{flag} {url}");
    }
}

/// A file of 8 MiB that no compression makes smaller, and what is in it.
fn large_file(site: &Site) -> Vec<u8> {
    let mut large = vec![0; 8 << 20];
    fastrand::fill(&mut large);
    site.write("large", &large);
    large
}

#[test]
fn curl_goes_by_ipv6() {
    if !is_installed("curl") || TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "socks5");
    let target = Target::at("[::1]:0".parse().expect("an address"));
    let url = format!("http://{}/", target.addr());
    let entrance = proxy.entrance.to_string();
    std::thread::scope(|scope| {
        let curl = scope.spawn(|| curl(&["--socks5", &entrance, &url]));
        let end = target.accept();
        send(&end, b"HTTP/1.0 200 OK\r\n\r\nsix");
        drop(end);
        assert_eq!(curl.join().expect("curl").stdout, "six\n");
    });
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
    proxy.client.line("connection lost");
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
    assert!(!server.line("asks for no password").contains(PASSWORD));
}

/// A server's address from a bare git repository in the site, ready for git's plain HTTP.
fn git_clones(mode: Mode) {
    if !is_installed("nginx") || !is_installed("git") {
        return;
    }
    for (scheme, url) in [("socks5", "socks5h"), ("http", "http")] {
        let site = Site::new();
        let script = "git init -q -b main w && cd w && \
                      git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && \
                      cd .. && git clone -q --bare w r.git && git -C r.git update-server-info";
        let made = run_in(&site, "sh", &["-c", script]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let dir = site.path("");
        let _nginx = nginx(&site, "", &format!("root {};", dir.display()));
        let (proxy, web) = Proxy::beside_web(&site, mode, scheme, "");
        let proxy = format!("http.proxy={url}://{}", proxy.entrance);
        let from = format!("http://localhost:{}/r.git", web.port());
        let cloned = run_in(&site, "git", &["-c", &proxy, "clone", &from, "cloned"]);
        assert_eq!(cloned.code, 0, "{}", cloned.stderr);
        let log = run_in(&site, "git", &["-C", "cloned", "log", "--format=%s"]);
        assert_eq!(log.stdout, "first\n");
    }
}

/// Runs a program that is not ours in the site, with nothing of the caller's settings.
fn run_in(site: &Site, program: &str, args: &[&str]) -> crate::harness::Ended {
    let mut command = in_path(program);
    command.args(args).current_dir(site.path(""));
    command
        .env("HOME", site.path(""))
        .env("GIT_CONFIG_NOSYSTEM", "1");
    Program::start(&mut command).ended()
}

#[test]
fn a_browser_browses() {
    if !is_installed("nginx") || !is_installed("chromium") {
        return;
    }
    let site = Site::new();
    let page = "<!doctype html><title>t</title><p id=p>before</p><script src=/s.js></script>";
    site.write("index.html", page);
    site.write(
        "s.js",
        "document.getElementById('p').textContent = 'by ' + location.host",
    );
    let dir = site.path("");
    let _nginx = nginx(&site, "", &format!("root {};", dir.display()));
    let (proxy, web) = Proxy::beside_web(&site, Mode::Out, "socks5", "");
    let url = format!("http://localhost:{}/", web.port());
    let args = [
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        format!("--user-data-dir={}", site.path("profile").display()),
        format!("--proxy-server=socks5://{}", proxy.entrance),
        // Otherwise it goes to this machine itself.
        "--proxy-bypass-list=<-loopback>".to_owned(),
        "--dump-dom".to_owned(),
        url,
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let chromium = run_in(&site, "chromium", &args);
    let expected = format!("by localhost:{}", web.port());
    assert!(chromium.stdout.contains(&expected), "{chromium:?}");
}
