//! HTTP proxies, `-D http://` and `-R http^`: CONNECT, and requests with whole URLs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::proxy::Proxy;
use crate::harness::sockets::{
    ClosedPort, Target, assert_joined, assert_reset, finish, receive, receive_all, reset, send,
    visit,
};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::web::{curl, head, nginx};
use crate::harness::{Signal, Site, is_installed};

in_both_modes!(
    a_tunnel_carries_all,
    failures_are_told_apart,
    a_target_knows_for_whom_it_answers,
    a_password_is_asked_for,
    a_body_in_chunks_waits_to_be_wanted,
    an_upgrade_goes_through,
    an_answer_that_breaks_off_looks_broken,
    two_hundred_at_once,
);

/// Goes in and sends a request's head.
fn ask(proxy: &Proxy, request: &str) -> TcpStream {
    let visitor = visit(proxy.entrance);
    send(&visitor, format!("{request}\r\n\r\n"));
    visitor
}

/// Goes in, and through a tunnel of CONNECT's out at the target.
fn join(proxy: &Proxy, target: &Target) -> (TcpStream, TcpStream) {
    let visitor = ask(proxy, &format!("CONNECT {} HTTP/1.1", target.addr()));
    let answer = head(&visitor);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let end = target.accept();
    assert_joined(&visitor, &end);
    (visitor, end)
}

fn a_tunnel_carries_all(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "http");
    let target = Target::new();

    let early = [b'e'; 9000];
    let request = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", target.addr());
    let visitor = visit(proxy.entrance);
    send(&visitor, [request.as_bytes(), &early].concat());
    let end = target.accept();
    assert_eq!(receive(&end, early.len()), early);
    assert!(head(&visitor).starts_with("HTTP/1.1 200 "));
    finish(&visitor);
    assert_eq!(receive_all(&end), b"");
    send(&end, b"still here");
    drop(end);
    assert_eq!(receive_all(&visitor), b"still here");

    // As netcat does it.
    let visitor = ask(&proxy, &format!("CONNECT {} HTTP/1.0", target.addr()));
    assert_eq!(head(&visitor).lines().next(), Some("HTTP/1.0 200 OK"));
    assert_joined(&visitor, &target.accept());

    let (visitor, end) = join(&proxy, &target);
    reset(end);
    assert_reset(&visitor);
    let (visitor, end) = join(&proxy, &target);
    reset(visitor);
    assert_reset(&end);
}

fn failures_are_told_apart(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "http");
    let closed = ClosedPort::new();
    let mut cases = vec![
        (closed.addr().to_string(), 502, "connection refused"),
        ("nowhere.invalid:80".to_owned(), 502, "does not resolve"),
        (format!("{}:9", Ipv4Addr::BROADCAST), 502, "unreachable"),
        ("127.0.0.1:0".to_owned(), 400, ""),
    ];
    if mode == Mode::Out {
        let elsewhere = format!("{}:1", Ipv4Addr::BROADCAST);
        cases.push((elsewhere, 403, "not allowed"));
    }
    for (target, status, says) in cases {
        let url = format!("http://{target}/");
        for request in [format!("CONNECT {target}"), format!("GET {url}")] {
            let visitor = ask(&proxy, &format!("{request} HTTP/1.1\r\nConnection: close"));
            let answer = String::from_utf8(receive_all(&visitor)).expect("text");
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{request}: {answer}");
            assert!(answer.contains(says), "{request}: {answer}");
        }
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a", 400),
        ("GET https://localhost/ HTTP/1.1", 400),
        ("TRACE http://localhost/ HTTP/1.1", 405),
        ("no request at all", 400),
        ("GET http://localhost/ HTTP/1.1\r\n: none", 400),
    ] {
        let answer = head(&ask(&proxy, request));
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{request}: {answer}");
    }
    if is_installed("curl") {
        let (entrance, url) = (
            proxy.entrance.to_string(),
            format!("http://{}", closed.addr()),
        );
        let curl = curl(&["--proxytunnel", "--proxy", &entrance, &url]);
        assert_eq!(curl.code, 56);
        assert!(curl.stderr.contains("502"), "{}", curl.stderr);
    }
}

/// Two targets, one connection to the proxy, and what the first says of its visitor.
fn a_target_knows_for_whom_it_answers(mode: Mode) {
    if !is_installed("nginx") || !is_installed("curl") {
        return;
    }
    let site = Site::new();
    let _nginx = nginx(
        &site,
        "",
        "location / { return 200 \"$host $http_forwarded $http_via $http_x_own $http_connection\"; }",
    );
    let (proxy, web) = Proxy::beside_web(&site, mode, "http", "");
    let (entrance, port) = (proxy.entrance.to_string(), web.port());
    let [one, two] = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{port}/"));
    let connects = "|%{num_connects}|";
    let own = ["-H", "X-Own: secret", "-H", "Connection: X-Own"];
    let args = ["--proxy", &entrance, "-w", connects, &one, &two];
    let curl = curl(&[&own[..], &args].concat());
    let said = |host: &str| {
        format!("{host} for=127.0.0.1;host=\"{host}:{port}\";proto=http 1.1 rstun  close")
    };
    let expected = format!("{}|1|{}|0|\n", said("localhost"), said("127.0.0.1"));
    assert_eq!(curl.stdout, expected, "{}", curl.stderr);
}

