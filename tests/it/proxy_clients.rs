//! Programs that are not ours go through the proxies: curl, git and a browser.

use std::net::TcpListener;

use crate::harness::proxy::Proxy;
use crate::harness::sockets::{Target, finish, send};
use crate::harness::tunnel::{Mode, in_both_modes};
use crate::harness::web::{curl, head, in_path, nginx};
use crate::harness::{Ended, Program, Site, is_installed};

in_both_modes!(curl_fetches, git_clones);

/// The ways in which curl goes through a proxy, and what it calls this machine.
const CURL: &[(&str, &[&str], &str)] = &[
    ("socks5", &["--socks5"], "127.0.0.1"),
    ("socks5", &["--socks5-hostname"], "127.0.0.1"),
    ("socks5", &["--socks5-hostname"], "localhost"),
    ("http", &["--proxy"], "127.0.0.1"),
    ("http", &["--proxy"], "localhost"),
    ("http", &["--proxytunnel", "--proxy"], "localhost"),
];

fn curl_fetches(mode: Mode) {
    if !is_installed("nginx") || !is_installed("curl") {
        return;
    }
    let site = Site::new();
    let large = large_file(&site);
    let dir = site.path("");
    let _nginx = nginx(&site, "", &format!("root {};", dir.display()));
    for scheme in ["socks5", "http"] {
        let (proxy, web) = Proxy::beside_web(&site, mode, scheme, "");
        let entrance = proxy.entrance.to_string();
        for (_, flags, host) in CURL.iter().filter(|(of, ..)| *of == scheme) {
            let url = format!("http://{host}:{}/large", web.port());
            let out = site.path("fetched");
            let out = out.to_str().expect("a path in UTF-8");
            let curl = curl(&[flags, &[&entrance, "-o", out, &url][..]].concat());
            assert_eq!(curl.code, 0, "{}", curl.stderr);
            assert!(site.read("fetched") == large, "{flags:?} {url}");
        }
    }
}

/// A file of 8 MiB that no compression makes smaller, and what is in it.
fn large_file(site: &Site) -> Vec<u8> {
    let mut large = vec![0; 8 << 20];
    fastrand::fill(&mut large);
    site.write("large", &large);
    large
}

#[test]
fn curl_goes_by_ipv6() {
    if !is_installed("curl") || TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let site = Site::new();
    let target = Target::at("[::1]:0".parse().expect("an address"));
    let url = format!("http://{}/", target.addr());
    for (scheme, flags) in [
        ("socks5", &["--socks5"][..]),
        ("http", &["--proxy"]),
        ("http", &["--proxytunnel", "--proxy"]),
    ] {
        let proxy = Proxy::new(&site, Mode::Out, scheme);
        let entrance = proxy.entrance.to_string();
        std::thread::scope(|scope| {
            let args = [flags, &[entrance.as_str(), url.as_str()]].concat();
            let curl = scope.spawn(move || curl(&args));
            let end = target.accept();
            head(&end);
            send(&end, b"HTTP/1.0 200 OK\r\n\r\nsix");
            finish(&end);
            assert_eq!(curl.join().expect("curl").stdout, "six\n");
        });
    }
}

fn git_clones(mode: Mode) {
    if !is_installed("nginx") || !is_installed("git") {
        return;
    }
    for (scheme, url) in [("socks5", "socks5h"), ("http", "http")] {
        let site = Site::new();
        let script = "git init -q -b main w && cd w && \
                      git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && \
                      cd .. && git clone -q --bare w r.git && git -C r.git update-server-info";
        let made = run_in(&site, "sh", &["-c", script]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let dir = site.path("");
        let _nginx = nginx(&site, "", &format!("root {};", dir.display()));
        let (proxy, web) = Proxy::beside_web(&site, mode, scheme, "");
        let proxy = format!("http.proxy={url}://{}", proxy.entrance);
        let from = format!("http://localhost:{}/r.git", web.port());
        let cloned = run_in(&site, "git", &["-c", &proxy, "clone", &from, "cloned"]);
        assert_eq!(cloned.code, 0, "{}", cloned.stderr);
        let log = run_in(&site, "git", &["-C", "cloned", "log", "--format=%s"]);
        assert_eq!(log.stdout, "first\n");
    }
}

/// Runs a program that is not ours in the site, with nothing of the caller's settings.
fn run_in(site: &Site, program: &str, args: &[&str]) -> Ended {
    let mut command = in_path(program);
    command.args(args).current_dir(site.path(""));
    command
        .env("HOME", site.path(""))
        .env("GIT_CONFIG_NOSYSTEM", "1");
    Program::start(&mut command).ended()
}

#[test]
fn a_browser_browses() {
    if !is_installed("nginx") || !is_installed("chromium") {
        return;
    }
    let site = Site::new();
    let page = "<!doctype html><title>t</title><p id=p>before</p><script src=/s.js></script>";
    site.write("index.html", page);
    site.write(
        "s.js",
        "document.getElementById('p').textContent = 'by ' + location.host",
    );
    let dir = site.path("");
    let _nginx = nginx(&site, "", &format!("root {};", dir.display()));
    let (proxy, web) = Proxy::beside_web(&site, Mode::Out, "socks5", "");
    let url = format!("http://localhost:{}/", web.port());
    let args = [
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        format!("--user-data-dir={}", site.path("profile").display()),
        format!("--proxy-server=socks5://{}", proxy.entrance),
        // Otherwise it goes to this machine itself.
        "--proxy-bypass-list=<-loopback>".to_owned(),
        "--dump-dom".to_owned(),
        url,
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let chromium = run_in(&site, "chromium", &args);
    let expected = format!("by localhost:{}", web.port());
    assert!(chromium.stdout.contains(&expected), "{chromium:?}");
}
