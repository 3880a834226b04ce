//! A tunnel that a server took, and refuses when its client connects again: that is the end of this one
//! alone, until it is to be had again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Instant;

use crate::harness::entries::By;
use crate::harness::sockets::{
    Reception, Target, assert_joined, join, steady_port, wait_for_reception,
};
use crate::harness::tunnel::Mode;
use crate::harness::{DEADLINE, Program, Site};

/// A port of 127.0.0.1 that is free.
fn free_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, steady_port()).into()
}

/// Takes a port as soon as it is free.
fn take(port: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match TcpListener::bind(port) {
            Ok(taken) => return taken,
            Err(e) => assert!(Instant::now() < deadline, "{port}: {e}"),
        }
        std::thread::yield_now();
    }
}

/// What `rstun` says that is asked of the only client that runs.
fn ask(site: &Site, args: &[&str]) -> String {
    let ended = site.run(site.command("rstun").args(args));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

fn pid(program: &Program) -> String {
    program.id().to_string()
}

#[test]
fn a_port_that_was_taken_meanwhile() {
    let (site, target) = (Site::new(), Target::new());
    let server = site.server(&[target.addr()]);
    let (addr, [configured, added]) = (server.server_addr(), [free_port(), free_port()]);
    let mapping = |port: SocketAddr| format!("{}^{port}", target.addr());
    let [flag, out] = Mode::Out.args(target.addr());
    let client = site.client(addr, &["-R", &mapping(configured), &flag, &out]);
    let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
    ask(&site, &["tunnel", "add", "-R", &mapping(added)]);
    for port in [configured, added] {
        join(port, &target);
    }

    server.kill();
    let taken = [configured, added].map(take);
    let server = site.server_again(addr, &[target.addr()]);
    client.nth_line(2, "connected to ");
    join(entrance, &target);
    for (number, port) in [("1", configured), ("2", added)] {
        let refused = format!("refused TunnelIn {}", mapping(port));
        let told = client.line(&refused);
        assert!(told.contains("is taken at the server"), "{told}");
        let says = format!("rstun tunnel remove {number}");
        assert!(told.contains(&says), "{told}");
        // It is asked for again, and told of once.
        server.nth_line(3, &format!("what=\"TunnelIn {}", mapping(port)));
        assert_eq!(client.count(&refused), 1);
    }
    let listed = ask(&site, &["tunnel", "list"]);
    assert_eq!(listed.matches("refused: ").count(), 2, "{listed}");
    let status = ask(&site, &["status", "--pid", &pid(&client)]);
    assert_eq!(
        status.matches("refused, and tried again: ").count(),
        2,
        "{status}"
    );

    drop(taken);
    let free = Instant::now();
    for port in [configured, added] {
        client.nth_line(2, &format!("the server listens on {port}"));
        println!("{port} is back after {:?}", free.elapsed());
        join(port, &target);
    }
    join(entrance, &target);
    let listed = ask(&site, &["tunnel", "list"]);
    assert!(!listed.contains("refused"), "{listed}");
    let status = ask(&site, &["status", "--pid", &pid(&client)]);
    assert!(!status.contains("refused"), "{status}");
    assert_eq!(client.count("connected to "), 2);
}

#[test]
fn a_tunnel_that_the_entry_does_not_allow_any_more() {
    let (site, target) = (Site::new(), Target::new());
    let [kept, lost] = [free_port(), free_port()];
    let entry = |ports: &[SocketAddr]| {
        let ports: Vec<_> = ports.iter().map(SocketAddr::to_string).collect();
        format!("listen = {ports:?}")
    };
    let wide = site.entry("laptop", By::Key, &entry(&[kept, lost]));
    let narrow = wide.replace(&entry(&[kept, lost]), &entry(&[kept]));
    let server = site.server_for(&[&wide], &[]);
    let mappings = [kept, lost].map(|port| format!("{}^{port}", target.addr()));
    let args = ["-R", &mappings[0], "-R", &mappings[1]];
    let client = site.client_as(server.server_addr(), "laptop", By::Key, &args);
    client.line("connected to ");
    for port in [kept, lost] {
        client.line(&format!("listens on {port}"));
        join(port, &target);
    }

    site.replace_entries(&[&narrow]);
    let told = client.line("the server refused");
    assert!(told.contains("is not in this client's listen"), "{told}");
    client.nth_line(2, &format!("listens on {kept}"));
    wait_for_reception(lost, &[Reception::Closed]);
    let (visitor, end) = join(kept, &target);

    // As soon as it is allowed again, and without another login.
    site.replace_entries(&[&wide]);
    client.nth_line(2, &format!("listens on {lost}"));
    join(lost, &target);
    assert_joined(&visitor, &end);
    assert_eq!(client.count("connected to "), 2);
    assert_eq!(client.count("the server refused"), 1);
}

/// Where another server stands by it gives what it can, for as long as the better one is away.
#[test]
fn a_server_that_stands_by_and_gives_less() {
    let site = Site::new();
    let [common, special] = [Target::new(), Target::new()];
    let server = site.server(&[common.addr(), special.addr()]);
    let other = site.server(&[common.addr()]);
    let [addr, other_addr] = [&server, &other].map(Program::server_addr);
    let mut args = vec!["--server-addr".to_owned(), other_addr.to_string()];
    for target in [&common, &special] {
        args.extend(Mode::Out.args(target.addr()));
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let client = site.client(addr, &args);
    let entrance = |target: &Target| client.entrance(&Mode::Out.announcement(target.addr()));
    client.line(&format!("new flows go through {addr}"));
    for target in [&common, &special] {
        join(entrance(target), target);
    }
    server.signal(crate::harness::Signal::Terminate);
    assert_eq!(server.ended().code, 0);
    client.line(&format!("new flows go through {other_addr}"));
    client.line(&format!("{other_addr} refused TunnelOut"));
    join(entrance(&common), &common);

    let _server = site.server_again(addr, &[common.addr(), special.addr()]);
    drop(other);
    client.nth_line(2, &format!("new flows go through {addr}"));
    for target in [&common, &special] {
        join(entrance(target), target);
    }
}
