//! docs/status.schema.json describes what `rstun status --json` prints, no less and no more, and
//! docs/monitoring.md names the same fields.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::harness::python::python;
use crate::harness::sockets::{Target, assert_reset, join, visit};
use crate::harness::{DEADLINE, Program, Site};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status.schema.json");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/status/schema.py");

/// What a program says of itself as soon as it is so.
fn status(site: &Site, program: &Program, wanted: impl Fn(&Value) -> bool) -> String {
    let deadline = Instant::now() + DEADLINE;
    let pid = program.id().to_string();
    loop {
        let mut command = site.command("rstun");
        let ended = site.run(command.args(["status", "--json", "--pid", &pid]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        if wanted(&json) {
            return ended.stdout;
        }
        assert!(Instant::now() < deadline, "{json:#}");
    }
}

fn len(json: &Value, list: &str) -> usize {
    json[list].as_array().expect(list).len()
}

#[test]
fn all_that_is_printed_is_described() {
    let Some(python) = python() else { return };
    let (site, target) = (Site::new(), Target::new());
    let addr = target.addr();
    let server = site.server_with(
        "127.0.0.1:0",
        &[addr],
        &[
            "--downstream",
            "127.0.0.1:1",
            "--downstream",
            &format!("udp://{addr}"),
        ],
    );
    let server_addr = server.server_addr();
    let unix = site.unix("entrance");
    let client = site.client(
        server_addr,
        &[
            ["-L", &format!("127.0.0.1:0^{addr}")],
            ["-L", "127.0.0.1:0^127.0.0.1:1"],
            ["-L", &format!("udp://127.0.0.1:0^{addr}")],
            ["-L", &format!("{unix}^{addr}")],
            ["-D", "127.0.0.1:0"],
            ["-D", "http://127.0.0.1:0"],
            ["-R", &format!("{addr}^127.0.0.1:0")],
            ["-R", "socks5^127.0.0.1:0"],
        ]
        .concat(),
    );
    let tcp = ["--transport", "tcp", "-R"];
    let by_tcp = site.client(
        server_addr,
        &[&tcp[..], &[&format!("{addr}^127.0.0.1:0")]].concat(),
    );
    join(
        client.entrance(&format!("TunnelOut 127.0.0.1:0^{addr}: listening on ")),
        &target,
    );
    assert_reset(&visit(client.addr("^127.0.0.1:1: listening on ")));
    by_tcp.line("the server listens on ");
    let failed = |json: &Value| {
        let tunnels = json["tunnels"].as_array().expect("tunnels");
        tunnels.iter().any(|tunnel| !tunnel["last_error"].is_null())
    };
    let mut documents = vec![
        status(&site, &server, |json| {
            len(json, "sessions") == 2 && len(json, "tunnels") > 4
        }),
        status(&site, &client, |json| {
            len(&json["history"], "sent") > 2 && failed(json)
        }),
        status(&site, &by_tcp, |json| {
            json["sessions"][0]["transport"] == "tcp"
        }),
    ];
    server.kill();
    // By QUIC it is listened to for longer, by TCP it is gone.
    documents.push(status(&site, &client, |json| !json["not_ready"].is_null()));
    documents.push(status(&site, &by_tcp, |json| len(json, "errors") > 0));
    validate(&python, &documents);
}

/// Has the reference implementation of JSON Schema look at documents, which are a line each.
fn validate(python: &Path, documents: &[String]) {
    let mut validator = Command::new(python)
        .args([SCRIPT, SCHEMA])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut stdin = validator.stdin.take().expect("a pipe");
    let written = stdin.write_all(documents.concat().as_bytes());
    drop(stdin);
    let output = validator.wait_with_output().expect("Python ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && written.is_ok(), "{said}");
    println!("{said}");
}

/// The fields of the schema with what is said of each, and the kinds by which is counted.
#[derive(Default)]
struct Described {
    fields: BTreeSet<String>,
    kinds: Vec<BTreeSet<String>>,
}

impl Described {
    fn new() -> Self {
        let schema = std::fs::read_to_string(SCHEMA).expect("the schema");
        let schema: Value = serde_json::from_str(&schema).expect("JSON");
        let mut described = Self::default();
        described.add(&schema);
        for object in schema["$defs"].as_object().expect("parts").values() {
            // The others say more of what is described elsewhere.
            if object.get("additionalProperties").is_some() {
                described.add(object);
            }
        }
        described
    }

    fn add(&mut self, object: &Value) {
        assert_eq!(object["additionalProperties"], false, "{object}");
        let fields = object["properties"].as_object().expect("fields");
        for (name, field) in fields {
            let said = field["description"].as_str().unwrap_or_default();
            assert!(said.ends_with('.'), "{name} is not described");
            for unit in ["seconds", "bytes"] {
                let has_it = name.split('_').any(|word| word == unit);
                assert!(!has_it || said.contains(unit), "{name}: {said}");
            }
            self.fields.insert(name.clone());
            if let Some(kinds) = field["properties"].as_object() {
                assert_eq!(field["additionalProperties"], false, "{name}");
                self.kinds.push(kinds.keys().cloned().collect());
            }
        }
    }
}

/// All words of a text that are code.
fn code(text: &str) -> BTreeSet<String> {
    let code = text.split('`').skip(1).step_by(2);
    code.map(str::to_owned).collect()
}

#[test]
fn the_page_names_what_the_schema_describes() {
    let described = Described::new();
    assert!(described.fields.len() > 30, "{:?}", described.fields);
    let page = include_str!("../../docs/monitoring.md");
    let (_, json) = page.split_once("\n## JSON\n").expect("a part");
    let rows = json.lines().filter(|line| line.starts_with("| `"));
    let named = rows.map(|row| code(row.split(" | ").next().expect("a cell")));
    let named: BTreeSet<String> = named.flatten().collect();
    // What stands in one row with another, in words.
    let counters = code(json);
    for field in &described.fields {
        assert!(counters.contains(field), "{field} is not on the page");
    }
    for field in named {
        assert!(described.fields.contains(&field), "{field} is on the page");
    }
    let labels = page.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim);
        let kinds = cells.nth(3)?.split(", ");
        Some(kinds.map(str::to_owned).collect())
    });
    let labels: Vec<BTreeSet<String>> = labels.collect();
    assert_eq!(described.kinds.len(), 3);
    for kinds in described.kinds {
        assert!(labels.contains(&kinds), "{kinds:?} is not on the page");
    }
}
