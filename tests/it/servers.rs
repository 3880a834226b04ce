//! Several servers: one is used and the others stand by, or all are used.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::link::{Link, say};
use crate::harness::load::{Transfer, end};
use crate::harness::sockets::{Reception, Target, assert_joined, join, wait_for_reception};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::{PASSWORD, Program, Signal, Site};

in_both_modes!(
    a_killed_server_is_left_for_the_one_that_stands_by,
    a_server_that_is_stopped_keeps_what_is_open,
    all_servers_are_used,
    a_server_out_of_hearing_gets_its_visitors_back,
);

/// What is promised for another server to take over once that is known, twice.
const TAKEOVER: Duration = Duration::from_secs(2 * 2);

/// What is promised for noticing that a server is out of hearing, twice.
const NOTICE: Duration = Duration::from_secs(2 * 10);

/// Two servers, and a client of both.
struct Pair {
    site: Site,
    servers: [Program; 2],
    addrs: [SocketAddr; 2],
    client: Program,
    target: Target,
    mode: Mode,
}

impl Pair {
    fn new(mode: Mode, client_args: &[&str]) -> Self {
        let site = Site::new();
        let target = Target::new();
        let args = ["--drain", "600"];
        let server = || site.server_with("127.0.0.1:0", &[target.addr()], &args);
        let servers = [server(), server()];
        let addrs = servers.each_ref().map(Program::server_addr);
        let client = client(&site, addrs, mode, target.addr(), client_args);
        Self {
            site,
            servers,
            addrs,
            client,
            target,
            mode,
        }
    }

    /// Where visitors go in who go through a server, for the `n`th session with it (from 1).
    fn entrance(&self, server: usize, n: usize) -> SocketAddr {
        let addr = self.addrs[server];
        self.client.nth_line(n, &format!("connected to {addr}"));
        match self.mode {
            Mode::Out => self
                .client
                .addr(&self.mode.announcement(self.target.addr())),
            Mode::In => self.client.nth_addr(n, &format!("{addr} listens on ")),
        }
    }

    /// How often new flows have gone through a server so far.
    fn times_used(&self, server: usize) -> usize {
        let line = format!("new flows go through {}", self.addrs[server]);
        self.client.count(&line)
    }

    /// Waits until new flows go through a server, for the `n`th time.
    fn used(&self, server: usize, n: usize) {
        let line = format!("new flows go through {}", self.addrs[server]);
        self.client.nth_line(n, &line);
    }
}

/// `rstunc` for two servers.
fn client(
    site: &Site,
    [first, second]: [SocketAddr; 2],
    mode: Mode,
    target: SocketAddr,
    more: &[&str],
) -> Program {
    let second = second.to_string();
    let tunnel = mode.args(target);
    let mut args = vec!["--server-addr", &second];
    args.extend(tunnel.iter().map(String::as_str));
    args.extend(more);
    site.client(first, &args)
}

fn a_killed_server_is_left_for_the_one_that_stands_by(mode: Mode) {
    let pair = Pair::new(mode, &[]);
    pair.used(0, 1);
    join(pair.entrance(0, 1), &pair.target);
    let before = pair.times_used(1);
    let Pair { servers, .. } = pair;
    let [first, second] = servers;
    first.kill();
    let killed = Instant::now();
    pair.client.line("nothing heard from the server");
    let noticed = killed.elapsed();
    let pair = Pair {
        servers: [second, pair.site.server(&[])],
        ..pair
    };
    pair.used(1, before + 1);
    let taken_over = killed.elapsed() - noticed;
    join(pair.entrance(1, before + 1), &pair.target);
    say(&format!(
        "noticed after {noticed:.1?}, and another server used {taken_over:.2?} later"
    ));
    assert!(noticed < NOTICE, "{noticed:?}");
    assert!(taken_over < TAKEOVER, "{taken_over:?}");
}

fn a_server_that_is_stopped_keeps_what_is_open(mode: Mode) {
    let pair = Pair::new(mode, &[]);
    pair.used(0, 1);
    let flow = join(pair.entrance(0, 1), &pair.target);
    let before = pair.times_used(1);
    let transfers = both_ways(&flow);
    for transfer in &transfers {
        transfer.wait_for(4 << 20);
    }
    pair.servers[0].signal(Signal::Terminate);
    let told = Instant::now();
    pair.used(1, before + 1);
    let entrance = pair.entrance(1, before + 1);
    join(entrance, &pair.target);
    let took = told.elapsed();
    say(&format!("another server used after {took:.2?}"));
    assert!(took < TAKEOVER, "{took:?}");
    // What was open has not noticed.
    let before = transfers.each_ref().map(Transfer::arrived);
    for (transfer, before) in transfers.iter().zip(before) {
        transfer.wait_for(before + (4 << 20));
    }
    end(transfers);
    drop(flow);
    let [first, _second] = pair.servers;
    let ended = first.ended();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    join(entrance, &pair.target);
}

