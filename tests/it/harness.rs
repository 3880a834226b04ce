//! Programs under test and the sockets around them.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) mod entries;
#[cfg(target_os = "linux")]
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod nat;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod sockets;
pub(crate) mod tunnel;
pub(crate) mod web;

/// How long anything may take before a test gives up on it: far longer than it takes on a machine whose
/// cores are all busy with something else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The password of every test that is not about passwords.
pub(crate) const PASSWORD: &str = "123456";

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_rstun");

/// A directory of one test's own, with a certificate, its key, and `rstun`, `rstund` and `rstunc` in it.
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    /// A new directory with the three links and a fresh key pair.
    pub(crate) fn new() -> Self {
        let site = Self::without_keys();
        let keygen = site.run(site.command("rstun").arg("keygen"));
        assert_eq!(keygen.code, 0, "keygen failed:\n{}", keygen.stderr);
        site
    }

    /// A new directory with the three links alone.
    pub(crate) fn without_keys() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let site = Self { dir };
        std::fs::create_dir(site.path("run")).expect("a runtime directory");
        for name in ["rstun", "rstund", "rstunc"] {
            site.link(name);
        }
        site
    }

    /// Makes a link to the binary at `name`, a path relative to the site.
    pub(crate) fn link(&self, name: &str) {
        let link = self.path(name);
        let parent = link.parent().expect("a link within the site");
        std::fs::create_dir_all(parent).expect("a directory for the link");
        symlink(BINARY, link).expect("a link to the binary");
    }

    /// The full path of something in the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in the site, which is its owner's alone.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("a file in the site");
        self.set_mode(name, 0o600);
    }

    /// Sets who may do what with a file in the site.
    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).expect("a mode of its own");
    }

    /// Reads a file in the site.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name))
            .unwrap_or_else(|error| panic!("{name} cannot be read: {error}"))
    }

    /// A command that runs the link `name` by its full path, within the site, with nothing of the
    /// caller's settings in its environment.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path(name));
        self.within(&mut command);
        command
    }

    /// Has a command run within the site, with nothing of the caller's settings in its environment.
    pub(crate) fn within<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("TMPDIR", self.path("run"))
            .env_remove("RUNTIME_DIRECTORY")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("RSTUN_PASSWORD")
            .env("RSTUN_TRANSPORT", transport())
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .env_remove("RSTUN_TICKET")
            .env_remove("CONFIGURATION_DIRECTORY")
            .env_remove("STATE_DIRECTORY")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Ended {
        Program::start(command).ended()
    }

    /// `rstund` on some port of 127.0.0.1, with the site's keys and [`PASSWORD`], ready to relay to
    /// `targets`.
    pub(crate) fn server(&self, targets: &[SocketAddr]) -> Program {
        self.server_with("127.0.0.1:0", targets, &[])
    }

    /// As [`Site::server`], at `addr` and with more arguments. Port 0 is a steady one: nobody else is given it
    /// between a server's end and the next one.
    pub(crate) fn server_with(
        &self,
        addr: impl Display,
        targets: &[SocketAddr],
        more: &[&str],
    ) -> Program {
        let mut command = self.command("rstund");
        let addr = addr.to_string();
        let addr = match addr.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", sockets::steady_port()),
            None => addr,
        };
        command.arg("--addr").arg(addr).args(more);
        command.args(["--password", PASSWORD]);
        command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
        for target in targets {
            command.arg("--downstream").arg(target.to_string());
        }
        Program::start(&mut command)
    }

    /// As [`Site::server`], at an address where a server has been before, as soon as that one has let go of it.
    pub(crate) fn server_again(&self, addr: SocketAddr, targets: &[SocketAddr]) -> Program {
        self.server_again_with(addr, targets, &[])
    }

    /// As [`Site::server_again`], with more arguments.
    pub(crate) fn server_again_with(
        &self,
        addr: SocketAddr,
        targets: &[SocketAddr],
        more: &[&str],
    ) -> Program {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let server = self.server_with(addr, targets, more);
            if server.line_or_end("listening on ") {
                return server;
            }
            assert!(Instant::now() < deadline, "{addr} stays taken");
        }
    }

    /// `rstunc` for the server at `server`, with the site's certificate, [`PASSWORD`] and `more`.
    pub(crate) fn client(&self, server: impl Display, more: &[&str]) -> Program {
        let mut command = self.command("rstunc");
        command.arg("--server-addr").arg(server.to_string());
        command.args(["--password", PASSWORD, "--cert", "certificate.der"]);
        Program::start(command.args(more))
    }

    /// How a tunnel names a Unix socket in the site.
    pub(crate) fn unix(&self, name: &str) -> String {
        format!("unix://{}", self.path(name).display())
    }
}

