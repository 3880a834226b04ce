//! `rstun check` tells what is wrong before anything is started, and disturbs nothing that runs.

use crate::harness::sockets::{ClosedPort, Target, assert_joined, join};
use crate::harness::{Ended, PASSWORD, Site};

fn check(site: &Site, args: &[&str]) -> Ended {
    let mut command = site.command("rstun");
    command.arg("check").args(args).env("LC_ALL", "C.UTF-8");
    site.run(&mut command)
}

/// The flags of a client of this server.
fn known(addr: &str) -> Vec<String> {
    let flags = ["--server-addr", addr, "--password", PASSWORD];
    let cert = ["--cert", "certificate.der"];
    [&flags[..], &cert]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// All lines of a report that tell of a failure; there have to be others, and a time in all but the first.
fn failures(ended: &Ended) -> Vec<&str> {
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("✓ configuration"), "{}", ended.stdout);
    assert!(lines.iter().filter(|line| line.ends_with(" ms)")).count() + 3 >= lines.len());
    let failed: Vec<_> = lines
        .into_iter()
        .filter(|line| line.starts_with('✗'))
        .collect();
    assert_eq!(
        ended.code,
        i32::from(!failed.is_empty()),
        "{}",
        ended.stderr
    );
    failed
}

#[test]
fn a_client_that_would_do() {
    let (site, there, here) = (Site::new(), Target::new(), Target::new());
    let server = site.server(&[there.addr()]);
    let known = known(&server.server_addr().to_string());
    let [out, inward] = [
        format!("127.0.0.1:0^{}", there.addr()),
        format!("{}^127.0.0.1:0", here.addr()),
    ];
    let mut args: Vec<&str> = vec!["client"];
    args.extend(known.iter().map(String::as_str));
    args.extend(["-L", &out, "-R", &inward]);
    let ended = check(&site, &args);
    assert_eq!(failures(&ended), [""; 0]);
    for step in [
        "listen on 127.0.0.1:0: it is free",
        "here: it accepts connections",
        ": address: 127.0.0.1:",
        ": handshake and certificate: ",
        ": login: accepted",
        "there: the server reaches it",
        " is free at the server",
    ] {
        assert_eq!(
            ended.stdout.matches(step).count(),
            1,
            "{step}:\n{}",
            ended.stdout
        );
    }
    let mut ascii = site.command("rstun");
    let ended = site.run(ascii.arg("check").args(&args).env("LC_ALL", "C"));
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    assert!(ended.stdout.starts_with("ok configuration") && ended.stdout.is_ascii());
}

#[test]
fn what_is_wrong_on_the_way_is_told_by_its_step() {
    let (site, listed, closed) = (Site::new(), Target::new(), ClosedPort::new());
    let server = site.server(&[listed.addr(), closed.addr()]);
    let addr = server.server_addr().to_string();
    let taken = Target::new();
    let [here, refused, unlisted] = [
        format!("{}^{}", taken.addr(), listed.addr()),
        format!("127.0.0.1:0^{}", closed.addr()),
        "127.0.0.1:0^9".to_owned(),
    ];
    let into = format!("{}^127.0.0.1:80", closed.addr());
    let tunnels = ["-L", &here, "-L", &refused, "-L", &unlisted, "-R", &into];
    let known = known(&addr);
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    let ended = check(&site, &[&["client"][..], &known, &tunnels].concat());
    let failed = failures(&ended);
    for says in [
        "listen on 127.0.0.1:",
        " here: connection refused",
        "there: connection refused",
        "127.0.0.1:9 there: target not allowed",
        "port 80 is below 1024",
    ] {
        let told = failed.iter().filter(|line| line.contains(says)).count();
        assert_eq!(told, 1, "{says}: {failed:#?}");
    }
    assert_eq!(failed.len(), 5, "{failed:#?}");

    let tunnel = ["-R", &format!("{}^127.0.0.1:0", listed.addr())];
    let pin = "0".repeat(64);
    let secret = ["--password", PASSWORD];
    let wrong = ["--password", "wrong", "--cert", "certificate.der"];
    let dead = ClosedPort::new().addr().to_string();
    for (flags, says) in [
        (
            [&["--server-addr", &addr, "--pin", &pin][..], &secret].concat(),
            "handshake and certificate: the server's certificate is none of --pin",
        ),
        (
            [&["--server-addr", &addr][..], &wrong].concat(),
            "login: wrong password",
        ),
        (
            [&["--server-addr", "nowhere.invalid"][..], &wrong].concat(),
            "address: its name does not resolve",
        ),
        (
            [&["--server-addr", &dead][..], &wrong].concat(),
            "handshake and certificate: ",
        ),
    ] {
        let ended = check(&site, &[&["client"][..], &flags, &tunnel].concat());
        let failed = failures(&ended);
        assert!(
            failed.len() == 1 && failed[0].contains(says),
            "{says}: {failed:#?}"
        );
    }
}