fn all_servers_are_used(mode: Mode) {
    let pair = Pair::new(mode, &["--all-servers"]);
    for server in &pair.servers {
        server.line("client logged in");
    }
    for entrance in [0, 1].map(|server| pair.entrance(server, 1)) {
        join(entrance, &pair.target);
    }
    let Pair { servers, .. } = pair;
    let [first, second] = servers;
    first.kill();
    let targets = [pair.target.addr()];
    let first = pair.site.server_again(pair.addrs[0], &targets);
    first.line("client logged in");
    second.signal(Signal::Terminate);
    second.line("stopping");
    let back = Pair {
        servers: [first, second],
        ..pair
    };
    join(back.entrance(0, 2), &back.target);
}

/// The path to one server swallows all, in mid-transfer both ways, while another one can be reached.
fn a_server_out_of_hearing_gets_its_visitors_back(mode: Mode) {
    let Some(link) = Link::mostly_idle("delay=10 rate=50") else {
        return;
    };
    let site = Site::new();
    // The same address on either machine is another target.
    let far = link.at_target(mode, Target::new);
    let near = match mode {
        Mode::Out => Some(link.at_client(|| Target::at(far.addr()))),
        Mode::In => None,
    };
    let targets = [far.addr()];
    let first = link.at_server(|| site.server_with(Link::server_addr(), &targets, &[]));
    let second = link.at_client(|| site.server(&targets));
    let addrs = [&first, &second].map(Program::server_addr);
    let client = link.at_client(|| client(&site, addrs, mode, far.addr(), &[]));
    let pair = Pair {
        site,
        servers: [first, second],
        addrs,
        client,
        target: far,
        mode,
    };
    pair.used(0, 1);
    let entrance = pair.entrance(0, 1);
    let before = pair.times_used(1);
    let flow = link.at_visitor(mode, || join(entrance, &pair.target));
    let transfers = both_ways(&flow);
    for transfer in &transfers {
        transfer.wait_for(1 << 20);
    }
    link.set("loss=100");
    pair.client.line("nothing heard from the server");
    let noticed = Instant::now();
    pair.used(1, before + 1);
    let took = noticed.elapsed();
    say(&format!(
        "another server used {took:.2?} after it was noticed"
    ));
    assert!(took < TAKEOVER, "{took:?}");
    let other = pair.entrance(1, before + 1);
    link.at_client(|| join(other, near.as_ref().unwrap_or(&pair.target)));
    let arrived = transfers.each_ref().map(Transfer::arrived);
    link.set("loss=0");
    for (transfer, arrived) in transfers.iter().zip(arrived) {
        transfer.wait_for(arrived + (1 << 20));
    }
    pair.used(0, 2);
    link.at_visitor(mode, || join(entrance, &pair.target));
    link.set("rate=0");
    end(transfers);
    // It was its old session that went on.
    let first = format!("connected to {}", pair.addrs[0]);
    assert_eq!(pair.client.count(&first), 1);
    pair.servers[1].line("client gone");
}

fn both_ways((visitor, target): &(TcpStream, TcpStream)) -> [Transfer; 2] {
    [
        Transfer::new(visitor, target),
        Transfer::new(target, visitor),
    ]
}

