//! `rstun connect` and `-L stdio^TARGET`: standard input and output as the end of one flow.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::sockets::{
    ClosedPort, Target, assert_joined, assert_reset, finish, join, receive, receive_all, reset,
    send,
};
use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{DEADLINE, PASSWORD, Program, Signal, Site};

/// More than any buffer on the way holds, so that it has to flow.
const MUCH: usize = 4 << 20;

/// How a flow gets to the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Through the client that runs, found without a flag.
    Running,
    /// By a connection of its own.
    Own,
    /// The same, as a tunnel of `rstun client`.
    Tunnel,
}

/// Runs a test function that takes a [`Way`] once for each.
macro_rules! in_all_ways {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use super::Way;

            #[test]
            fn running() {
                super::$name(Way::Running);
            }

            #[test]
            fn own() {
                super::$name(Way::Own);
            }

            #[test]
            fn tunnel() {
                super::$name(Way::Tunnel);
            }
        }
    )+};
}

in_all_ways!(
    bytes_are_exact,
    the_target_finishes_first,
    nothing_at_all,
    the_target_resets,
    the_target_refuses,
    the_target_is_not_allowed,
    nobody_reads_the_output,
    the_server_dies,
);

/// A process with pipes in the test's hands.
struct Pipes {
    child: Child,
    stdin: UnixStream,
    stdout: UnixStream,
    stderr: Option<JoinHandle<String>>,
}

impl Pipes {
    fn start(command: &mut Command) -> Self {
        let pair = || UnixStream::pair().expect("a socket pair");
        let ((stdin, theirs_in), (stdout, theirs_out), (stderr, theirs_err)) =
            (pair(), pair(), pair());
        for stream in [&stdin, &stdout, &stderr] {
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        }
        let child = command
            .stdin(OwnedFd::from(theirs_in))
            .stdout(OwnedFd::from(theirs_out))
            .stderr(OwnedFd::from(theirs_err))
            .spawn()
            .expect("the binary starts");
        // The command keeps its ends open for another start.
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            (&stderr)
                .read_to_string(&mut text)
                .expect("an end of stderr");
            text
        });
        Self {
            child,
            stdin,
            stdout,
            stderr: Some(stderr),
        }
    }

    fn write(&self, bytes: &[u8]) {
        (&self.stdin).write_all(bytes).expect("bytes written");
    }

    fn finish(&self) {
        self.stdin.shutdown(Shutdown::Write).expect("an end");
    }

    fn read(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        (&self.stdout).read_exact(&mut bytes).expect("bytes read");
        bytes
    }

    fn read_all(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        (&self.stdout).read_to_end(&mut bytes).expect("an end");
        bytes
    }

    /// Waits for the end: the exit code, and standard error.
    fn ended(mut self) -> (i32, String) {
        let stderr = self.stderr.take().expect("not joined before").join();
        let stderr = stderr.expect("an end within the deadline");
        let status = self.child.wait().expect("an exit status");
        assert!(!stderr.contains("panicked"), "{stderr}");
        (status.code().unwrap_or(-1), stderr)
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that lets a target be reached, and a client of it that runs where the way needs one.
struct Place {
    site: Site,
    server: Program,
    _running: Option<Program>,
    way: Way,
}

impl Place {
    fn new(way: Way, reachable: &str) -> Self {
        let site = Site::new();
        let server = site.server_with("127.0.0.1:0", &[], &["--downstream", reachable]);
        let _running = (way == Way::Running).then(|| run_client(&site, &server));
        Self {
            site,
            server,
            _running,
            way,
        }
    }

    /// The command that connects to a target.
    fn command(&self, target: &str) -> Command {
        let addr = self.server.server_addr().to_string();
        let server = ["--server-addr", &addr, "--password", PASSWORD];
        let cert = ["--cert", "certificate.der"];
        let mut command = self.site.command("rstun");
        match self.way {
            Way::Running => command.args(["connect", target]),
            Way::Own => command.args(["connect", target]).args(server).args(cert),
            Way::Tunnel => {
                let mapping = format!("stdio^{target}");
                let tunnel = ["client", "-L", &mapping];
                command.args(tunnel).args(server).args(cert)
            }
        };
        command
    }

    fn start(&self, target: &str) -> Pipes {
        Pipes::start(&mut self.command(target))
    }
}

/// A client that is up, and has nothing to do with the target.
fn run_client(site: &Site, server: &Program) -> Program {
    let client = site.client(server.server_addr(), &["-R", "1^127.0.0.1:0"]);
    client.line(": the server listens on ");
    client
}

fn bytes_are_exact(way: Way) {
    let target = Target::new();
    let place = Place::new(way, &target.addr().to_string());
    let pipes = place.start(&target.addr().to_string());
    // Every byte there is, and no end of a line.
    let bytes: Vec<u8> = (0..MUCH).map(|i| (i * 7 / 3) as u8).collect();
    let end = target.accept();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pipes.write(&bytes);
            pipes.finish();
        });
        assert!(receive_all(&end) == bytes, "other bytes than were sent");
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&end, &bytes);
            finish(&end);
        });
        assert!(pipes.read_all() == bytes, "other bytes than were sent");
    });
    let (code, stderr) = pipes.ended();
    assert_eq!(code, 0, "{stderr}");
}