fn a_password_is_asked_for(mode: Mode) {
    let site = Site::new();
    site.write("auth", "alice:hunter2\n");
    let proxy = Proxy::with(&site, mode, "http", "?auth=auth", &[]);
    let target = Target::new();
    let connect = format!("CONNECT {} HTTP/1.1", target.addr());
    // alice:hunter3
    for login in ["", "\r\nProxy-Authorization: Basic YWxpY2U6aHVudGVyMw=="] {
        let answer = head(&ask(&proxy, &format!("{connect}{login}")));
        assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
        let answer = answer.to_lowercase();
        assert!(
            answer.contains("\r\nproxy-authenticate: basic realm="),
            "{answer}"
        );
    }
    // alice:hunter2
    let login = "Proxy-Authorization: Basic YWxpY2U6aHVudGVyMg==";
    let visitor = ask(&proxy, &format!("{connect}\r\n{login}"));
    assert!(head(&visitor).starts_with("HTTP/1.1 200 "));
    assert_joined(&visitor, &target.accept());
    // It is not for the target.
    let get = format!("GET http://{}/ HTTP/1.1", target.addr());
    let visitor = ask(&proxy, &format!("{get}\r\n{login}"));
    let end = target.accept();
    assert!(!head(&end).to_lowercase().contains("authorization"));
    send(&end, b"HTTP/1.1 204 No Content\r\n\r\n");
    assert!(head(&visitor).starts_with("HTTP/1.1 204 "));
    for program in [&proxy.client, &proxy.server] {
        assert_eq!(program.count("hunter"), 0);
    }
}

fn a_body_in_chunks_waits_to_be_wanted(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "http");
    let target = Target::new();
    let post = format!("POST http://{}/ HTTP/1.1", target.addr());
    let expects = "Transfer-Encoding: chunked\r\nExpect: 100-continue";
    let visitor = ask(&proxy, &format!("{post}\r\n{expects}"));
    assert_eq!(head(&visitor), "HTTP/1.1 100 Continue\r\n\r\n");
    let body = b"5\r\nhello\r\n0\r\n\r\n";
    send(&visitor, body);
    let end = target.accept();
    assert!(head(&end).starts_with("POST / HTTP/1.1\r\n"));
    assert_eq!(receive(&end, body.len()), body);
    send(
        &end,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert!(head(&visitor).starts_with("HTTP/1.1 200 "));
    send(&end, body);
    assert_eq!(receive(&visitor, body.len()), body);
    // The visitor goes on, elsewhere.
    let target = Target::new();
    send(
        &visitor,
        format!("GET http://{}/ HTTP/1.0\r\n\r\n", target.addr()),
    );
    let end = target.accept();
    assert!(head(&end).starts_with("GET / HTTP/1.1\r\n"));
    send(
        &end,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    send(&end, body);
    let answer = String::from_utf8(receive_all(&visitor)).expect("text");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

fn an_upgrade_goes_through(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "http");
    let target = Target::new();
    let get = format!("GET http://{}/chat HTTP/1.1", target.addr());
    let visitor = ask(
        &proxy,
        &format!("{get}\r\nConnection: Upgrade\r\nUpgrade: websocket"),
    );
    let end = target.accept();
    let asked = head(&end).to_lowercase();
    assert!(asked.contains("\r\nupgrade: websocket\r\n"), "{asked}");
    assert!(asked.contains("\r\nconnection: upgrade\r\n"), "{asked}");
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket";
    send(&end, format!("{switch}\r\n\r\nearly"));
    assert!(head(&visitor).starts_with("HTTP/1.1 101 "));
    assert_eq!(receive(&visitor, 5), b"early");
    assert_joined(&visitor, &end);
    reset(end);
    assert_reset(&visitor);
}

fn an_answer_that_breaks_off_looks_broken(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "http");
    let target = Target::new();
    let get = format!("GET http://{}/ HTTP/1.1", target.addr());
    for framing in [
        "Content-Length: 10",
        "Transfer-Encoding: chunked",
        "Server: a",
    ] {
        let visitor = ask(&proxy, &get);
        let end = target.accept();
        head(&end);
        send(
            &end,
            format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n1\r\na\r\n"),
        );
        head(&visitor);
        receive(&visitor, 1);
        reset(end);
        let mut rest = Vec::new();
        let ended = (&visitor).read_to_end(&mut rest);
        assert!(ended.is_err(), "{framing}: {rest:?}");
    }
    // A visitor that leaves takes its target's connection with it.
    for leave in [reset, drop] {
        let visitor = ask(&proxy, &get);
        let end = target.accept();
        head(&end);
        leave(visitor);
        assert_reset(&end);
    }
}

