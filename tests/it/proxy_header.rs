//! `?proxy=v1` and `?proxy=v2`: the target learns who its visitor is.

use std::net::{SocketAddr, TcpStream};

use crate::harness::sockets::{Target, assert_joined, receive, send, visit};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::web::{in_path, nginx, wait_for_socket};
use crate::harness::{Program, Site, is_installed};

in_both_modes!(
    a_line_comes_first,
    binary_comes_first,
    nginx_knows_its_visitor,
    haproxy_knows_its_visitor,
);

/// A tunnel that is up, and its entrance.
fn tunnel(site: &Site, mode: Mode, target: &str, option: &str) -> (Program, Program, SocketAddr) {
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", target]);
    let (flag, mapping, announcement) = match mode {
        Mode::Out => (
            "-L",
            format!("127.0.0.1:0^{target}{option}"),
            ": listening on ",
        ),
        Mode::In => (
            "-R",
            format!("{target}{option}^127.0.0.1:0"),
            ": the server listens on ",
        ),
    };
    let client = site.client(server.server_addr(), &[flag, &mapping]);
    let entrance = client.entrance(announcement);
    (server, client, entrance)
}

/// A flow whose target has read the header, which is to be `header(visitor, entrance)`.
fn assert_header(
    mode: Mode,
    option: &str,
    first: &[u8],
    header: impl Fn(SocketAddr, SocketAddr) -> Vec<u8>,
) {
    let site = Site::new();
    let target = Target::new();
    let (_server, _client, entrance) = tunnel(&site, mode, &target.addr().to_string(), option);
    let visitor = visit(entrance);
    send(&visitor, first);
    let end = target.accept();
    let expected = header(visitor.local_addr().expect("an address"), entrance);
    let expected = [&expected, first].concat();
    assert_eq!(receive(&end, expected.len()), expected);
    assert_joined(&visitor, &end);
}

fn a_line_comes_first(mode: Mode) {
    for first in [&b""[..], b"GET / HTTP/1.0\r\n\r\n"] {
        assert_header(mode, "?proxy=v1", first, |from, to| {
            let (from_port, to_port) = (from.port(), to.port());
            format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from_port} {to_port}\r\n").into_bytes()
        });
    }
}

fn binary_comes_first(mode: Mode) {
    for first in [&b""[..], b"hello"] {
        assert_header(mode, "?proxy=v2", first, |from, to| {
            let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01";
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()];
            [&head[..], &ports.concat()].concat()
        });
    }
}

/// Fetches through the tunnel what the web server behind it thinks of its visitor.
fn assert_known(site: &Site, mode: Mode) {
    for option in ["?proxy=v1", "?proxy=v2"] {
        let (_server, _client, entrance) = tunnel(site, mode, &site.unix("web.sock"), option);
        let visitor: TcpStream = visit(entrance);
        send(&visitor, b"GET / HTTP/1.0\r\n\r\n");
        let answer = crate::harness::sockets::receive_all(&visitor);
        let answer = String::from_utf8_lossy(&answer);
        let visitor = visitor.local_addr().expect("an address");
        assert!(answer.ends_with(&format!("visitor {visitor}")), "{answer}");
    }
}

fn nginx_knows_its_visitor(mode: Mode) {
    if !is_installed("nginx") {
        return;
    }
    let site = Site::new();
    let answer = "location / { return 200 \"visitor $proxy_protocol_addr:$proxy_protocol_port\"; }";
    let _nginx = nginx(&site, "proxy_protocol", answer);
    assert_known(&site, mode);
}

fn haproxy_knows_its_visitor(mode: Mode) {
    if !is_installed("haproxy") {
        return;
    }
    let site = Site::new();
    let dir = site.path("");
    let dir = dir.display();
    site.write(
        "haproxy.cfg",
        format!(
            "defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  \
             timeout connect 60s\nfrontend web\n  bind unix@{dir}/web.sock accept-proxy\n  \
             http-request return status 200 content-type text/plain \
             lf-string \"visitor %[src]:%[src_port]\"\n"
        ),
    );
    let mut haproxy = in_path("haproxy");
    haproxy.args(["-db", "-f"]).arg(site.path("haproxy.cfg"));
    let _haproxy = Program::start(&mut haproxy);
    wait_for_socket(&site);
    assert_known(&site, mode);
}
