//! Clients with entries of their own: who gets in, what each may do, and what a change of the file does.

use std::time::{Duration, Instant};

use crate::harness::entries::{By, CLIENTS};
use crate::harness::sockets::{
    Target, assert_joined, assert_reset, assert_turned_away, join, receive, send, visit,
};
use crate::harness::tunnel::Mode;
use crate::harness::{Ended, PASSWORD, Program, Signal, Site};

/// What the entry of a client says that may reach these targets and listen on any port of 127.0.0.1.
fn rights(targets: &[&Target]) -> String {
    let reach: Vec<_> = targets
        .iter()
        .map(|t| format!("\"{}\"", t.addr()))
        .collect();
    let listen = "listen = [\"tcp:127.0.0.1:0\", \"tcp:127.0.0.1:1024-65535\"]";
    format!("{listen}\nreach = [{}]", reach.join(", "))
}

/// A client that has to give up, with the code 1 and one error line.
fn fails(command: &mut std::process::Command, args: &[String], site: &Site) -> Ended {
    let ended = site.run(command.args(args));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(!ended.stderr.contains("retry"), "{}", ended.stderr);
    ended
}

#[test]
fn a_key_and_a_secret_let_in_who_has_them() {
    let site = Site::new();
    let target = Target::new();
    let entries = [
        site.entry("laptop", By::Key, &rights(&[&target])),
        site.entry("phone", By::Secret, &rights(&[&target])),
    ];
    let server = site.server_for(&[&entries[0], &entries[1]], &[]);
    let addr = server.server_addr();
    for (name, by) in [("laptop", By::Key), ("phone", By::Secret)] {
        for mode in [Mode::Out, Mode::In] {
            let client = site.client_as(addr, name, by, &mode.args(target.addr()));
            join(client.entrance(&mode.announcement(target.addr())), &target);
            client.signal(Signal::Terminate);
            assert_eq!(client.ended().code, 0);
        }
        server.line(&format!(
            "event=\"login\" identity=\"{name}\" from=127.0.0.1:"
        ));
        server.line(&format!("event=\"tunnel-up\" identity=\"{name}\""));
        server.line(&format!("event=\"tunnel-down\" identity=\"{name}\""));
        server.line(&format!("event=\"logout\" identity=\"{name}\""));
    }
    // The password is nobody's here, and what the server keeps is no secret to log in with.
    let args = Mode::Out.args(target.addr());
    let mut by_password = site.command("rstunc");
    by_password.args(["--server-addr", &addr.to_string(), "--password", PASSWORD]);
    by_password.args(["--cert", "certificate.der"]);
    fails(&mut by_password, &args, &site);
    let verifier = entries[1].split('"').nth(3).expect("a verifier");
    assert_eq!(verifier.len(), 64);
    site.write("phone.secret", verifier);
    fails(
        &mut site.client_command(addr, "phone", By::Secret),
        &args,
        &site,
    );
}

/// One generic refusal: nothing says whether there is such a name.
#[test]
fn who_is_unknown_is_told_no_more_than_who_is_wrong() {
    let site = Site::new();
    let target = Target::new();
    let known = site.entry("known", By::Secret, &rights(&[&target]));
    let disabled = site.entry("disabled", By::Secret, "disabled = true");
    site.entry("unknown", By::Secret, "");
    site.entry("stranger", By::Key, "");
    let server = site.server_for(&[&known, &disabled], &[]);
    site.write("known.secret", site.read("unknown.secret"));
    let args = Mode::Out.args(target.addr());
    let mut said = ["known", "unknown", "disabled"].map(|name| {
        let mut command = site.client_command(server.server_addr(), name, By::Secret);
        let ended = fails(&mut command, &args, &site);
        ended.error().to_owned()
    });
    assert!(said[0].contains("refused"), "{said:?}");
    said.sort();
    assert_eq!(said[0], said[2]);
    let mut command = site.client_command(server.server_addr(), "stranger", By::Key);
    let ended = fails(&mut command, &args, &site);
    assert!(ended.error().contains("--identity"), "{}", ended.stderr);
    server.nth_line(4, "event=\"refused\"");
    assert_eq!(server.count("event=\"login\""), 0);
}

