//! `rstun ticket` at the server, and what a client does with what it prints.

use crate::harness::sockets::{Target, join};
use crate::harness::{Ended, Program, Site};

/// A server that was started with nothing but a place to listen, and more.
fn server(site: &Site, more: &[&str]) -> (Program, String) {
    let mut command = site.command("rstun");
    command.args(["server", "--addr", "127.0.0.1:0"]).args(more);
    let server = Program::start(&mut command);
    let addr = server.server_addr().to_string();
    (server, addr)
}

fn print(site: &Site, args: &[&str]) -> Ended {
    site.run(site.command("rstun").arg("ticket").args(args))
}

/// What `rstun ticket` prints, and nothing else on standard output.
fn ticket(site: &Site, args: &[&str]) -> String {
    let ended = print(site, args);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let word = ended.stdout.trim_end();
    assert!(word.starts_with("rstun://") && !word.contains(char::is_whitespace));
    word.to_owned()
}

/// Shows that a client with a tunnel to `target` carries to it.
fn carries(client: &mut std::process::Command, target: &Target) {
    let mapping = format!("{}^127.0.0.1:0", target.addr());
    let client = Program::start(client.args(["-R", &mapping]));
    join(client.entrance("the server listens on "), target);
}

#[test]
fn a_ticket_is_all_that_a_client_needs_wherever_it_stands() {
    let (site, client, target) = (Site::without_keys(), Site::without_keys(), Target::new());
    let (_server, addr) = server(&site, &[]);
    let word = ticket(&site, &["--addr", &addr]);
    assert_eq!(ticket(&site, &["--addr", &addr]), word);
    client.write("ticket", format!("{word}\n"));
    client.write("client.toml", format!("ticket = \"{word}\"\n"));
    let rstunc = || client.command("rstunc");
    carries(rstunc().arg(&word), &target);
    carries(rstunc().env("RSTUN_TICKET", &word), &target);
    carries(rstunc().args(["--ticket-file", "ticket"]), &target);
    carries(rstunc().args(["--config", "client.toml"]), &target);
    // It counts more than a password that happens to be there.
    carries(rstunc().arg(&word).env("RSTUN_PASSWORD", "other"), &target);
}

#[test]
fn a_ticket_that_cannot_be_used_says_why() {
    let site = Site::without_keys();
    let (_server, addr) = server(&site, &[]);
    let word = ticket(&site, &["--addr", &addr]);
    let (begin, end) = word.split_at(word.len() - 1);
    let changed = match end {
        "1" => "2",
        _ => "1",
    };
    let newer = {
        // Version 2, and nothing else that is known.
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[2]);
        let bytes = [&[2], &sum.as_ref()[..4]].concat();
        format!("rstun://{}", bs58::encode(bytes).into_string())
    };
    for (word, says) in [
        (&format!("{begin}{changed}"), "mistyped or cut short"),
        (&begin.to_owned(), "mistyped or cut short"),
        (&newer, "a newer rstun made this ticket (version 2)"),
        (&"hello".to_owned(), "begins with rstun://"),
    ] {
        let ended = site.run(site.command("rstunc").args([word, "-L", "1^2"]));
        assert_eq!(ended.code, 2);
        assert!(ended.error().contains(says), "{says}: {}", ended.stderr);
    }
    site.write("ticket", &word);
    site.set_mode("ticket", 0o644);
    let file = ["--ticket-file", "ticket", "-L", "1^2"];
    let ended = site.run(site.command("rstunc").args(file));
    assert!(ended.error().contains("chmod 600"), "{}", ended.stderr);
    for other in ["--cert", "--password", "--server-addr", "--pin"] {
        let ended = site.run(
            site.command("rstunc")
                .args([&word, other, "x", "-L", "1^2"]),
        );
        assert_eq!(ended.code, 2);
        assert!(ended.error().contains(other), "{}", ended.stderr);
        assert!(!ended.stderr.contains(&word));
    }
}

