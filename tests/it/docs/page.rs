//! A page, and what stands behind its commands: machines, names, a web server and a ticket.

use std::net::Ipv4Addr;
use std::process::Command;

use wan::{LEFT, RIGHT};

use super::read;
use crate::harness::link::Link;
use crate::harness::web::in_path;
use crate::harness::{Ended, Program, Site, is_installed};

/// What the pages call the machines, and where they are here. wiki.internal is a machine that the server reaches.
const NAMES: [(&str, Ipv4Addr); 4] = [
    ("vpn.example.org", RIGHT),
    ("a.example.org", RIGHT),
    ("b.example.org", LEFT),
    ("wiki.internal", LEFT),
];

/// Where a block is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Machine {
    Server,
    /// A second server, which shares the client's network here.
    Second,
    Client,
}

impl Machine {
    fn of(name: &str) -> Self {
        match name {
            "server" | "a" => Self::Server,
            "b" => Self::Second,
            "client" => Self::Client,
            _ => panic!("no machine {name}"),
        }
    }
}

/// A page whose commands have been run.
pub(super) struct Page {
    text: String,
    /// What is still running, the first started first.
    pub(super) programs: Vec<Program>,
    _web: Vec<Program>,
    /// What each command that fetches something got.
    fetched: Vec<String>,
    ticket: Option<String>,
    sites: [Site; 3],
    pub(super) link: Link,
}

impl Page {
    /// Runs all commands of a page, each until it has ended, or until it is ready.
    pub(super) fn run(name: &str) -> Option<Self> {
        let mut page = Self::open(name)?;
        let mut ran = 0;
        for block in blocks(&page.text) {
            if block.info == "toml" {
                page.write(&block.text);
            } else if let Some(machine) = block.info.strip_prefix("sh ") {
                for line in block.text.replace("\\\n", " ").lines() {
                    page.command(Machine::of(machine), line);
                    ran += 1;
                }
            }
        }
        assert!(ran >= 2, "{name} has {ran} commands");
        Some(page)
    }

    /// The machines of a page, where nothing has been run yet.
    pub(super) fn open(name: &str) -> Option<Self> {
        if !["curl", "python3"].into_iter().all(is_installed) {
            return None;
        }
        let link = Link::mostly_idle("delay=1")?;
        let mut page = Self {
            text: read(name),
            programs: Vec::new(),
            _web: Vec::new(),
            fetched: Vec::new(),
            ticket: None,
            sites: std::array::from_fn(|_| Site::without_keys()),
            link,
        };
        page._web = vec![page.web(Ipv4Addr::LOCALHOST, 3000), page.web(LEFT, 80)];
        Some(page)
    }

    /// A web server on the client's machine.
    fn web(&self, ip: Ipv4Addr, port: u16) -> Program {
        let site = &self.sites[Machine::Client as usize];
        std::fs::create_dir_all(site.path("www")).expect("a directory");
        site.write("www/index.html", "here\n");
        self.link.at_client(|| {
            let mut python = in_path("python3");
            python.args(["-u", "-m", "http.server", "--directory"]);
            python.arg(site.path("www"));
            let program =
                Program::start(python.args(["--bind", &ip.to_string(), &port.to_string()]));
            program.line("Serving HTTP");
            program
        })
    }

    /// Where a machine's programs are run.
    pub(super) fn site(&self, machine: Machine) -> &Site {
        &self.sites[machine as usize]
    }

    /// A file of the client's, whose name is its first line.
    fn write(&self, text: &str) {
        let name = text.lines().next().and_then(|line| line.strip_prefix("# "));
        self.sites[Machine::Client as usize].write(name.expect("the file's name"), text);
    }

    pub(super) fn command(&mut self, machine: Machine, line: &str) {
        if ["rstun server", "rstun client"]
            .iter()
            .any(|c| line.starts_with(c))
        {
            let program = self.start(machine, line);
            self.wait_until_ready(machine, line, &program);
            self.programs.push(program);
            return;
        }
        let ended = self.run_to_its_end(machine, line);
        assert_eq!(ended.code, 0, "{line}:\n{}{}", ended.stdout, ended.stderr);
        if line.starts_with("rstun ticket") {
            self.ticket = Some(ended.stdout.trim().to_owned());
        } else if line.starts_with("curl") {
            self.fetched.push(ended.stdout);
        }
    }