#[test]
fn what_is_not_listed_is_denied() {
    let site = Site::new();
    let [listed, other] = [Target::new(), Target::new()];
    let nothing = site.entry("nothing", By::Key, "");
    let little = format!(
        "reach = [\"{}\"]\nlisten = [\"tcp:127.0.0.1:0\"]",
        listed.addr()
    );
    let little = site.entry("little", By::Key, &little);
    let server = site.server_for(&[&nothing, &little], &[]);
    let addr = server.server_addr();
    let refused = |name: &str, args: [String; 2], says: &str| {
        let mut command = site.client_command(addr, name, By::Key);
        let ended = fails(&mut command, &args, &site);
        assert!(ended.error().contains(says), "{says}: {}", ended.stderr);
    };
    refused("nothing", Mode::Out.args(listed.addr()), "reach");
    refused("nothing", Mode::In.args(listed.addr()), "listen");
    refused("little", Mode::Out.args(other.addr()), "reach");
    let everywhere = ["-R".into(), format!("{}^0.0.0.0:0", listed.addr())];
    refused("little", everywhere, "listen");
    server.line("event=\"denied\" identity=\"nothing\"");
    server.line("event=\"denied\" identity=\"little\"");
    for mode in [Mode::Out, Mode::In] {
        let client = site.client_as(addr, "little", By::Key, &mode.args(listed.addr()));
        join(client.entrance(&mode.announcement(listed.addr())), &listed);
    }
}

/// Every flow is looked at: here the visitors say what they want, on a session that is up.
#[test]
fn a_flow_to_an_unlisted_target_after_an_allowed_one() {
    let site = Site::new();
    let [listed, other] = [Target::new(), Target::new()];
    let entry = site.entry("laptop", By::Key, &rights(&[&listed]));
    let server = site.server_for(&[&entry], &[]);
    let args = Mode::Out.args(listed.addr());
    let client = site.client_as(server.server_addr(), "laptop", By::Key, &args);
    let entrance = client.entrance(&Mode::Out.announcement(listed.addr()));
    let (visitor, end) = join(entrance, &listed);
    for denied in [
        other.addr().to_string(),
        format!("[::ffff:127.0.0.1]:{}", other.port()),
    ] {
        let ended = site.run(site.command("rstun").args(["connect", &denied]));
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert!(ended.error().contains("not allowed"), "{}", ended.stderr);
    }
    server.line("event=\"denied\" identity=\"laptop\"");
    // An IPv4 address is the same in IPv6's clothes.
    let mapped = format!("[::ffff:127.0.0.1]:{}", listed.port());
    let through = site.command("rstun").args(["connect", &mapped]).spawn();
    let mut through = through.expect("the binary starts");
    drop(listed.accept());
    through.wait().expect("an end");
    assert_joined(&visitor, &end);
}

#[test]
fn a_change_counts_at_once_for_those_it_is_about() {
    let site = Site::new();
    let target = Target::new();
    let names = ["stays", "removed", "disabled", "narrowed"];
    let entries = names.map(|name| site.entry(name, By::Key, &rights(&[&target])));
    let all: Vec<&str> = entries.iter().map(String::as_str).collect();
    let server = site.server_for(&all, &[]);
    let args = Mode::Out.args(target.addr());
    let clients = names.map(|name| site.client_as(server.server_addr(), name, By::Key, &args));
    let announcement = Mode::Out.announcement(target.addr());
    let flows = clients
        .each_ref()
        .map(|c| join(c.entrance(&announcement), &target));

    // An invalid file changes nothing, and says where it is wrong.
    site.replace_entries(&[&entries[0], "reech = []\n"]);
    server.line(&format!("{CLIENTS}:6: unknown key 'reech'"));
    for (visitor, end) in &flows {
        assert_joined(visitor, end);
    }

    let disabled = format!("{}disabled = true\n", entries[2]);
    let narrowed = entries[3].replace(&target.addr().to_string(), "192.0.2.1:1");
    site.replace_entries(&[&entries[0], &disabled, &narrowed]);
    let changed = Instant::now();
    for (visitor, end) in &flows[1..] {
        assert_reset(visitor);
        assert_reset(end);
    }
    let took = changed.elapsed();
    // 1 s is the promise; a busy machine gets twice that.
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_joined(&flows[0].0, &flows[0].1);
    for client in &clients[1..] {
        client.line("retry");
    }
    let [stays, removed, disabled, narrowed] = clients;
    for client in [removed, disabled] {
        let ended = client.ended();
        assert_eq!(ended.code, 1);
        assert!(ended.error().contains("--identity"), "{}", ended.stderr);
    }
    // This one is somebody still.
    let refused = narrowed.line("the server refused");
    assert!(refused.contains("reach"), "{refused}");
    assert_eq!(stays.count("connected to "), 1);

    // Who is put back gets in.
    site.replace_entries(&all);
    server.line("4 clients");
    server.nth_line(2, "has changed");
    let back = site.client_as(server.server_addr(), "removed", By::Key, &args);
    join(back.entrance(&announcement), &target);
    narrowed.line("the server allows it now");
    join(narrowed.entrance(&announcement), &target);
    assert_joined(&flows[0].0, &flows[0].1);
}

