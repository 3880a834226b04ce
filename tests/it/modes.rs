//! The command lines that the project promises, links included, and the forms an address can take.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::harness::sockets::{Target, assert_joined, join, receive_all, send, visit};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{PASSWORD, Program, Site};

in_both_modes!(target_speaks_first, flow_without_a_byte);

/// `rstund` as the issue has it, but for its port, run through the link `name`.
fn rstund(site: &Site, name: &str, downstream: u16) -> Program {
    let mut command = site.command(name);
    command
        .args(["--addr", "0.0.0.0:0", "--downstream"])
        .arg(downstream.to_string())
        .args(["--password", PASSWORD, "--cert"])
        .arg(site.path("certificate.der"))
        .arg("--key")
        .arg(site.path("priv_key.der"));
    Program::start(&mut command)
}

/// `rstunc` as the issue has it, but for its ports, run through the link `name`.
fn rstunc(site: &Site, name: &str, mode: &str, server: &Program, mapping: &str) -> Program {
    let port = server.server_addr().port();
    let mut command = site.command(name);
    command
        .args(["--mode", mode, "--server-addr"])
        .arg(format!("127.0.0.1:{port}"))
        .args(["--password", PASSWORD, "--cert"])
        .arg(site.path("certificate.der"))
        .args(["--addr-mapping", mapping]);
    Program::start(&mut command)
}

/// The way in at 127.0.0.1 to a listener that was announced to be on all IPv4 addresses.
fn from_unspecified(announced: SocketAddr) -> SocketAddr {
    assert_eq!(announced.ip(), Ipv4Addr::UNSPECIFIED);
    assert_ne!(announced.port(), 0);
    (Ipv4Addr::LOCALHOST, announced.port()).into()
}

fn assert_tunnel_out(site: &Site, server_link: &str, client_link: &str) {
    let target = Target::new();
    let port = target.port();
    let server = rstund(site, server_link, port);
    let mapping = format!("0.0.0.0:0^{port}");
    let client = rstunc(site, client_link, "TunnelOut", &server, &mapping);
    let announced = client.entrance(&format!(
        "TunnelOut 0.0.0.0:0^127.0.0.1:{port}: listening on "
    ));
    join(from_unspecified(announced), &target);
}

fn assert_tunnel_in(site: &Site, server_link: &str, client_link: &str) {
    let target = Target::new();
    let port = target.port();
    let server = rstund(site, server_link, 1);
    let mapping = format!("{port}^0.0.0.0:0");
    let client = rstunc(site, client_link, "TunnelIn", &server, &mapping);
    let announced = client.entrance(&format!(
        "TunnelIn 127.0.0.1:{port}^0.0.0.0:0: the server listens on "
    ));
    join(from_unspecified(announced), &target);
}

#[test]
fn tunnel_out_as_typed() {
    assert_tunnel_out(&Site::new(), "rstund", "rstunc");
}

#[test]
fn tunnel_in_as_typed() {
    assert_tunnel_in(&Site::new(), "rstund", "rstunc");
}

#[test]
fn links_in_any_directory_and_with_exe() {
    let site = Site::new();
    for name in ["usr/local/bin/rstund", "rstund.exe", "opt/rstun d/rstunc"] {
        site.link(name);
    }
    site.link("opt/rstunc.exe");
    assert_tunnel_out(&site, "usr/local/bin/rstund", "opt/rstun d/rstunc");
    assert_tunnel_in(&site, "rstund.exe", "opt/rstunc.exe");
}

#[test]
fn subcommands_are_the_same_programs() {
    let site = Site::new();
    let target = Target::new();
    let mut server = site.command("rstun");
    server.args(["server", "--addr", "127.0.0.1:0", "--password", PASSWORD]);
    server.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    server.args(["--downstream", &target.addr().to_string()]);
    let server = Program::start(&mut server);

    let mut client = site.command("rstun");
    client.args(["client", "--password", PASSWORD]);
    client.args(["--server-addr", &server.server_addr().to_string()]);
    client.args(["--cert", "certificate.der"]);
    client.args(Mode::Out.args(target.addr()));
    let client = Program::start(&mut client);
    join(
        client.entrance(&Mode::Out.announcement(target.addr())),
        &target,
    );
}