fn two_hundred_at_once(mode: Mode) {
    let site = Site::new();
    let proxy = Proxy::new(&site, mode, "http");
    let target = Target::new();
    let addr = target.addr();
    let [tunnel, whole] = [
        format!("CONNECT {addr} HTTP/1.1\r\n\r\nGET / HTTP/1.1"),
        format!("GET http://{addr}/ HTTP/1.1"),
    ];
    let visitors = (0..200).map(|n| ask(&proxy, if n % 2 == 0 { &tunnel } else { &whole }));
    let visitors: Vec<TcpStream> = visitors.collect();
    let ends: Vec<TcpStream> = visitors.iter().map(|_| target.accept()).collect();
    for end in &ends {
        assert!(head(end).starts_with("GET / HTTP/1.1\r\n"));
        send(end, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
    for (n, visitor) in visitors.iter().enumerate() {
        let answers = if n % 2 == 0 { 2 } else { 1 };
        for _ in 0..answers {
            assert!(head(visitor).starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(receive(visitor, 2), b"ok");
    }
}

#[test]
fn who_does_not_finish_a_head_is_let_go() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "http");
    let start = Instant::now();
    let silent = visit(proxy.entrance);
    let halting = visit(proxy.entrance);
    send(&halting, b"GET http://localhost/ HTTP/1.1\r\nX:");
    assert_eq!(receive_all(&silent), b"");
    assert_eq!(receive_all(&halting), b"");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    join(&proxy, &Target::new());
}

#[test]
#[cfg(target_os = "linux")]
fn a_head_without_end_takes_little_memory() {
    const VISITORS: usize = 200;
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "http");
    join(&proxy, &Target::new());
    let before = proxy.client.peak_memory();
    let visitors: Vec<TcpStream> = (0..VISITORS)
        .map(|_| {
            let mut visitor = visit(proxy.entrance);
            let line = format!(
                "GET http://localhost/ HTTP/1.1\r\nX: {}",
                "x".repeat(30_000)
            );
            visitor.write_all(line.as_bytes()).expect("part of a head");
            visitor
        })
        .collect();
    for mut visitor in visitors {
        // What does not fit the socket's buffers is not taken once it is too much.
        let _ = visitor.write_all(&vec![b'x'; 1 << 20]);
        let mut answer = [0; 12];
        if visitor.read_exact(&mut answer).is_ok() {
            assert_eq!(&answer, b"HTTP/1.1 431");
        }
    }
    let grown = proxy.client.peak_memory() - before;
    assert!(grown < (VISITORS as u64 + 50) * 64 * 1024, "{grown} bytes");
    join(&proxy, &Target::new());
}

#[test]
fn a_malformed_body_is_not_held_against_the_target() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "http");
    let target = Target::new();
    for rest in [
        "Transfer-Encoding: chunked\r\n\r\nnone\r\n",
        "Content-Length: 5\r\n\r\nhe",
    ] {
        let visitor = visit(proxy.entrance);
        let line = format!("POST http://{}/ HTTP/1.1", target.addr());
        send(&visitor, format!("{line}\r\nHost: x\r\n{rest}"));
        let _reached = target.accept();
        finish(&visitor);
        let answer = String::from_utf8(receive_all(&visitor)).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[test]
fn noise_is_no_request() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "http");
    let mut random = fastrand::Rng::with_seed(1);
    for n in 0..200 {
        let visitor = visit(proxy.entrance);
        let mut noise = vec![0; n];
        random.fill(&mut noise);
        let beginning = &b"CONNECT [::1]:80 HTTP/1.1\r\nConnection: a"[..n % 40];
        send(&visitor, [beginning, &noise, b"\r\n\r\n"].concat());
        finish(&visitor);
        let mut answer = Vec::new();
        // It ends, in whatever way.
        let ended = (&visitor).take(10_000).read_to_end(&mut answer);
        assert!(ended.is_err() || answer.len() < 1000, "{answer:?}");
    }
    join(&proxy, &Target::new());
}

#[test]
fn without_a_session_a_visitor_is_told() {
    let site = Site::new();
    let proxy = Proxy::new(&site, Mode::Out, "http");
    proxy.server.signal(Signal::Terminate);
    assert_eq!(proxy.server.ended().code, 0);
    proxy.client.line("cannot connect to ");
    for request in [
        "CONNECT localhost:1 HTTP/1.1",
        "GET http://localhost/ HTTP/1.1",
    ] {
        let visitor = visit(proxy.entrance);
        send(&visitor, format!("{request}\r\n\r\n"));
        let answer = String::from_utf8(receive_all(&visitor)).expect("text");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}

#[test]
fn a_visitor_with_nothing_to_ask_does_not_hold_up_the_end() {
    let site = Site::new();
    let proxy = Proxy::with(&site, Mode::Out, "http", "", &["--drain", "60"]);
    let idle = ask(&proxy, "GET / HTTP/1.1");
    assert!(head(&idle).starts_with("HTTP/1.1 400 "));
    proxy.client.signal(Signal::Terminate);
    let start = Instant::now();
    assert_eq!(proxy.client.ended().code, 0);
    assert!(start.elapsed() < Duration::from_secs(50));
}