#[test]
fn all_mistakes_of_a_file_are_told() {
    let site = Site::new();
    let server = site.server_for(
        &["[[client]]\nname = 5\nkey = \"x\"\n", "[[client]]\n"],
        &[],
    );
    let ended = server.ended();
    assert_eq!(ended.code, 2);
    let errors = ended.errors();
    for (error, line) in errors.iter().zip([2, 3, 4, 4]) {
        assert!(error.contains(&format!("{CLIENTS}:{line}: ")), "{errors:?}");
    }
    assert_eq!(errors.len(), 4, "{errors:?}");
}

#[test]
fn tunnels_and_flows_are_counted_over_all_sessions() {
    let site = Site::new();
    let target = Target::new();
    let limits = format!("{}\nmax_tunnels = 2\nmax_flows = 2", rights(&[&target]));
    let entry = site.entry("laptop", By::Key, &limits);
    let server = site.server_for(&[&entry], &[]);
    let addr = server.server_addr();
    let modes = [Mode::Out, Mode::In];
    let clients = modes.map(|mode| {
        let client = site.client_as(addr, "laptop", By::Key, &mode.args(target.addr()));
        let entrance = client.entrance(&mode.announcement(target.addr()));
        (client, entrance)
    });
    let mut third = site.client_command(addr, "laptop", By::Key);
    let ended = fails(&mut third, &Mode::Out.args(target.addr()), &site);
    assert!(ended.error().contains("2 tunnels"), "{}", ended.stderr);

    let [(_, out), (_, inward)] = clients.each_ref();
    let (first, second) = (join(*out, &target), join(*inward, &target));
    assert_turned_away(*out, b"one too many");
    assert_turned_away(*inward, b"one too many");
    assert_joined(&first.0, &first.1);
    drop(second);
    // The end has to reach the server first.
    let free = (0..100).any(|_| {
        let visitor = visit(*out);
        let mut byte = [0; 1];
        let wait = Some(Duration::from_millis(100));
        visitor.set_read_timeout(wait).expect("a timeout");
        let read = std::io::Read::read(&mut &visitor, &mut byte);
        read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(free, "no room is given back");
}

/// Both ways and over two flows it takes as long as it should; waiting, and losing nothing.
#[test]
fn a_rate_is_kept_over_all_flows() {
    const RATE: usize = 400_000;
    let site = Site::new();
    let target = Target::new();
    let entry = format!("{}\nrate = {RATE}", rights(&[&target]));
    let entry = site.entry("laptop", By::Key, &entry);
    let server = site.server_for(&[&entry], &[]);
    let args = Mode::Out.args(target.addr());
    let client = site.client_as(server.server_addr(), "laptop", By::Key, &args);
    let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
    let flows = [join(entrance, &target), join(entrance, &target)];
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (visitor, end) in &flows {
            for (from, to) in [(visitor, end), (end, visitor)] {
                scope.spawn(move || send(from, vec![7; RATE / 2]));
                scope.spawn(move || assert_eq!(receive(to, RATE / 2), vec![7; RATE / 2]));
            }
        }
    });
    // A second's worth each way, less what may go in a burst.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(800), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn the_password_goes_beside_entries_and_has_limits_of_its_own() {
    let site = Site::new();
    let [listed, own] = [Target::new(), Target::new()];
    let entry = site.entry("laptop", By::Key, &rights(&[&own]));
    let downstream = listed.addr().to_string();
    let args = ["--password", PASSWORD, "--downstream", &downstream];
    let server = site.server_for(&[&entry], &args);
    let addr = server.server_addr();
    let [out, inward] = [Mode::Out, Mode::In].map(|mode| {
        let args = mode.args(listed.addr());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let client = site.client(addr, &args);
        join(client.entrance(&mode.announcement(listed.addr())), &listed);
        client
    });
    drop((out, inward));
    let ended = site
        .client(addr, &["-R", &format!("{}^127.0.0.1:1023", own.addr())])
        .ended();
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("1023"), "{}", ended.stderr);
    assert!(ended.error().contains("1024"), "{}", ended.stderr);
    // Each has its own list, and not the other's.
    let ended = site
        .client(addr, &["-L", &format!("0^{}", own.addr())])
        .ended();
    assert!(ended.error().contains("--downstream"), "{}", ended.stderr);
    let args = Mode::Out.args(listed.addr());
    fails(
        &mut site.client_command(addr, "laptop", By::Key),
        &args,
        &site,
    );
}

