//! A link that loses, reorders and repeats packets: slow perhaps, but all arrives, and as it was sent.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::link::{Link, say};
use crate::harness::load::{Transfer, echo, end, throughput};
use crate::harness::sockets::{finish, receive, receive_all, send, visit};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};

in_both_modes!(one_flow, eight_flows, short_flows, requests);

/// What most of these cross.
const LOSSY: &str = "delay=10 loss=2 rate=50";

/// A little less than a third of all packets is lost for ten seconds, in mid-transfer both ways.
#[test]
fn ten_seconds_of_heavy_loss() {
    let Some(link) = Link::new("delay=25 rate=50") else {
        return;
    };
    let tunnel = Tunnel::over(&link, Mode::Out);
    let transfers = both_ways(&link.at_client(|| tunnel.flow()));
    let both = [&transfers[0], &transfers[1]];
    for transfer in both {
        transfer.wait_for(4 << 20);
    }
    link.set("loss=30");
    let during = throughput(&both, Duration::from_secs(10));
    link.set("loss=0");
    let after = throughput(&both, Duration::from_secs(4));
    say(&format!(
        "{during:.1?} of 50 Mbit/s up and down under 30 % loss, {after:.1?} in the 4 s after it"
    ));
    assert!(link.counts().iter().all(|counts| counts.lost > 0));
    // A busy machine may take twice as long.
    let is_well = |rates: &[f64]| rates.iter().all(|rate| *rate >= 50.0 / 2.0);
    if !is_well(&after) {
        let later = throughput(&both, Duration::from_secs(4));
        assert!(is_well(&later), "{after:?}, {later:?}");
    }
    link.set("rate=0");
    end(transfers);
    let connected = tunnel.client.count("connected to ");
    assert_eq!(connected, 1, "the connection lived");
}

#[test]
fn reordering_and_duplication() {
    bulk("delay=10 rate=50 reorder=5 duplicate=5", Mode::Out, 1);
}

#[test]
fn all_faults_at_once() {
    bulk(
        "delay=10 rate=50 loss=10 reorder=5 duplicate=5",
        Mode::Out,
        1,
    );
}

fn one_flow(mode: Mode) {
    bulk(LOSSY, mode, 1);
}

fn eight_flows(mode: Mode) {
    bulk(LOSSY, mode, 8);
}

/// So many flows, full both ways.
fn bulk(conditions: &str, mode: Mode, flows: u64) {
    let Some(link) = Link::new(conditions) else {
        return;
    };
    let tunnel = Tunnel::over(&link, mode);
    let flow = |_| link.at_visitor(mode, || tunnel.flow());
    let flows: Vec<_> = (0..flows).map(flow).collect();
    let transfers: Vec<Transfer> = flows.iter().flat_map(both_ways).collect();
    let all: Vec<&Transfer> = transfers.iter().collect();
    for transfer in &all {
        transfer.wait_for((8 << 20) / flows.len() as u64);
    }
    let sum = |rates: Vec<f64>| rates.iter().sum::<f64>();
    let rate = sum(throughput(&all, Duration::from_secs(1)));
    let counts = link.counts();
    link.set("rate=0");
    end(transfers);
    say(&format!("{rate:.1} Mbit/s both ways together; {counts:?}"));
    for counts in counts {
        let met = [
            ("loss", counts.lost),
            ("reorder", counts.held_back),
            ("duplicate", counts.duplicated),
        ];
        for (name, packets) in met {
            assert_eq!(conditions.contains(name), packets > 0, "{name}: {packets}");
        }
    }
}

fn both_ways((visitor, target): &(TcpStream, TcpStream)) -> [Transfer; 2] {
    [
        Transfer::new(visitor, target),
        Transfer::new(target, visitor),
    ]
}

/// Two hundred flows, eight at a time, each with some bytes there and back.
fn short_flows(mode: Mode) {
    const AT_ONCE: usize = 8;
    const EACH: usize = 25;
    let Some(link) = Link::new(LOSSY) else {
        return;
    };
    let (link, tunnel) = (&link, &Tunnel::over(&link, mode));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let visits = || (0..EACH).for_each(|_| visit_once(tunnel.entrance));
        for _ in 0..AT_ONCE {
            scope.spawn(move || link.at_visitor(mode, visits));
        }
        for _ in 0..AT_ONCE * EACH {
            echo(tunnel.target.accept());
        }
    });
    let per_s = (AT_ONCE * EACH) as f64 / start.elapsed().as_secs_f64();
    say(&format!("{per_s:.0} flows in a second"));
}

/// Sends some bytes and the end, and expects the same back.
fn visit_once(entrance: SocketAddr) {
    let visitor = visit(entrance);
    let bytes = random(10_000);
    send(&visitor, &bytes);
    finish(&visitor);
    assert!(receive_all(&visitor) == bytes, "the echo differs");
}

/// Requests of all sizes, one after the other, each answered.
fn requests(mode: Mode) {
    const REQUESTS: u32 = 48;
    let Some(link) = Link::new(LOSSY) else {
        return;
    };
    let tunnel = Tunnel::over(&link, mode);
    let (visitor, target) = link.at_visitor(mode, || tunnel.flow());
    echo(target);
    let start = Instant::now();
    for n in 0..REQUESTS {
        let request = random(1 << (n % 16));
        send(&visitor, &request);
        let answer = receive(&visitor, request.len());
        assert!(answer == request, "the answer to request {n} differs");
    }
    say(&format!("{:.1?} a request", start.elapsed() / REQUESTS));
}

fn random(len: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..))
        .take(len)
        .collect()
}
