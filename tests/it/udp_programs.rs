//! UDP as programs use it: a DNS server, iperf3 and WireGuard.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::link::{Link, say};
#[cfg(target_os = "linux")]
use crate::harness::sockets::steady_port;
use crate::harness::{Ended, PASSWORD, Program, Site, is_installed};

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(command: &mut Command) -> Ended {
    let ended = Program::start(command).ended();
    assert_eq!(
        ended.code, 0,
        "{command:?}: {}{}",
        ended.stdout, ended.stderr
    );
    ended
}

/// A server and a client that carry TCP and UDP from one port to another.
fn joined(from: u16, to: u16) -> (Site, Program, Program) {
    let site = Site::new();
    let (tcp, udp) = (format!("127.0.0.1:{to}"), format!("udp://127.0.0.1:{to}"));
    let downstream = ["--downstream", &tcp, "--downstream", &udp];
    let server = site.server_with("127.0.0.1:0", &[], &downstream);
    let tunnels = ["", "udp://"].map(|scheme| format!("{scheme}127.0.0.1:{from}^{to}"));
    let args = ["-L", &tunnels[0], "-L", &tunnels[1]];
    let client = site.client(server.server_addr(), &args);
    client.line("connected to ");
    (site, server, client)
}

#[test]
fn a_dns_server() {
    if !is_installed("dig") || !is_installed("dnsmasq") {
        return;
    }
    let (from, to) = (steady_port(), steady_port());
    let mut dnsmasq = program("dnsmasq");
    dnsmasq.args(["-d", "-C", "/dev/null", "--no-resolv", "--no-hosts"]);
    dnsmasq.args([
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--edns-packet-max=4096",
    ]);
    dnsmasq.arg(format!("--port={to}"));
    dnsmasq.arg("--address=/tunnel.test/192.0.2.7");
    // An answer that is larger than a link carries.
    for n in 0..12 {
        dnsmasq.arg(format!(
            "--txt-record=large.test,{}",
            format!("{n:02}").repeat(100)
        ));
    }
    let dnsmasq = Program::start(&mut dnsmasq);
    dnsmasq.line("started");
    let _tunnel = joined(from, to);
    let dig = |args: &[&str]| {
        let mut dig = program("dig");
        dig.args(["@127.0.0.1", "-p", &from.to_string(), "+short", "+notcp"]);
        run(dig.args(args)).stdout
    };
    assert_eq!(dig(&["tunnel.test"]).trim(), "192.0.2.7");
    let large = dig(&["+bufsize=4096", "+ignore", "large.test", "TXT"]);
    assert_eq!(large.lines().count(), 12, "{large}");
}

#[test]
fn iperf3_both_ways() {
    if !is_installed("iperf3") {
        return;
    }
    let (from, to) = (steady_port(), steady_port());
    let mut server = program("iperf3");
    server.args([
        "-s",
        "-B",
        "127.0.0.1",
        "--forceflush",
        "-p",
        &to.to_string(),
    ]);
    let server = Program::start(&mut server);
    server.line("Server listening");
    let _tunnel = joined(from, to);
    for direction in [&[][..], &["-R"]] {
        let mut client = program("iperf3");
        client.args([
            "-u",
            "-c",
            "127.0.0.1",
            "-b",
            "10M",
            "-t",
            "1",
            "-l",
            "1200",
            "-J",
        ]);
        let ended = run(client.args(["-p", &from.to_string()]).args(direction));
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let sum = &report["end"]["sum"];
        let [packets, lost] =
            ["packets", "lost_packets"].map(|n| sum[n].as_u64().expect("a number"));
        assert!(
            packets > 500 && lost * 20 < packets,
            "{lost} of {packets} lost"
        );
    }
}

