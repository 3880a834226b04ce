//! Outages of the path and of either end: what is open goes on, and what is new is told at once.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::Signal;
use crate::harness::link::{Link, say};
use crate::harness::load::{Transfer, end};
use crate::harness::nat::Nat;
use crate::harness::sockets::{assert_turned_away, join};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};

in_both_modes!(
    a_minute_of_darkness,
    the_clients_port_changes,
    the_clients_address_changes,
    server_killed_and_back_while_nothing_is_sent,
);

/// How long an outage lasts.
const OUTAGE: Duration = Duration::from_secs(60);

/// What is promised for a fault's end, twice: for a machine that is busy with other tests.
const PAUSE: Duration = Duration::from_secs(2 * 2);

/// The same by TCP.
const PAUSE_BY_TCP: Duration = Duration::from_secs(2 * 3);

/// What is promised for noticing a fault, twice.
const NOTICE: Duration = Duration::from_secs(2 * 10);

/// What is promised for a path whose packets become smaller.
const SHRINKING: Duration = Duration::from_secs(3);

/// What a client needs that is told of a change of its machine's network.
const MOVING: Duration = Duration::from_millis(500);

/// Nothing gets through, in mid-transfer both ways.
fn a_minute_of_darkness(mode: Mode) {
    let Some(link) = Link::mostly_idle("delay=25 rate=50") else {
        return;
    };
    let tunnel = Tunnel::over(&link, mode);
    let flow = link.at_visitor(mode, || tunnel.flow());
    let transfers = both_ways(&flow);
    for transfer in &transfers {
        transfer.wait_for(4 << 20);
    }
    link.set("loss=100");
    let start = Instant::now();
    tunnel.client.line("nothing heard from the server");
    tunnel.server.line("nothing heard from the client");
    let noticed = start.elapsed();
    assert!(noticed < NOTICE, "{noticed:?}");
    let turned_away = Instant::now();
    link.at_visitor(mode, || assert_turned_away(tunnel.entrance, b""));
    let turned_away = turned_away.elapsed();
    assert!(turned_away < Duration::from_secs(1), "{turned_away:?}");
    std::thread::sleep(OUTAGE.saturating_sub(start.elapsed()));
    let before = transfers.each_ref().map(Transfer::arrived);
    link.set("loss=0");
    let healed = Instant::now();
    let pauses = pauses(&transfers, before, healed);
    say(&format!(
        "noticed after {noticed:.1?}, and after it {pauses:.2?} up and down until bytes came"
    ));
    tunnel.client.line("is heard again");
    tunnel.server.line("is heard again");
    assert!(pauses.iter().all(|pause| *pause < PAUSE), "{pauses:?}");
    link.set("rate=0");
    end(transfers);
    assert_eq!(tunnel.client.count("connected to "), 1);
    link.at_visitor(mode, || tunnel.flow());
}

/// The system sends what was lost, after a pause that grows with the outage unless it is bounded, as newer
/// Linux can have it.
#[test]
fn half_a_minute_of_darkness_by_tcp() {
    if !Path::new("/proc/sys/net/ipv4/tcp_rto_max_ms").exists() {
        return;
    }
    let Some(link) = Link::mostly_idle("delay=25 rate=50") else {
        return;
    };
    let tunnel = Tunnel::over_with(&link, Mode::Out, &["--transport", "tcp"]);
    let transfers = both_ways(&link.at_client(|| tunnel.flow()));
    for transfer in &transfers {
        transfer.wait_for(4 << 20);
    }
    link.set("loss=100");
    std::thread::sleep(OUTAGE / 2);
    let before = transfers.each_ref().map(Transfer::arrived);
    link.set("loss=0");
    let pauses = pauses(&transfers, before, Instant::now());
    say(&format!("{pauses:.2?} up and down until bytes came"));
    assert!(
        pauses.iter().all(|pause| *pause < PAUSE_BY_TCP),
        "{pauses:?}"
    );
    link.set("rate=0");
    end(transfers);
}

fn the_clients_port_changes(mode: Mode) {
    change(mode, |nat| nat.move_to("127.0.0.1"));
}

fn the_clients_address_changes(mode: Mode) {
    change(mode, |nat| nat.move_to("127.0.0.3"));
}

/// The client's machine gets another address in mid-download, when nothing of the client's is to be sent
/// that would show it.
#[test]
fn the_clients_machine_moves() {
    let Some(link) = Link::new("delay=10 rate=50") else {
        return;
    };
    let tunnel = Tunnel::over(&link, Mode::Out);
    let (visitor, target) = link.at_client(|| tunnel.flow());
    let transfer = Transfer::new(&target, &visitor);
    transfer.wait_for(4 << 20);
    let moved = link.at_client(|| {
        run("ip addr add 10.77.0.3/32 dev wan0");
        run("ip addr del 10.77.0.1/24 dev wan0");
        let moved = Instant::now();
        run("ip route add 10.77.0.0/24 dev wan0 src 10.77.0.3");
        moved
    });
    transfer.wait_for(transfer.arrived() + (1 << 20));
    let pause = moved.elapsed();
    say(&format!("{pause:.2?} for 1 MiB more"));
    assert!(pause < 2 * MOVING, "{pause:?}");
    end([transfer]);
    assert_eq!(tunnel.client.count("connected to "), 1);
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let program = words.next().expect("a program");
    let status = Command::new(program).args(words).status();
    assert!(status.expect("a program").success(), "{command}");
}

