//! `rstun bench`: figures for people and for programs, of this machine and of a server elsewhere.

use serde_json::Value;

use crate::harness::{Ended, PASSWORD, Program, Signal, Site};

/// Runs `rstun bench` for a second for each measurement.
fn bench(site: &Site, args: &[&str]) -> Ended {
    let mut bench = site.command("rstun");
    bench.args(["bench", "--seconds", "1"]);
    site.run(bench.args(args))
}

/// As [`bench`], against a server.
fn bench_at(site: &Site, server: &Program, password: &str, args: &[&str]) -> Ended {
    let addr = server.server_addr().to_string();
    let mut all = vec!["--server-addr", &addr, "--password", password];
    all.extend(["--cert", "certificate.der"]);
    all.extend(args);
    bench(site, &all)
}

/// What `--json` printed, and its results.
fn json(ended: &Ended) -> (Value, Vec<Value>) {
    let json: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error} in {ended:?}"));
    let results = json["results"].as_array().cloned();
    (json, results.expect("an array of results"))
}

/// The scenarios of results, each seen to have figures above zero.
fn scenarios(results: &[Value]) -> Vec<&str> {
    let scenario = |result: &'_ Value| {
        for key in ["gbit_per_s", "p50_us", "p99_us", "per_s", "kb_per_flow"] {
            let figure = result.get(key).and_then(Value::as_f64);
            assert!(figure.is_none_or(|n| n > 0.0), "{result}");
        }
        assert!(result["name"].is_string(), "{result}");
    };
    results.iter().for_each(scenario);
    let names = results.iter().map(|result| result["scenario"].as_str());
    names.map(|name| name.expect("a scenario")).collect()
}

#[test]
fn all_scenarios_in_json() {
    let site = Site::without_keys();
    let ended = bench(&site, &["--json", "--streams", "1,2"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let (json, results) = json(&ended);
    let all = ["idle", "up", "down", "up", "down", "requests", "flows"];
    // Memory is measured on Linux alone.
    let expected = &all[usize::from(!cfg!(target_os = "linux"))..];
    assert_eq!(scenarios(&results), expected);
    assert_eq!(json["complete"], true);
    assert_eq!(json["server"], Value::Null);
    for key in ["cores", "udp_payload"] {
        assert!(json[key].as_u64().is_some_and(|n| n > 0), "{key} in {json}");
    }
    for key in ["version", "cpu", "kernel", "cipher", "congestion"] {
        assert!(
            json[key].as_str().is_some_and(|s| s.len() > 2),
            "{key} in {json}"
        );
    }
    // The progress bar is for terminals.
    assert_eq!(ended.stderr, "");
}

#[test]
fn chosen_scenarios_in_a_table() {
    let site = Site::without_keys();
    let args = [
        "--scenario",
        "flows,requests",
        "--scenario",
        "down",
        "--streams",
        "2",
        "--payload",
        "100000",
        "--congestion",
        "cubic",
    ];
    let ended = bench(&site, &args);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for line in ["cpu ", "kernel ", "mtu ", "cipher ", "congestion "] {
        let found = ended.stdout.lines().filter(|l| l.starts_with(line));
        assert_eq!(found.count(), 1, "{line} in {}", ended.stdout);
    }
    assert!(ended.stdout.contains("\ncongestion  cubic\n"));
    let (_, rows) = ended.stdout.split_once("\n\n").expect("rows");
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (row, parts) in rows.iter().zip([
        &["down, 2 streams", "bit/s"][..],
        &["requests, 100000 bytes", "us p50", "us p99"],
        &["new flows, 8 at a time", "flows/s"],
    ]) {
        for part in parts {
            assert!(row.contains(part), "no {part} in {row}");
        }
    }
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_server_that_allows_it() {
    let site = Site::new();
    let server = site.server_with("127.0.0.1:0", &[], &["--allow-bench"]);
    let args = ["--json", "--scenario", "up,down,idle", "--streams", "1"];
    let ended = bench_at(&site, &server, PASSWORD, &args);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let (json, results) = json(&ended);
    assert_eq!(json["server"], server.server_addr().to_string());
    let scenarios = scenarios(&results);
    assert!(scenarios.ends_with(&["up", "down"]), "{scenarios:?}");
}

#[test]
fn a_server_that_does_not() {
    let site = Site::new();
    let server = site.server(&[]);
    let ended = bench_at(&site, &server, PASSWORD, &["--json"]);
    assert_eq!(ended.code, 1);
    let reason = "the server was started without --allow-bench";
    assert!(ended.error().contains(reason), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn wrong_password() {
    let site = Site::new();
    let server = site.server_with("127.0.0.1:0", &[], &["--allow-bench"]);
    let ended = bench_at(&site, &server, "another", &[]);
    assert_eq!(ended.code, 1);
    assert!(ended.error().contains("password"), "{}", ended.stderr);
}

#[test]
fn flags_of_a_server_without_one() {
    let site = Site::new();
    for args in [["--password", "x"], ["--cert", "certificate.der"]] {
        let ended = bench(&site, &args);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.error().contains("--server-addr"), "{}", ended.stderr);
    }
}

#[test]
fn a_signal_shows_what_was_measured() {
    let site = Site::without_keys();
    let mut bench = site.command("rstun");
    bench.args(["bench", "--seconds", "2", "--streams", "1,2,3", "--json"]);
    bench.args(["--scenario", "up,down"]);
    let bench = Program::start(bench.env("RUST_LOG", "info"));
    bench.line("measured up, 1 stream");
    bench.signal(Signal::Interrupt);
    let ended = bench.ended();
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let (json, results) = json(&ended);
    assert_eq!(json["complete"], false);
    assert!(results.len() < 6, "{results:?}");
    assert_eq!(scenarios(&results)[0], "up");
}

#[test]
fn a_signal_before_there_is_a_tunnel() {
    let site = Site::new();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = nobody.local_addr().expect("an address").to_string();
    let mut bench = site.command("rstun");
    bench.args(["bench", "--server-addr", &addr, "--password", "x"]);
    bench.args(["--cert", "certificate.der"]);
    let bench = Program::start(bench.env("RUST_LOG", "info"));
    bench.line("connecting to ");
    bench.signal(Signal::Terminate);
    let ended = bench.ended();
    assert_eq!((ended.code, ended.stdout.as_str()), (130, ""));
}
