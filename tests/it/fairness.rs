//! Flows beside each other: who gets how much of a link, and who waits for whom.

use std::time::Duration;

use socket2::SockRef;

use crate::harness::link::{Link, say};
use crate::harness::load::{Transfer, echo, end, round_trips, throughput, throughput_during};
use crate::harness::sockets::{Target, visit};
use crate::harness::tunnel::{Mode, Tunnel};

/// Bytes that a flow has moved when its beginning is over.
const BEGUN: u64 = 1 << 20;

/// Eight flows each way, all through one connection.
#[test]
fn bulk_flows_share_alike() {
    let Some(link) = Link::new("delay=20 rate=50 queue=40") else {
        return;
    };
    let tunnel = Tunnel::over(&link, Mode::Out);
    let flows: Vec<_> = link.at_client(|| (0..8).map(|_| tunnel.flow()).collect());
    let up: Vec<Transfer> = flows.iter().map(|(a, b)| Transfer::new(a, b)).collect();
    let down: Vec<Transfer> = flows.iter().map(|(a, b)| Transfer::new(b, a)).collect();
    let all: Vec<&Transfer> = up.iter().chain(&down).collect();
    for transfer in &all {
        transfer.wait_for(BEGUN);
    }

    let rates = throughput(&all, Duration::from_secs(5));
    let (up_rates, down_rates) = rates.split_at(up.len());
    for (way, rates) in [("up", up_rates), ("down", down_rates)] {
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        let sum: f64 = rates.iter().sum();
        let ratio = most / least;
        say(&format!(
            "{way} {sum:.1} of 50 Mbit/s, {least:.2} to {most:.2} a flow ({ratio:.2})"
        ));
        assert!(ratio <= 1.2, "{rates:?}");
        assert!(sum > 50.0 / 2.0, "{rates:?}");
    }
    link.set("rate=0");
    end(up.into_iter().chain(down));
}

/// The queue of two round trips is what a router is likely to have.
#[test]
fn neither_we_nor_cubic_starve() {
    beside_cubic(80);
}

/// From one round trip to eight.
#[test]
#[ignore = "takes a minute and a half"]
fn neither_we_nor_cubic_starve_in_other_queues() {
    for queue in [40, 160, 320] {
        beside_cubic(queue);
    }
}

/// A TCP flow with Cubic, as most systems send, and one through the tunnel meet before a link with a round
/// trip of 40 ms, and a queue of so many.
fn beside_cubic(queue: u32) {
    const RATE: f64 = 50.0;
    let Some(link) = Link::new(&format!("delay=20 rate={RATE} queue={queue}")) else {
        return;
    };
    let tunnel = Tunnel::over(&link, Mode::Out);
    let (visitor, end_of_ours) = link.at_client(|| tunnel.flow());
    let plain = link.at_server(|| Target::at(Link::server_addr()));
    let cubic = link.at_client(|| visit(plain.addr()));
    let set = SockRef::from(&cubic).set_tcp_congestion(b"cubic");
    set.expect("a kernel with Cubic");
    let end_of_cubic = plain.accept();

    let ours = Transfer::new(&visitor, &end_of_ours);
    let cubic = Transfer::new(&cubic, &end_of_cubic);
    ours.wait_for(BEGUN);
    cubic.wait_for(BEGUN);
    let rates = throughput(&[&ours, &cubic], Duration::from_secs(30));
    say(&format!(
        "ours {:.1}, Cubic {:.1} of {RATE} Mbit/s, with a queue of {queue} ms",
        rates[0], rates[1]
    ));
    assert!(rates.iter().all(|rate| *rate >= RATE / 4.0), "{rates:?}");
    link.set("rate=0");
    end([ours, cubic]);
}

/// A byte now and then waits for little more than the path is long, whatever else is on its way: 75 ms are
/// promised where a round trip takes 50, and the queue could hold 200 more. A slow machine has twice as much.
#[test]
fn a_keystroke_beside_a_bulk_flow() {
    let Some(link) = Link::new("delay=25 rate=50 queue=200") else {
        return;
    };
    let tunnel = Tunnel::over(&link, Mode::Out);
    let (keyboard, screen) = link.at_client(|| tunnel.flow());
    echo(screen);
    let (visitor, end_of_bulk) = link.at_client(|| tunnel.flow());
    let bulk = Transfer::new(&visitor, &end_of_bulk);
    bulk.wait_for(8 * BEGUN);

    let keys = || round_trips(&keyboard, 60, Duration::from_millis(20));
    let (rates, times) = throughput_during(&[&bulk], keys);
    let [p50, p95] = [50, 95].map(|q| times[times.len() * q / 100]);
    say(&format!(
        "round trips p50 {p50:.1?}, p95 {p95:.1?} beside {:.1} of 50 Mbit/s",
        rates[0]
    ));
    assert!(p95 <= Duration::from_millis(100), "{times:?}");
    assert!(rates[0] >= 50.0 / 2.0);
    link.set("rate=0");
    end([bulk]);
}