    pub(super) fn run_to_its_end(&mut self, machine: Machine, line: &str) -> Ended {
        self.start(machine, line).ended()
    }

    /// Has a shell run a line, with what stands for something in it replaced.
    pub(super) fn start(&mut self, machine: Machine, line: &str) -> Program {
        let mut line = line.to_owned();
        if line.contains("scp ") {
            let server = format!("{}/", self.sites[0].path("").display());
            line = line.replace("scp ", "cp ");
            for (name, _) in NAMES {
                line = line.replace(&format!("{name}:"), &server);
            }
        }
        for (name, ip) in NAMES {
            line = line.replace(name, &ip.to_string());
        }
        if line.contains("rstun://...") {
            line = line.replace("rstun://...", &self.ticket());
        }
        // A program that goes on is the shell's successor, so that it can be ended.
        if line.starts_with("rstun ") {
            line.insert_str(0, "exec ");
        }
        let site = &self.sites[machine as usize];
        let path = std::env::var("PATH").expect("a PATH");
        let mut shell = Command::new("sh");
        site.within(&mut shell).args(["-c", &line]);
        shell.env("PATH", format!("{}:{path}", site.path("").display()));
        match machine {
            Machine::Server => self.link.at_server(|| Program::start(&mut shell)),
            _ => self.link.at_client(|| Program::start(&mut shell)),
        }
    }

    /// The ticket that the page has printed, or else what the server would show on a terminal.
    fn ticket(&mut self) -> String {
        if self.ticket.is_none() {
            self.command(Machine::Server, "rstun ticket --addr vpn.example.org");
        }
        self.ticket.clone().expect("a ticket")
    }

    fn wait_until_ready(&self, machine: Machine, line: &str, program: &Program) {
        if line.starts_with("rstun server") {
            program.line("listening on ");
            return;
        }
        program.line("connected to ");
        let count = |flag: &str| line.split(' ').filter(|word| *word == flag).count();
        let (mut inward, mut outward) = (count("-R"), count("-L") + count("-D"));
        if let Some((_, file)) = line.split_once("--config ") {
            let text = self.sites[machine as usize].read(file);
            let text = String::from_utf8(text).expect("text");
            let count = |key: &str| {
                let list = text.lines().find(|line| line.starts_with(key));
                list.map_or(0, |list| list.matches('"').count() / 2)
            };
            inward = count("tunnel-in");
            outward = count("tunnel-out") + count("dynamic");
        }
        if line.contains("--all-servers") {
            inward *= 2;
        }
        if inward > 0 {
            program.nth_line(inward, "listens on ");
        }
        if outward > 0 {
            program.nth_line(outward, ": listening on ");
        }
    }

    pub(super) fn assert_fetched(&self, times: usize) {
        assert_eq!(self.fetched, vec!["here\n"; times]);
    }

    /// The line of a program's output that the page shows, indented, with addresses for names.
    pub(super) fn line_of_output(&self, start: &str) -> String {
        let mut lines = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("    "));
        let line = lines
            .find(|line| line.starts_with(start))
            .expect("a line of output");
        NAMES.iter().fold(line.to_owned(), |line, (name, ip)| {
            line.replace(name, &ip.to_string())
        })
    }
}

/// A fenced block of a page.
pub(super) struct Block {
    /// What stands behind the fence's first line.
    pub(super) info: String,
    pub(super) text: String,
}

pub(super) fn blocks(page: &str) -> Vec<Block> {
    let inside = page.split("\n```").skip(1).step_by(2);
    let blocks = inside.map(|block| {
        let (info, text) = block.split_once('\n').expect("a line of its own");
        Block {
            info: info.to_owned(),
            text: text.to_owned(),
        }
    });
    blocks.collect()
}
