//! Where UDP is blocked TCP carries the connection, and QUIC again as soon as it can.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::link::{Link, say};
use crate::harness::load::{Transfer, echo, end};
use crate::harness::proxy::Proxy;
use crate::harness::sockets::{Target, join, receive, reset, send, visit};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::web::head;
use crate::harness::{PASSWORD, Program, Site};

in_both_modes!(
    udp_blocked_at_the_start,
    udp_blocked_in_mid_run,
    back_to_quic_with_open_flows,
    a_visitor_is_served_beside_one_who_leaves_at_once,
);

/// What is promised for falling back, from the start or from when it was noticed; twice, for a machine that
/// is busy with other tests.
const FALLBACK: Duration = Duration::from_secs(2 * 3);

const AUTO: [&str; 2] = ["--transport", "auto"];

/// A link on which UDP can be blocked, if there may be one.
fn link() -> Option<Link> {
    Link::mostly_idle("delay=10 rate=100")
}

fn udp_blocked_at_the_start(mode: Mode) {
    let Some(link) = link().filter(Link::block_udp) else {
        return;
    };
    let start = Instant::now();
    let tunnel = Tunnel::over_with(&link, mode, &AUTO);
    let took = start.elapsed();
    say(&format!(
        "connected after {took:.2?}, and the server's start"
    ));
    assert!(took < FALLBACK, "{took:?}");
    assert_eq!(by_tcp(&tunnel.client), 1);
    let transfers = both_ways(&link, &tunnel);
    transfers.iter().for_each(|t| t.wait_for(4 << 20));
    end(transfers);
}

fn udp_blocked_in_mid_run(mode: Mode) {
    let Some(link) = link() else {
        return;
    };
    let tunnel = Tunnel::over_with(&link, mode, &AUTO);
    assert_eq!(by_tcp(&tunnel.client), 0);
    if !link.block_udp() {
        return;
    }
    tunnel.client.line("nothing heard from the server");
    let noticed = Instant::now();
    tunnel.client.nth_line(2, "connected to ");
    let took = noticed.elapsed();
    say(&format!("connected {took:.2?} after it was noticed"));
    assert!(took < FALLBACK, "{took:?}");
    assert_eq!(by_tcp(&tunnel.client), 1);
    let announcement = mode.announcement(tunnel.target.addr());
    let entrance = match mode {
        Mode::Out => tunnel.entrance,
        Mode::In => tunnel.client.nth_addr(2, &announcement),
    };
    link.at_visitor(mode, || join(entrance, &tunnel.target));
}

/// What is open is not cut, nobody is refused meanwhile, and a public port stays what it was.
fn back_to_quic_with_open_flows(mode: Mode) {
    let Some(link) = link().filter(Link::block_udp) else {
        return;
    };
    let tunnel = Tunnel::over_with(&link, mode, &AUTO);
    let transfers = both_ways(&link, &tunnel);
    link.unblock_udp();
    let start = Instant::now();
    let mut visitors = 0;
    while tunnel.client.count("connected to ") < 2 {
        link.at_visitor(mode, || tunnel.flow());
        visitors += 1;
        assert!(start.elapsed() < Duration::from_secs(60), "no QUIC");
    }
    let returned = start.elapsed();
    assert_eq!(by_tcp(&tunnel.client), 1);
    let before = transfers.each_ref().map(Transfer::arrived);
    for (transfer, before) in transfers.iter().zip(before) {
        transfer.wait_for(before + (4 << 20));
    }
    link.at_visitor(mode, || tunnel.flow());
    assert_eq!(tunnel.server.count("client gone"), 0);
    end(transfers);
    tunnel.server.line("client gone");
    link.at_visitor(mode, || tunnel.flow());
    say(&format!(
        "QUIC after {returned:.1?}, {visitors} visitors meanwhile"
    ));
}

