//! A port belongs to whom it was given: a client takes it over from its own dead session, and from no other.

use std::time::{Duration, Instant};

use crate::harness::entries::By;
use crate::harness::sockets::{Target, assert_joined, join};
use crate::harness::tunnel::Mode;
use crate::harness::{Program, Site};

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
    let client = site.client_as(addr, "one", By::Key, &args);
    let entrance = client.entrance(&Mode::In.announcement(target.addr()));
    // What is still open does not stand in the way.
    let _flow = join(entrance, &target);
    client.kill();

    let start = Instant::now();
    let mapping = format!("{}^{entrance}", target.addr());
    let client = site.client_as(addr, "one", By::Key, &["-R", &mapping]);
    assert_eq!(client.addr("the server listens on "), entrance);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    join(entrance, &target);
    server.line("no sign of life");
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