/// What carries the connections of clients that are told nothing else: one transport, so that a test sees
/// the same on a slow machine. `RSTUN_TEST_TRANSPORT=tcp` has all tests take the other one.
fn transport() -> String {
    std::env::var("RSTUN_TEST_TRANSPORT").unwrap_or_else(|_| "quic".into())
}

/// Whether a program that is not ours is installed. Where .ci/run runs the tests it has to be.
pub(crate) fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("PATH=$PATH:/usr/sbin command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let required = std::env::var_os("RSTUN_TEST_ALL").is_some();
    assert!(found || !required, "{program} is not installed");
    if !found {
        eprintln!("{program} is not installed, nothing is shown");
    }
    found
}

/// A signal that asks a program to end in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// What a service manager sends.
    Terminate,
    /// What Ctrl-C sends.
    Interrupt,
    /// What has it read its configuration again.
    HangUp,
    /// What makes it sleep, as far as it can tell.
    Stop,
    /// What wakes it up.
    Continue,
    /// What has a server give its place to a new process.
    Replace,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; -1 where a signal ended the program.
    pub(crate) code: i32,
    /// All lines of standard output.
    pub(crate) stdout: String,
    /// All lines of standard error.
    pub(crate) stderr: String,
}

impl Ended {
    /// The one line that starts with `error:`. Fails where there is none, or more than one, or a panic.
    pub(crate) fn error(&self) -> &str {
        let lines = self.errors();
        assert_eq!(lines.len(), 1, "`error:` lines in:\n{}", self.stderr);
        lines[0]
    }

    /// All lines that start with `error:`. Fails where there was a panic.
    pub(crate) fn errors(&self) -> Vec<&str> {
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        let lines = self.stderr.lines().filter(|l| l.starts_with("error:"));
        lines.collect()
    }
}

/// A running program. It is killed when dropped, and must not have panicked by then.
pub(crate) struct Program {
    child: Child,
    output: Arc<Output>,
}