/// One address of several is enough, as it is for a client.
#[test]
fn a_server_that_stands_by_may_be_away() {
    let (site, here) = (Site::new(), Target::new());
    let server = site.server(&[]);
    let known = known(&server.server_addr().to_string());
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    let tunnel = format!("{}^127.0.0.1:0", here.addr());
    let args = ["--server-addr", "nowhere.invalid", "-R", &tunnel];
    let ended = check(&site, &[&["client"][..], &known, &args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    assert!(ended.stdout.contains("1 can be used, and one is enough"));
}

#[test]
fn what_runs_is_not_disturbed() {
    let (site, here) = (Site::new(), Target::new());
    let server = site.server(&[]);
    let addr = server.server_addr();
    let tunnel = format!("{}^127.0.0.1:0", here.addr());
    let running = site.client(addr, &["-R", &tunnel]);
    let entrance = running.entrance("the server listens on ");
    let (visitor, inside) = join(entrance, &here);
    let known = known(&addr.to_string());
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    let tunnel = format!("{}^{entrance}", here.addr());
    let ended = check(&site, &[&["client"][..], &known, &["-R", &tunnel]].concat());
    assert_eq!(failures(&ended), [""; 0]);
    assert!(ended.stdout.contains("which runs"), "{}", ended.stdout);
    let addr = addr.to_string();
    let flags = [
        "--password",
        PASSWORD,
        "--cert",
        "certificate.der",
        "--addr",
        &addr,
    ];
    let ended = check(&site, &[&["server"][..], &flags].concat());
    assert_eq!(failures(&ended), [""; 0]);
    assert!(ended.stdout.contains("which runs"), "{}", ended.stdout);
    assert_joined(&visitor, &inside);
    assert_eq!(running.count("connected to "), 1);
}

#[test]
fn a_server_is_checked_by_its_port_its_clients_and_its_targets() {
    let (site, target, closed) = (Site::new(), Target::new(), ClosedPort::new());
    let [reached, refused] = [target.addr().to_string(), closed.addr().to_string()];
    let flags = [
        "server",
        "--cert",
        "certificate.der",
        "--password",
        PASSWORD,
    ];
    let ended = check(
        &site,
        &[
            &flags[..],
            &["--addr", "127.0.0.1:0", "--downstream", &reached],
        ]
        .concat(),
    );
    assert_eq!(failures(&ended), [""; 0]);
    let ended = check(
        &site,
        &[&flags[..], &["--addr", &reached, "--downstream", &refused]].concat(),
    );
    let failed = failures(&ended);
    assert_eq!(failed.len(), 2, "{failed:#?}");
    assert!(
        failed[0].contains(&format!("--addr {reached}")),
        "{failed:#?}"
    );
    assert!(failed[1].contains(&format!("--downstream {refused}: connection refused")));
    site.write("clients.toml", "# nobody\n");
    let nobody = [
        "server",
        "--cert",
        "certificate.der",
        "--clients",
        "clients.toml",
    ];
    let ended = check(&site, &[&nobody[..], &["--addr", "127.0.0.1:0"]].concat());
    assert!(failures(&ended)[0].contains("who may log in: nobody can"));
}

#[test]
fn a_file_says_whether_it_is_a_servers_or_a_clients() {
    let site = Site::new();
    let server = "addr = \"127.0.0.1:0\"\ncert = \"certificate.der\"\npassword = \"1\"\n";
    let client = "server-addr = \"127.0.0.1:9\"\npasword = \"1\"\n";
    site.write("a.toml", server);
    site.write("b.toml", client);
    assert_eq!(failures(&check(&site, &["--config", "a.toml"])), [""; 0]);
    let ended = check(&site, &["--config", "b.toml"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .error()
            .contains("b.toml:2:1: unknown key 'pasword'; did you mean 'password'?")
    );
    let ended = check(&site, &[]);
    assert!(
        ended.error().contains("nothing to check"),
        "{}",
        ended.stderr
    );
    std::fs::create_dir_all(site.path(".config/rstun")).expect("a directory");
    site.write(".config/rstun/client.toml", client);
    assert!(check(&site, &[]).error().contains("client.toml:2:1"));
    site.write(".config/rstun/server.toml", server);
    assert!(check(&site, &[]).error().contains("`rstun check server`"));
}