/// Two machines, each with a WireGuard interface, that reach each other through the tunnel alone.
#[cfg(target_os = "linux")]
#[test]
fn wireguard() {
    if !["wireguard-go", "wg", "ip", "ping"]
        .into_iter()
        .all(is_installed)
    {
        return;
    }
    let Some(link) = Link::new("delay=5 rate=50") else {
        return;
    };
    let (from, to) = (51_821, 51_820);
    let site = Site::new();
    let key = |name: &str| {
        let private = run(program("wg").arg("genkey")).stdout;
        site.write(name, private.trim());
        let from = std::fs::File::open(site.path(name)).expect("a key");
        run(program("wg").arg("pubkey").stdin(from))
            .stdout
            .trim()
            .to_owned()
    };
    let public = [key("near"), key("far")];
    let target = format!("udp://127.0.0.1:{to}");
    let args = ["--downstream", &target];
    let server = link.at_server(|| site.server_with(Link::server_addr(), &[], &args));
    let tunnel = format!("udp://127.0.0.1:{from}^{to}");
    let addr = server.server_addr();
    let client = link.at_client(|| site.client(addr, &["-L", &tunnel]));
    client.line("connected to ");

    let id = std::process::id();
    let near = link.at_client(|| interface(&format!("n{id}"), "10.99.0.1/24"));
    let far = link.at_server(|| interface(&format!("f{id}"), "10.99.0.2/24"));
    let configure = |name: &str, key: &str, port: u16, peer: &str, peers: &str| {
        let mut wg = program("wg");
        wg.args(["set", name, "private-key"]).arg(site.path(key));
        wg.args([
            "listen-port",
            &port.to_string(),
            "peer",
            peer,
            "allowed-ips",
            peers,
        ]);
        wg
    };
    run(&mut configure(
        &format!("f{id}"),
        "far",
        to,
        &public[0],
        "10.99.0.1/32",
    ));
    let mut near_side = configure(
        &format!("n{id}"),
        "near",
        51_822,
        &public[1],
        "10.99.0.2/32",
    );
    run(near_side.args(["endpoint", &format!("127.0.0.1:{from}")]));
    // Of full size too, which makes packets of 1452 bytes.
    for size in ["56", "1392"] {
        let mut ping = program("ping");
        ping.args(["-c", "3", "-i", "0.2", "-w", "30", "-s", size, "10.99.0.2"]);
        link.at_client(|| run(&mut ping));
    }
    drop((near, far));
}

/// A WireGuard interface in the namespace of the calling thread, which goes with its program.
#[cfg(target_os = "linux")]
fn interface(name: &str, addr: &str) -> Program {
    let mut go = program("wireguard-go");
    go.args(["-f", name])
        .env("LOG_LEVEL", "verbose")
        .env("WG_PROCESS_FOREGROUND", "1");
    let go = Program::start(&mut go);
    go.line("UAPI listener started");
    run(program("ip").args(["addr", "add", addr, "dev", name]));
    run(program("ip").args(["link", "set", name, "up"]));
    go
}

/// A name's first address refuses, as it does where `localhost` is `::1` first, and the target is at
/// the next: not even the first packet is lost.
#[cfg(target_os = "linux")]
#[test]
fn a_name_with_several_addresses() {
    let unshare = ["--user", "--map-root-user", "--mount"];
    let probe = || Program::start(program("unshare").args(unshare).arg("true")).ended();
    if !is_installed("unshare") || probe().code != 0 {
        say("SKIPPED, as it needs root, or `unshare -rm` to be allowed");
        return;
    }
    let site = Site::new();
    site.write("hosts", "::1 both.test\n127.0.0.1 both.test\n");
    let target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = target.local_addr().expect("an address").port();
    // A view of the file system in which the name stands for both.
    let script = "mount --bind hosts /etc/hosts && exec ./rstund \"$@\"";
    let mut server = program("unshare");
    server.current_dir(site.path("."));
    server.args(unshare).args(["sh", "-c", script]);
    server.args(["sh", "--addr", "127.0.0.1:0", "--password", PASSWORD]);
    server.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    for host in ["127.0.0.1", "[::1]"] {
        let rule = format!("udp://{host}:{port}");
        server.args(["--downstream", &rule]);
    }
    let server = Program::start(&mut server);
    let tunnel = format!("udp://127.0.0.1:0^both.test:{port}");
    let client = site.client(server.server_addr(), &["-L", &tunnel]);
    let entrance = client.entrance(&format!("both.test:{port}: listening on "));
    let visitor = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    visitor.connect(entrance).expect("an entrance");
    for socket in [&visitor, &target] {
        let patience = Some(Duration::from_secs(20));
        socket.set_read_timeout(patience).expect("a timeout");
    }
    let mut buffer = [0; 64];
    for packet in [&b"first"[..], b"again"] {
        visitor.send(packet).expect("a packet sent");
        let (n, from) = target.recv_from(&mut buffer).expect("a packet");
        assert_eq!(&buffer[..n], packet);
        target.send_to(packet, from).expect("an answer sent");
        let n = visitor.recv(&mut buffer).expect("an answer");
        assert_eq!(&buffer[..n], packet);
    }
}
