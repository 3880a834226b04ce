//! A server that is replaced by a new process while it serves (SIGUSR2): nobody is refused, and what is open goes on.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::harness::sockets::{Target, assert_joined, join};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::web::{in_path, nginx};
use crate::harness::{DEADLINE, PASSWORD, Program, Signal, Site, is_installed};

in_both_modes!(
    nobody_is_refused,
    what_is_open_goes_on,
    a_process_that_fails_replaces_nobody,
);

/// Says when a new process has taken the place of the `n`th, and that one has ended.
fn replace(server: &Program, client: &Program, n: usize) {
    server.signal(Signal::Replace);
    server.nth_line(n, "serves new clients from now on");
    client.nth_line(n + 1, "connected to ");
    server.nth_line(n, "the process before this one has ended");
}

/// Each request of wrk's is a connection of its own, and the server is replaced twice meanwhile.
fn nobody_is_refused(mode: Mode) {
    if !is_installed("nginx") || !is_installed("wrk") {
        return;
    }
    let site = Site::new();
    let _nginx = nginx(&site, "", "location / { return 200 hello; }");
    let web = site.unix("web.sock");
    let server = site.server_with("127.0.0.1:0", &[], &["--downstream", &web]);
    let (flag, mapping, part) = match mode {
        Mode::Out => ("-L", format!("127.0.0.1:0^{web}"), ": listening on "),
        Mode::In => (
            "-R",
            format!("{web}^127.0.0.1:0"),
            ": the server listens on ",
        ),
    };
    let addr = server.server_addr();
    let mut client = site.client(addr, &[flag, &mapping]);
    let mut entrance = client.entrance(part);
    if mode == Mode::In {
        // A port of its own, for the next process is to have the same.
        drop(client);
        let mapping = format!("{web}^{entrance}");
        client = site.client(addr, &[flag, &mapping]);
        entrance = client.entrance(part);
    }
    let url = format!("http://{entrance}/");
    let wrk = [
        "-t1",
        "-c8",
        "-d8s",
        "--timeout",
        "30s",
        "-H",
        "Connection: close",
    ];
    let mut command = in_path("wrk");
    let wrk = Program::start(command.args(wrk).arg(&url));
    wrk.line("Running ");
    for n in 1..=2 {
        wrk.give_time_to_end(Duration::from_secs(1));
        replace(&server, &client, n);
    }
    let ended = wrk.ended();
    println!("{mode:?}: {}", ended.stdout);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stdout.contains("Socket errors"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("Non-2xx"), "{}", ended.stdout);
    assert!(ended.stdout.contains("requests in"), "{}", ended.stdout);
}

fn what_is_open_goes_on(mode: Mode) {
    let tunnel = Tunnel::with(mode, &["--drain", "600"]);
    let (visitor, target) = tunnel.flow();
    tunnel.server.signal(Signal::Replace);
    tunnel.server.line("serves new clients from now on");
    tunnel.client.nth_line(2, "connected to ");
    // Both at once: the old flow in the old process, new ones in the new.
    assert_joined(&visitor, &target);
    // Port 0 is another each time that a client asks for it; the client's own stays.
    let nth = if mode == Mode::In { 2 } else { 1 };
    let announcement = mode.announcement(tunnel.target.addr());
    let entrance = tunnel.client.nth_addr(nth, &announcement);
    let (other, other_target) = join(entrance, &tunnel.target);
    assert_joined(&visitor, &target);
    // A third has to wait.
    tunnel.server.signal(Signal::Replace);
    tunnel
        .server
        .line("the process before this one has not ended yet");
    drop((visitor, target));
    tunnel.server.line("the process before this one has ended");
    assert_joined(&other, &other_target);
}

/// What is wrong with the configuration by now is told, and the process that runs goes on.
fn a_process_that_fails_replaces_nobody(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let away = tunnel.site.path("away");
    let key = tunnel.site.path("priv_key.der");
    fs::rename(&key, &away).expect("a key to take away");
    tunnel.server.signal(Signal::Replace);
    tunnel.server.line("error: ");
    tunnel
        .server
        .line("no process takes this one's place, which goes on");
    tunnel.flow();
    assert_eq!(tunnel.client.count("connected to "), 1);
}

/// The file by whose name the server was started may be another by then, and systemd knows which process is the
/// service.
#[test]
fn the_new_process_is_of_the_new_file() {
    let (site, target) = (Site::new(), Target::new());
    let manager = UnixDatagram::bind(site.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut command = site.command("rstund");
    command.env("NOTIFY_SOCKET", site.path("notify"));
    command.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
    command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    let server = Program::start(&mut command);
    let [flag, mapping] = Mode::In.args(target.addr());
    let client = site.client(server.server_addr(), &[&flag, &mapping]);
    client.line("connected to ");

    let binary = fs::canonicalize(site.path("rstund")).expect("the binary");
    fs::copy(binary, site.path("new")).expect("a new binary");
    fs::remove_file(site.path("rstund")).expect("the old one gone");
    fs::rename(site.path("new"), site.path("rstund")).expect("the new one there");
    replace(&server, &client, 1);
    let process = server.successors()[0];
    let file = fs::read_link(format!("/proc/{process}/exe")).expect("a process");
    assert_eq!(file, site.path("rstund"));
    let wanted = format!("MAINPID={process}\n");
    let mut heard = String::new();
    while heard != wanted {
        let mut message = [0; 4096];
        let n = match manager.recv(&mut message) {
            // With a timeout a signal to this process cuts it short.
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            received => received.expect("a notification"),
        };
        heard = String::from_utf8_lossy(&message[..n]).into_owned();
    }
    let entrance = client.nth_addr(2, &Mode::In.announcement(target.addr()));
    join(entrance, &target);
}