/// The end of standard output is seen while standard input goes on.
fn the_target_finishes_first(way: Way) {
    let target = Target::new();
    let place = Place::new(way, &target.addr().to_string());
    let pipes = place.start(&target.addr().to_string());
    let end = target.accept();
    send(&end, b"all I have to say");
    finish(&end);
    assert_eq!(pipes.read_all(), b"all I have to say");
    pipes.write(b"and I?");
    assert_eq!(receive(&end, 6), b"and I?");
    pipes.finish();
    assert_eq!(receive_all(&end), b"");
    let (code, stderr) = pipes.ended();
    assert_eq!(code, 0, "{stderr}");
}

fn nothing_at_all(way: Way) {
    let target = Target::new();
    let place = Place::new(way, &target.addr().to_string());
    let mut command = place.command(&target.addr().to_string());
    let program = Program::start(command.stdin(std::process::Stdio::null()));
    let end = target.accept();
    assert_eq!(receive_all(&end), b"");
    drop(end);
    let ended = program.ended();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

/// Standard input stays open, and holds nothing up.
fn the_target_resets(way: Way) {
    let target = Target::new();
    let place = Place::new(way, &target.addr().to_string());
    let pipes = place.start(&target.addr().to_string());
    let end = target.accept();
    send(&end, b"some");
    assert_eq!(pipes.read(4), b"some");
    reset(end);
    assert_eq!(pipes.read_all(), b"");
    let (code, stderr) = pipes.ended();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("error: "), "{stderr}");
}

/// What a person is told at the end says it, and not twice.
fn assert_told_once(stderr: &str, what: &str) {
    let error = stderr.lines().find(|line| line.starts_with("error: "));
    let times = error.map(|line| line.matches(what).count());
    assert_eq!(times, Some(1), "{stderr}");
}

fn the_target_refuses(way: Way) {
    let closed = ClosedPort::new();
    let place = Place::new(way, &closed.addr().to_string());
    let pipes = place.start(&closed.addr().to_string());
    assert_eq!(pipes.read_all(), b"");
    let (code, stderr) = pipes.ended();
    assert_eq!(code, 1, "{stderr}");
    assert_told_once(&stderr, "refused");
}

fn the_target_is_not_allowed(way: Way) {
    let target = Target::new();
    let place = Place::new(way, "1");
    let pipes = place.start(&target.addr().to_string());
    assert_eq!(pipes.read_all(), b"");
    let (code, stderr) = pipes.ended();
    assert_eq!(code, 1, "{stderr}");
    let says = ["not allowed", "--downstream"];
    assert!(says.iter().any(|says| stderr.contains(says)), "{stderr}");
}

fn nobody_reads_the_output(way: Way) {
    let target = Target::new();
    let place = Place::new(way, &target.addr().to_string());
    let pipes = place.start(&target.addr().to_string());
    let end = target.accept();
    pipes.stdout.shutdown(Shutdown::Both).expect("an end");
    send(&end, b"hello?");
    let (code, stderr) = pipes.ended();
    assert_eq!(code, 1, "{stderr}");
    assert_told_once(&stderr, "standard output");
    if way != Way::Running {
        assert_reset(&end);
    }
}

fn the_server_dies(way: Way) {
    let target = Target::new();
    let place = Place::new(way, &target.addr().to_string());
    let pipes = place.start(&target.addr().to_string());
    let end = target.accept();
    send(&end, b"some");
    assert_eq!(pipes.read(4), b"some");
    place.server.signal(Signal::Terminate);
    place.server.line("stopping");
    // The second one does not wait for the flow.
    place.server.signal(Signal::Terminate);
    let addr = place.server.server_addr();
    place.server.ended();
    // A server that was started anew tells the client that it knows nothing of it.
    let _server = place.site.server_again(addr, &[target.addr()]);
    assert_eq!(pipes.read_all(), b"");
    let (code, stderr) = pipes.ended();
    assert_eq!(code, 1, "{stderr}");
}

