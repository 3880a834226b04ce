//! The pages in docs/ do what they say: each `sh` block of a page about a task is run on the machine that stands
//! behind its `sh`, in the page's order and to the letter but for names; then what the page promises is tried.
//! Those of the pages about operating are run one by one, or it is said why not. What is shown as `console` cannot
//! run here. Command lines of ours there, and in prose, parse.

mod operating;
mod page;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rstun::access::Rule;
use rstun::tunnel::{Direction, Tunnel};
use wan::RIGHT;

use self::page::{Machine, Page, blocks};
use crate::harness::DEADLINE;
use crate::harness::sockets::{Target, join};
use crate::readme::{command_lines, flags, prose, words};

/// The pages about a task, whose commands are run.
const TASKS: [&str; 8] = [
    "web-server.md",
    "database.md",
    "wireguard.md",
    "game-server.md",
    "browser.md",
    "two-servers.md",
    "load-balancer.md",
    "coming-from.md",
];

/// Flags of programs that are not ours: cargo's and systemctl's.
const OF_OTHERS: [&str; 2] = ["profile", "kill-who"];

#[test]
fn a_web_server_is_shown() {
    let Some(page) = Page::run("web-server.md") else {
        return;
    };
    page.assert_fetched(1);
    // What it says the client says.
    let said = page.line_of_output("TunnelIn");
    page.programs[1].line(&said);
}

#[test]
fn a_database_is_reached() {
    let Some(page) = Page::run("database.md") else {
        return;
    };
    let database = page
        .link
        .at_server(|| Target::at(addr(Ipv4Addr::LOCALHOST, 5432)));
    page.link
        .at_client(|| drop(join(addr(Ipv4Addr::LOCALHOST, 5432), &database)));
}

#[test]
fn wireguards_packets_pass() {
    let Some(page) = Page::run("wireguard.md") else {
        return;
    };
    let here = addr(Ipv4Addr::LOCALHOST, 51820);
    let wireguard = page.link.at_server(|| socket(here));
    let peer = page.link.at_client(|| socket(addr(Ipv4Addr::LOCALHOST, 0)));
    assert_exchanged(&peer, here, &wireguard);
}

#[test]
fn a_game_is_joined() {
    let Some(page) = Page::run("game-server.md") else {
        return;
    };
    let player = page
        .link
        .at_client(|| socket(addr(Ipv4Addr::UNSPECIFIED, 0)));
    for port in [34197, 19132, 19133] {
        let game = page
            .link
            .at_client(|| socket(addr(Ipv4Addr::LOCALHOST, port)));
        assert_exchanged(&player, addr(RIGHT, port), &game);
    }
    let game = page
        .link
        .at_client(|| Target::at(addr(Ipv4Addr::LOCALHOST, 25565)));
    page.link
        .at_client(|| drop(join(addr(RIGHT, 25565), &game)));
}

#[test]
fn a_browser_goes_through() {
    let Some(page) = Page::run("browser.md") else {
        return;
    };
    page.assert_fetched(1);
}

#[test]
fn one_of_two_servers_is_enough() {
    let Some(mut page) = Page::run("two-servers.md") else {
        return;
    };
    page.assert_fetched(2);
    page.programs.remove(0).kill();
    let again = page.run_to_its_end(Machine::Client, "curl http://b.example.org:18080/");
    assert_eq!(again.stdout, "here\n", "{}", again.stderr);
}

#[test]
fn a_balancer_has_two_servers_to_ask() {
    let Some(page) = Page::run("load-balancer.md") else {
        return;
    };
    page.assert_fetched(2);
}

#[test]
fn others_configurations_are_written_here() {
    let Some(page) = Page::run("coming-from.md") else {
        return;
    };
    page.assert_fetched(2);
    let game = page
        .link
        .at_client(|| socket(addr(Ipv4Addr::LOCALHOST, 34197)));
    let player = page
        .link
        .at_client(|| socket(addr(Ipv4Addr::UNSPECIFIED, 0)));
    assert_exchanged(&player, addr(RIGHT, 34197), &game);
}

