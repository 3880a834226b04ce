//! What ends a client for good: exit code 1 and the reason, at once and without another try.

use std::net::TcpListener;

use crate::harness::sockets::{Target, join};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{Ended, PASSWORD, Program, Site};

in_both_modes!(wrong_password, other_certificate_with_the_same_subject);

/// Exit code 1, and one error line that contains all of `parts`.
fn assert_fatal(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, 1, "{ended:?}");
    let error = ended.error();
    for part in parts {
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
    assert!(!ended.stderr.contains("retry"), "{}", ended.stderr);
}

/// A client with a tunnel to `target` that has to give up.
fn client_fails(site: &Site, server: &Program, password: &str, tunnel: &[String]) -> Ended {
    let mut command = site.command("rstunc");
    command.args(["--server-addr", &server.server_addr().to_string()]);
    command.args(["--password", password, "--cert", "certificate.der"]);
    site.run(command.args(tunnel))
}

fn wrong_password(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let args = mode.args(tunnel.target.addr());
    let near = [PASSWORD, "7"].concat();
    for wrong in ["x", &near, &PASSWORD[1..]] {
        let ended = client_fails(&tunnel.site, &tunnel.server, wrong, &args);
        assert_fatal(&ended, &["password"]);
        assert!(!ended.stderr.contains("connected to"), "{}", ended.stderr);
    }
    // Others are served as before.
    tunnel.flow();
}

/// Others of the same address have to wait with whoever guesses there, are told so, and get in after that.
#[test]
fn too_many_wrong_passwords() {
    let (site, target) = (Site::new(), Target::new());
    let server = site.server(&[target.addr()]);
    let args = Mode::Out.args(target.addr());
    for _ in 0..4 {
        client_fails(&site, &server, "x", &args);
    }
    server.line("seconds=5");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server.server_addr(), &args);
    client.line("too many logins from this address have failed");
    let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
    join(entrance, &target);
}

/// Both certificates are for the same name: only their bytes differ.
fn other_certificate_with_the_same_subject(mode: Mode) {
    let [theirs, ours] = [(), ()].map(|()| {
        let site = Site::without_keys();
        let mut keygen = site.command("rstun");
        keygen.args(["keygen", "--host", "tunnel.example.org"]);
        assert_eq!(site.run(&mut keygen).code, 0);
        site
    });
    assert_ne!(theirs.read("certificate.der"), ours.read("certificate.der"));
    let target = Target::new();
    let server = theirs.server(&[target.addr()]);
    let args = mode.args(target.addr());
    let ended = client_fails(&ours, &server, PASSWORD, &args);
    assert_fatal(&ended, &["certificate"]);

    // With a copy of the right one it works.
    ours.write("certificate.der", theirs.read("certificate.der"));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = ours.client(server.server_addr(), &args);
    join(client.entrance(&mode.announcement(target.addr())), &target);
}

#[test]
fn mapping_not_in_downstream() {
    let site = Site::new();
    let [listed, other] = [Target::new(), Target::new()];
    let server = site.server(&[listed.addr()]);
    let ended = client_fails(&site, &server, PASSWORD, &Mode::Out.args(other.addr()));
    assert_fatal(&ended, &[&other.addr().to_string(), "--downstream"]);

    // One mapping too many is refused although the other is fine.
    let both = [Mode::Out.args(listed.addr()), Mode::Out.args(other.addr())];
    let ended = client_fails(&site, &server, PASSWORD, &both.concat());
    assert_fatal(&ended, &[&other.addr().to_string(), "--downstream"]);
}

#[test]
fn server_without_downstream_reaches_nothing() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[]);
    let ended = client_fails(&site, &server, PASSWORD, &Mode::Out.args(target.addr()));
    assert_fatal(&ended, &[&target.addr().to_string(), "--downstream"]);
}

#[test]
fn port_taken_at_the_server() {
    let tunnel = Tunnel::new(Mode::In);
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let held = holder.local_addr().expect("an address");
    // By another program, and by another client of the same server.
    for taken in [held, tunnel.entrance] {
        let args = ["-R".to_owned(), format!("{}^{taken}", tunnel.target.addr())];
        let ended = client_fails(&tunnel.site, &tunnel.server, PASSWORD, &args);
        assert_fatal(&ended, &[&taken.to_string()]);
    }
    tunnel.flow();
}

#[test]
fn port_taken_at_the_client() {
    let site = Site::new();
    let target = Target::new();
    let server = site.server(&[target.addr()]);
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("an address");
    let args = ["-L".to_owned(), format!("{taken}^{}", target.addr())];
    let ended = client_fails(&site, &server, PASSWORD, &args);
    assert_fatal(&ended, &[&taken.to_string()]);
}

#[test]
fn port_taken_for_the_server_itself() {
    let site = Site::new();
    let first = site.server(&[]);
    let taken = first.server_addr();
    let ended = site.server_with(taken, &[], &[]).ended();
    assert_fatal(&ended, &[&taken.port().to_string()]);
}
