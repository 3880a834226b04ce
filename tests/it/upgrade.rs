//! A server that is replaced by a new process while it serves (SIGUSR2): nobody is refused, and what is open goes on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::sockets::{
    Target, assert_joined, join, receive, receive_all, send, steady_port, visit,
};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::web::{in_path, nginx};
use crate::harness::{DEADLINE, PASSWORD, Program, Signal, Site, is_installed};

in_both_modes!(
    nobody_is_refused,
    what_is_open_goes_on,
    a_process_that_fails_replaces_nobody,
);

/// Says when a new process has taken the place of the `n`th, and that one has ended.
fn replace(server: &Program, client: &Program, n: usize) {
    server.signal(Signal::Replace);
    server.nth_line(n, "serves new clients from now on");
    client.nth_line(n + 1, "connected to ");
    server.nth_line(n, "the process before this one has ended");
}

/// Each request of wrk's is a connection of its own, and the server is replaced twice meanwhile.
fn nobody_is_refused(mode: Mode) {
    if !is_installed("nginx") || !is_installed("wrk") {
        return;
    }
    let site = Site::new();
    let _nginx = nginx(&site, "", "location / { return 200 hello; }");
    let web = site.unix("web.sock");
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", &web]);
    let (flag, mapping, part) = match mode {
        Mode::Out => ("-L", format!("127.0.0.1:0^{web}"), ": listening on "),
        Mode::In => (
            "-R",
            format!("{web}^127.0.0.1:0"),
            ": the server listens on ",
        ),
    };
    let addr = server.server_addr();
    let mut client = site.client(addr, &[flag, &mapping]);
    let mut entrance = client.entrance(part);
    if mode == Mode::In {
        // A port of its own, for the next process is to have the same.
        drop(client);
        let mapping = format!("{web}^{entrance}");
        client = site.client(addr, &[flag, &mapping]);
        entrance = client.entrance(part);
    }
    let url = format!("http://{entrance}/");
    let wrk = [
        "-t1",
        "-c8",
        "-d8s",
        "--timeout",
        "30s",
        "-H",
        "Connection: close",
    ];
    let mut command = in_path("wrk");
    let wrk = Program::start(command.args(wrk).arg(&url));
    wrk.line("Running ");
    for n in 1..=2 {
        wrk.give_time_to_end(Duration::from_secs(1));
        replace(&server, &client, n);
    }
    let ended = wrk.ended();
    println!("{mode:?}: {}", ended.stdout);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stdout.contains("Socket errors"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("Non-2xx"), "{}", ended.stdout);
    assert!(ended.stdout.contains("requests in"), "{}", ended.stdout);
}

fn what_is_open_goes_on(mode: Mode) {
    let tunnel = Tunnel::with(mode, &["--drain", "600"]);
    let (visitor, target) = tunnel.flow();
    tunnel.server.signal(Signal::Replace);
    tunnel.server.line("serves new clients from now on");
    tunnel.client.nth_line(2, "connected to ");
    // Both at once: the old flow in the old process, new ones in the new.
    assert_joined(&visitor, &target);
    // Port 0 is another each time that a client asks for it; the client's own stays.
    let nth = if mode == Mode::In { 2 } else { 1 };
    let announcement = mode.announcement(tunnel.target.addr());
    let entrance = tunnel.client.nth_addr(nth, &announcement);
    let (other, other_target) = join(entrance, &tunnel.target);
    assert_joined(&visitor, &target);
    // A third has to wait.
    tunnel.server.signal(Signal::Replace);
    tunnel
        .server
        .line("the process before this one has not ended yet");
    drop((visitor, target));
    tunnel.server.line("the process before this one has ended");
    assert_joined(&other, &other_target);
}

/// What is wrong with the configuration by now is told, and the process that runs goes on.
fn a_process_that_fails_replaces_nobody(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let away = tunnel.site.path("away");
    let key = tunnel.site.path("priv_key.der");
    fs::rename(&key, &away).expect("a key to take away");
    tunnel.server.signal(Signal::Replace);
    tunnel.server.line("error: ");
    tunnel
        .server
        .line("no process takes this one's place, which goes on");
    tunnel.flow();
    assert_eq!(tunnel.client.count("connected to "), 1);
}

