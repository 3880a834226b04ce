//! The pages about operating: each of their command lines is run, or stands here with the reason why not.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::page::{Machine, Page, blocks};
use super::{pages, read};
use crate::harness::web::in_path;
use crate::harness::{Program, Site, is_installed};
use crate::readme::prose;

/// The pages whose commands are not run one after the other.
const PAGES: [&str; 3] = ["install.md", "monitoring.md", "systemd.md"];

const LINKS: [&str; 2] = [
    "ln -s rstun ~/.cargo/bin/rstund",
    "ln -s rstun ~/.cargo/bin/rstunc",
];

const WATCHED: &str = "rstun client ... --metrics 9090 --health 9090";
const WATCHING: [&str; 3] = [
    "rstun status",
    "rstun status --watch",
    "rstun status --json",
];
const BROWSING: &str =
    "xdg-open \"http://127.0.0.1:9090/#$(cat ~/.local/state/rstun/metrics-token)\"";

const SERVICES: [&str; 3] = [
    "sudo rstun service install server",
    "sudo rstun service install client --name office",
    "rstun service install client --user",
];

const UPGRADE: &str = "sudo systemctl kill --kill-whom=main --signal=SIGUSR2 rstun-server";

const EXPOSURE: &str = "systemd-analyze security";

/// What cannot be run here, and why.
const NOT_RUN: [(&str, &str); 18] = [
    ("cargo install --path .", "a release build takes minutes"),
    (
        "cargo install cargo-deb",
        "a release build of another program",
    ),
    (
        "cargo deb",
        "a release build; packaging.rs looks at what goes in",
    ),
    (
        "sudo dpkg -i target/debian/rstun_*.deb",
        "there is no package",
    ),
    (
        "rustup target add x86_64-unknown-linux-musl",
        "the toolchain may not be rustup's",
    ),
    (
        "cargo build --release --target x86_64-unknown-linux-musl",
        "a release build takes minutes",
    ),
    ("apt purge", "no package is installed"),
    ("apt remove", "no package is installed"),
    (
        "docker build -t rstun .",
        "there is no Docker; packaging.rs looks at the image",
    ),
    (
        "docker run -p 6060:6060/udp -p 6060:6060/tcp -v rstun:/var/lib/rstun rstun server --password ...",
        "there is no Docker; what it names is compared with the Dockerfile",
    ),
    (
        "sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304",
        "it changes the machine for all",
    ),
    (
        "rstun service",
        "it says what there is; the lines with arguments are run",
    ),
    (
        "systemctl edit rstun-server",
        "an editor; what it is to write is verified",
    ),
    (
        "systemctl edit rstun-server.socket",
        "an editor; what it is to write is verified",
    ),
    ("systemctl status", "systemd has to run"),
    (
        "systemctl reload",
        "systemd has to run; the unit has it run `rstun reload`",
    ),
    ("journalctl -u rstun-server", "there is no journal"),
    ("rstun connect", "another page's"),
];

/// Programs that a command line begins with, where it stands in prose.
const PROGRAMS: [&str; 10] = [
    "apt",
    "cargo",
    "docker",
    "journalctl",
    "rstun",
    "sudo",
    "sysctl",
    "systemctl",
    "systemd-analyze",
    "xdg-open",
];

/// The command lines of a page: all in blocks of a shell's, and those in prose.
fn commands(page: &str) -> BTreeSet<String> {
    let text = read(page);
    let shells = blocks(&text);
    let shells = shells.iter().filter(|block| block.info == "sh");
    let lines = shells.flat_map(|block| block.text.lines());
    let lines = lines.map(|line| line.split(" #").next().unwrap_or_default().trim());
    let prose = prose(&text);
    let code = prose.split('`').skip(1).step_by(2);
    let code = code.filter(|code| {
        let mut words = code.split_whitespace();
        words.next().is_some_and(|word| PROGRAMS.contains(&word)) && words.next().is_some()
    });
    let code = code.map(|code| code.replace('\n', " "));
    let all = lines.map(str::to_owned).chain(code);
    all.filter(|line| !line.is_empty()).collect()
}

#[test]
fn no_command_is_passed_over() {
    for page in pages() {
        let shells = blocks(&read(&page));
        let plain = shells.iter().any(|block| block.info == "sh");
        assert!(!plain || PAGES.contains(&page.as_str()), "{page}");
    }
    let run = [
        &LINKS[..],
        &WATCHING,
        &SERVICES,
        &[WATCHED, BROWSING, UPGRADE, EXPOSURE],
    ]
    .concat();
    let not_run = NOT_RUN.map(|(line, _)| line);
    let known: BTreeSet<_> = run
        .iter()
        .chain(&not_run)
        .map(|line| line.to_string())
        .collect();
    assert_eq!(
        known.len(),
        run.len() + not_run.len(),
        "one stands there twice"
    );
    let there: BTreeSet<_> = PAGES.iter().flat_map(|page| commands(page)).collect();
    assert_eq!(there, known);
}