#[test]
fn many_tunnels_share_one_client() {
    let site = Site::new();
    let targets: Vec<Target> = (0..8).map(|_| Target::new()).collect();
    let addrs: Vec<SocketAddr> = targets.iter().map(Target::addr).collect();
    let server = site.server(&addrs);

    // Two by each of the three ways to name a TunnelOut, two by --tunnel-in.
    let mut args = Vec::new();
    let mut modes = Vec::new();
    for (target, addr) in addrs.iter().enumerate() {
        let (flag, mode) = match target % 4 {
            0 => ("--addr-mapping", Mode::Out),
            1 => ("-L", Mode::Out),
            2 => ("--tunnel-out", Mode::Out),
            _ => ("--tunnel-in", Mode::In),
        };
        let [_, mapping] = mode.args(*addr);
        args.extend([flag.to_owned(), mapping]);
        modes.push(mode);
    }
    args.extend(["--mode".into(), "TunnelOut".into()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server.server_addr(), &args);

    let ways = targets.iter().zip(&modes);
    let flows: Vec<_> = ways
        .map(|(target, mode)| join(client.entrance(&mode.announcement(target.addr())), target))
        .collect();
    // All at once still work, and each is joined to its own.
    for (visitor, target) in flows.iter().rev() {
        assert_joined(visitor, target);
    }
    assert_eq!(client.count("connected to "), 1, "one connection for all");
}

#[test]
fn mode_applies_to_each_addr_mapping() {
    let site = Site::new();
    let [one, two] = [Target::new(), Target::new()];
    let server = site.server(&[]);
    let mappings = [&one, &two].map(|target| Mode::In.args(target.addr())[1].clone());
    let client = site.client(
        server.server_addr(),
        &[
            "--addr-mapping",
            &mappings[0],
            "--mode",
            "TunnelIn",
            "--addr-mapping",
            &mappings[1],
        ],
    );
    for target in [one, two] {
        join(
            client.entrance(&Mode::In.announcement(target.addr())),
            &target,
        );
    }
}

#[test]
fn ipv6_in_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no ::1, nothing is shown");
        return;
    }
    let site = Site::new();
    let target = Target::at("[::1]:0".parse().expect("an address"));
    let addr = target.addr();
    let server = site.server_with("[::1]:0", &[addr], &[]);
    let out = format!("[::1]:0^{addr}");
    let into = format!("{addr}^[::1]:0");
    let client = site.client(server.server_addr(), &["-L", &out, "-R", &into]);
    for announcement in [
        format!("TunnelOut {out}: listening on "),
        format!("TunnelIn {into}: the server listens on "),
    ] {
        let entrance = client.entrance(&announcement);
        assert!(entrance.is_ipv6(), "{entrance}");
        join(entrance, &target);
    }
}

#[test]
fn host_names_on_the_dialed_side() {
    let site = Site::new();
    let target = Target::new();
    let name = format!("localhost:{}", target.port());
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", &name]);
    let out = format!("127.0.0.1:0^{name}");
    let into = format!("{name}^127.0.0.1:0");
    // The server listens at 127.0.0.1 alone, and so do the targets, whatever else the name stands for.
    let server_name = format!("localhost:{}", server.server_addr().port());
    let client = site.client(server_name, &["-L", &out, "-R", &into]);
    for announcement in [
        format!("TunnelOut {out}: listening on "),
        format!("TunnelIn {into}: the server listens on "),
    ] {
        join(client.entrance(&announcement), &target);
    }
}

#[test]
fn bare_port_on_the_right_of_tunnel_in_is_all_addresses() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[]);
    let mapping = format!("{}^0", target.port());
    let client = site.client(server.server_addr(), &["-R", &mapping]);
    let announced = client.entrance(": the server listens on ");
    assert!(announced.ip().is_unspecified(), "{announced}");
    assert_ne!(announced.port(), 0);
    join((Ipv4Addr::LOCALHOST, announced.port()).into(), &target);
}

#[test]
fn bare_port_on_the_left_of_tunnel_out_is_loopback() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let mapping = format!("0^{}", target.port());
    let client = site.client(server.server_addr(), &["-L", &mapping]);
    let announced = client.entrance(": listening on ");
    assert_eq!(announced.ip(), Ipv4Addr::LOCALHOST);
    join(announced, &target);
}

/// A mail or ssh server greets before the visitor has sent anything.
fn target_speaks_first(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let visitor = visit(tunnel.entrance);
    let target = tunnel.target.accept();
    send(&target, b"220 welcome\r\n");
    drop(target);
    assert_eq!(receive_all(&visitor), b"220 welcome\r\n");
}

/// Neither end says anything, and both ends see that.
fn flow_without_a_byte(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let visitor = visit(tunnel.entrance);
    let target = tunnel.target.accept();
    drop(visitor);
    assert_eq!(receive_all(&target), b"");
}