/// The client comes from elsewhere, in mid-transfer both ways, and does not know.
fn change(mode: Mode, change: impl FnOnce(&Nat)) {
    let tunnel = Tunnel::through(mode, Nat::new);
    let (tunnel, nat) = tunnel;
    let transfers = both_ways(&tunnel.flow());
    for transfer in &transfers {
        transfer.wait_for(16 << 20);
    }
    change(&nat);
    let before = transfers.each_ref().map(Transfer::arrived);
    let pauses = pauses(&transfers, before.map(|n| n + (4 << 20)), Instant::now());
    say(&format!("{pauses:.2?} up and down for 4 MiB more"));
    assert!(pauses.iter().all(|pause| *pause < PAUSE), "{pauses:?}");
    end(transfers);
    tunnel.flow();
    assert_eq!(tunnel.client.count("connected to "), 1);
}

/// The client has nothing to send that would show it, nor does anybody tell.
fn server_killed_and_back_while_nothing_is_sent(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    join(tunnel.entrance, &tunnel.target);
    tunnel.server.kill();
    let targets = [tunnel.target.addr()];
    let _server = tunnel.site.server_again(tunnel.server_addr, &targets);
    let back = Instant::now();
    tunnel.client.line("connection lost");
    let noticed = back.elapsed();
    tunnel.client.nth_line(2, "connected to ");
    let connected = back.elapsed();
    say(&format!(
        "noticed {noticed:.2?} after the restart, connected after {connected:.2?}"
    ));
    assert!(noticed < Duration::from_secs(2), "{noticed:?}");
    assert!(connected - noticed < PAUSE, "{connected:?}");
    let announcement = mode.announcement(targets[0]);
    let entrance = match mode {
        Mode::Out => tunnel.entrance,
        Mode::In => tunnel.client.nth_addr(2, &announcement),
    };
    join(entrance, &tunnel.target);
}

/// The client's process sleeps for a minute, as all do when a laptop is closed.
#[test]
fn client_stopped_for_a_minute() {
    let tunnel = Tunnel::new(Mode::Out);
    let transfers = both_ways(&tunnel.flow());
    for transfer in &transfers {
        transfer.wait_for(16 << 20);
    }
    tunnel.client.signal(Signal::Stop);
    tunnel.server.line("nothing heard from the client");
    std::thread::sleep(OUTAGE);
    let before = transfers.each_ref().map(Transfer::arrived);
    tunnel.client.signal(Signal::Continue);
    let pauses = pauses(&transfers, before.map(|n| n + (4 << 20)), Instant::now());
    say(&format!("{pauses:.2?} up and down for 4 MiB more"));
    assert!(pauses.iter().all(|pause| *pause < PAUSE), "{pauses:?}");
    end(transfers);
    assert_eq!(tunnel.client.count("connected to "), 1);
}

/// A route changes to one that carries less, and says nothing, in mid-transfer.
mod the_path_shrinks {
    use super::*;

    #[test]
    fn both_ways() {
        shrink(|flow| Vec::from(super::both_ways(flow)));
    }

    #[test]
    fn up() {
        shrink(|(visitor, target)| vec![Transfer::new(visitor, target)]);
    }

    #[test]
    fn down() {
        shrink(|(visitor, target)| vec![Transfer::new(target, visitor)]);
    }
}

fn shrink(transfers: impl FnOnce(&(TcpStream, TcpStream)) -> Vec<Transfer>) {
    let Some(link) = Link::new("delay=10 rate=50") else {
        return;
    };
    let tunnel = Tunnel::over(&link, Mode::Out);
    let transfers = transfers(&link.at_client(|| tunnel.flow()));
    for transfer in &transfers {
        transfer.wait_for(4 << 20);
    }
    link.set("mtu=1280");
    let start = Instant::now();
    // More than can have been on the way in packets that still fitted.
    let goals = transfers.iter().map(|t| t.arrived() + (1 << 20));
    let pauses = goals.collect::<Vec<_>>().into_iter().zip(&transfers);
    let pauses = pauses.map(|(goal, transfer)| {
        transfer.wait_for(goal);
        start.elapsed()
    });
    let pauses: Vec<Duration> = pauses.collect();
    say(&format!("{pauses:.2?} for 1 MiB more"));
    assert!(
        pauses.iter().all(|pause| *pause < 2 * SHRINKING),
        "{pauses:?}"
    );
    link.set("rate=0");
    end(transfers);
    assert_eq!(tunnel.client.count("connected to "), 1);
}

/// How long it takes until more than so many bytes have arrived.
fn pauses(transfers: &[Transfer; 2], before: [u64; 2], since: Instant) -> [Duration; 2] {
    std::array::from_fn(|i| {
        transfers[i].wait_for(before[i] + 1);
        since.elapsed()
    })
}

fn both_ways((visitor, target): &(TcpStream, TcpStream)) -> [Transfer; 2] {
    for end in [visitor, target] {
        let long = Some(OUTAGE * 3);
        end.set_read_timeout(long).expect("a timeout");
        end.set_write_timeout(long).expect("a timeout");
    }
    [
        Transfer::new(visitor, target),
        Transfer::new(target, visitor),
    ]
}