/// Has a shell run a line, with programs of the site's own before all others.
fn shell(site: &Site, line: &str) -> Program {
    let path = std::env::var("PATH").expect("a PATH");
    let own = [site.path("bin"), site.path("")].map(|dir| dir.display().to_string());
    let mut shell = Command::new("sh");
    site.within(&mut shell).args(["-c", line]);
    Program::start(shell.env("PATH", format!("{}:{path}", own.join(":"))))
}

/// A program of the site's own, in place of the system's.
fn script(site: &Site, name: &str, text: &str) {
    std::fs::create_dir_all(site.path("bin")).expect("a directory");
    site.write(&format!("bin/{name}"), format!("#!/bin/sh\n{text}\n"));
    site.set_mode(&format!("bin/{name}"), 0o700);
}

fn runs(site: &Site, line: &str) -> String {
    let ended = shell(site, line).ended();
    assert_eq!(ended.code, 0, "{line}:\n{}{}", ended.stdout, ended.stderr);
    ended.stdout
}

#[test]
fn links_are_the_server_and_the_client() {
    let site = Site::without_keys();
    site.link(".cargo/bin/rstun");
    for line in LINKS {
        runs(&site, line);
    }
    for (link, usage) in [
        ("rstund", "Usage: rstun server "),
        ("rstunc", "Usage: rstun client "),
    ] {
        let help = runs(&site, &format!("~/.cargo/bin/{link} --help"));
        assert!(help.contains(usage), "{help}");
    }
}

/// What the package on a registry is made of has all that the build and the page need.
#[test]
fn what_is_installed_from_is_packaged() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "package",
        "--list",
        "--offline",
        "--allow-dirty",
        "-p",
        "rstun",
    ]);
    let listed = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let listed = String::from_utf8(listed.stdout).expect("text");
    for file in [
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "src/main.rs",
        "src/web/page.html",
        "man/rstun.1",
        "completions/rstun.bash",
        "docs/install.md",
        "docs/status.schema.json",
        "systemd/rstun-server.service",
    ] {
        assert!(
            listed.lines().any(|line| line == file),
            "{file} is not in\n{listed}"
        );
    }
}

#[test]
fn the_container_is_the_dockerfiles() {
    let dockerfile = include_str!("../../../Dockerfile");
    let (line, _) = NOT_RUN
        .iter()
        .find(|(line, _)| line.starts_with("docker run"))
        .expect("it");
    assert!(line.contains("6060:6060/udp") && line.contains("6060:6060/tcp"));
    assert!(dockerfile.contains("\nEXPOSE 6060/udp 6060/tcp\n"));
    assert!(line.contains(":/var/lib/rstun ") && dockerfile.contains("XDG_STATE_HOME=/var/lib "));
    let (_, args) = line
        .split_once(" rstun server ")
        .expect("the program's own");
    let args = ["rstun", "server"].into_iter().chain(args.split(' '));
    rstun::cli::parse_from(args.map(Into::into)).expect("a command line");
}

#[test]
fn a_client_is_watched() {
    let Some(mut page) = Page::open("monitoring.md") else {
        return;
    };
    let client = WATCHED.replace("...", "rstun://... -L 9900^8800");
    page.command(Machine::Server, "rstun server --downstream 8800");
    page.command(Machine::Client, &client);
    let process = format!("client, process {}", page.programs[1].id());
    for line in WATCHING {
        if line.ends_with("--watch") {
            let watch = page.start(Machine::Client, line);
            watch.nth_line(2, &process);
            continue;
        }
        let said = page.run_to_its_end(Machine::Client, line);
        assert_eq!(said.code, 0, "{line}: {}", said.stderr);
        match line.ends_with("--json") {
            true => {
                let json: Value = serde_json::from_str(&said.stdout).expect("JSON");
                assert_eq!(json["tunnels"][0]["direction"], "out");
            }
            false => assert!(said.stdout.contains(&process), "{}", said.stdout),
        }
    }
    // A browser that shows the address to which it is sent.
    script(page.site(Machine::Client), "xdg-open", "echo \"$1\"");
    let browsed = page.run_to_its_end(Machine::Client, &format!("PATH=bin:$PATH; {BROWSING}"));
    let (address, token) = browsed.stdout.trim().split_once('#').expect("a token");
    for (path, args) in [
        ("healthz", String::new()),
        ("readyz", String::new()),
        ("metrics", format!("-H 'Authorization: Bearer {token}'")),
        ("status.json", format!("-H 'Authorization: Bearer {token}'")),
        ("", String::new()),
    ] {
        let line = format!("curl -sSf {args} {address}{path}");
        let fetched = page.run_to_its_end(Machine::Client, &line);
        assert_eq!(fetched.code, 0, "{line}: {}", fetched.stderr);
    }
    let refused = page.run_to_its_end(Machine::Client, &format!("curl -sf {address}metrics"));
    assert_ne!(refused.code, 0, "{}", refused.stdout);
}

