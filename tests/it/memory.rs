//! What a tunnel keeps in memory, at worst.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::harness::Program;
use crate::harness::link::{Link, say};
use crate::harness::load::{Transfer, end, throughput};
use crate::harness::sockets::{receive, visit_with_small_buffer};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};

in_both_modes!(stopped_readers);

/// Downloads whose readers stop.
const STOPPED: usize = 200;

/// Bytes that each of them reads before.
const READ: usize = 300_000;

/// What the README says that one client's flows keep at one end: of what came in, and of what goes out.
const KEPT_IN: u64 = (64 << 20) + STOPPED as u64 * (512 << 10);
const KEPT_OUT: u64 = 128 << 20;

/// Downloads fill all that there is for them. The memory that this takes is bounded, and another flow
/// goes on.
fn stopped_readers(mode: Mode) {
    let Some(link) = Link::new("delay=10 rate=200") else {
        return;
    };
    // So that what is kept is kept by us: the system would take megabytes for each socket.
    let small = || std::fs::write("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 65536");
    link.at_client(small).expect("a namespace's own setting");
    link.at_server(small).expect("a namespace's own setting");
    let tunnel = Tunnel::over(&link, mode);
    let (sender, receiver) = match mode {
        Mode::Out => (&tunnel.server, &tunnel.client),
        Mode::In => (&tunnel.client, &tunnel.server),
    };
    let before = [sender, receiver].map(Program::peak_memory);
    let _full = fill_downloads(&link, &tunnel);

    let (visitor, target) = link.at_visitor(mode, || tunnel.flow());
    let flow = Transfer::new(&target, &visitor);
    flow.wait_for(8 << 20);
    let rate = throughput(&[&flow], Duration::from_secs(1))[0];
    let after = [sender, receiver].map(Program::peak_memory);
    let [out, kept] = [0, 1].map(|end| after[end] - before[end]);
    say(&format!(
        "{} MiB more at the sender, {} MiB at the receiver; another flow gets {rate:.0} of 200 Mbit/s",
        out >> 20,
        kept >> 20,
    ));
    assert!(kept > KEPT_IN / 2, "they were not full");
    // What is kept is in pieces that do not quite fill their buffers.
    assert!(out <= KEPT_OUT + KEPT_OUT / 4, "{out} at the sender");
    assert!(kept <= KEPT_IN + KEPT_IN / 4, "{kept} at the receiver");
    end([flow]);
}

/// Downloads whose readers have stopped and whose targets have sent all that goes; the visitors' ends.
fn fill_downloads(link: &Link, tunnel: &Tunnel) -> Vec<TcpStream> {
    let written = Arc::new(AtomicU64::new(0));
    let visit = |_| {
        let visitor = visit_with_small_buffer(tunnel.entrance);
        flood(tunnel.target.accept(), written.clone());
        visitor
    };
    let visitors = link.at_visitor(tunnel.mode, || (0..STOPPED).map(visit).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for visitor in &visitors {
            scope.spawn(|| receive(visitor, READ));
        }
    });
    // They are full when nothing has gone any more for as long as takes the link 12 MB.
    let mut seen = 0;
    while written.load(Relaxed) > seen {
        seen = written.load(Relaxed);
        std::thread::sleep(Duration::from_millis(500));
    }
    visitors
}

/// Writes until nothing goes any more, on a thread.
fn flood(mut stream: TcpStream, written: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        while let Ok(bytes) = stream.write(&[b'f'; 1 << 14]) {
            written.fetch_add(bytes as u64, Relaxed);
        }
    });
}
