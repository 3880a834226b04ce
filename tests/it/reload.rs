//! A configuration that changes while a program runs: by its file, by SIGHUP, and by `rstun reload`.

use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::harness::entries::By;
use crate::harness::load::{self, Transfer};
use crate::harness::sockets::{
    Reception, Target, assert_joined, assert_reset, finish, join, receive, receive_all, send,
    visit, wait_for_reception,
};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::{Ended, PASSWORD, Program, Signal, Site};

in_both_modes!(
    tunnels_that_are_the_same_are_not_touched,
    an_invalid_file_changes_nothing_and_says_why,
    a_client_logs_in_anew,
);

/// Puts a file in the place of the former one, as an editor does.
fn replace(site: &Site, name: &str, text: &str) {
    site.write("new", text);
    std::fs::rename(site.path("new"), site.path(name)).expect("a file renamed");
}

fn rstun(site: &Site, args: &[&str]) -> Ended {
    site.run(site.command("rstun").args(args))
}

/// The file of a client with these tunnels.
fn client_file(server: SocketAddr, mode: Mode, targets: &[&Target], more: &str) -> String {
    let key = match mode {
        Mode::Out => "tunnel-out",
        Mode::In => "tunnel-in",
    };
    let mappings = targets
        .iter()
        .map(|target| mode.args(target.addr())[1].clone());
    let mappings: Vec<_> = mappings.collect();
    format!(
        "server-addr = \"{server}\"\npassword = \"{PASSWORD}\"\ncert = \"certificate.der\"\n\
         {key} = {mappings:?}\n{more}\n"
    )
}

/// A program by its file.
fn start(site: &Site, name: &str, file: &str) -> Program {
    Program::start(site.command(name).args(["--config", file]))
}

/// A server that lets these targets be reached, and a client with a tunnel to the first.
fn scene(mode: Mode, targets: &[&Target]) -> (Site, Program, Program) {
    let site = Site::new();
    let addrs: Vec<_> = targets.iter().map(|target| target.addr()).collect();
    let server = site.server(&addrs);
    let file = client_file(server.server_addr(), mode, &targets[..1], "drain = 600");
    site.write("client.toml", file);
    let client = start(&site, "rstunc", "client.toml");
    client.line("connected to ");
    (site, server, client)
}

fn tunnels_that_are_the_same_are_not_touched(mode: Mode) {
    let [a, b, c] = [Target::new(), Target::new(), Target::new()];
    let (site, server, client) = scene(mode, &[&a, &b, &c]);
    let addr = server.server_addr();
    let entrance = client.entrance(&mode.announcement(a.addr()));
    let (visitor, target) = join(entrance, &a);
    let transfer = Transfer::new(&visitor, &target);
    transfer.wait_for(1 << 20);

    // One that is new, by the file alone.
    let file = |targets: &[&Target]| client_file(addr, mode, targets, "drain = 600");
    replace(&site, "client.toml", &file(&[&a, &b]));
    let entrance_b = client.addr(&mode.announcement(b.addr()));
    let added = format!("{}: added", mode.args(b.addr())[1]);
    client.line(&added);
    let (near, far) = join(entrance_b, &b);

    // One in place of another, by SIGHUP: what goes through the one that is gone may finish.
    replace(&site, "client.toml", &file(&[&c, &a]));
    client.signal(Signal::HangUp);
    client.line(&format!("{}: removed", mode.args(b.addr())[1]));
    join(client.addr(&mode.announcement(c.addr())), &c);
    wait_for_reception(entrance_b, &[Reception::Closed]);
    drop(TcpListener::bind(entrance_b).expect("a free port"));
    assert_joined(&near, &far);
    finish(&near);
    assert_eq!(receive_all(&far), b"");

    transfer.wait_for(transfer.arrived() + (4 << 20));
    load::end([transfer]);
    join(entrance, &a);
    assert_eq!(client.count("connected to "), 1);

    // Nothing that differs, and what has to wait for another start.
    let ended = rstun(&site, &["reload", "--pid", &client.id().to_string()]);
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (0, "nothing has changed")
    );
    let other = client_file(addr, mode, &[&c, &a], "drain = 5");
    replace(&site, "client.toml", &other);
    client.line("--drain has changed, which needs a restart");
    assert_eq!(client.count("ERROR"), 0);
}