#[test]
fn unix_sockets_are_targets_too() {
    let site = Site::new();
    let target = std::os::unix::net::UnixListener::bind(site.path("s")).expect("a socket");
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", &site.unix("s")]);
    let _running = run_client(&site, &server);
    let mut command = site.command("rstun");
    let pipes = Pipes::start(command.args(["connect", &site.unix("s")]));
    let (mut end, _) = target.accept().expect("a connection");
    end.write_all(b"hello").expect("bytes written");
    drop(end);
    assert_eq!(pipes.read_all(), b"hello");
    pipes.finish();
    assert_eq!(pipes.ended().0, 0);
}

#[test]
fn a_running_client_is_the_faster_way() {
    let target = Target::new();
    let ways = [Way::Running, Way::Own].map(|way| Place::new(way, &target.addr().to_string()));
    let mut best = [Duration::MAX; 2];
    // In turn, for the machine is not as busy all the time.
    for _ in 0..10 {
        for (place, best) in ways.iter().zip(&mut best) {
            *best = first_byte(place, &target).min(*best);
        }
    }
    let [running, own] = best;
    println!("first byte at the target after {running:?}, by a connection of its own {own:?}");
    // 10 ms is the promise, for a release build on an idle machine.
    assert!(running < Duration::from_millis(50).max(own), "{best:?}");
}

/// How long it takes until a byte is at a target.
fn first_byte(place: &Place, target: &Target) -> Duration {
    let start = Instant::now();
    let pipes = place.start(&target.addr().to_string());
    pipes.write(b"?");
    let end = target.accept();
    assert_eq!(receive(&end, 1), b"?");
    let took = start.elapsed();
    drop(end);
    pipes.finish();
    assert_eq!(pipes.ended().0, 0);
    took
}

#[test]
fn only_a_client_of_the_same_server_is_gone_through() {
    let [here, there] = [(); 2].map(|()| Target::new());
    let site = Site::new();
    let servers = [&here, &there].map(|target| site.server(&[target.addr()]));
    let _running = run_client(&site, &servers[0]);
    let connect = |server: &Program, target: &Target, password: &str| {
        let mut command = site.command("rstun");
        command.arg("connect").arg(target.addr().to_string());
        command.args(["--server-addr", &server.server_addr().to_string()]);
        command.args(["--password", password, "--cert", "certificate.der"]);
        Pipes::start(&mut command)
    };
    // Whoever goes through the client that runs needs no password.
    let through = connect(&servers[0], &here, "another");
    let end = here.accept();
    through.finish();
    drop(end);
    assert_eq!(through.ended().0, 0);

    let own = connect(&servers[1], &there, PASSWORD);
    let end = there.accept();
    own.finish();
    drop(end);
    assert_eq!(own.ended().0, 0);
    let (code, stderr) = connect(&servers[1], &there, "another").ended();
    assert_eq!(code, 1);
    assert!(stderr.contains("password"), "{stderr}");

    // With two clients it is not clear which one is meant.
    let _other = run_client(&site, &servers[1]);
    let mut command = site.command("rstun");
    let ended = site.run(command.arg("connect").arg(here.addr().to_string()));
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("--server-addr"), "{}", ended.stderr);
}

#[test]
fn the_control_socket_is_its_owners_alone() {
    let tunnel = Tunnel::new(Mode::Out);
    let dir = tunnel.site.path("run/rstun");
    let mode = |path: &std::path::Path| {
        let metadata = std::fs::metadata(path).expect("a file");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&dir), 0o700);
    let sockets = || -> Vec<_> {
        let entries = std::fs::read_dir(&dir).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    assert_eq!(sockets().len(), 2, "the server has one too");
    for socket in sockets() {
        assert_eq!(mode(&socket), 0o600);
    }

    // What is no request is no trouble.
    for noise in [
        &b"\n"[..],
        b"{}\n",
        b"{\"request\":\"connect\"}\n",
        &[b'x'; 1 << 17],
    ] {
        for socket in sockets() {
            let mut caller = UnixStream::connect(socket).expect("a control socket");
            caller.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let _ = caller.write_all(noise);
            let mut answer = Vec::new();
            // Its end may be a reset, where not all of the noise was read.
            let _ = caller.read_to_end(&mut answer);
            assert!(answer.starts_with(b"{\"version\":2,"), "{answer:?}");
        }
    }
    join(tunnel.entrance, &tunnel.target);

    tunnel.client.signal(Signal::Terminate);
    tunnel.client.line("");
    assert_eq!(tunnel.client.ended().code, 0);
    assert_eq!(sockets().len(), 1);

    // A directory that others may enter is not used.
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let args = Mode::Out.args(tunnel.target.addr());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = tunnel.site.client(tunnel.server_addr, &args);
    client.line("no control socket");
    let (visitor, target) = join(
        client.entrance(&Mode::Out.announcement(tunnel.target.addr())),
        &tunnel.target,
    );
    assert_joined(&visitor, &target);
}
