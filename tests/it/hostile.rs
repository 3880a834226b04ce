//! Peers that do not keep to the protocol. They are written with aioquic, in tests/hostile/; here is what
//! is to become of each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::python::python;
use crate::harness::sockets::{Target, join};
use crate::harness::tunnel::Mode;
use crate::harness::{PASSWORD, Program, Site};

/// Error codes of PROTOCOL.md's.
const LOGIN_REFUSED: u64 = 1;
const PROTOCOL: u64 = 2;
const NOT_ALLOWED: u64 = 0x15;
const BAD_HEADER: u64 = 0x18;

/// Error codes of QUIC's (RFC 9000, section 20.1).
const CONNECTION_REFUSED: &str = "transport 2";
const STREAM_LIMIT_ERROR: u64 = 4;

/// What no hostile client may make a server take more of.
const FLAT: u64 = 16 << 20;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile");

/// A server in hostile hands, which reaches a target that sends back what it gets.
struct Scene {
    python: PathBuf,
    site: Site,
    server: Program,
    server_addr: SocketAddr,
    echo: SocketAddr,
}

impl Scene {
    fn new() -> Option<Self> {
        Some(Self::with(python()?, &[]))
    }

    fn with(python: PathBuf, more: &[&str]) -> Self {
        let (site, echo) = (Site::new(), echo());
        let more = [more, &["--audit-log", "audit"]].concat();
        let server = site.server_with("127.0.0.1:0", &[echo], &more);
        let server_addr = server.server_addr();
        Self {
            python,
            site,
            server,
            server_addr,
            echo,
        }
    }

    fn start(&self, scenario: &str, args: &[&str]) -> Program {
        let mut command = Command::new(&self.python);
        command.arg(format!("{SCRIPTS}/scenarios.py")).arg(scenario);
        command.arg(self.server_addr.to_string()).args(args);
        // Nothing is to be written beside the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null());
        Program::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// What becomes of a scenario, which must not take the server more memory.
    fn play(&self, scenario: &str, args: &[&str]) -> Value {
        let before = self.memory();
        let outcome = outcome(self.start(scenario, args));
        let more = self.memory() - before;
        assert!(more < FLAT, "{scenario} took the server {more} bytes");
        outcome
    }

    #[cfg(target_os = "linux")]
    fn memory(&self) -> u64 {
        self.server.peak_memory()
    }

    #[cfg(not(target_os = "linux"))]
    fn memory(&self) -> u64 {
        0
    }

    /// Logs in as others do, and tells how long that took.
    fn good_login(&self) -> Duration {
        let target = Target::new();
        let began = Instant::now();
        let args = Mode::In.args(target.addr());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let client = self.site.client(self.server_addr, &args);
        client.line("connected to ");
        let took = began.elapsed();
        let entrance = client.addr(&Mode::In.announcement(target.addr()));
        join(entrance, &target);
        took
    }

    /// The audit log's lines of one event.
    fn audited(&self, event: &str) -> Vec<Value> {
        let log = String::from_utf8(self.site.read("audit")).expect("text");
        let lines = log.lines().map(|l| serde_json::from_str(l).expect("JSON"));
        lines
            .filter(|line: &Value| line["event"] == event)
            .collect()
    }
}

/// The one line of JSON that a scenario prints.
fn outcome(program: Program) -> Value {
    let ended = program.ended();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("a line of JSON")
}

/// A target whose visitors get back what they send.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut visitor in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(n @ 1..) = visitor.read(&mut buffer) {
                    if visitor.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    addr
}

/// The same over UDP, and how many packets have come to it.
fn udp_echo() -> (String, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let addr = socket.local_addr().expect("an address").to_string();
    let heard = Arc::<AtomicUsize>::default();
    let count = heard.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            count.fetch_add(1, Relaxed);
            let _ = socket.send_to(&buffer[..n], from);
        }
    });
    (addr, heard)
}

/// Closed by the server, in the protocol's own words.
fn assert_closed(end: &Value, code: u64) {
    assert_eq!(
        (&end["kind"], &end["code"]),
        (&json!("application"), &json!(code)),
        "{end}"
    );
}

/// Closed at the deadline for a login, 5 s; a busy machine may be late, never early.
fn assert_closed_at_deadline(end: &Value) {
    assert_closed(end, 0);
    let after = end["after"].as_f64().expect("seconds");
    assert!((4.0..9.0).contains(&after), "closed after {after} s");
}