/// The file by whose name the server was started may be another by then, and systemd knows which process is the
/// service.
#[test]
fn the_new_process_is_of_the_new_file() {
    let (site, target) = (Site::new(), Target::new());
    let manager = UnixDatagram::bind(site.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut command = site.command("rstund");
    command.env("NOTIFY_SOCKET", site.path("notify"));
    command.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
    command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    let server = Program::start(&mut command);
    let [flag, mapping] = Mode::In.args(target.addr());
    let client = site.client(server.server_addr(), &[&flag, &mapping]);
    client.line("connected to ");

    let binary = fs::canonicalize(site.path("rstund")).expect("the binary");
    fs::copy(binary, site.path("new")).expect("a new binary");
    fs::remove_file(site.path("rstund")).expect("the old one gone");
    fs::rename(site.path("new"), site.path("rstund")).expect("the new one there");
    replace(&server, &client, 1);
    let process = server.successors()[0];
    let file = fs::read_link(format!("/proc/{process}/exe")).expect("a process");
    assert_eq!(file, site.path("rstund"));
    let wanted = format!("MAINPID={process}\n");
    let mut heard = String::new();
    while heard != wanted {
        let mut message = [0; 4096];
        let n = match manager.recv(&mut message) {
            // With a timeout a signal to this process cuts it short.
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            received => received.expect("a notification"),
        };
        heard = String::from_utf8_lossy(&message[..n]).into_owned();
    }
    let entrance = client.nth_addr(2, &Mode::In.announcement(target.addr()));
    join(entrance, &target);
}

/// Says that it hangs when it is offered what clients listen on.
const HANGS: &str = r#"#!/usr/bin/env python3
import socket, time
server = socket.socket(fileno=0)
while offer := server.recv(65536):
    if b'"all"' in offer or b'"port"' in offer:
        print("it hangs", flush=True)
        time.sleep(600)
    server.send(b'{"taken":true}\n')
"#;

/// A process that takes its time to take over keeps nobody out.
#[test]
fn a_process_that_hangs_keeps_nobody_waiting() {
    if !is_installed("python3") {
        return;
    }
    let tunnel = Tunnel::new(Mode::In);
    fs::remove_file(tunnel.site.path("rstund")).expect("the binary gone");
    tunnel.site.write("rstund", HANGS);
    tunnel.site.set_mode("rstund", 0o700);
    tunnel.server.signal(Signal::Replace);
    tunnel.server.line("it hangs");
    let begun = Instant::now();
    let args = Mode::Out.args(tunnel.target.addr());
    let other = tunnel
        .site
        .client(tunnel.server_addr, &args.each_ref().map(String::as_str));
    let entrance = other.entrance(&Mode::Out.announcement(tunnel.target.addr()));
    join(entrance, &tunnel.target);
    // It is waited for 20 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "{begun:?}");
    tunnel.flow();
    let process = tunnel.server.successors()[0];
    let kill = Command::new("kill")
        .args(["-9", &process.to_string()])
        .status();
    assert!(kill.expect("kill").success());
    tunnel
        .server
        .line("no process takes this one's place, which goes on");
    tunnel.flow();
}

/// Asks for something by HTTP on a connection, and returns the whole answer once that is there.
fn get(connection: &TcpStream, path: &str, head: &str) -> String {
    send(
        connection,
        format!("GET {path} HTTP/1.1\r\nhost: here\r\n{head}\r\n"),
    );
    let mut answer = String::new();
    let length = |answer: &str| {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let (_, length) = head.split_once("content-length: ")?;
        let length: usize = length.lines().next()?.parse().ok()?;
        Some((length, body.len()))
    };
    while length(&answer).is_none_or(|(length, so_far)| so_far < length) {
        answer += &String::from_utf8_lossy(&receive(connection, 1));
    }
    answer
}

/// While the old process still has flows it is the new one that says how the server is.
#[test]
fn the_new_process_alone_answers_by_http() {
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, steady_port()));
    let args = ["--metrics", &web.to_string()];
    let tunnel = Tunnel::with_server(Mode::In, &args, &["--drain", "600"]);
    let _flow = tunnel.flow();
    let token = tunnel.site.read(".local/state/rstun/metrics-token");
    let token = String::from_utf8_lossy(&token).trim().to_owned();
    let token = format!("authorization: Bearer {token}\r\n");
    let process = |connection: &TcpStream| {
        let answer = get(connection, "/status.json", &token);
        let (_, json) = answer.split_once("\r\n\r\n").expect("a body");
        let status: serde_json::Value = serde_json::from_str(json).expect("a status");
        status["pid"].as_u64().expect("a number")
    };
    let [asked, silent] = [(); 2].map(|()| visit(web));
    assert_eq!(process(&asked), u64::from(tunnel.server.id()));
    tunnel.server.signal(Signal::Replace);
    tunnel.server.line("serves new clients from now on");
    // Those who were there before are let go: after their answer, if they wait for one.
    assert_eq!(receive_all(&asked), b"");
    assert_eq!(process(&silent), u64::from(tunnel.server.id()));
    assert_eq!(receive_all(&silent), b"");
    let successor = tunnel.server.successors()[0];
    for _ in 0..20 {
        assert_eq!(process(&visit(web)), u64::from(successor));
    }
    assert_eq!(
        tunnel.server.count("the process before this one has ended"),
        0
    );
}

/// Only servers are replaced, and a client that is asked to is none the worse.
#[test]
fn a_client_says_that_it_is_none() {
    let tunnel = Tunnel::new(Mode::Out);
    tunnel.client.signal(Signal::Replace);
    tunnel.client.line("SIGUSR2 is for servers");
    tunnel.flow();
}
