//! A port belongs to whom it was given: a client takes it over from its own dead session, and from no other.

use std::time::{Duration, Instant};

use crate::harness::entries::By;
use crate::harness::nat::Nat;
use crate::harness::sockets::{Target, assert_joined, join, steady_port};
use crate::harness::tunnel::Mode;
use crate::harness::{PASSWORD, Program, Site};

/// What is promised, twice.
const TAKEOVER: Duration = Duration::from_secs(2 * 2);

/// Looks whether a port was taken over as fast as is promised, on a machine where it takes so long to start
/// a client that has nothing to take over.
fn assert_fast(took: Duration, usual: Duration) {
    println!("taken over after {took:?}, where a first client takes {usual:?}");
    assert!(took < TAKEOVER + 2 * usual, "{took:?} {usual:?}");
}

/// Two clients that may listen wherever they like, and a server for them.
fn server(site: &Site) -> Program {
    let rights = "listen = [\"127.0.0.1:0\", \"127.0.0.1:1024-65535\"]";
    let entries = ["one", "other"].map(|name| site.entry(name, By::Key, rights));
    site.server_for(&[&entries[0], &entries[1]], &[])
}

#[test]
fn a_killed_client_gets_its_port_back() {
    let site = Site::new();
    let target = Target::new();
    let server = server(&site);
    let addr = server.server_addr();
    let args = Mode::In.args(target.addr());
    let start = Instant::now();
    let client = site.client_as(addr, "one", By::Key, &args);
    let entrance = client.entrance(&Mode::In.announcement(target.addr()));
    let usual = start.elapsed();
    // What is still open does not stand in the way.
    let _flow = join(entrance, &target);
    client.kill();

    let start = Instant::now();
    let mapping = format!("{}^{entrance}", target.addr());
    let client = site.client_as(addr, "one", By::Key, &["-R", &mapping]);
    assert_eq!(client.addr("the server listens on "), entrance);
    assert_fast(start.elapsed(), usual);
    join(entrance, &target);
    server.line("no sign of life");
}

/// The same for a client that is started again on another machine.
#[test]
fn a_killed_client_gets_its_port_back_elsewhere() {
    let site = Site::new();
    let target = Target::new();
    let server = server(&site);
    let addr = server.server_addr();
    let args = Mode::In.args(target.addr());
    let start = Instant::now();
    let client = site.client_as(addr, "one", By::Key, &args);
    let entrance = client.entrance(&Mode::In.announcement(target.addr()));
    let usual = start.elapsed();
    let nat = Nat::new(addr);
    nat.move_to("127.0.0.3");
    client.kill();

    let start = Instant::now();
    let mapping = format!("{}^{entrance}", target.addr());
    let client = site.client_as(nat.addr(), "one", By::Key, &["-R", &mapping]);
    assert_eq!(client.addr("the server listens on "), entrance);
    assert_fast(start.elapsed(), usual);
    join(entrance, &target);
    let login = server.nth_line(2, "client logged in");
    assert!(login.contains("from=127.0.0.3:"), "{login}");
}

/// The same for UDP, and for those who share the password.
#[test]
fn a_killed_client_gets_its_udp_port_back() {
    let site = Site::new();
    let rights = "listen = [\"udp:127.0.0.1:0\", \"udp:127.0.0.1:1024-65535\"]";
    let entry = site.entry("one", By::Key, rights);
    let server = site.server_for(&[&entry], &["--password", PASSWORD]);
    let addr = server.server_addr();
    let start = |by_password: bool, mapping: &str| match by_password {
        true => site.client(addr, &["-R", mapping]),
        false => site.client_as(addr, "one", By::Key, &["-R", mapping]),
    };
    for by_password in [false, true] {
        let began = Instant::now();
        let client = start(by_password, &format!("9^udp://127.0.0.1:{}", steady_port()));
        let port = client.addr("the server listens on ");
        let usual = began.elapsed();
        let another = start(!by_password, &format!("9^udp://{port}")).ended();
        assert!(another.error().contains("taken"), "{}", another.stderr);
        client.kill();
        let began = Instant::now();
        let client = start(by_password, &format!("9^udp://{port}"));
        assert_eq!(client.addr("the server listens on "), port);
        assert_fast(began.elapsed(), usual);
    }
}

/// Who has no entry any more holds no port.
#[test]
fn a_port_is_free_when_its_entry_is_gone() {
    let site = Site::new();
    let target = Target::new();
    let rights = "listen = [\"127.0.0.1:0\", \"127.0.0.1:1024-65535\"]";
    let entries = ["one", "other"].map(|name| site.entry(name, By::Key, rights));
    let server = site.server_for(&[&entries[0], &entries[1]], &[]);
    let addr = server.server_addr();
    let client = site.client_as(addr, "one", By::Key, &Mode::In.args(target.addr()));
    let entrance = client.entrance(&Mode::In.announcement(target.addr()));
    site.replace_entries(&[&entries[1]]);
    server.line("event=\"logout\" identity=\"one\"");
    let mapping = format!("{}^{entrance}", target.addr());
    let other = site.client_as(addr, "other", By::Key, &["-R", &mapping]);
    assert_eq!(other.addr("the server listens on "), entrance);
    join(entrance, &target);
}

#[test]
fn a_live_session_is_not_robbed() {
    let site = Site::new();
    let [target, rival] = [Target::new(), Target::new()];
    let server = server(&site);
    let addr = server.server_addr();
    let client = site.client_as(addr, "one", By::Key, &Mode::In.args(target.addr()));
    let entrance = client.entrance(&Mode::In.announcement(target.addr()));
    let (visitor, end) = join(entrance, &target);
    let mapping = format!("{}^{entrance}", rival.addr());
    let ended = site
        .client_as(addr, "one", By::Key, &["-R", &mapping])
        .ended();
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("taken"), "{}", ended.stderr);
    assert_joined(&visitor, &end);
    join(entrance, &target);
    assert_eq!(client.count("connected to "), 1);
}

#[test]
fn another_identity_gets_no_port_of_a_dead_one() {
    let site = Site::new();
    let target = Target::new();
    let server = server(&site);
    let addr = server.server_addr();
    let client = site.client_as(addr, "one", By::Key, &Mode::In.args(target.addr()));
    let entrance = client.entrance(&Mode::In.announcement(target.addr()));
    client.kill();
    let mapping = format!("{}^{entrance}", target.addr());
    let ended = site
        .client_as(addr, "other", By::Key, &["-R", &mapping])
        .ended();
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("taken"), "{}", ended.stderr);
    assert_eq!(server.count("no sign of life"), 0);
}
