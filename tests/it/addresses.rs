//! A server's name with addresses that do not work, and one that changes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::link::{Link, say};
use crate::harness::{PASSWORD, Program, Site};

/// Where the client's one tunnel leads, and nobody listens.
const TARGET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// What is promised for connecting by a name of which one address works, twice.
const CONNECT: Duration = Duration::from_secs(2);

/// What is promised for noticing that a server is gone, and being at its new address then, twice.
const MOVE: Duration = Duration::from_secs(2 * (10 + 2));

/// One has no way to it, as where IPv6 is broken, and one swallows all.
#[test]
fn one_of_several_works() {
    let Some(link) = Link::mostly_idle("delay=10") else {
        return;
    };
    let site = Site::new();
    let server = link.at_server(|| site.server_with(Link::server_addr(), &[TARGET], &[]));
    let names = "fd77::2 server.test\n10.77.0.99 server.test\n10.77.0.2 server.test\n";
    let start = Instant::now();
    let client = link.at_client(|| client(&site, names, server.server_addr()));
    client.line("connected to 10.77.0.2:");
    let connected = start.elapsed();
    say(&format!("connected {connected:.2?} after the start"));
    assert!(connected < CONNECT, "{connected:?}");
}

/// The server goes, and comes back elsewhere, where its name leads too by then.
#[test]
fn the_name_leads_elsewhere() {
    let Some(link) = Link::mostly_idle("delay=10") else {
        return;
    };
    let site = Site::new();
    let old = link.at_server(|| site.server_with(Link::server_addr(), &[TARGET], &[]));
    let server = old.server_addr();
    let client = link.at_client(|| client(&site, "10.77.0.2 server.test\n", server));
    client.line("connected to 10.77.0.2:");
    old.kill();
    let gone = Instant::now();
    let _new = link.at_server(|| {
        let add = ["addr", "add", "10.77.0.4/24", "dev", "wan0"];
        let added = Command::new("ip").args(add).status();
        assert!(added.expect("ip").success());
        let addr = SocketAddr::from(([10, 77, 0, 4], server.port()));
        site.server_again(addr, &[TARGET])
    });
    site.write("hosts", "10.77.0.4 server.test\n");
    client.line("connected to 10.77.0.4:");
    let moved = gone.elapsed();
    say(&format!(
        "connected to its new address {moved:.2?} after it was gone"
    ));
    assert!(moved < MOVE, "{moved:?}");
}

/// A client whose machine has a table of names of its own.
fn client(site: &Site, names: &str, server: SocketAddr) -> Program {
    site.write("hosts", names);
    site.set_mode("hosts", 0o644);
    let script = "mount --bind hosts /etc/hosts && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(site.path("rstunc"));
    command.args(["--server-addr", &format!("server.test:{}", server.port())]);
    command.args(["--password", PASSWORD, "--cert", "certificate.der"]);
    command.args(["-L", &format!("127.0.0.1:0^{TARGET}")]);
    Program::start(site.within(&mut command))
}
