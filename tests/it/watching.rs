//! How a program can be watched: `rstun status`, metrics, the status page and health, after real traffic.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::sockets::{finish, join, receive, send};
use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{DEADLINE, Ended, Program, Site, is_installed};

/// What goes through each tunnel here, up and down.
const UP: usize = 300_000;
const DOWN: usize = 70_001;

const WATCHED: &[&str] = &["--metrics", "0", "--health", "0"];

/// A tunnel through which one flow has gone, and another is open.
struct Watched {
    tunnel: Tunnel,
    _open: (TcpStream, TcpStream),
}

impl Watched {
    fn new(mode: Mode) -> Self {
        let tunnel = Tunnel::with(mode, WATCHED);
        let (visitor, end) = join(tunnel.entrance, &tunnel.target);
        send(&visitor, vec![1; UP]);
        assert_eq!(receive(&end, UP).len(), UP);
        send(&end, vec![2; DOWN]);
        assert_eq!(receive(&visitor, DOWN).len(), DOWN);
        finish(&visitor);
        finish(&end);
        let open = tunnel.flow();
        Self {
            tunnel,
            _open: open,
        }
    }

    fn http(&self, program: &Program) -> SocketAddr {
        let line = program.line("status page at http://");
        let (_, rest) = line.split_once("http://").expect("an address");
        let addr = rest.split('/').next().expect("an address");
        addr.parse().expect("an address")
    }

    fn token(&self) -> String {
        let bytes = self.tunnel.site.read(".local/state/rstun/metrics-token");
        String::from_utf8(bytes).expect("text").trim().to_owned()
    }

    fn status(&self, role: &str, more: &[&str]) -> Ended {
        let program = match role {
            "server" => &self.tunnel.server,
            _ => &self.tunnel.client,
        };
        let pid = program.id().to_string();
        let site = &self.tunnel.site;
        let mut command = site.command("rstun");
        site.run(command.args(["status", "--pid", &pid]).args(more))
    }

    /// A snapshot that satisfies a condition, which it does soon.
    fn json(&self, role: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let ended = self.status(role, &["--json"]);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
            if wanted(&json) {
                return json;
            }
            assert!(Instant::now() < deadline, "{json:#}");
        }
    }
}

