//! A server whose memory is limited: what is new is shed, a flood takes no more than its share, and the
//! server is not killed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::link::say;
use crate::harness::load::{Transfer, echo, end};
use crate::harness::sockets::{Target, join};
use crate::harness::{DEADLINE, PASSWORD, Program, Site};

/// Bytes that the server may have.
const LIMIT: u64 = 96 << 20;

/// Visitors at once who send without end to what reads nothing; each may have 512 KiB on the way.
const VISITORS: usize = 400;

/// How long the server is looked on.
const TIME: Duration = Duration::from_secs(5);

/// When it is known that there is memory again, twice the promise.
const AGAIN: Duration = Duration::from_secs(12);

/// A flood through one client. What flows of others carry goes on, and others still come. Of the client's own
/// flows the one goes on whose reader is slow.
#[test]
fn memory_runs_out() {
    let Some(group) = Group::new() else {
        return;
    };
    let (site, target, answering) = (Site::new(), Target::new(), Target::new());
    let slow = Target::new();
    let stopped = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = stopped.local_addr().expect("its address");
    let targets = [&target, &answering, &slow].map(Target::addr);
    let server = group.server(&site, &[&targets[..], &[at]].concat());
    let addr = server.server_addr();
    let client = |to: SocketAddr, too: SocketAddr| {
        let tunnels = [to, too].map(|to| format!("127.0.0.1:0^{to}"));
        let client = site.client(addr, &["-L", &tunnels[0], "-L", &tunnels[1]]);
        let found = tunnels.map(|tunnel| format!("TunnelOut {tunnel}: listening on "));
        let entrances = found.map(|found| client.entrance(&found));
        (client, entrances)
    };
    let (_client, [entrance, _]) = client(targets[0], targets[1]);
    let (visitor, arrived) = join(entrance, &target);
    let transfer = Transfer::new(&visitor, &arrived);
    transfer.wait_for(4 << 20);

    let (_flooding, [flooded, entrance]) = client(at, targets[2]);
    let slow = read_slowly(join(entrance, &slow));
    let flood = Flood::new(flooded, stopped);
    server.line(&format!("cannot reach {at}: memory is short"));
    let (lines, before) = (server.count("WARN"), transfer.arrived());
    std::thread::spawn(move || loop_echo(&answering));
    let (_other, [entrance, _]) = client(targets[1], targets[0]);
    assert!(
        is_answered(entrance),
        "another client's flow is turned away"
    );
    server.give_time_to_end(TIME);
    let lines = (server.count("WARN") - lines) as f64 / TIME.as_secs_f64();
    transfer.wait_for(before + (1 << 20));
    let gained = transfer.arrived() - before;
    let cut = server.count("flows were cut");
    assert!(!slow.is_finished(), "the slow reader's flow was cut");
    flood.end();

    let again = until(|| is_open(flooded));
    end([transfer]);
    let used = group.peak();
    say(&format!(
        "of {} MiB {} were used; an open flow carried {} MiB meanwhile; {lines:.1} log lines a \
         second; the flooding client's new flows {again:.1} s after",
        LIMIT >> 20,
        used >> 20,
        gained >> 20,
    ));
    assert!(cut > 0 && used < LIMIT / 4 * 3, "{used} bytes");
    assert!(lines <= 6.0, "{lines} lines a second");
}

/// Has a flow's target read some 300 KB a second of what comes without end; the thread ends with the flow.
fn read_slowly((mut visitor, mut target): (TcpStream, TcpStream)) -> JoinHandle<()> {
    std::thread::spawn(move || while visitor.write_all(&[b's'; 1 << 14]).is_ok() {});
    std::thread::spawn(move || {
        let mut some = [0; 1 << 14];
        while target.read(&mut some).is_ok_and(|n| n > 0) {
            std::thread::sleep(Duration::from_millis(50));
        }
    })
}

/// Others in the control group take what memory there is. New flows and clients are turned away until
/// they leave it.
#[test]
fn others_take_the_memory() {
    let Some(group) = Group::new() else {
        return;
    };
    let (site, answering) = (Site::new(), Target::new());
    let to = answering.addr();
    let server = group.server(&site, &[to]);
    let tunnel = format!("127.0.0.1:0^{to}");
    let client = || site.client(server.server_addr(), &["-L", &tunnel]);
    let found = format!("TunnelOut {tunnel}: listening on ");
    let first = client();
    let entrance = first.entrance(&found);
    std::thread::spawn(move || loop_echo(&answering));
    assert!(is_answered(entrance));

    let hog = group.hog(LIMIT / 5 * 4);
    until(|| !is_answered(entrance));
    server.line(&format!("cannot reach {to}: memory is short"));
    let second = client();
    server.line("not let in, memory is short");
    drop(hog);
    let answered = until(|| is_answered(entrance));
    let start = Instant::now();
    assert!(is_answered(second.entrance(&found)));
    let login = start.elapsed().as_secs_f64() + answered;
    say(&format!(
        "new flows {answered:.1} s and a login {login:.1} s after there was memory again"
    ));
    assert!(login < AGAIN.as_secs_f64(), "{login} s");
}