impl Program {
    /// Starts a command made by [`Site::command`].
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().expect("a pipe from stdout");
        let stderr = child.stderr.take().expect("a pipe from stderr");
        output.clone().follow(Stream::Stdout, stdout);
        output.clone().follow(Stream::Stderr, stderr);
        Self { child, output }
    }

    /// Waits for a line that contains `part` and returns it.
    pub(crate) fn line(&self, part: &str) -> String {
        self.nth_line(1, part)
    }

    /// Waits for the `n`th line (from 1) that contains `part` and returns it.
    pub(crate) fn nth_line(&self, n: usize, part: &str) -> String {
        self.output
            .wait(&format!("line {n} with {part:?}"), |seen| {
                let mut matching = seen.lines.iter().filter(|(_, line)| line.contains(part));
                matching.nth(n - 1).map(|(_, line)| line.clone())
            })
    }

    /// Waits for a line that contains `part`, and says whether it came before the program's end.
    pub(crate) fn line_or_end(&self, part: &str) -> bool {
        self.output.wait("the end", |seen| {
            let said = seen.lines.iter().any(|(_, line)| line.contains(part));
            (said || seen.closed == 2).then_some(said)
        })
    }

    /// Waits for the end for so long at most: time for a fault to show where there is one.
    pub(crate) fn give_time_to_end(&self, time: Duration) {
        self.output
            .wait_for(time, |seen| (seen.closed == 2).then_some(()));
    }

    /// How many lines so far contain `part`.
    pub(crate) fn count(&self, part: &str) -> usize {
        let seen = self.output.seen();
        seen.lines.iter().filter(|(_, l)| l.contains(part)).count()
    }

    /// Waits for a line with `part` and reads the address that follows it there.
    pub(crate) fn addr(&self, part: &str) -> SocketAddr {
        self.nth_addr(1, part)
    }

    /// Waits for the `n`th line with `part` and reads the address that follows it there.
    pub(crate) fn nth_addr(&self, n: usize, part: &str) -> SocketAddr {
        let line = self.nth_line(n, part);
        let (_, rest) = line.split_once(part).expect("a line with the part");
        // Where lines are JSON, a quote ends what is said.
        let mut words = rest.split(|c: char| c.is_whitespace() || c == '"');
        let word = words.next().unwrap_or_default();
        word.trim_end_matches([',', ';', '.'])
            .parse()
            .unwrap_or_else(|error| panic!("{word:?} is not an address ({error}) in {line:?}"))
    }

    /// Waits for a client to be connected, and reads the way in to a tunnel that it announces by `part`. Before
    /// that a visitor may have to wait for longer than it is given.
    pub(crate) fn entrance(&self, part: &str) -> SocketAddr {
        self.line("connected to ");
        self.addr(part)
    }

    /// Waits for a server to be ready and returns its address.
    pub(crate) fn server_addr(&self) -> SocketAddr {
        self.addr("listening on ")
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A file about it in /proc.
    #[cfg(target_os = "linux")]
    pub(crate) fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        let bytes = std::fs::read(path).expect("a running program");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Most memory that it has held so far, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = self.proc("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak.expect("its peak in kB") * 1024
    }

    /// Processor time that it has used so far.
    #[cfg(target_os = "linux")]
    pub(crate) fn cpu_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("a running program");
        // Behind the name, which may hold anything: utime and stime in hundredths of a second.
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let times = fields.split_whitespace().skip(11).take(2);
        let hundredths: u64 = times.map(|t| t.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(hundredths * 10)
    }

    /// How many descriptors it has open.
    #[cfg(target_os = "linux")]
    pub(crate) fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("a running program").count()
    }

    /// Sends a signal. The program has not been waited for, so its id is still its own.
    pub(crate) fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::HangUp => "HUP",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::Replace => "USR2",
        };
        // The youngest of those that took its place.
        let process = self.successors().pop().unwrap_or(self.child.id());
        let script = format!("kill -{name} {process}");
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("a shell").success(), "{script}");
    }

    /// The processes that were to take its place, whose output is its own, the oldest first.
    pub(crate) fn successors(&self) -> Vec<u32> {
        let seen = self.output.seen();
        let lines = seen.lines.iter().filter_map(|(_, line)| {
            let (start, _) = line.split_once(" is to take the place of this one")?;
            let (_, process) = start.rsplit_once("process ")?;
            process.parse().ok()
        });
        lines.collect()
    }

    /// Ends the program as `kill -9` does and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill -9");
        self.ended();
    }

    /// Waits until the program ends by itself.
    pub(crate) fn ended(mut self) -> Ended {
        self.output.wait("the end of the program", |seen| {
            (seen.closed == 2).then_some(())
        });
        let status = self.child.wait().expect("an exit status");
        let seen = self.output.seen();
        Ended {
            code: status.code().unwrap_or(-1),
            stdout: seen.text(Some(Stream::Stdout)),
            stderr: seen.text(Some(Stream::Stderr)),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let id = self.child.id();
            eprintln!("--- process {id} ---\n{}", self.output.seen().text(None));
        }
        // None of these is ours to wait for.
        for process in self.successors() {
            let script = format!("grep -q rstun /proc/{process}/cmdline && kill -9 {process}");
            let mut kill = Command::new("sh");
            let _ = kill.args(["-c", &script]).stderr(Stdio::null()).status();
        }
        // Both fail only where the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A task that panics does not end the program.
        if !std::thread::panicking() && self.count("panicked") > 0 {
            panic!("a panic in the program:\n{}", self.output.seen().text(None));
        }
    }
}

/// Which of a program's two streams a line came from.
#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Stdout,
    Stderr,
}

/// What a program has said so far, filled by a thread for each stream.
#[derive(Default)]
struct Output {
    seen: Mutex<Seen>,
    grown: Condvar,
}

#[derive(Default)]
struct Seen {
    lines: Vec<(Stream, String)>,
    /// How many of the two streams have ended.
    closed: usize,
}

impl Seen {
    fn text(&self, stream: Option<Stream>) -> String {
        let wanted = |from: &Stream| stream.is_none_or(|stream| stream == *from);
        let lines = self.lines.iter().filter(|(from, _)| wanted(from));
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }
}

impl Output {
    /// Reads `pipe` to its end on a thread.
    fn follow(self: Arc<Self>, stream: Stream, pipe: impl Read + Send + 'static) {
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                self.seen().lines.push((stream, line));
                self.grown.notify_all();
            }
            self.seen().closed += 1;
            self.grown.notify_all();
        });
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` finds something. Fails at the deadline, or when the program has ended without.
    fn wait<T>(&self, what: &str, found: impl Fn(&Seen) -> Option<T>) -> T {
        self.wait_for(DEADLINE, found).unwrap_or_else(|| {
            let seen = self.seen().text(None);
            panic!("no {what} before its end or deadline; output:\n{seen}")
        })
    }

    /// Waits so long at most until `found` finds something, or the program has ended without.
    fn wait_for<T>(&self, time: Duration, found: impl Fn(&Seen) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + time;
        let mut seen = self.seen();
        loop {
            let it = found(&seen);
            let left = deadline.saturating_duration_since(Instant::now());
            if it.is_some() || seen.closed == 2 || left.is_zero() {
                return it;
            }
            let waited = self.grown.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