/// `rstun keygen --client`: files that are their owner's alone, and an entry that can be appended as it is.
#[test]
fn keygen_keeps_secrets_to_files() {
    use std::os::unix::fs::PermissionsExt;

    let site = Site::new();
    for (by, file) in [(By::Key, "laptop.pem"), (By::Secret, "laptop.secret")] {
        let mut keygen = site.command("rstun");
        keygen.args(["keygen", "--client", "laptop"]);
        if by == By::Secret {
            keygen.arg("--secret");
        }
        let made = site.run(&mut keygen);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let secret = site.read(file);
        let mode = std::fs::metadata(site.path(file))
            .expect("the file")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let again = site.run(&mut keygen);
        assert_eq!(again.code, 1);
        assert!(again.error().contains("--force"), "{}", again.stderr);
        assert_eq!(site.read(file), secret);
        let shown = [made.stdout.as_str(), &made.stderr].concat();
        let secret = String::from_utf8(secret).expect("text");
        for line in secret.lines().filter(|line| !line.starts_with("--")) {
            assert!(!shown.contains(line), "{shown}");
        }
        // As it is printed it is a valid file, of a client that may do nothing.
        let server = site.server_for(&[&made.stdout], &[]);
        let addr = server.server_addr();
        let mut client = site.client_command(addr, "laptop", by);
        let ended = fails(&mut client, &["-L".into(), "0^1".into()], &site);
        assert!(ended.error().contains("reach"), "{}", ended.stderr);
    }
    for name in ["../x", "", "password"] {
        let ended = site.run(site.command("rstun").args(["keygen", "--client", name]));
        assert_eq!(ended.code, 2, "{name}");
    }
}

/// What a client is started with that cannot be.
#[test]
fn an_identity_that_cannot_be_is_an_error() {
    let site = Site::new();
    site.write("empty.pem", "");
    let client = |args: &[&str]| {
        let mut command = site.command("rstunc");
        command.args(["--server-addr", "127.0.0.1:1", "--cert", "certificate.der"]);
        command.args(["-L", "0^1"]).args(args);
        let ended = Program::start(&mut command).ended();
        assert_eq!(ended.code, 2, "{ended:?}");
        ended.error().to_owned()
    };
    assert!(client(&["--identity", "nowhere.pem"]).contains("nowhere.pem"));
    assert!(client(&["--identity", "empty.pem"]).contains("empty.pem"));
    assert!(client(&["--identity", "certificate.der"]).contains("certificate.der"));
    assert!(client(&["--identity", "x", "--password", "y"]).contains("--password"));
    assert!(client(&["--identity", "x", "--name", "y"]).contains("--name"));
}

/// What listens at the server itself is not part of "everywhere", in whatever form it is asked for.
#[test]
fn a_wide_rule_does_not_reach_the_server_itself() {
    let site = Site::new();
    let target = Target::new();
    let port = target.port();
    let wide = "reach = [\"0.0.0.0/0:1-65535\", \"[::/0]:1-65535\"]";
    let exact = format!("reach = [\"{}\", \"localhost:{port}\"]", target.addr());
    let entries = [("wide", wide), ("exact", exact.as_str())];
    let entries = entries.map(|(name, rights)| site.entry(name, By::Key, rights));
    let server = site.server_for(&[&entries[0], &entries[1]], &[]);
    let addr = server.server_addr();
    let connect = |name: &str, target: &str| {
        let mut command = site.command("rstun");
        command.args(["connect", "--server-addr", &addr.to_string()]);
        command.args([
            "--cert",
            "certificate.der",
            "--identity",
            &format!("{name}.pem"),
        ]);
        command.arg(target);
        command
    };
    let own = if_addrs::get_if_addrs().expect("interfaces");
    let own = own
        .iter()
        .map(|interface| interface.ip())
        .filter(|ip| ip.is_ipv4());
    let own = own.map(|ip| ip.to_string());
    let forms = [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "localhost",
        "169.254.169.254",
        "[fe80::1]",
    ];
    for form in forms.map(String::from).into_iter().chain(own) {
        let ended = site.run(&mut connect("wide", &format!("{form}:{port}")));
        assert_eq!(ended.code, 1, "{form}: {}", ended.stderr);
        assert!(
            ended.error().contains("this client's reach"),
            "{form}: {}",
            ended.stderr
        );
    }
    server.line("event=\"denied\" identity=\"wide\"");
    for form in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let through = Program::start(&mut connect("exact", &format!("{form}:{port}")));
        drop(target.accept());
        assert_eq!(through.ended().code, 0, "{form}");
    }
}
