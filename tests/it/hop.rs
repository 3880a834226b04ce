//! A client that goes from port to port, at its own side and at the server's, in mid-transfer.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::link::say;
use crate::harness::load::{Transfer, end};
use crate::harness::sockets::{Target, join};
use crate::harness::{DEADLINE, PASSWORD, Program, Site};

/// Ports that the client sends from.
const HOPS: usize = 6;

/// What is promised for a client whose address changes, twice: for a machine that is busy.
const PAUSE: Duration = Duration::from_secs(2 * 2);

#[test]
fn from_one_local_port_to_another() {
    let (from, to) = hop(1);
    assert!(from.len() >= HOPS, "{from:?}");
    assert!(to.is_empty(), "{to:?}");
}

#[test]
fn between_the_ports_of_a_server() {
    let (from, to) = hop(16);
    assert!(from.len() >= HOPS, "{from:?}");
    assert!(to.len() > 1, "{to:?}");
}

/// Transfers both ways over many hops, with a server of so many ports. Returns the ports that the client
/// sent from, and those of the range that it sent to.
fn hop(ports: u16) -> (BTreeSet<String>, BTreeSet<String>) {
    let site = Site::new();
    let target = Target::new();
    let (server, addr) = server(&site, &target, ports);
    let mapping = format!("127.0.0.1:0^{}", target.addr());
    let mut client = site.command("rstunc");
    client.env("RUST_LOG", "debug");
    client.args(["--server-addr", &addr, "--hop-interval", "1"]);
    client.args(["--password", PASSWORD, "--cert", "certificate.der"]);
    let client = Program::start(client.args(["-L", &mapping]));
    let entrance = client.entrance(&format!("TunnelOut {mapping}: listening on "));
    let (visitor, far) = join(entrance, &target);
    let transfers = [Transfer::new(&visitor, &far), Transfer::new(&far, &visitor)];
    let longest = longest_pause(&transfers, || client.count("from port ") > HOPS);
    say(&format!("longest pause {longest:.2?} in {HOPS} hops"));
    assert!(longest < PAUSE, "{longest:?}");
    end(transfers);
    // One connection has carried all.
    assert_eq!(client.count("connected to "), 1);
    assert_eq!(server.count("client logged in"), 1);
    let lines: Vec<_> = (1..=HOPS + 1)
        .map(|n| client.nth_line(n, "from port "))
        .collect();
    let ports = |before: &str| {
        let port = |line: &String| Some(line.split_once(before)?.1.split(' ').next()?.to_owned());
        lines.iter().filter_map(port).collect()
    };
    (ports("from port "), ports(" to port "))
}

/// A server at so many ports in a row, and its address as clients are told. Others take ports at the same time,
/// so it may have to look for some that are free more than once.
fn server(site: &Site, target: &Target, ports: u16) -> (Program, String) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let first = free.expect("a free port").port().min(u16::MAX - ports);
        let addr = match ports {
            1 => SocketAddr::from(([127, 0, 0, 1], first)).to_string(),
            _ => format!("127.0.0.1:{first}-{}", first + ports - 1),
        };
        let server = site.server_with(&addr, &[target.addr()], &[]);
        if server.line_or_end("listening on ") {
            return (server, addr);
        }
        assert!(Instant::now() < deadline, "no free ports");
    }
}

/// The longest time in which nothing arrived of a transfer until `done`.
fn longest_pause(transfers: &[Transfer], done: impl Fn() -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    while !done() {
        for transfer in transfers {
            let start = Instant::now();
            transfer.wait_for(transfer.arrived() + 1);
            longest = longest.max(start.elapsed());
        }
    }
    longest
}
