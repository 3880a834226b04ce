//! What systemd is told, and what it gives: a socket for its notifications, and sockets to serve.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::sockets::{Target, join, steady_port};
use crate::harness::tunnel::Mode;
use crate::harness::{DEADLINE, PASSWORD, Program, Signal, Site};

/// The end of systemd's that hears what services say.
struct Manager(UnixDatagram);

impl Manager {
    fn new(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.path("notify")).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self(socket)
    }

    /// What a service says next.
    fn next(&self) -> String {
        let mut message = [0; 4096];
        let n = loop {
            match self.0.recv(&mut message) {
                // With a timeout a signal to this process cuts it short.
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.expect("a notification"),
            }
        };
        String::from_utf8_lossy(&message[..n]).trim_end().to_owned()
    }

    /// Waits until a service says this.
    fn hear(&self, wanted: &str) {
        while self.next() != wanted {}
    }

    /// Forgets what has been said, and waits for so long that nothing more is.
    fn hears_nothing_for(&self, time: Duration) -> bool {
        self.0.set_nonblocking(true).expect("an option");
        while self.0.recv(&mut [0; 1]).is_ok() {}
        self.0.set_nonblocking(false).expect("an option");
        self.0.set_read_timeout(Some(time)).expect("a timeout");
        let heard = self.0.recv(&mut [0; 1]).is_ok();
        self.0.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        !heard
    }
}

fn server(site: &Site, env: &[(&str, &str)]) -> Program {
    let mut command = site.command("rstund");
    command.env("NOTIFY_SOCKET", site.path("notify"));
    command.envs(env.iter().copied());
    Program::start(with_arguments(&mut command, "127.0.0.1:0"))
}

fn with_arguments<'a>(command: &'a mut Command, addr: &str) -> &'a mut Command {
    command.args(["--addr", addr, "--password", PASSWORD]);
    command.args(["--cert", "certificate.der", "--key", "priv_key.der"])
}

#[test]
fn a_server_says_how_things_are() {
    let (site, target) = (Site::new(), Target::new());
    let manager = Manager::new(&site);
    let server = server(&site, &[]);
    manager.hear("READY=1");
    let [flag, mapping] = Mode::In.args(target.addr());
    let client = site.client(server.server_addr(), &[&flag, &mapping]);
    manager.hear("STATUS=1 client");
    client.signal(Signal::Terminate);
    manager.hear("STATUS=0 clients");
    server.signal(Signal::Terminate);
    manager.hear("STOPPING=1");
    assert_eq!(server.ended().code, 0);
}

/// It is ready when it listens: to wait for a server is what it is for.
#[test]
fn a_client_says_how_things_are() {
    let (site, target) = (Site::new(), Target::new());
    let manager = Manager::new(&site);
    // Nobody is there at first.
    let socket = UdpSocket::bind(("127.0.0.1", steady_port())).expect("a port");
    let addr = socket.local_addr().expect("its address");
    let mut command = site.command("rstunc");
    command.env("NOTIFY_SOCKET", site.path("notify"));
    command.args(["--server-addr", &addr.to_string(), "--password", PASSWORD]);
    command.args(["--cert", "certificate.der"]);
    let client = Program::start(command.args(Mode::In.args(target.addr())));
    manager.hear("READY=1");
    manager.hear("STATUS=waiting for the server");
    drop(socket);
    let server = site.server_again(addr, &[]);
    manager.hear("STATUS=connected to the server");
    server.signal(Signal::Terminate);
    manager.hear("STATUS=waiting for the server");
    client.signal(Signal::Terminate);
    manager.hear("STOPPING=1");
    assert_eq!(client.ended().code, 0);
}

#[test]
fn the_watchdog_sees_a_program_that_turns_and_no_other() {
    const LIMIT: Duration = Duration::from_millis(600);
    let site = Site::new();
    let manager = Manager::new(&site);
    let limit = LIMIT.as_micros().to_string();
    let server = server(&site, &[("WATCHDOG_USEC", &limit)]);
    for _ in 0..5 {
        manager.hear("WATCHDOG=1");
    }
    server.signal(Signal::Stop);
    assert!(manager.hears_nothing_for(2 * LIMIT));
    server.signal(Signal::Continue);
    manager.hear("WATCHDOG=1");
}

#[test]
fn another_process_has_no_watchdog() {
    let site = Site::new();
    let manager = Manager::new(&site);
    let env = [("WATCHDOG_USEC", "30000"), ("WATCHDOG_PID", "1")];
    let server = server(&site, &env);
    manager.hear("READY=1");
    assert!(manager.hears_nothing_for(Duration::from_millis(300)));
    drop(server);
}

/// A server that is started with a socket as systemd passes it.
fn activated(site: &Site, socket: impl Into<OwnedFd>) -> Program {
    activated_at(site, socket, "127.0.0.1:0")
}

fn activated_at(site: &Site, socket: impl Into<OwnedFd>, addr: &str) -> Program {
    let script = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;
    let mut command = Command::new("sh");
    site.within(&mut command);
    command.args(["-c", script]).arg(site.path("rstund"));
    command.stdin(Stdio::from(socket.into()));
    Program::start(with_arguments(&mut command, addr))
}

#[test]
fn a_socket_that_is_passed_is_served() {
    let (site, target) = (Site::new(), Target::new());
    let socket = UdpSocket::bind(("127.0.0.1", steady_port())).expect("a port");
    let addr: SocketAddr = socket.local_addr().expect("its address");
    let server = activated(&site, socket);
    assert_eq!(server.server_addr(), addr);
    let [flag, mapping] = Mode::In.args(target.addr());
    let client = site.client(addr, &[&flag, &mapping]);
    let entrance = client.entrance(&Mode::In.announcement(target.addr()));
    join(entrance, &target);
}

#[test]
fn a_socket_of_no_use_is_an_error() {
    let site = Site::new();
    let (socket, _other) = UnixDatagram::pair().expect("a pair");
    let ended = activated(&site, socket).ended();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.error().contains("ListenDatagram="),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_range_of_ports_is_not_for_one_socket() {
    let site = Site::new();
    let socket = UdpSocket::bind(("127.0.0.1", steady_port())).expect("a port");
    let ended = activated_at(&site, socket, "127.0.0.1:6060-6062").ended();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.error().contains("--addr"), "{}", ended.stderr);
}