/// Asks for a page, and returns its head and its body.
fn get(addr: SocketAddr, path: &str, headers: &str) -> (String, String) {
    let mut socket = TcpStream::connect(addr).expect("a listener for HTTP");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn with(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// After one flow, while another is open.
#[test]
fn status_counts_bytes_and_flows_on_both_sides() {
    for mode in [Mode::Out, Mode::In] {
        let watched = Watched::new(mode);
        let settled = |json: &Value| {
            let tunnel = &json["tunnels"][0];
            tunnel["flows_open"] == 1 && tunnel["flows_total"] == 2
        };
        let client = watched.json("client", settled);
        let server = watched.json("server", settled);
        let bytes = |json: &Value, way: &str| json["tunnels"][0][way].as_u64().expect("a number");
        let (listening, dialing) = match mode {
            Mode::Out => (&client, &server),
            Mode::In => (&server, &client),
        };
        let (up, down) = (
            bytes(listening, "sent_bytes"),
            bytes(listening, "received_bytes"),
        );
        assert_eq!(bytes(dialing, "received_bytes"), up);
        assert_eq!(bytes(dialing, "sent_bytes"), down);
        // Each flow is greeted with hello and ping, and with pong.
        assert_eq!((up, down), (UP as u64 + 2 * 9, DOWN as u64 + 2 * 4));
        for (json, role) in [(&client, "client"), (&server, "server")] {
            assert_eq!(json["schema"], 1);
            assert_eq!(json["role"], role);
            assert_eq!(json["not_ready"], Value::Null);
            assert_eq!(json["counters"]["logins"]["accepted"], 1);
            let session = &json["sessions"][0];
            assert_eq!(session["transport"], "quic");
            assert!(session["rtt_seconds"].as_f64().expect("a time") > 0.0);
            assert!(session["cwnd_bytes"].as_u64().expect("bytes") > 0);
        }
        let text = watched.status("client", &[]).stdout;
        assert!(text.contains("TUNNEL") && text.contains("300 kB"), "{text}");
    }
}

#[test]
fn metrics_are_what_prometheus_reads_and_the_dashboard_names() {
    let watched = Watched::new(Mode::In);
    let token = watched.token();
    let dashboard = include_str!("../../examples/grafana.json");
    let _: Value = serde_json::from_str(dashboard).expect("JSON");
    for program in [&watched.tunnel.server, &watched.tunnel.client] {
        let addr = watched.http(program);
        let (head, text) = get(addr, "/metrics", &with(&token));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        if is_installed("promtool") {
            promtool(&text);
        }
        let named = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<_> = named.filter(|word| word.starts_with("rstun_")).collect();
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
        }
        let accept = format!("{}accept: application/openmetrics-text\r\n", with(&token));
        let (head, text) = get(addr, "/metrics", &accept);
        assert!(head.contains("application/openmetrics-text"), "{head}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}

fn promtool(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn without_the_token_nothing_is_told() {
    let watched = Watched::new(Mode::Out);
    let addr = watched.http(&watched.tunnel.client);
    let token = watched.token();
    for path in ["/metrics", "/status.json"] {
        for headers in [
            "",
            &with("wrong"),
            &with(""),
            "authorization: Basic eDp5\r\n",
        ] {
            let (head, body) = get(addr, path, headers);
            assert!(head.starts_with("HTTP/1.1 401"), "{path} {headers}: {head}");
            assert!(!body.contains("TunnelOut"), "{body}");
        }
        let (head, body) = get(addr, path, &with(&token));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(body.contains("TunnelOut"), "{body}");
        // What an address holds is kept in histories and logs.
        let (head, _) = get(addr, &format!("{path}?token={token}"), "");
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    }
    for program in [&watched.tunnel.server, &watched.tunnel.client] {
        assert_eq!(program.count(&token), 0, "the token is in the log");
    }
}

#[test]
fn health_follows_the_session() {
    let watched = Watched::new(Mode::Out);
    let Watched { tunnel, .. } = &watched;
    let (server, client) = (watched.http(&tunnel.server), watched.http(&tunnel.client));
    for addr in [server, client] {
        for path in ["/healthz", "/readyz"] {
            let (head, body) = get(addr, path, "");
            assert!(
                head.starts_with("HTTP/1.1 200") && body == "ok\n",
                "{head} {body}"
            );
        }
    }
    let Watched { tunnel, .. } = watched;
    tunnel.server.kill();
    tunnel.client.line("nothing heard from the server");
    let (head, body) = get(client, "/readyz", "");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(body.contains("nothing is heard"), "{body}");
    let (head, _) = get(client, "/healthz", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

/// Connections that say nothing do not keep others out.
#[test]
fn the_idle_give_way() {
    let watched = Watched::new(Mode::Out);
    let addr = watched.http(&watched.tunnel.client);
    let _idle: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(addr).expect("a connection"))
        .collect();
    let began = Instant::now();
    let (head, _) = get(addr, "/healthz", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_taken_address_is_an_error_that_names_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    let site = Site::new();
    for flag in ["--metrics", "--health"] {
        let server = site.server_with("127.0.0.1:0", &[], &[flag, &addr]);
        let ended = server.ended();
        assert_eq!(ended.code, 1);
        assert!(
            ended.error().contains(&format!("{flag} {addr}")),
            "{}",
            ended.error()
        );
    }
}

#[test]
fn the_page_shows_the_numbers_in_a_browser() {
    if !is_installed("chromium") {
        return;
    }
    let watched = Watched::new(Mode::In);
    let addr = watched.http(&watched.tunnel.server);
    let site = &watched.tunnel.site;
    let url = |token: &str| format!("http://{addr}/#{token}");
    let browse = |url: String| {
        let mut command = Command::new("chromium");
        site.within(&mut command).args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=4000",
            "--dump-dom",
            &format!("--user-data-dir={}", site.path("profile").display()),
            &url,
        ]);
        Program::start(&mut command).ended().stdout
    };
    let shown = browse(url(&watched.token()));
    for part in ["password: TunnelIn", "300 kB", "ready", "polyline"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let shown = browse(url("wrong"));
    assert!(
        shown.contains("wrong token") && !shown.contains("TunnelIn"),
        "{shown}"
    );
}