#[test]
fn a_handshake_without_login() {
    let Some(scene) = Scene::new() else { return };
    assert_closed_at_deadline(&scene.play("silence", &[]));
    assert_eq!(scene.audited("refused")[0]["why"], "no login in time");
}

#[test]
fn a_login_at_one_byte_a_second() {
    let Some(scene) = Scene::new() else { return };
    assert_closed_at_deadline(&scene.play("a_byte_a_second", &[PASSWORD]));
}

#[test]
fn logins_that_are_none() {
    let Some(scene) = Scene::new() else { return };
    let ends = scene.play("malformed", &[PASSWORD]);
    let ends = ends.as_object().expect("an end of each");
    assert_eq!(ends.len(), 11);
    for (name, end) in ends {
        println!("{name}: {end}");
        assert_closed(end, PROTOCOL);
    }
    assert_eq!(scene.audited("refused").len(), ends.len());
    scene.good_login();
}

#[test]
fn a_login_of_another_version() {
    let Some(scene) = Scene::new() else { return };
    let end = scene.play("other_version", &[]);
    // The alert no_application_protocol (RFC 9001, section 4.8).
    assert_eq!(end["code"], 0x100 + 120, "{end}");
}

#[test]
fn what_is_allowed_before_login() {
    let Some(scene) = Scene::new() else { return };
    let outcome = scene.play("beyond_limits", &[PASSWORD]);
    assert_eq!(outcome["limits"], json!([64 * 1024, 1, 0]));
    let ends = &outcome["ends"];
    for stream in ["second stream", "unidirectional stream"] {
        assert_eq!(ends[stream]["kind"], "transport", "{ends}");
        assert_eq!(ends[stream]["code"], STREAM_LIMIT_ERROR, "{ends}");
    }
    assert_ne!(ends["many bytes"]["code"], 0, "{ends}");
    assert_ne!(ends["datagram"]["code"], 0, "{ends}");
}

#[test]
fn streams_opened_and_reset() {
    let Some(scene) = Scene::new() else { return };
    let echo = scene.echo.to_string();
    let outcome = scene.play("churn", &[PASSWORD, &echo, "5000"]);
    assert_eq!(outcome, json!({"opened": 5000, "echo": true}));
    scene.good_login();
}

#[test]
fn a_slow_head_of_a_flow() {
    let Some(scene) = Scene::new() else { return };
    let outcome = scene.play("slow_head", &[PASSWORD, &scene.echo.to_string()]);
    assert_eq!(outcome["resets"], json!(vec![BAD_HEADER; 3]));
    let after = outcome["after"].as_f64().expect("seconds");
    assert!((9.0..15.0).contains(&after), "reset after {after} s");
}

/// What comes back for it has no room in what it takes, and nobody else notices.
#[test]
fn datagrams_of_one_byte() {
    let Some(python) = python() else { return };
    let (over_udp, heard) = udp_echo();
    let scene = Scene::with(python, &["--downstream", &format!("udp://{over_udp}")]);
    let args = [PASSWORD, &scene.echo.to_string(), &over_udp];
    assert_eq!(
        scene.play("smallest_datagrams", &args),
        json!({"echo": true, "datagrams": 0})
    );
    assert!(heard.load(Relaxed) > 0, "no datagram reached the target");
    scene.good_login();
}