/// Waits until something is so, and tells how many seconds that took.
fn until(is_so: impl Fn() -> bool) -> f64 {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < AGAIN, "nothing changed");
        std::thread::sleep(Duration::from_millis(100));
    }
    start.elapsed().as_secs_f64()
}

/// Whether a new visitor of what answers nothing is not turned away for a while.
fn is_open(entrance: SocketAddr) -> bool {
    let Ok(mut visitor) = TcpStream::connect_timeout(&entrance, DEADLINE) else {
        return false;
    };
    let patience = Some(Duration::from_millis(500));
    visitor.set_read_timeout(patience).expect("a timeout");
    let waited = visitor.read(&mut [0]).map_err(|e| e.kind());
    waited == Err(std::io::ErrorKind::WouldBlock)
}

fn loop_echo(target: &Target) {
    loop {
        echo(target.accept());
    }
}

/// Whether a new visitor gets through, and back.
fn is_answered(entrance: SocketAddr) -> bool {
    // One that is turned away at once may learn it while it connects.
    let Ok(mut visitor) = TcpStream::connect_timeout(&entrance, DEADLINE) else {
        return false;
    };
    let mut word = [0; 5];
    visitor.write_all(b"hello").is_ok() && visitor.read_exact(&mut word).is_ok()
}

/// Visitors who send as much as goes, and come again when they are turned away.
struct Flood {
    over: Arc<AtomicBool>,
    visitors: JoinHandle<()>,
}

impl Flood {
    fn new(entrance: SocketAddr, stopped: TcpListener) -> Self {
        std::thread::spawn(move || {
            // They are kept, and never read.
            let _kept: Vec<_> = stopped.incoming().collect();
        });
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let visitors = std::thread::spawn(move || {
            let mut visitors: Vec<_> = (0..VISITORS).map(|_| sender(entrance)).collect();
            while !until.load(Relaxed) {
                for visitor in &mut visitors {
                    let sent = visitor.write(&[b'f'; 1 << 15]);
                    if sent.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock) {
                        *visitor = sender(entrance);
                    }
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { over, visitors }
    }

    fn end(self) {
        self.over.store(true, Relaxed);
        self.visitors.join().expect("the flood");
    }
}

fn sender(entrance: SocketAddr) -> TcpStream {
    let start = Instant::now();
    let visitor = loop {
        match TcpStream::connect_timeout(&entrance, DEADLINE) {
            Ok(visitor) => break visitor,
            Err(e) => assert!(start.elapsed() < DEADLINE, "no way in: {e}"),
        }
    };
    visitor.set_nonblocking(true).expect("a socket of its own");
    visitor
}

/// A control group with a limit, gone when dropped: of cgroup v2 or, where memory is still there, v1.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let group = Self::with_limit();
        if group.is_none() {
            eprintln!("no control group with a limit can be made here, nothing is shown");
        }
        group
    }

    fn with_limit() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
        let number = MADE.fetch_add(1, Relaxed);
        let name = format!("rstun-test-{}-{number}", std::process::id());
        let files = [
            ("", "memory.max", "memory.swap.max", 0),
            (
                "memory",
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                LIMIT,
            ),
        ];
        files.into_iter().find_map(|(root, limit, swap, swapped)| {
            let root = Path::new("/sys/fs/cgroup").join(root);
            // Elsewhere that would be a directory like any other.
            root.join("cgroup.procs").exists().then_some(())?;
            let dir = root.join(&name);
            fs::create_dir(&dir).ok()?;
            let group = Self(dir);
            fs::write(group.0.join(limit), LIMIT.to_string()).ok()?;
            // There need not be any.
            let _ = fs::write(group.0.join(swap), swapped.to_string());
            Some(group)
        })
    }

    fn server(&self, site: &Site, targets: &[SocketAddr]) -> Program {
        let rstund = site.command("rstund");
        let mut command = self.command();
        command.arg(rstund.get_program());
        command.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
        command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
        for target in targets {
            command.args(["--downstream", &target.to_string()]);
        }
        Program::start(site.within(&mut command))
    }

    /// Something that takes so many bytes in the group.
    fn hog(&self, bytes: u64) -> Hog {
        let mut command = self.command();
        command.args(["dd", "if=/dev/zero", "count=1", &format!("bs={bytes}")]);
        // It has filled its buffer when it finds that nobody reads.
        let dd = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Hog(dd.expect("dd"))
    }

    /// What runs its arguments in the group.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        let procs = self.0.join("cgroup.procs");
        let script = format!("echo $$ >{} && exec \"$@\"", procs.display());
        command.args(["-c", &script, "sh"]);
        command
    }

    /// The most that was used of it, in bytes.
    fn peak(&self) -> u64 {
        let files = ["memory.peak", "memory.max_usage_in_bytes"].map(|file| self.0.join(file));
        let peak = files.iter().find_map(|file| fs::read_to_string(file).ok());
        peak.map_or(0, |peak| peak.trim().parse().expect("a number"))
    }
}

struct Hog(Child);

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The processes that were in it are killed by now, and gone soon.
        let deadline = Instant::now() + DEADLINE;
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
