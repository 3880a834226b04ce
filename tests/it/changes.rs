//! The file of `--clients` while the server runs: however it changes, what it says counts at once.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::entries::{By, CLIENTS};
use crate::harness::sockets::{Target, assert_joined, assert_reset, join, receive, send, visit};
use crate::harness::tunnel::Mode;
use crate::harness::{DEADLINE, Program, Site};

/// What an entry says that may reach these.
fn reach(targets: &[String]) -> String {
    format!("reach = {targets:?}")
}

/// Each way in which a file comes to say something else, with the client cut off and let in again in turn.
#[test]
fn a_file_is_followed_wherever_it_goes() {
    let site = Site::new();
    let target = Target::new();
    let valid = site.entry("laptop", By::Key, &reach(&[target.addr().to_string()]));
    let disabled = format!("{valid}disabled = true\n");
    let write = |path: &str, text: &str| fs::write(site.path(path), text).expect("a file written");
    // As Kubernetes does: the file is behind a link to a link to a directory.
    let volume = |version: &str, text: &str| {
        fs::create_dir(site.path(&format!("config/{version}"))).expect("a directory");
        write(&format!("config/{version}/{CLIENTS}"), text);
        symlink(version, site.path("config/..new")).expect("a link");
        let turned = fs::rename(site.path("config/..new"), site.path("config/..data"));
        turned.expect("a link turned");
    };
    let new_directory = |text: &str| {
        fs::rename(site.path("config"), site.path("config.old")).expect("a directory renamed");
        fs::create_dir(site.path("config")).expect("a directory");
        write(&format!("config/{CLIENTS}"), text);
    };
    let file = format!("config/{CLIENTS}");
    fs::create_dir(site.path("config")).expect("a directory");
    volume("1", &valid);
    symlink(format!("..data/{CLIENTS}"), site.path(&file)).expect("a link");

    let mut command = site.command("rstund");
    command.args(["--addr", "127.0.0.1:0", "--clients", &file]);
    command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    let server = Program::start(&mut command);
    let addr = server.server_addr();
    type Change<'a> = (&'a str, &'a dyn Fn(&str));
    let changes: [Change; 5] = [
        ("a link turned", &|text| volume("2", text)),
        ("a link turned once more", &|text| volume("3", text)),
        ("a new directory", &new_directory),
        ("written in place", &|text| write(&file, text)),
        ("renamed", &|text| {
            write("new", text);
            fs::rename(site.path("new"), site.path(&file)).expect("a file renamed");
        }),
    ];
    let args = Mode::Out.args(target.addr());
    let mut lines = 0;
    for (name, change) in changes {
        let client = site.client_as(addr, "laptop", By::Key, &args);
        let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
        let (visitor, end) = join(entrance, &target);
        let changed = Instant::now();
        change(&disabled);
        assert_reset(&visitor);
        assert_reset(&end);
        let took = changed.elapsed();
        assert!(took < Duration::from_secs(1), "{name}: {took:?}");
        assert_eq!(client.ended().code, 1, "{name}");
        write(&file, &valid);
        lines += 2;
        server.nth_line(lines, "has changed: 1 clients");
    }
}

/// What visitors chose and may not reach any more is cut, and nothing else.
#[test]
fn flows_to_what_was_taken_away_are_cut() {
    let site = Site::new();
    let [kept, taken] = [Target::new(), Target::new()];
    let [udp_kept, udp_taken] = [(); 2].map(|()| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        socket
    });
    let udp = |socket: &UdpSocket| socket.local_addr().expect("an address");
    let still = [kept.addr().to_string(), format!("udp:{}", udp(&udp_kept))];
    let before = [
        &still[..],
        &[taken.addr().to_string(), format!("udp:{}", udp(&udp_taken))],
    ];
    let wide = site.entry("laptop", By::Key, &reach(&before.concat()));
    let narrow = wide.replace(&reach(&before.concat()), &reach(&still));
    let server = site.server_for(&[&wide], &[]);
    let args = ["-D", "127.0.0.1:0"];
    let client = site.client_as(server.server_addr(), "laptop", By::Key, &args);
    client.line("connected to ");
    let entrance = client.addr(": listening on ");
    let [(stays, stays_end), (goes, goes_end)] = [&kept, &taken].map(|target| {
        let visitor = ask(entrance, 1, target.addr());
        let end = target.accept();
        assert_joined(&visitor, &end);
        (visitor, end)
    });
    let mut connect = site.command("rstun");
    connect.args(["connect", &taken.addr().to_string()]);
    let connect = Program::start(connect.stdin(Stdio::piped()));
    let connect_end = taken.accept();
    let near = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let association = visit(entrance);
    let relay = associate(&association);
    for socket in [&udp_kept, &udp_taken] {
        near.send_to(&datagram(udp(socket), b"before"), relay)
            .expect("sent");
        assert_eq!(socket.recv(&mut [0; 16]).expect("a datagram"), 6);
    }

    site.replace_entries(&[&narrow]);
    let changed = Instant::now();
    for cut in [&goes, &goes_end, &connect_end] {
        assert_reset(cut);
    }
    let took = changed.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(connect.ended().code, 1);
    server.line(&format!("what=\"{}\"", taken.addr()));
    server.line(&format!("what=\"udp://{}\"", udp(&udp_taken)));
    assert_joined(&stays, &stays_end);
    // What goes to the one that may not be reached comes before what goes to the other.
    for socket in [&udp_taken, &udp_kept] {
        near.send_to(&datagram(udp(socket), b"after!"), relay)
            .expect("sent");
    }
    assert_eq!(udp_kept.recv(&mut [0; 16]).expect("a datagram"), 6);
    udp_taken.set_nonblocking(true).expect("a socket");
    let heard = udp_taken.recv(&mut [0; 16]).map_err(|e| e.kind());
    assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock));
    assert_eq!(client.count("connected to "), 1);
}

/// Asks a SOCKS5 proxy for something at an address, and returns when it is there.
fn ask(entrance: SocketAddr, command: u8, addr: SocketAddr) -> std::net::TcpStream {
    let visitor = visit(entrance);
    send(&visitor, [5, 1, 0]);
    assert_eq!(receive(&visitor, 2), [5, 0]);
    send(&visitor, [&[5, command, 0][..], &address(addr)].concat());
    assert_eq!(receive(&visitor, 10)[..2], [5, 0]);
    visitor
}

/// Asks for datagrams, and returns where they are to go.
fn associate(visitor: &std::net::TcpStream) -> SocketAddr {
    send(visitor, [5, 1, 0]);
    assert_eq!(receive(visitor, 2), [5, 0]);
    send(visitor, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let answer = receive(visitor, 10);
    let port = u16::from_be_bytes([answer[8], answer[9]]);
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn datagram(to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, 0][..], &address(to), payload].concat()
}

/// An IPv4 address as SOCKS5 has it.
fn address(addr: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(addr) = addr else {
        panic!("{addr} is not IPv4")
    };
    [&[1][..], &addr.ip().octets(), &addr.port().to_be_bytes()].concat()
}
