//! What the server may do on its machine: as another user, and within systemd's sandbox.

use std::path::Path;
use std::process::Command;

use crate::harness::sockets::{Target, join};
use crate::harness::tunnel::Mode;
use crate::harness::{PASSWORD, Program, Site, is_installed};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");

/// A user that every system has, and its id.
const NOBODY: (&str, &str) = ("nobody", "65534");

#[test]
fn as_another_user() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("only root can become another user, nothing is shown");
    }
    let (site, target) = (Site::new(), Target::new());
    let server = site.server_with("127.0.0.1:0", &[target.addr()], &["--user", NOBODY.0]);
    let server_addr = server.server_addr();

    let args = Mode::Out.args(target.addr());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let client = site.client(server_addr, &args);
    let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
    join(entrance, &target);

    let status = server.proc("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {status}"));
        line.split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), [NOBODY.1; 4]);
    assert_eq!(field("Gid:"), [NOBODY.1; 4]);
    assert!(field("Groups:").iter().all(|group| *group == NOBODY.1));
    for set in ["CapEff:", "CapPrm:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
}

#[test]
fn as_a_user_that_there_is_not() {
    let site = Site::new();
    let ended = site
        .server_with("127.0.0.1:0", &[], &["--user", "nobody-here"])
        .ended();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.error().contains("nobody-here"), "{}", ended.stderr);
}

/// Each unit is sound, and exposes no more than 2.0 in the words of `systemd-analyze security`.
#[test]
fn within_systemds_sandbox() {
    if !is_installed("systemd-analyze") {
        return;
    }
    for (unit, instance) in [
        ("rstun-server.service", "rstun-server.service"),
        ("rstun-server.socket", "rstun-server.socket"),
        ("rstun-client@.service", "rstun-client@office.service"),
        ("user/rstun-server.service", "rstun-server.service"),
        ("user/rstun-client@.service", "rstun-client@office.service"),
    ] {
        let site = Site::without_keys();
        let text = std::fs::read_to_string(Path::new(UNITS).join(unit)).expect("a unit");
        let here = text.replace("/usr/bin/rstun", &site.path("rstun").display().to_string());
        let (user, socket) = (unit.starts_with("user/"), unit.ends_with(".socket"));
        assert!(socket || text != here, "{unit} starts another program");
        site.write(instance, here);
        if socket {
            site.write("rstun-server.service", "[Service]\nExecStart=/bin/true\n");
        }
        let analyze = |args: &[&str]| {
            let mut command = Command::new("systemd-analyze");
            command.env("XDG_RUNTIME_DIR", site.path("run"));
            if user {
                command.arg("--user");
            }
            command.args(args).arg(site.path(instance));
            let output = command.output().expect("systemd-analyze");
            let words = [output.stdout, output.stderr].concat();
            let words = String::from_utf8_lossy(&words).into_owned();
            (output.status.success(), words)
        };
        // A user's own services cannot have most of it.
        if !user && !socket {
            let (fine, words) = analyze(&["security", "--offline=true", "--threshold=20"]);
            assert!(fine, "{unit}:\n{words}");
        }
        let (_, words) = analyze(&["verify", "--man=no"]);
        assert!(
            !words.contains(unit) && !words.contains(instance),
            "{words}"
        );
    }
}

/// What the units leave to systemd's credentials is found there.
#[test]
fn by_systemds_credentials() {
    let site = Site::new();
    let target = Target::new();
    site.write("password", format!("{PASSWORD}\n"));
    // As systemd does for a service of another user: by an access control list, which looks like this.
    site.set_mode("password", 0o440);
    site.set_mode("priv_key.der", 0o440);
    let start = |link: &str, args: &[&str]| {
        let mut command = site.command(link);
        command
            .env("CREDENTIALS_DIRECTORY", site.path(""))
            .args(args);
        Program::start(&mut command)
    };
    let downstream = target.addr().to_string();
    let server = start(
        "rstund",
        &["--addr", "127.0.0.1:0", "--downstream", &downstream],
    );
    let server_addr = server.server_addr().to_string();
    let [flag, mapping] = Mode::Out.args(target.addr());
    let client = start("rstunc", &["--server-addr", &server_addr, &flag, &mapping]);
    let entrance = client.entrance(&Mode::Out.announcement(target.addr()));
    join(entrance, &target);
}