#[test]
fn a_server_that_refuses_is_told_of_and_another_one_used() {
    let site = Site::new();
    let target = Target::new();
    let strict = {
        let mut command = site.command("rstund");
        command.args(["--addr", "127.0.0.1:0", "--password", "another"]);
        command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
        Program::start(&mut command)
    };
    let server = site.server(&[target.addr()]);
    let addrs = [strict.server_addr(), server.server_addr()];
    let client_of_both = client(&site, addrs, Mode::Out, target.addr(), &[]);
    let told = client_of_both.line("wrong password");
    assert!(told.contains(&addrs[0].to_string()), "{told}");
    join(
        client_of_both.entrance(&Mode::Out.announcement(target.addr())),
        &target,
    );
    drop(server);

    // It is the end if none has us.
    let narrow = site.server(&[]);
    let addrs = [strict.server_addr(), narrow.server_addr()];
    let ended = client(&site, addrs, Mode::Out, target.addr(), &[]).ended();
    assert_eq!(ended.code, 1);
    let errors = ended.errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for ((error, addr), why) in errors.iter().zip(addrs).zip(["wrong password", "refused"]) {
        assert!(error.contains(&addr.to_string()), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

/// Each of two servers has a certificate of its own.
#[test]
fn each_server_may_have_its_own_certificate() {
    let sites = [Site::new(), Site::new()];
    let target = Target::new();
    let servers = sites.each_ref().map(|site| site.server(&[target.addr()]));
    let [first, second] = servers.each_ref().map(Program::server_addr);
    let other = sites[1].path("certificate.der");
    let other = other.to_str().expect("a path in UTF-8");
    for args in [&["--all-servers"][..], &["--all-servers", "--cert", other]] {
        let client = client(&sites[0], [first, second], Mode::Out, target.addr(), args);
        client.line("connected to ");
        match args.contains(&other) {
            true => client.nth_line(2, "connected to "),
            false => client.line("is not the one in --cert"),
        };
    }
}

#[test]
fn a_client_is_found_by_any_of_its_servers() {
    let pair = Pair::new(Mode::Out, &[]);
    pair.used(0, 1);
    let target = pair.target.addr().to_string();
    for addr in pair.addrs {
        let mut command = pair.site.command("rstun");
        command.args(["connect", &target, "--server-addr", &addr.to_string()]);
        // Its own connection would fail by that.
        command.args(["--password", "another", "--cert", "certificate.der"]);
        let connect = Program::start(&mut command);
        drop(pair.target.accept());
        assert_eq!(connect.ended().code, 0);
    }
}

/// A single server that is started again has its client back, and new ones are turned away while it stops.
#[test]
fn a_server_without_another_is_waited_for() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server_with("127.0.0.1:0", &[target.addr()], &["--drain", "600"]);
    let addr = server.server_addr();
    let mode = Mode::Out;
    let args = mode.args(target.addr());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(addr, &args);
    let entrance = client.entrance(&mode.announcement(target.addr()));
    let flow = join(entrance, &target);
    server.signal(Signal::Terminate);
    client.line("is being stopped");
    wait_for_reception(entrance, &[Reception::TurnedAway]);
    client.line("cannot connect to ");
    drop(flow);
    assert_eq!(server.ended().code, 0);
    let _server = site.server_again(addr, &[target.addr()]);
    client.nth_line(2, "connected to ");
    join(entrance, &target);
}

/// A name stands for two machines: one is left for the other, though there is one name alone.
#[test]
fn a_name_may_stand_for_several_servers() {
    let site = Site::new();
    let target = Target::new();
    let args = ["--drain", "600"];
    let server = |addr: String| site.server_with(addr, &[target.addr()], &args);
    let first = server("127.0.0.1:0".into());
    let port = first.server_addr().port();
    let second = server(format!("127.0.0.2:{port}"));
    second.server_addr();
    let mode = Mode::Out;
    let Some(client) = client_of_name(
        &site,
        ["127.0.0.1", "127.0.0.2"],
        port,
        &mode.args(target.addr()),
    ) else {
        return;
    };
    let entrance = client.entrance(&mode.announcement(target.addr()));
    let flow = join(entrance, &target);
    let used = client.addr("connected to ");
    let (stopped, other) = match used.ip() == first.server_addr().ip() {
        true => (first, second),
        false => (second, first),
    };
    stopped.signal(Signal::Terminate);
    assert_ne!(client.nth_addr(2, "connected to "), used);
    join(entrance, &target);
    assert_joined(&flow.0, &flow.1);
    drop(flow);
    assert_eq!(stopped.ended().code, 0);
    assert_eq!(other.count("client gone"), 0);
}

/// The machine that is used is out of hearing: the other one takes over, and what is open waits.
#[test]
fn one_of_a_names_servers_may_be_out_of_hearing() {
    let Some(link) = Link::mostly_idle("delay=10 rate=50") else {
        return;
    };
    let site = Site::new();
    let mode = Mode::In;
    let target = link.at_client(Target::new);
    let first = link.at_server(|| site.server_with(Link::server_addr(), &[], &[]));
    let (ip, port) = (first.server_addr().ip(), first.server_addr().port());
    let ips = [&ip.to_string(), "127.0.0.1"];
    let tunnel = mode.args(target.addr());
    let Some(client) = link.at_client(|| client_of_name(&site, ips, port, &tunnel)) else {
        return;
    };
    let announcement = mode.announcement(target.addr());
    let entrance = client.entrance(&announcement);
    let flow = link.at_server(|| join(entrance, &target));
    let second = link.at_client(|| site.server_with(format!("127.0.0.1:{port}"), &[], &[]));
    second.server_addr();
    link.set("loss=100");
    let entrance = client.nth_addr(2, &announcement);
    link.at_client(|| join(entrance, &target));
    link.set("loss=0");
    assert_joined(&flow.0, &flow.1);
    first.line("is heard again");
    drop(flow);
    // It has nothing left to do there.
    first.line("client gone");
    link.at_client(|| join(entrance, &target));
}

/// A client that knows two servers by one name, if this machine lets it have names of its own.
fn client_of_name(site: &Site, ips: [&str; 2], port: u16, tunnel: &[String]) -> Option<Program> {
    let hosts = ips.map(|ip| format!("{ip} tunnel.test\n"));
    site.write("hosts", hosts.concat());
    let script = "mount --bind hosts /etc/hosts && exec ./rstunc \"$@\"";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "rstunc"]);
        site.within(&mut command);
        command
    };
    let status = unshare("mount --bind hosts /etc/hosts").status();
    if !status.is_ok_and(|status| status.success()) {
        say("SKIPPED, as it needs root");
        return None;
    }
    let mut command = unshare(script);
    command.args(["--server-addr", &format!("tunnel.test:{port}")]);
    command.args(["--password", PASSWORD, "--cert", "certificate.der"]);
    Some(Program::start(command.args(tunnel)))
}