#[test]
fn prometheus_reads_its_configuration() {
    if !is_installed("promtool") {
        return;
    }
    let blocks = blocks(&read("monitoring.md"));
    let yaml = blocks
        .iter()
        .find(|block| block.info == "yaml")
        .expect("a block");
    let site = Site::without_keys();
    site.write("token", "x");
    let token = site.path("token").display().to_string();
    let text = yaml.text.replace("/etc/prometheus/rstun-token", &token);
    assert_ne!(text, yaml.text);
    site.write("prometheus.yml", text);
    let mut promtool = in_path("promtool");
    promtool
        .args(["check", "config"])
        .arg(site.path("prometheus.yml"));
    let ended = Program::start(&mut promtool).ended();
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

/// A site with a `sudo` that needs no password and installs in a directory, and a `systemctl` that notes what it is
/// asked for.
fn site() -> Site {
    let site = Site::without_keys();
    std::fs::create_dir(site.path("root")).expect("a directory");
    let to_root = "case $2 in service) exec \"$@\" --root \"$HOME/root\" ;; esac\nexec \"$@\"";
    script(&site, "sudo", to_root);
    let noted = "echo \"$@\" >>\"$HOME/asked\"\ncase $* in 'kill --kill-whom=main --signal=SIGUSR2 rstun-server')\n\
                 exec kill -USR2 \"$(cat \"$HOME/main\")\" ;; esac";
    script(&site, "systemctl", noted);
    site
}

#[test]
fn services_are_installed() {
    let site = site();
    let said = SERVICES.map(|line| runs(&site, line));
    for unit in [
        "root/etc/systemd/system/rstun-server.service",
        "root/etc/systemd/system/rstun-client@.service",
        ".config/systemd/user/rstun-client@.service",
    ] {
        assert!(site.path(unit).exists(), "{unit}: {said:?}");
    }
    let asked = String::from_utf8(site.read("asked")).expect("text");
    for enabled in [
        "rstun-server.service",
        "rstun-client@office.service",
        "rstun-client@main.service",
    ] {
        let enables = |line: &&str| line.contains("enable") && line.ends_with(enabled);
        assert!(
            asked.lines().any(|line| enables(&line)),
            "{enabled} in\n{asked}"
        );
    }
}

#[test]
fn an_upgrade_has_no_gap() {
    let site = site();
    let mut server = site.command("rstun");
    server.args(["server", "--addr", "127.0.0.1:0", "--password", "x"]);
    let server = Program::start(&mut server);
    server.server_addr();
    site.write("main", server.id().to_string());
    runs(&site, UPGRADE);
    server.line("serves new clients from now on");
    server.line("the process before this one has ended");
}

/// How much the units leave open, as the page says.
#[test]
fn exposure_is_as_said() {
    if !is_installed("systemd-analyze") {
        return;
    }
    let page = read("systemd.md");
    let (_, said) = page
        .split_once("`systemd-analyze security` gives them ")
        .expect("it");
    let said = said.split(' ').next().expect("a number");
    for unit in ["rstun-server.service", "rstun-client@.service"] {
        let site = Site::without_keys();
        let instance = unit.replace('@', "@office");
        site.write(&instance, read(&format!("../systemd/{unit}")));
        let shown = runs(
            &site,
            &format!("{EXPOSURE} --offline=true --no-pager ./{instance}"),
        );
        let overall = format!("Overall exposure level for {instance}: {said} ");
        assert!(shown.contains(&overall), "{shown}");
    }
}

/// What is to be written for `systemctl edit` fits the units.
#[test]
fn what_is_added_to_units_is_sound() {
    if !is_installed("systemd-analyze") {
        return;
    }
    let verify = |added: &str| {
        let site = Site::without_keys();
        let kind = if added.contains("[Socket]") {
            "socket"
        } else {
            "service"
        };
        for unit in ["rstun-server.service", "rstun-server.socket"] {
            let text = read(&format!("../systemd/{unit}"));
            site.write(
                unit,
                text.replace("/usr/bin/rstun", &site.path("rstun").display().to_string()),
            );
        }
        let unit = format!("rstun-server.{kind}");
        std::fs::create_dir(site.path(&format!("{unit}.d"))).expect("a directory");
        site.write(&format!("{unit}.d/override.conf"), added);
        let ended = shell(&site, &format!("systemd-analyze verify --man=no ./{unit}")).ended();
        let lines = ended
            .stderr
            .lines()
            .filter(|line| line.contains("rstun-server"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let page = read("systemd.md");
    let blocks = blocks(&page);
    let added: Vec<_> = blocks.iter().filter(|block| block.info == "ini").collect();
    assert_eq!(added.len(), 2);
    for block in added {
        assert_eq!(verify(&block.text), [""; 0]);
        // It is looked at.
        assert_ne!(verify(&format!("{}\nNothing=1\n", block.text)), [""; 0]);
    }
}