/// Of one source's handshakes 8 go on at once, some more when they have proved their address, and the
/// rest are not answered; others log in meanwhile.
#[test]
fn a_crowd_from_one_source() {
    let Some(scene) = Scene::new() else { return };
    let crowd = scene.start("crowd", &["48"]);
    let counts: Value = serde_json::from_str(&crowd.line("inside")).expect("a line of JSON");
    let took = scene.good_login();
    println!("{counts}; beside them a login took {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let [inside, proved] = ["inside", "proved"].map(|name| counts[name].as_u64());
    let (inside, proved) = (inside.expect("a number"), proved.expect("a number"));
    assert!((9..=32).contains(&inside), "{counts}");
    assert!(inside - proved <= 8, "{counts}");
}

#[test]
fn a_proof_on_a_second_connection() {
    let Some(scene) = Scene::new() else { return };
    let outcome = scene.play("replay", &[PASSWORD]);
    // Welcome, with no tunnels.
    assert_eq!(outcome["first"], "02000000020000");
    assert_closed(&outcome["second"], LOGIN_REFUSED);
}

#[test]
fn a_hundred_wrong_passwords() {
    let Some(scene) = Scene::new() else { return };
    let guessing = scene.start("wrong_passwords", &["127.0.0.2", "100"]);
    scene.server.line("event=\"penalty\"");
    let took = scene.good_login();
    let ends = outcome(guessing);
    println!("{ends}; beside them a login took {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let refused = ends[format!("application {LOGIN_REFUSED}")].as_u64();
    let refused = refused.expect("some that got as far");
    // Three are free, two more were under way.
    assert!((4..=10).contains(&refused), "{ends}");
    assert_eq!(ends[CONNECTION_REFUSED], 100 - refused, "{ends}");
    let penalties = scene.audited("penalty");
    assert!(!penalties.is_empty() && penalties.len() as u64 <= refused);
    for line in scene.audited("refused").iter().chain(&penalties) {
        let from = line["from"].as_str().expect("an address");
        assert!(from.starts_with("127.0.0.2:"), "{line}");
    }
}

/// What strangers can have written to the disk is bounded, however many they are.
#[test]
fn guesses_from_everywhere() {
    let Some(scene) = Scene::new() else { return };
    let outcome = scene.play("guesses_from_everywhere", &["100"]);
    assert_eq!(outcome["refused"], 100);
    // Thirty in a minute; the minute may have ended in between.
    let written = scene.audited("refused").len();
    assert!((30..=60).contains(&written), "{written} lines");
    scene.server.nth_line(written, "login refused");
    assert_eq!(scene.server.count("login refused"), written);
}

#[test]
fn targets_that_are_not_listed() {
    let Some(scene) = Scene::new() else { return };
    let secret = Target::new();
    let (echo, port) = (scene.echo.to_string(), secret.port());
    let others = [
        secret.addr().to_string(),
        format!("0.0.0.0:{port}"),
        format!("[::]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[64:ff9b::7f00:1]:{port}"),
        "169.254.169.254:80".to_owned(),
        "[::ffff:169.254.169.254]:80".to_owned(),
        "[fd00:ec2::254]:80".to_owned(),
    ];
    let mut args = vec![PASSWORD, &echo];
    args.extend(others.iter().map(String::as_str));
    let outcome = scene.play("unlisted_targets", &args);
    assert_eq!(outcome["echo"], true);
    assert_eq!(outcome["wanted"], others.len() + 2);
    assert_eq!(
        outcome["resets"],
        json!(vec![NOT_ALLOWED; others.len() + 2])
    );
}

/// A flow of datagrams goes where it went first, whatever its later introductions say.
#[test]
fn datagrams_that_switch_their_target() {
    let Some(python) = python() else { return };
    let ((there, _), (other, secret)) = (udp_echo(), udp_echo());
    let downstream = format!("udp://{there}");
    let scene = Scene::with(python, &["--downstream", &downstream]);
    let outcome = scene.play("switched_datagrams", &[PASSWORD, &there, &other]);
    let not_allowed = format!("{NOT_ALLOWED:02x}");
    for (name, answer) in [
        ("allowed", "70696e67"),
        ("switched", "706f6e67"),
        ("unlisted", &not_allowed),
        ("through", &not_allowed),
        ("no tunnel", &not_allowed),
        ("not introduced", ""),
    ] {
        assert_eq!(outcome[name], answer, "{name}: {outcome}");
    }
    assert_eq!(secret.load(Relaxed), 0, "what is not listed was reached");
}

#[test]
fn nothing_comes_before_a_handshake() {
    let Some(scene) = Scene::new() else { return };
    let outcome = scene.play("early_data", &[PASSWORD]);
    let early = outcome["early"].as_array().expect("a list of tickets");
    assert!(!early.is_empty(), "no ticket to look at");
    for bytes in early {
        assert!(bytes.is_null() || *bytes == 0, "0-RTT is on: {outcome}");
    }
}

/// The certificate is the trusted one, its key is not.
#[test]
fn another_key_for_the_certificate() {
    let Some(python) = python() else { return };
    let site = Site::new();
    let mut command = Command::new(python);
    command.arg(format!("{SCRIPTS}/impostor.py"));
    command.arg(site.path("certificate.der"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let impostor = Program::start(command.stderr(Stdio::piped()));
    let client = site.client(impostor.server_addr(), &["-L", "127.0.0.1:0^8800"]);
    let ended = client.ended();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.error().contains("certificate"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("connected to "), "{}", ended.stderr);
    impostor.line("turned down");
    assert_eq!(impostor.count("taken in") + impostor.count("was told"), 0);
}