/// A page about a task that nobody runs would be noticed here, and one that is not in the index.
#[test]
fn each_page_is_known() {
    let index = read("README.md");
    let pages = pages();
    for task in TASKS {
        assert!(pages.contains(task), "{task}");
        let blocks = blocks(&read(task));
        assert!(blocks.iter().any(|block| block.info.starts_with("sh ")));
        // On these pages every block of a shell's says where it runs, and so is run.
        assert!(blocks.iter().all(|block| block.info != "sh"), "{task}");
    }
    for page in pages.iter().filter(|page| *page != "README.md") {
        assert!(index.contains(&format!("]({page})")), "{page}");
        let runs = blocks(&read(page))
            .iter()
            .any(|b| b.info.starts_with("sh "));
        assert_eq!(runs, TASKS.contains(&page.as_str()), "{page}");
    }
}

#[test]
fn command_lines_parse() {
    for page in pages() {
        let lines = command_lines(&read(&page));
        assert!(
            !lines.is_empty() || !TASKS.contains(&page.as_str()),
            "{page}"
        );
        for words in lines {
            if let Err(error) = rstun::cli::parse_from(words.iter().map(Into::into)) {
                panic!("{page}: {}\n{error}", words.join(" "));
            }
        }
    }
}

/// What stands in prose, and so is not run.
#[test]
fn mappings_and_rules_parse() {
    let mut read_so_far = 0;
    for page in TASKS {
        let text = prose(&read(page));
        for code in text.split('`').skip(1).step_by(2) {
            if code.starts_with("ssh ") {
                continue;
            }
            for pair in words(code).windows(2) {
                // FILE is none that is there.
                let value = pair[1].replace("?auth=FILE", "");
                let error = match pair[0].as_str() {
                    "-L" => Tunnel::parse(Direction::Out, &value)
                        .err()
                        .map(|e| e.to_string()),
                    "-R" => Tunnel::parse(Direction::In, &value)
                        .err()
                        .map(|e| e.to_string()),
                    "-D" => Tunnel::dynamic(&value).err().map(|e| e.to_string()),
                    "--downstream" => value.parse::<Rule>().err().map(|e| e.to_string()),
                    _ => continue,
                };
                assert!(error.is_none(), "{page}: {pair:?}: {error:?}");
                read_so_far += 1;
            }
        }
    }
    assert!(read_so_far >= 10, "{read_so_far}");
}

#[test]
fn flags_and_links_are_there() {
    let known = flags();
    for page in pages() {
        let text = prose(&read(&page));
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let named = words.filter_map(|word| word.strip_prefix("--"));
        for flag in named.filter(|flag| !flag.starts_with('-')) {
            let known = known.contains(flag) || OF_OTHERS.contains(&flag);
            assert!(known, "{page}: --{flag}");
        }
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').expect("the end of a link");
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            assert!(root().join(file).exists(), "{page}: {link}");
            assert!(
                heading.is_empty() || headings(file).contains(heading),
                "{page}: {link}"
            );
        }
    }
}

fn addr(ip: Ipv4Addr, port: u16) -> SocketAddr {
    (ip, port).into()
}

fn socket(addr: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(addr).expect("a free port");
    let patience = Some(Duration::from_millis(500));
    socket.set_read_timeout(patience).expect("a timeout");
    socket
}

/// A packet goes in at `entrance` and comes out at `target`, and the answer comes back. Some may be lost.
fn assert_exchanged(visitor: &UdpSocket, entrance: SocketAddr, target: &UdpSocket) {
    let deadline = Instant::now() + DEADLINE;
    let mut buffer = [0; 16];
    while Instant::now() < deadline {
        visitor.send_to(b"ping", entrance).expect("a packet sent");
        let Ok((len, from)) = target.recv_from(&mut buffer) else {
            continue;
        };
        assert_eq!(&buffer[..len], b"ping");
        target.send_to(b"pong", from).expect("a packet sent");
        if let Ok((len, from)) = visitor.recv_from(&mut buffer) {
            assert_eq!((&buffer[..len], from), (&b"pong"[..], entrance));
            return;
        }
    }
    panic!("nothing comes back from {entrance}");
}

/// The names that links give to a document's headings.
fn headings(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
    let titles = lines.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    titles.map(|title| title.replace(' ', "-")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect(name)
}

/// The names of all pages.
fn pages() -> BTreeSet<String> {
    let entries = std::fs::read_dir(root()).expect("docs/");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    names.filter(|name| name.ends_with(".md")).collect()
}
