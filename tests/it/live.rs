//! `rstun tunnel` and `rstun stop`: what a person has a program do that runs.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

use crate::harness::entries::By;
use crate::harness::load::{self, Transfer};
use crate::harness::sockets::{
    Reception, Target, assert_joined, assert_reset, finish, join, receive_all, visit,
    wait_for_reception,
};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{DEADLINE, Ended, PASSWORD, Program, Site};

in_both_modes!(
    others_come_and_go_beside_a_transfer,
    what_is_removed_drains,
    what_is_left_is_cut_when_its_time_is_up,
    what_was_added_outlives_the_connection,
    udp_comes_and_goes_too,
);

/// Runs `rstun` with arguments to its end.
fn rstun(site: &Site, args: &[&str]) -> Ended {
    site.run(site.command("rstun").args(args))
}

/// Has the only client that runs change its tunnels, which it does.
fn tunnel(site: &Site, args: &[&str]) -> String {
    let ended = rstun(site, &[&["tunnel"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

/// As [`tunnel`], where it does not; returns why.
fn refused(site: &Site, args: &[&str]) -> String {
    let ended = rstun(site, &[&["tunnel"], args].concat());
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    ended.errors().join("\n")
}

/// What `rstun tunnel list --json` says.
fn list(site: &Site) -> Vec<serde_json::Value> {
    let json = tunnel(site, &["list", "--json"]);
    serde_json::from_str(&json).expect("a list")
}

/// Adds a tunnel to a target, and returns its number and its entrance.
fn add(site: &Site, mode: Mode, target: SocketAddr) -> (String, SocketAddr) {
    let [flag, mapping] = mode.args(target);
    let added = tunnel(site, &["add", &flag, &mapping]);
    let (number, rest) = added.split_once(' ').expect("a number");
    let (_, entrance) = rest.split_once(": listening on ").expect("an entrance");
    (
        number.to_owned(),
        entrance.trim().parse().expect("an address"),
    )
}

/// A tunnel that is up, whose server lets another target be reached too.
fn with_another(mode: Mode, more: &[&str]) -> (Tunnel, Target) {
    let other = Target::new();
    let addr = other.addr().to_string();
    let tunnel = Tunnel::with_server(mode, &["--downstream", &addr], more);
    (tunnel, other)
}

fn others_come_and_go_beside_a_transfer(mode: Mode) {
    let (tunnel_a, other) = with_another(mode, &[]);
    let site = &tunnel_a.site;
    let (visitor, target) = tunnel_a.flow();
    let transfer = Transfer::new(&visitor, &target);
    transfer.wait_for(1 << 20);
    let mut last = 0;
    for _ in 0..5 {
        let (number, entrance) = add(site, mode, other.addr());
        let (near, far) = join(entrance, &other);
        let listed = list(site);
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1]["number"].to_string(), number);
        assert_eq!(listed[1]["listening"], entrance.to_string());
        assert_eq!(listed[1]["added"], true);
        assert_eq!(listed[0]["added"], false);
        let now: u32 = number.parse().expect("a number");
        assert!(now > last, "numbers are not used twice");
        last = now;
        assert!(tunnel(site, &["remove", &number]).contains("removed"));
        assert_joined(&near, &far);
        // Its port is free again.
        wait_for_reception(entrance, &[Reception::Closed]);
        drop(TcpListener::bind(entrance).expect("a free port"));
        transfer.wait_for(transfer.arrived() + (1 << 20));
    }
    load::end([transfer]);
    assert_eq!(tunnel_a.client.count("connected to "), 1);
    let table = tunnel(site, &["list"]);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(
        table.starts_with("NUMBER  TUNNEL") && table.contains("configured"),
        "{table}"
    );
}

fn what_is_removed_drains(mode: Mode) {
    let (tunnel_a, other) = with_another(mode, &["--drain", "600"]);
    let site = &tunnel_a.site;
    let (visitor, target) = tunnel_a.flow();
    let transfer = Transfer::new(&visitor, &target);
    transfer.wait_for(1 << 20);
    let [flag, mapping] = mode.args(tunnel_a.target.addr());
    tunnel(site, &["remove", &flag, &mapping]);
    wait_for_reception(tunnel_a.entrance, &[Reception::Closed]);
    transfer.wait_for(transfer.arrived() + (8 << 20));
    load::end([transfer]);
    assert_eq!(list(site).len(), 0);
    assert!(refused(site, &["remove", &flag, &mapping]).contains("there is no such tunnel"));
    // There is room for others, and nothing else need be there for them.
    let (_, entrance) = add(site, mode, other.addr());
    join(entrance, &other);
}

fn what_is_left_is_cut_when_its_time_is_up(mode: Mode) {
    let (tunnel_a, other) = with_another(mode, &["--drain", "1"]);
    let (number, entrance) = add(&tunnel_a.site, mode, other.addr());
    let (visitor, target) = tunnel_a.flow();
    let (near, far) = join(entrance, &other);
    tunnel(&tunnel_a.site, &["remove", &number]);
    assert_reset(&near);
    assert_reset(&far);
    assert_joined(&visitor, &target);
}

fn what_was_added_outlives_the_connection(mode: Mode) {
    let (mut tunnel_a, other) = with_another(mode, &[]);
    let (_, entrance) = add(&tunnel_a.site, mode, other.addr());
    join(entrance, &other);
    tunnel_a.server.kill();
    let targets = [tunnel_a.target.addr(), other.addr()];
    tunnel_a.server = tunnel_a.site.server_again(tunnel_a.server_addr, &targets);
    tunnel_a.client.nth_line(2, "connected to ");
    let listed = list(&tunnel_a.site);
    let entrance = listed[1]["listening"].as_str().expect("an entrance");
    join(entrance.parse().expect("an address"), &other);
    tunnel(&tunnel_a.site, &["remove", "1"]);
    assert_eq!(list(&tunnel_a.site).len(), 1);
}

fn udp_comes_and_goes_too(mode: Mode) {
    let target = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    target.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let udp = target.local_addr().expect("an address");
    let more = format!("udp://{udp}");
    let tunnel_a = Tunnel::with_server(mode, &["--downstream", &more], &[]);
    let mapping = match mode {
        Mode::Out => format!("udp://127.0.0.1:0^{udp}"),
        Mode::In => format!("{udp}^udp://127.0.0.1:0"),
    };
    let flag = mode.args(udp)[0].clone();
    for word in [b"first", b"later"] {
        let added = tunnel(&tunnel_a.site, &["add", &flag, &mapping]);
        let entrance = added.rsplit(' ').next().expect("an entrance").trim();
        let entrance: SocketAddr = entrance.parse().expect("an address");
        let near = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        near.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        near.connect(entrance).expect("connected");
        near.send(word).expect("sent");
        let mut packet = [0; 16];
        let from = loop {
            // What was sent to the one before may have been under way.
            let (n, from) = target.recv_from(&mut packet).expect("a packet");
            if packet[..n] == word[..] {
                break from;
            }
        };
        target.send_to(b"pong!", from).expect("sent");
        assert_eq!(near.recv(&mut [0; 16]).expect("a packet"), 5);
        tunnel(&tunnel_a.site, &["remove", &flag, &mapping]);
        // Nobody listens there any more.
        while near.send(b"ping").is_ok() {
            std::thread::yield_now();
        }
    }
    let (visitor, target) = tunnel_a.flow();
    assert_joined(&visitor, &target);
}

#[test]
fn what_may_not_be_had_is_refused_and_nothing_else_changes() {
    let site = Site::new();
    let target = Target::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address");
    let entry = "listen = [\"127.0.0.1:0\"]\nreach = []\nmax_tunnels = 2";
    let entry = site.entry("laptop", By::Key, entry);
    let server = site.server_for(&[&entry], &[]);
    let args = Mode::In.args(target.addr());
    let client = site.client_as(server.server_addr(), "laptop", By::Key, &args);
    let (visitor, end) = join(
        client.entrance(&Mode::In.announcement(target.addr())),
        &target,
    );
    let why = refused(&site, &["add", "-R", "3000^127.0.0.1:1", "-L", "0^22"]);
    assert!(why.contains("not in this client's listen"), "{why}");
    server.line("denied");
    let why = refused(&site, &["add", "-L", "0^22"]);
    assert!(why.contains("is not in this client's reach"), "{why}");
    let why = refused(&site, &["add", "-L", &format!("{taken}^22")]);
    assert!(why.contains("cannot listen on"), "{why}");
    for wrong in ["22", "x^y", "stdio^22"] {
        let why = refused(&site, &["add", "-L", wrong]);
        assert!(why.contains(wrong) || why.contains("stdio"), "{why}");
    }
    add(&site, Mode::In, target.addr());
    let why = refused(&site, &["add", "-R", "3000^127.0.0.1:0"]);
    assert!(why.contains("2 tunnels"), "{why}");
    assert_eq!(list(&site).len(), 2);
    assert!(refused(&site, &["remove", "77"]).contains("77: there is no such tunnel"));
    // There is room again.
    tunnel(&site, &["remove", "0"]);
    add(&site, Mode::In, target.addr());
    assert_joined(&visitor, &end);
}

#[test]
fn a_client_may_begin_without_tunnels() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let file = format!(
        "server-addr = \"{}\"\npassword = \"{PASSWORD}\"\ncert = \"certificate.der\"\ntunnel-out = []\n",
        server.server_addr()
    );
    site.write("client.toml", file);
    let mut client = site.command("rstunc");
    let client = Program::start(client.args(["--config", "client.toml"]));
    client.line("connected to ");
    assert_eq!(list(&site).len(), 0);
    for mode in [Mode::Out, Mode::In] {
        let (_, entrance) = add(&site, mode, target.addr());
        join(entrance, &target);
    }
    visit(client.addr("^127.0.0.1:0: the server listens on "));
}

fn pid(program: &Program) -> String {
    program.id().to_string()
}

#[test]
fn stop_waits_until_open_flows_have_finished() {
    let tunnel = Tunnel::with(Mode::Out, &["--drain", "600"]);
    let (visitor, target) = tunnel.flow();
    let pid = pid(&tunnel.client);
    let mut stop = tunnel.site.command("rstun");
    let stop = Program::start(stop.args(["stop", "--pid", &pid]));
    stop.line(&format!(
        "{pid} (client of {}): open flows have 600 s",
        tunnel.server_addr
    ));
    // What was open goes on, and who asks for the same again waits too.
    assert_joined(&visitor, &target);
    let mut again = tunnel.site.command("rstun");
    let again = Program::start(again.args(["stop", "--pid", &pid]));
    again.line("open flows have 600 s");
    assert_eq!(stop.count("has stopped"), 0);
    finish(&visitor);
    finish(&target);
    assert_eq!(receive_all(&visitor), b"");
    for stop in [stop, again] {
        let ended = stop.ended();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout.contains("has stopped"), "{}", ended.stdout);
    }
    assert_eq!(tunnel.client.ended().code, 0);

    // The only one that is left.
    let ended = rstun(&tunnel.site, &["stop"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(tunnel.server.ended().code, 0);
    let ended = rstun(&tunnel.site, &["stop"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .error()
            .contains("no rstun server or client is running here")
    );
}

#[test]
fn it_has_to_be_clear_which_one_is_meant() {
    let tunnel = Tunnel::new(Mode::In);
    let (server, client) = (pid(&tunnel.server), pid(&tunnel.client));
    let ended = rstun(&tunnel.site, &["stop"]);
    assert_eq!(ended.code, 1);
    let addr = tunnel.server_addr;
    for part in [
        "--pid".to_owned(),
        format!("{server} (server at {addr})"),
        format!("{client} (client of {addr})"),
    ] {
        assert!(ended.error().contains(&part), "{}", ended.stderr);
    }
    let ended = rstun(&tunnel.site, &["stop", "--pid", "1"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.error().contains("--pid 1: it is none of"),
        "{}",
        ended.stderr
    );
    let missing = tunnel.site.path("run/rstun/client-1.sock");
    let missing = missing.to_string_lossy();
    let ended = rstun(&tunnel.site, &["stop", "--socket", &missing]);
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("--socket "), "{}", ended.stderr);
    tunnel.flow();
}

/// Which process it is says the kernel: another user's program could have root end any other one.
#[test]
fn a_program_is_not_another_because_it_says_so() {
    let site = Site::new();
    std::fs::create_dir(site.path("run/rstun")).expect("a directory");
    site.set_mode("run/rstun", 0o700);
    let socket = UnixListener::bind(site.path("run/rstun/client-1.sock")).expect("a socket");
    let greeting = r#"{"version":2,"pid":1,"role":"client","servers":["here:1"],"trust":"any"}"#;
    let greet = std::thread::spawn(move || {
        let (mut caller, _) = socket.accept().expect("a caller");
        writeln!(caller, "{greeting}").expect("a greeting");
    });
    let ended = rstun(&site, &["stop", "--pid", "1"]);
    assert_eq!(ended.code, 1);
    let real = format!(
        "none of those that are running here: {} (client",
        std::process::id()
    );
    assert!(ended.error().contains(&real), "{}", ended.stderr);
    greet.join().expect("it was asked");
}