/// As balancers do that look whether somebody listens.
fn a_visitor_is_served_beside_one_who_leaves_at_once(mode: Mode) {
    let site = Site::new();
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = target.local_addr().expect("an address");
    std::thread::spawn(move || target.incoming().flatten().for_each(echo));
    let server = site.server(&[addr]);
    let [flag, mapping] = mode.args(addr);
    let args = [&flag, &mapping, "--transport", "tcp"];
    let client = site.client(server.server_addr(), &args);
    client.line("connected to ");
    let entrance = client.entrance(&mode.announcement(addr));
    for _ in 0..200 {
        let visitor = visit(entrance);
        send(&visitor, "word");
        reset(visit(entrance));
        assert_eq!(receive(&visitor, 4), b"word");
    }
}

/// Through a proxy that wants a password or does not, named by a flag or by the environment.
#[test]
fn through_a_proxy() {
    let site = Site::new();
    site.write("users", "visitor:p@ss word\n");
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let addr = server.server_addr();
    let open = Proxy::new(&site, Mode::Out, "http");
    let option = format!("?auth={}", site.path("users").display());
    let closed = Proxy::with(&site, Mode::Out, "http", &option, &[]);
    let tunnel = Mode::Out.args(target.addr());
    for (url, variable) in [
        (format!("http://{}", open.entrance), None),
        (
            format!("http://visitor:p%40ss%20word@{}", closed.entrance),
            None,
        ),
        (format!("http://{}", open.entrance), Some("HTTPS_PROXY")),
        (
            format!("http://visitor:p%40ss%20word@{}", closed.entrance),
            Some("RSTUN_PROXY"),
        ),
    ] {
        let client = proxied(&site, &addr.to_string(), &url, variable, &tunnel);
        let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
        assert_eq!(by_tcp(&client), 1);
        join(entrance, &target);
        assert_eq!(client.count("p%40ss") + client.count("p@ss"), 0);
    }
    // By a name that only the proxy need know, and a password that is wrong.
    let url = format!("http://visitor:wrong@{}", closed.entrance);
    let client = proxied(&site, "server.invalid:6060", &url, None, &tunnel);
    let line = client.line("cannot connect to server.invalid:6060: proxy ");
    assert!(
        line.contains("it wants another user and password"),
        "{line}"
    );
    assert!(!line.contains("wrong"), "{line}");
}

/// One that says again and again that its answer is to follow, as fast as it can, is given no more time
/// than another.
#[test]
fn a_proxy_that_never_answers_is_named_in_time() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = proxy.local_addr().expect("an address");
    let flood = std::thread::spawn(move || {
        let (mut client, _) = proxy.accept().expect("a client");
        head(&client);
        let word = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        while client.write_all(&word).is_ok() {}
    });
    let site = Site::new();
    let url = format!("http://{addr}");
    let start = Instant::now();
    let more = ["-L", "127.0.0.1:0^1"].map(String::from);
    let client = proxied(&site, "server.invalid:6060", &url, None, &more);
    client.line(&format!(
        "proxy {addr}: no connection through it within 5 s"
    ));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2 * 5), "{took:?}");
    flood.join().expect("the client has gone");
}

/// A client that goes by TCP through a proxy, which it is told of by a flag or a variable.
fn proxied(
    site: &Site,
    server: &str,
    url: &str,
    variable: Option<&str>,
    more: &[String],
) -> Program {
    let mut command = site.command("rstunc");
    command.args(["--server-addr", server, "--transport", "tcp"]);
    command.args(["--password", PASSWORD, "--cert", "certificate.der"]);
    match variable {
        Some(variable) => command.env(variable, url),
        None => command.args(["--proxy", url]),
    };
    Program::start(command.args(more))
}

/// How often a client has connected by TCP.
fn by_tcp(client: &Program) -> usize {
    client.count(" by TCP")
}

fn both_ways(link: &Link, tunnel: &Tunnel) -> [Transfer; 2] {
    let (visitor, target) = link.at_visitor(tunnel.mode, || tunnel.flow());
    [
        Transfer::new(&visitor, &target),
        Transfer::new(&target, &visitor),
    ]
}
