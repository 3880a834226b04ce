//! Each file in examples/ is one that the program takes, with all that it says as a comment too.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{Program, Site};

/// The TOML files in examples/, by name.
fn examples() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(dir).expect("examples/");
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            found.push((name, std::fs::read_to_string(path).expect("a file")));
        }
    }
    assert!(found.len() >= 6, "{found:#?}");
    found
}

/// A key that stands in a comment as an example: `#key = value`, with no space behind the '#'.
fn commented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    let key = rest.split_once(" = ")?.0;
    key.starts_with(|c: char| c.is_ascii_lowercase())
        .then_some(rest)
}

/// Has the real program read a file, as far as it gets without a server: what it complains of is no mistake
/// in the file, or nothing at all.
fn assert_understood(site: &Site, name: &str, text: &str) {
    site.write(name, text);
    let ended = site.run(site.command("rstun").args(["check", "--config", name]));
    assert_ne!(ended.code, 2, "{name}:\n{}", ended.stderr);
    assert!(
        ended.stdout.contains("configuration: understood"),
        "{name}: {}",
        ended.stdout
    );
}

/// A site with all files that the examples name, and the server of the ticket there.
fn site() -> (Site, Program) {
    let site = Site::new();
    let mut command = site.command("rstun");
    command.args(["server", "--addr", "127.0.0.1:0"]);
    let server = Program::start(&mut command);
    let addr = server.server_addr().to_string();
    let ticket = site.run(site.command("rstun").args(["ticket", "--addr", &addr]));
    site.write("ticket", ticket.stdout);
    site.write("password", "123456\n");
    for (name, text) in examples().iter().filter(|(name, _)| name == "clients.toml") {
        site.write(name, text);
    }
    (site, server)
}

#[test]
fn all_are_understood() {
    let (site, _server) = site();
    for (name, text) in examples() {
        if name == "clients.toml" {
            let entries = rstun::access::read(&text).expect("a file of clients");
            assert_eq!(entries.len(), 3);
        } else {
            assert_understood(&site, &name, &text);
        }
    }
}

/// What stands there as a comment is right, too, one at a time.
#[test]
fn what_is_commented_out_is_right() {
    let (site, _server) = site();
    let mut tried = 0;
    for (name, text) in examples() {
        let base = match name.as_str() {
            "server.toml" => {
                "addr = \"127.0.0.1:0\"\ncert = \"certificate.der\"\npassword = \"1\"\n"
            }
            "client.toml" => "ticket-file = \"ticket\"\ntunnel-in = [\"1^0\"]\n",
            _ => continue,
        };
        for line in text.lines().filter_map(commented) {
            let key = line.split_once(" = ").expect("a key").0;
            // These name what is not there, or take the place of what the rest says.
            if ["unix-dir", "audit-log", "user", "pin", "ticket"].contains(&key) {
                continue;
            }
            // Nor is there a proxy for clients that keep to QUIC, as those of tests do.
            let other = [
                "cert",
                "key",
                "metrics-token-file",
                "name",
                "identity",
                "password-file",
                "proxy",
                "ticket-file",
            ];
            let text = match other.contains(&key) || line.contains("...") {
                true => continue,
                false => format!("{line}\n{base}"),
            };
            assert_understood(&site, &name, &text);
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
}

/// The two complete ones name every flag that a file can have, and no other.
#[test]
fn the_complete_ones_are_complete() {
    let mut command = rstun::cli::command();
    command.build();
    for (program, but_for) in [
        // A password belongs into a file of its own; what is shown once is typed.
        (
            "server",
            &["config", "help", "version", "password", "qr"][..],
        ),
        (
            "client",
            &[
                "config",
                "help",
                "version",
                "password",
                "mode",
                "addr-mapping",
            ],
        ),
    ] {
        let program_command = command.find_subcommand(program).expect("it is one");
        let longs = program_command
            .get_arguments()
            .filter_map(|arg| arg.get_long());
        let flags: BTreeSet<_> = longs.filter(|long| !but_for.contains(long)).collect();
        let all = examples();
        let (_, text) = all
            .iter()
            .find(|(name, _)| *name == format!("{program}.toml"))
            .expect("it");
        let lines = text.lines().map(|line| commented(line).unwrap_or(line));
        let keys = lines
            .filter_map(|line| line.split_once(" = "))
            .map(|(key, _)| key);
        let keys: BTreeSet<_> = keys
            .filter(|key| !key.starts_with('#') && *key != "ticket")
            .collect();
        let missing: Vec<_> = flags.difference(&keys).collect();
        let unknown: Vec<_> = keys.difference(&flags).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "{program}: {missing:?} {unknown:?}"
        );
    }
}