/// What is in the way of a tunnel may be gone by the next time, though the file is the same.
#[test]
fn what_could_not_be_had_is_tried_again() {
    let a = Target::new();
    let (site, server, client) = scene(Mode::Out, &[&a]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let entrance = taken.local_addr().expect("an address");
    let file = client_file(server.server_addr(), Mode::Out, &[&a], "drain = 600");
    let more = format!("tunnel-out = [\"{entrance}^{}\", ", a.addr());
    replace(&site, "client.toml", &file.replace("tunnel-out = [", &more));
    client.line("cannot listen on");
    drop(taken);
    let reload = || rstun(&site, &["reload", "--pid", &client.id().to_string()]).stdout;
    let changes = reload();
    assert!(changes.trim().ends_with(": added"), "{changes}");
    join(entrance, &a);
    assert_eq!(reload().trim(), "nothing has changed");
}

fn an_invalid_file_changes_nothing_and_says_why(mode: Mode) {
    let a = Target::new();
    let (site, server, client) = scene(mode, &[&a]);
    let entrance = client.entrance(&mode.announcement(a.addr()));
    let (visitor, target) = join(entrance, &a);
    let good = client_file(server.server_addr(), mode, &[&a], "drain = 600");
    let pid = client.id().to_string();
    for (bad, says) in [
        ("drain = \"x\"", "'drain' is to be a whole number"),
        ("dynamic = [\"nonsense\"]", "nonsense"),
        ("drian = 5", "did you mean 'drain'?"),
    ] {
        replace(&site, "client.toml", &good.replace("drain = 600", bad));
        let said = client.line(says);
        assert!(said.contains("ERROR"), "{said}");
        assert_joined(&visitor, &target);
        let ended = rstun(&site, &["reload", "--pid", &pid]);
        assert_eq!(ended.code, 1, "{}", ended.stdout);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        replace(&site, "client.toml", &good);
        let ended = rstun(&site, &["reload", "--pid", &pid]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    join(entrance, &a);
    assert_eq!(client.count("connected to "), 1);
}

/// The file of a server.
fn server_file(password: &str, targets: &[&Target]) -> String {
    let downstream: Vec<_> = targets.iter().map(|t| t.addr().to_string()).collect();
    format!(
        "addr = \"127.0.0.1:0\"\npassword = \"{password}\"\ncert = \"certificate.der\"\n\
         key = \"priv_key.der\"\ndownstream = {downstream:?}\n"
    )
}

#[test]
fn what_is_not_allowed_any_more_is_cut() {
    let [a, b] = [Target::new(), Target::new()];
    let site = Site::new();
    site.write("server.toml", server_file(PASSWORD, &[&a, &b]));
    let server = start(&site, "rstund", "server.toml");
    let addr = server.server_addr();
    let client = site.client(addr, &["-D", "127.0.0.1:0"]);
    client.line("connected to ");
    let proxy = client.addr(": listening on ");
    let (stays, stays_end) = through(proxy, &a);
    let (goes, goes_end) = through(proxy, &b);
    replace(&site, "server.toml", &server_file(PASSWORD, &[&a]));
    assert_reset(&goes);
    assert_reset(&goes_end);
    assert_joined(&stays, &stays_end);
    server.line("what those may do who know it, has changed");

    // Another password: who came in by the former one has to go.
    replace(&site, "server.toml", &server_file("another", &[&a]));
    assert_reset(&stays);
    let ended = client.ended();
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("wrong password"), "{}", ended.stderr);
    let mut again = site.command("rstunc");
    again.args(["--server-addr", &addr.to_string(), "--password", "another"]);
    again.args(["--cert", "certificate.der", "-D", "127.0.0.1:0"]);
    let again = Program::start(&mut again);
    again.line("connected to ");
    through(again.addr(": listening on "), &a);
    replace(
        &site,
        "server.toml",
        &server_file("another", &[&a]).replace(":0", ":1"),
    );
    server.line("--addr has changed, which needs a restart");
}

/// A flow to a target by a proxy: the visitor's end and the target's.
fn through(proxy: SocketAddr, target: &Target) -> (TcpStream, TcpStream) {
    let visitor = visit(proxy);
    send(&visitor, [5, 1, 0]);
    assert_eq!(receive(&visitor, 2), [5, 0]);
    let port = target.port().to_be_bytes();
    send(&visitor, [&[5, 1, 0, 1, 127, 0, 0, 1], &port[..]].concat());
    assert_eq!(receive(&visitor, 10)[..2], [5, 0]);
    let end = target.accept();
    assert_joined(&visitor, &end);
    (visitor, end)
}

/// The certificate is another for those who connect from now on, and nobody else notices.
#[test]
fn a_certificate_is_rotated_without_a_restart() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let addr = server.server_addr();
    let line = server.line("certificate SHA-256 ");
    let old = line.rsplit(' ').next().expect("a fingerprint").to_owned();
    let made = rstun(&site, &["keygen", "--out-dir", "next"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let mut new = made.stdout.split_whitespace();
    let new = new.rfind(|word| word.len() == old.len() && word.contains(':'));
    let new = new.expect("a fingerprint").to_owned();
    let args = Mode::Out.args(target.addr());
    let by = |pins: &[&str]| {
        let mut client = site.command("rstunc");
        client.args(["--server-addr", &addr.to_string(), "--password", PASSWORD]);
        client.args(pins.iter().flat_map(|pin| ["--pin", pin]));
        Program::start(client.args(&args))
    };
    let client = by(&[&old, &new]);
    let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
    let (visitor, end) = join(entrance, &target);
    for file in ["certificate.der", "priv_key.der"] {
        let from = site.path(&format!("next/{file}"));
        std::fs::rename(from, site.path(file)).expect("a file renamed");
    }
    server.line(&format!(
        "new connections get the certificate with SHA-256 {new}"
    ));
    assert_joined(&visitor, &end);
    for pins in [&[&*old, &*new][..], &[&new]] {
        let other = by(pins);
        let entrance = other.entrance(&Mode::Out.announcement(target.addr()));
        join(entrance, &target);
    }
    assert_eq!(by(&[&old]).ended().code, 1);
    assert_joined(&visitor, &end);

    // A key of another certificate is no change.
    let other = rstun(&site, &["keygen", "--out-dir", "other"]);
    assert_eq!(other.code, 0);
    let key = site.path("other/priv_key.der");
    std::fs::rename(key, site.path("priv_key.der")).expect("a file renamed");
    server.line("the configuration stays as it was");
    server.signal(Signal::HangUp);
    server.nth_line(2, "the configuration stays as it was");
    let client = by(&[&new]);
    join(
        client.entrance(&Mode::Out.announcement(target.addr())),
        &target,
    );
}

/// A client that shows another thing for itself, or trusts its server by another: what is open goes on as
/// it is, and what comes goes by the new login, once that is good.
fn a_client_logs_in_anew(mode: Mode) {
    let (site, a) = (Site::new(), Target::new());
    let rights = format!("reach = [\"{}\"]\nlisten = [\"127.0.0.1:0\"]", a.addr());
    let entry = site.entry("laptop", By::Key, &rights);
    let downstream = a.addr().to_string();
    let more = ["--password", PASSWORD, "--downstream", &downstream];
    let server = site.server_for(&[&entry], &more);
    let by_password = client_file(server.server_addr(), mode, &[&a], "drain = 600");
    site.write("client.toml", &by_password);
    let client = start(&site, "rstunc", "client.toml");
    let entrance = |n| match mode {
        Mode::Out => client.addr(&mode.announcement(a.addr())),
        Mode::In => client.nth_addr(n, &mode.announcement(a.addr())),
    };
    client.line("connected to ");
    let (visitor, target) = join(entrance(1), &a);
    let transfer = Transfer::new(&visitor, &target);
    transfer.wait_for(1 << 20);

    // A mistake costs nothing.
    let password = format!("password = \"{PASSWORD}\"");
    let wrong = by_password.replace(&password, "password = \"another\"");
    replace(&site, "client.toml", &wrong);
    client.line("what the client shows for itself has changed: logging in anew");
    let told = client.line("the session goes on as it is");
    assert!(told.contains("wrong password"), "{told}");
    join(entrance(1), &a);

    let by_key = by_password.replace(&password, "identity = \"laptop.pem\"");
    replace(&site, "client.toml", &by_key);
    server.line("event=\"login\" identity=\"laptop\"");
    client.nth_line(2, "connected to ");
    join(entrance(2), &a);
    transfer.wait_for(transfer.arrived() + (1 << 20));

    // Another certificate may come in the place of the server's, and the client is the same.
    let line = server.line("certificate SHA-256 ");
    let pin = line.rsplit(' ').next().expect("a fingerprint");
    let pins = [pin, &["AB"; 32].join(":")];
    let by_pin = by_key.replace("cert = \"certificate.der\"", &format!("pin = {pins:?}"));
    replace(&site, "client.toml", &by_pin);
    client.line("what the server is trusted by has changed: logging in anew");
    client.nth_line(3, "connected to ");
    join(entrance(3), &a);
    assert_eq!(server.count("event=\"logout\" identity=\"password\""), 0);
    transfer.wait_for(transfer.arrived() + (1 << 20));
    load::end([transfer]);
    drop((visitor, target));
    server.line("event=\"logout\" identity=\"password\"");
    for word in [PASSWORD, "another"] {
        assert_eq!(client.count(&format!("\"{word}\"")), 0);
    }
}
