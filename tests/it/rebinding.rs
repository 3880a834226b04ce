//! A name whose holder lets it stand for something else from one moment to the next.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::entries::{By, CLIENTS};
use crate::harness::link::Link;
use crate::harness::sockets::Target;
use crate::harness::{Program, Site};

const NAME: &str = "rebind.test";

/// Nobody has it (RFC 5737), and there is no way to it on this link.
const HARMLESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The name is harmless when it is looked up first and loopback ever after. As just one look goes to each
/// flow, the first flow goes to what was harmless, and the second nowhere.
#[test]
fn a_name_that_changes_to_loopback() {
    let Some(link) = Link::new("") else { return };
    let site = Site::new();
    let target = link.at_server(Target::new);
    let port = target.port();
    let asked: &'static AtomicUsize = Box::leak(Box::default());
    let resolver = link.at_server(|| UdpSocket::bind("127.0.0.1:53").expect("a resolver's port"));
    std::thread::spawn(move || resolve(&resolver, asked));
    let entry = site.entry("laptop", By::Key, &format!("reach = [\"{NAME}:{port}\"]"));
    site.write(CLIENTS, &entry);
    site.write("resolv.conf", "nameserver 127.0.0.1\noptions attempts:1\n");
    site.set_mode("resolv.conf", 0o644);
    // The server alone has this resolver, in a view of the file system of its own.
    let script = "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
    let mut command = site.command("rstund");
    let rstund = command.get_program().to_owned();
    command = site.command("rstun");
    let like = std::mem::replace(&mut command, Command::new("unshare"));
    command.current_dir(site.path(""));
    command.envs(
        like.get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    command.args(["-m", "sh", "-c", script, "sh"]).arg(rstund);
    command.args([
        "--addr",
        &Link::server_addr().to_string(),
        "--clients",
        CLIENTS,
    ]);
    command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    command.stdin(std::process::Stdio::null());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let server = link.at_server(|| Program::start(&mut command));
    let addr = server.server_addr();
    let mut client = site.client_command(addr, "laptop", By::Key);
    client.args(["-L", &format!("127.0.0.1:0^{NAME}:{port}")]);
    let client = link.at_client(|| Program::start(&mut client));
    client.line("connected to ");
    // A name that is listed is not looked up before there is a flow.
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    for (n, says) in [(1, "unreachable"), (2, "not allowed")] {
        let mut connect = site.command("rstun");
        connect.args(["connect", &format!("{NAME}:{port}")]);
        let ended = link.at_client(|| site.run(&mut connect));
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert!(ended.error().contains(says), "{says}: {}", ended.stderr);
        assert_eq!(asked.load(Ordering::Relaxed), n);
    }
    server.line(&format!("what=\"{NAME}:{port}\""));
    assert!(!target.was_visited());
}

/// Answers for [`NAME`], and counts how often it is asked for its IPv4 addresses.
fn resolve(socket: &UdpSocket, asked: &AtomicUsize) {
    const A: [u8; 2] = [0, 1];
    let mut query = [0; 512];
    while let Ok((n, from)) = socket.recv_from(&mut query) {
        // A header of 12 bytes, the name, its end, the type and the class (RFC 1035, section 4).
        let end = 12 + NAME.len() + 2 + 4;
        let is_a = n >= end && query[end - 4..end - 2] == A;
        let mut answer = query[..end.min(n)].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, is_a.into(), 0, 0, 0, 0]);
        if is_a {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            let ip = if first { HARMLESS } else { Ipv4Addr::LOCALHOST };
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(ip.octets());
        }
        let _ = socket.send_to(&answer, from);
    }
}
