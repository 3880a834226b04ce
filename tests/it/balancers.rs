//! Balancers that are not ours in front of two servers, as examples/ha has them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::link::say;
use crate::harness::sockets::steady_port;
use crate::harness::web::{curl, in_path, nginx};
use crate::harness::{DEADLINE, Program, Signal, Site, is_installed};

/// How long after a server's death no request may fail any more.
const RECOVERY: Duration = Duration::from_secs(2);

#[test]
fn haproxy_goes_on_with_the_other_server() {
    a_server_is_killed_under_load("haproxy", "haproxy.cfg", |config| {
        let mut haproxy = in_path("haproxy");
        haproxy.args(["-db", "-f"]).arg(config);
        haproxy
    });
}

#[test]
fn nginx_goes_on_with_the_other_server() {
    if !is_installed("/usr/lib/nginx/modules/ngx_stream_module.so") {
        return;
    }
    a_server_is_killed_under_load("nginx", "nginx.conf", |config| {
        let mut nginx = in_path("nginx");
        let pid = config.with_extension("pid");
        let here = format!(
            "daemon off; master_process off; error_log stderr; pid {};",
            pid.display()
        );
        nginx.arg("-c").arg(config).args(["-g", &here]);
        nginx
    });
}

fn a_server_is_killed_under_load(
    balancer: &str,
    example: &str,
    command: impl FnOnce(&Path) -> Command,
) {
    if !["nginx", "wrk", "curl", balancer]
        .into_iter()
        .all(is_installed)
    {
        return;
    }
    let site = Site::new();
    let _web = nginx(&site, "", "location / { return 200 here; }");
    let [first, second] = [site.server(&[]), site.server(&[])];
    let addrs = [&first, &second].map(Program::server_addr);
    let [a, b] = addrs.map(|addr| addr.to_string());
    let mapping = format!("{}^127.0.0.1:0", site.unix("web.sock"));
    let args = ["--server-addr", &b, "--all-servers", "-R", &mapping];
    let client = site.client(&a, &args);
    let entrances = addrs.map(|addr| client.addr(&format!("{addr} listens on ")));

    let public = SocketAddr::from(([127, 0, 0, 1], steady_port()));
    let config = site.path("balancer.conf");
    std::fs::write(&config, for_test(example, public, entrances)).expect("a configuration");
    let _balancer = Program::start(&mut command(&config));
    let url = format!("http://{public}/");
    let started = Instant::now();
    while curl(&[&url]).stdout != "here\n" {
        assert!(started.elapsed() < DEADLINE, "{balancer} does not answer");
    }

    let before = Program::start(&mut wrk(&url, "4s"));
    std::thread::sleep(Duration::from_secs(1));
    first.kill();
    std::thread::sleep(RECOVERY);
    let after = Program::start(&mut wrk(&url, "3s")).ended().stdout;
    let before = before.ended().stdout;
    say(&format!(
        "with the kill {} ({:?}), later {} ({:?})",
        requests(&before),
        errors(&before),
        requests(&after),
        errors(&after)
    ));
    assert_eq!(errors(&after), None, "{after}");
    assert!(!requests(&after).starts_with("0 "), "{after}");
}

/// The same without a balancer, where the client chooses: of a server that is told to stop nobody notices
/// anything.
#[test]
fn a_server_is_stopped_under_load() {
    if !["nginx", "wrk"].into_iter().all(is_installed) {
        return;
    }
    let site = Site::new();
    let _web = nginx(&site, "", "location / { return 200 here; }");
    let web = site.unix("web.sock");
    let args = ["--downstream", &web];
    let servers = [(); 2].map(|()| site.server_with("127.0.0.1:0", &[], &args));
    let addrs = servers.each_ref().map(|it| it.server_addr().to_string());
    let mapping = format!("127.0.0.1:0^{web}");
    let args = ["--server-addr", &addrs[1], "--all-servers", "-L", &mapping];
    let client = site.client(&addrs[0], &args);
    for addr in &addrs {
        client.line(&format!("connected to {addr}"));
    }
    let url = format!("http://{}/", client.addr(": listening on "));
    // Each request comes anew.
    let load = Program::start(wrk(&url, "3s").args(["-H", "Connection: close"]));
    std::thread::sleep(Duration::from_secs(1));
    // They are used in turns, if either becomes the nearer one.
    let times = addrs.each_ref().map(|addr| {
        let line = format!("new flows go through {addr}");
        client.count(&line)
    });
    let first = client.line("new flows go through ").contains(&addrs[1]);
    let used = usize::from(first != (times[0] == times[1]));
    servers[used].signal(Signal::Terminate);
    let load = load.ended().stdout;
    say(&format!("{} ({:?})", requests(&load), errors(&load)));
    assert_eq!(errors(&load), None, "{load}");
    let [first, second] = servers;
    let (stopped, _other) = match used {
        0 => (first, second),
        _ => (second, first),
    };
    assert_eq!(stopped.ended().code, 0);
}

/// How many requests a load has made, in its own words.
fn requests(said: &str) -> String {
    let mut lines = said.lines();
    let line = lines.find(|line| line.contains(" requests in "));
    line.unwrap_or_else(|| panic!("{said}")).trim().to_owned()
}

/// What has failed, in its own words.
fn errors(said: &str) -> Option<String> {
    let mut lines = said.lines();
    let line = lines.find(|l| l.contains("Socket errors") || l.contains("Non-2xx"));
    line.map(|line| line.trim().to_owned())
}

/// An example's configuration, with the addresses of a test.
fn for_test(example: &str, public: SocketAddr, [a, b]: [SocketAddr; 2]) -> String {
    let path = format!("{}/examples/ha/{example}", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(path).expect("an example");
    for (there, here) in [
        ("bind :80\n", format!("bind {public}\n")),
        ("listen 80;", format!("listen {public};")),
        ("a.example.org:18080", a.to_string()),
        ("b.example.org:18080", b.to_string()),
    ] {
        text = text.replace(there, &here);
    }
    for here in [public, a, b] {
        assert!(text.contains(&here.to_string()), "{example}: {here}");
    }
    text
}

fn wrk(url: &str, time: &str) -> Command {
    let mut wrk = in_path("wrk");
    wrk.args(["-t1", "-c8", "--timeout", "20s", "-d", time, url]);
    wrk
}
