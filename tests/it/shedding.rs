//! A server whose memory is limited, in a flood: what is new is shed, and it is not killed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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

#[test]
fn memory_runs_out() {
    let Some(group) = Group::new() else {
        return eprintln!("no control group with a limit can be made here, nothing is shown");
    };
    let (site, target, answering) = (Site::new(), Target::new(), Target::new());
    let stopped = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = stopped.local_addr().expect("its address");
    let server = group.server(&site, &[target.addr(), answering.addr(), at]);
    let addr = server.server_addr();
    let client = |to: SocketAddr| {
        let tunnel = format!("127.0.0.1:0^{to}");
        let client = site.client(addr, &["-L", &tunnel]);
        let entrance = client.entrance(&format!("TunnelOut {tunnel}: listening on "));
        (client, entrance)
    };
    let (_client, entrance) = client(target.addr());
    let (visitor, arrived) = join(entrance, &target);
    let transfer = Transfer::new(&visitor, &arrived);
    transfer.wait_for(4 << 20);
    let (_other, entrance) = client(answering.addr());
    std::thread::spawn(move || loop_echo(&answering));

    let (_flooding, flooded) = client(at);
    let flood = Flood::new(flooded, stopped);
    server.line(&format!("cannot reach {at}: memory is short"));
    let (lines, before) = (server.count("WARN"), transfer.arrived());
    server.give_time_to_end(TIME);
    let lines = (server.count("WARN") - lines) as f64 / TIME.as_secs_f64();
    transfer.wait_for(before + (1 << 20));
    let gained = transfer.arrived() - before;
    flood.end();

    let start = Instant::now();
    while !is_answered(entrance) {
        assert!(start.elapsed() < DEADLINE, "new flows stay turned away");
        std::thread::sleep(Duration::from_millis(100));
    }
    let again = start.elapsed().as_secs_f64();
    end([transfer]);
    say(&format!(
        "of {} MiB {} were used; an open flow carried {} KiB meanwhile; {lines:.1} log lines a \
         second; new flows {again:.1} s after",
        LIMIT >> 20,
        server.peak_memory() >> 20,
        gained >> 10,
    ));
    assert!(lines <= 6.0, "{lines} lines a second");
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
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
        let name = format!("rstun-test-{}", std::process::id());
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
        let mut command = Command::new("sh");
        let procs = self.0.join("cgroup.procs");
        let script = format!("echo $$ >{} && exec \"$@\"", procs.display());
        command
            .args(["-c", &script, "sh"])
            .arg(rstund.get_program());
        command.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
        command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
        for target in targets {
            command.args(["--downstream", &target.to_string()]);
        }
        Program::start(site.within(&mut command))
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
