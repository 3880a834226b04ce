//! A process that may open no more descriptors: what is open goes on, what is new waits or is turned
//! away, and nothing spins.

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::link::say;
use crate::harness::sockets::{Target, assert_joined, assert_reset, join, send, visit};
use crate::harness::{PASSWORD, Program, Site};

/// Descriptors of the server.
const LIMIT: usize = 60;

/// Visitors by each tunnel.
const VISITORS: usize = 100;

/// How long the server is looked on.
const TIME: Duration = Duration::from_secs(5);

#[test]
fn descriptors_run_out() {
    let site = Site::new();
    let target = Target::new();
    let server = server(&site, &target);
    let (out, inward) = (
        format!("127.0.0.1:0^{}", target.addr()),
        format!("{}^127.0.0.1:0", target.addr()),
    );
    let client = site.client(server.server_addr(), &["-L", &out, "-R", &inward]);
    let by_out = client.entrance(&format!("TunnelOut {out}: listening on "));
    let by_in = client.addr(&format!("TunnelIn {inward}: the server listens on "));

    let open = join(by_out, &target);
    let waiting: Vec<TcpStream> = (0..VISITORS).map(|_| visit(by_in)).collect();
    server.line("Too many open files");
    let turned_away: Vec<TcpStream> = (0..VISITORS).map(|_| visit(by_out)).collect();
    client.line("no descriptors or memory left");
    assert_reset(turned_away.last().expect("visitors"));

    let (lines, cpu, start) = (server.count("WARN"), server.cpu_time(), Instant::now());
    server.give_time_to_end(TIME);
    let seconds = start.elapsed().as_secs_f64();
    let busy = (server.cpu_time() - cpu).as_secs_f64() / seconds * 100.0;
    let lines = (server.count("WARN") - lines) as f64 / seconds;
    say(&format!(
        "{busy:.1} % of a core, {lines:.1} log lines a second"
    ));
    assert!(busy < 10.0, "{busy} %");
    assert!(lines <= 2.0, "{lines} lines a second");
    assert_joined(&open.0, &open.1);

    // Those who wait are let in as soon as others have gone.
    drop((turned_away, waiting, open));
    let visitor = visit(by_in);
    send(&visitor, b"hello");
    let arrived = std::iter::repeat_with(|| target.accept()).find(says_hello);
    assert_joined(&visitor, &arrived.expect("the visitor"));
}

/// Whether this is the visitor that says so, or one of those that had not been looked at before.
fn says_hello(mut arrived: &TcpStream) -> bool {
    let mut word = [0; 5];
    arrived.read_exact(&mut word).is_ok() && word == *b"hello"
}

fn server(site: &Site, target: &Target) -> Program {
    let rstund = site.command("rstund");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$@\""), "sh"]);
    command.arg(rstund.get_program());
    command.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
    command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    command.args(["--downstream", &target.addr().to_string()]);
    Program::start(site.within(&mut command))
}