#[test]
fn the_addresses_are_guessed_where_they_are_not_said() {
    let site = Site::without_keys();
    let (_server, _) = server(&site, &[]);
    let guessed = print(&site, &["--listen", "7000"]);
    assert_eq!(guessed.code, 0, "{}", guessed.stderr);
    assert!(guessed.stderr.contains(":7000"), "{}", guessed.stderr);
    assert!(guessed.stderr.contains("rstun ticket --addr"));
    let said = print(
        &site,
        &[
            "--addr",
            "tunnel.example.org",
            "--addr",
            "[2001:db8::1]:443",
        ],
    );
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    let code = print(&site, &["--addr", "tunnel.example.org", "--qr"]);
    assert!(code.stdout.contains("█ ▄▄▄▄▄ █"), "{}", code.stdout);
    let ended = print(&site, &["--addr", "no address"]);
    assert!(ended.error().contains("--addr no address"));
}

#[test]
fn there_is_no_ticket_before_there_is_a_server() {
    let site = Site::without_keys();
    let ended = print(&site, &[]);
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("rstun server"), "{}", ended.stderr);
}

#[test]
fn it_takes_what_the_servers_file_says() {
    let (site, target) = (Site::new(), Target::new());
    site.write("password", "123456\n");
    let text =
        "addr = \"127.0.0.1:7070\"\ncert = \"certificate.der\"\npassword-file = \"password\"\n";
    site.write("server.toml", text);
    let printed = print(&site, &["--config", "server.toml"]);
    assert!(
        printed.stderr.contains("127.0.0.1:7070"),
        "{}",
        printed.stderr
    );
    let mut command = site.command("rstund");
    command.args(["--config", "server.toml", "--addr", "127.0.0.1:0"]);
    let server = Program::start(&mut command);
    let addr = server.server_addr().to_string();
    let word = ticket(&site, &["--config", "server.toml", "--addr", &addr]);
    carries(site.command("rstunc").arg(&word), &target);
}

/// The server stores nothing that is enough to log in with, and yet prints the same ticket again.
#[test]
fn a_client_may_have_a_ticket_of_its_own() {
    let (site, target) = (Site::without_keys(), Target::new());
    site.write("clients.toml", "# mine\n");
    let (server, addr) = server(&site, &["--clients", "clients.toml"]);
    let args = [
        "--for",
        "laptop",
        "--clients",
        "clients.toml",
        "--addr",
        &addr,
    ];
    let word = ticket(&site, &args);
    server.line("clients.toml has changed: 1 clients");
    assert_eq!(ticket(&site, &args), word);
    let entries = String::from_utf8(site.read("clients.toml")).expect("text");
    assert!(entries.starts_with("# mine\n\n[[client]]\nname = \"laptop\"\nverifier = \""));
    let listed = entries.replace("listen = []", "listen = [\"127.0.0.1:1024-65535\"]");
    site.write("clients.toml", listed.replace("1024-65535", "20000-60000"));
    server.nth_line(2, "clients.toml has changed");
    let free = Target::new();
    let port = free.port();
    drop(free);
    let mapping = format!("{}^127.0.0.1:{port}", target.addr());
    let client = Program::start(site.command("rstunc").args([&word, "-R", &mapping]));
    join(client.entrance("the server listens on "), &target);
    server.line("identity=\"laptop\"");

    let disabled = entries.replace("listen = []", "listen = []\ndisabled = true");
    site.write("clients.toml", disabled);
    assert!(print(&site, &args).error().contains("laptop is disabled"));
    site.write(
        "clients.toml",
        entries.replace("verifier = \"", "key = \"SHA256:"),
    );
    assert!(print(&site, &args).error().contains("logs in by a key"));
}

/// A secret that `rstun keygen` made is for its owner to hand on, and no other takes its place unasked.
#[test]
fn a_clients_own_secret_makes_its_ticket() {
    let site = Site::without_keys();
    let (_server, _) = server(&site, &[]);
    let made = site.run(
        site.command("rstun")
            .args(["keygen", "--client", "phone", "--secret"]),
    );
    site.write("clients.toml", made.stdout);
    let args = [
        "--for",
        "phone",
        "--clients",
        "clients.toml",
        "--addr",
        "a.example.org",
    ];
    assert!(print(&site, &args).error().contains("--password-file"));
    ticket(
        &site,
        &[&args[..], &["--password-file", "phone.secret"]].concat(),
    );
    site.write("other.secret", "hunter2\n");
    let other = [&args[..], &["--password-file", "other.secret"]].concat();
    assert!(print(&site, &other).error().contains("does not fit"));
    let nowhere = print(&site, &["--for", "phone"]);
    assert!(
        nowhere.error().contains("--clients FILE"),
        "{}",
        nowhere.stderr
    );
}
