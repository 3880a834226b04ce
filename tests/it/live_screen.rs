//! `rstun status --watch` on a terminal, which tmux is here: what a person sees, and what is left behind.

use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::harness::sockets::{receive, send};
use crate::harness::tunnel::{Mode, Tunnel};
use crate::harness::{DEADLINE, Program, Signal, Site, is_installed};

/// A terminal with a shell in it.
struct Terminal<'a> {
    site: &'a Site,
}

impl<'a> Terminal<'a> {
    /// A shell within a site, on a terminal of 80 columns and 24 lines.
    fn new(site: &'a Site) -> Option<Self> {
        if !is_installed("tmux") {
            return None;
        }
        let terminal = Self { site };
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "PS1='$ ' exec sh",
        ]);
        terminal.wait("a prompt", |lines| lines[0].starts_with('$'));
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        let socket = self.site.path("tmux");
        self.site.within(&mut tmux).env("LC_ALL", "C.UTF-8");
        tmux.args(["-u", "-f", "/dev/null", "-S"])
            .arg(socket)
            .args(args);
        let ended = Program::start(&mut tmux).ended();
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
        ended.stdout
    }

    fn types(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.presses("Enter");
    }

    fn presses(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// All lines that are on the screen.
    fn lines(&self) -> Vec<String> {
        let text = self.tmux(&["capture-pane", "-p"]);
        text.lines().map(str::to_owned).collect()
    }

    /// The screen's lines as soon as they are as wanted.
    fn wait(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return lines;
            }
            let text = lines.join("\n");
            assert!(Instant::now() < deadline, "no {what} in\n{text}");
        }
    }

    fn shows(&self, part: &str) -> Vec<String> {
        self.wait(part, |lines| lines.iter().any(|line| line.contains(part)))
    }

    /// Watches a program, with the shell's next words behind it.
    fn watches(&self, args: &str) {
        let program = self.site.path("rstun");
        let program = program.display();
        self.types(&format!(
            "stty -g >before; {program} status --watch {args}; echo \"code $?\"; stty -g >after; echo back"
        ));
        self.shows(" q  quits");
        assert_eq!(self.modes(), "1 0", "the alternate screen, and no cursor");
    }

    /// Whether there is an alternate screen, and a cursor.
    fn modes(&self) -> String {
        let modes = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        modes.trim().to_owned()
    }

    /// Waits until the shell has the terminal again, as it was.
    fn is_left(&self, code: u8) -> Vec<String> {
        let lines = self.wait("end", |lines| {
            let mut said = lines.iter().rev().skip_while(|line| line.is_empty());
            said.next().is_some_and(|line| line == "$")
                && said.next().is_some_and(|line| line == "back")
        });
        let code = format!("code {code}");
        assert!(lines.contains(&code), "{lines:#?}");
        assert_eq!(self.modes(), "0 1", "no alternate screen, and a cursor");
        let [before, after] = ["before", "after"].map(|file| self.site.read(file));
        assert!(!before.is_empty());
        assert_eq!(before, after, "what stty says");
        // What is typed is seen, and what it does.
        self.types("expr 41 + 1");
        let lines = self.shows("42");
        assert!(
            lines.iter().any(|line| line == "$ expr 41 + 1"),
            "{lines:#?}"
        );
        fs::remove_file(self.site.path("after")).expect("a file");
        self.types("clear");
        self.wait("empty screen", |lines| {
            lines[0] == "$" && lines.iter().skip(1).all(String::is_empty)
        });
        lines
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn pid(program: &Program) -> String {
    format!("--pid {}", program.id())
}

#[test]
fn it_shows_what_goes_on() {
    let tunnel = Tunnel::new(Mode::In);
    let Some(terminal) = Terminal::new(&tunnel.site) else {
        return;
    };
    terminal.watches(&pid(&tunnel.server));
    let lines = terminal.shows("sent 0 B/s, most 0 B/s");
    let process = format!("server: ready   process {}, up ", tunnel.server.id());
    assert!(lines[0].contains(&process), "{lines:#?}");
    let session = lines.iter().find(|line| line.starts_with("password "));
    let session = session.expect("a session");
    assert!(
        session.contains(" quic ") && session.ends_with(" up"),
        "{session}"
    );
    // Each second there is another look, and what goes through is on it.
    let (visitor, target) = tunnel.flow();
    send(&visitor, vec![1; 300_000]);
    assert_eq!(receive(&target, 300_000).len(), 300_000);
    terminal.wait("rate", |lines| {
        let most = lines
            .iter()
            .find_map(|line| line.split_once(" sent ")?.1.split_once(", most "));
        most.is_some_and(|(_, most)| most.contains(" kB/s ──"))
    });
    let name = format!("password: in {}^127.0.0.1:0 ", tunnel.target.addr());
    let of_tunnel = |lines: &[String]| lines.iter().find(|line| line.starts_with(&name)).cloned();
    terminal.wait("flow that is open", |lines| {
        of_tunnel(lines).is_some_and(|line| line.contains("  1 ") && line.contains('█'))
    });
    terminal.presses("q");
    terminal.is_left(0);
}

#[test]
fn whatever_ends_it_leaves_the_terminal_as_it_was() {
    let site = Site::new();
    let server = site.server(&[]);
    server.server_addr();
    let Some(terminal) = Terminal::new(&site) else {
        return;
    };
    for key in ["q", "Escape", "C-c"] {
        terminal.watches("");
        terminal.presses(key);
        terminal.is_left(0);
    }
    // Its own process is the shell's only child.
    terminal.watches("");
    let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let children = format!("/proc/{0}/task/{0}/children", shell.trim());
    let child = fs::read_to_string(children).expect("the shell's children");
    let killed = Command::new("kill").arg(child.trim()).status();
    assert!(killed.expect("kill").success());
    terminal.is_left(0);
    // It needs to read keys.
    let program = site.path("rstun");
    terminal.types(&format!(
        "setsid -w {} status --watch </dev/null; echo \"code $?\"",
        program.display()
    ));
    let lines = terminal.shows("code 1");
    let error = lines.iter().find(|line| line.starts_with("error:"));
    assert!(
        error.is_some_and(|line| line.contains("--watch cannot use this terminal")),
        "{lines:#?}"
    );
}

#[test]
fn it_is_whole_in_every_size() {
    let tunnel = Tunnel::new(Mode::Out);
    let Some(terminal) = Terminal::new(&tunnel.site) else {
        return;
    };
    terminal.watches(&pid(&tunnel.client));
    for [width, height] in [[40, 10], [200, 50], [1, 1], [120, 40], [80, 24]] {
        terminal.tmux(&[
            "resize-window",
            "-x",
            &width.to_string(),
            "-y",
            &height.to_string(),
        ]);
        if height == 1 {
            continue;
        }
        // Until it has drawn anew, tmux shows the old lines as well as they fit.
        terminal.wait("whole screen", |lines| {
            let text = lines.join("\n");
            let parts = [
                " sessions ──",
                " tunnels ──",
                " q  quits",
                "\nout 127.0.0.1:0^",
            ];
            let once = parts.iter().all(|part| text.matches(part).count() == 1);
            let rule = lines.iter().find(|line| line.starts_with(" tunnels "));
            once && lines.len() == height
                && lines[0].starts_with(" rstun ")
                && lines[0].contains("client: ready")
                && lines[height - 1].starts_with(" q  quits")
                && rule.is_some_and(|line| line.chars().count() == width)
        });
    }
    terminal.presses("q");
    terminal.is_left(0);
}

#[test]
fn one_that_goes_is_waited_for() {
    let site = Site::new();
    let server = site.server(&[]);
    let addr = server.server_addr();
    let Some(terminal) = Terminal::new(&site) else {
        return;
    };
    terminal.watches("");
    terminal.shows(&format!("server: ready   process {}, ", server.id()));
    server.signal(Signal::Terminate);
    assert_eq!(server.ended().code, 0);
    terminal.shows("server: no answer for ");
    let server = site.server_again(addr, &[]);
    terminal.shows(&format!("server: ready   process {}, ", server.id()));
    // What hangs is no other.
    server.signal(Signal::Stop);
    terminal.shows("server: no answer for ");
    server.signal(Signal::Continue);
    terminal.shows(&format!("server: ready   process {}, ", server.id()));
    terminal.presses("q");
    terminal.is_left(0);

    // Where a process was asked for, it is that or none.
    terminal.watches(&pid(&server));
    drop(server);
    let lines = terminal.is_left(1);
    let error = lines.iter().find(|line| line.starts_with("error:"));
    assert!(
        error.is_some_and(|line| line.contains("that was watched has ended")),
        "{lines:#?}"
    );
}

#[test]
fn without_a_terminal_it_prints_again_and_again() {
    let site = Site::new();
    let server = site.server(&[]);
    server.server_addr();
    let mut watch = site.command("rstun");
    let watch = Program::start(watch.args(["status", "--watch"]));
    watch.nth_line(3, &format!("server, process {}", server.id()));
    drop(server);
    let ended = watch.ended();
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("has ended"), "{}", ended.stderr);
    assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
}
