//! Who may know what (DESIGN.md), read from the `crate::` paths of src/.

use std::collections::BTreeSet;
use std::path::Path;

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// A source file: its module path such as `relay/datagram`, and its code without comments and tests.
struct Source {
    module: String,
    code: String,
}

impl Source {
    fn new(module: &str, text: &str) -> Self {
        let tests = ["test", "all(test, unix)"].map(|cfg| format!("#[cfg({cfg})]\nmod tests"));
        let tests = tests.iter().find_map(|start| text.find(start));
        let text = &text[..tests.unwrap_or(text.len())];
        let lines = text.lines().map(|line| {
            let comment = line.find("//").filter(|at| !line[..*at].ends_with(':'));
            &line[..comment.unwrap_or(line.len())]
        });
        Self {
            module: module.to_owned(),
            code: lines.collect::<Vec<_>>().join("\n"),
        }
    }

    /// Whether this is `room` or one of its children.
    fn is_in(&self, room: &str) -> bool {
        let rest = self.module.strip_prefix(room);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The top-level modules of our own that the code names.
    fn uses(&self) -> BTreeSet<&str> {
        let depth = self.module.matches('/').count() + 1;
        let root = "super::".repeat(depth);
        let paths = ["crate::", &root].map(|prefix| after(&self.code, prefix));
        paths
            .concat()
            .into_iter()
            .flat_map(first_segments)
            .collect()
    }

    /// Whether the code names another crate, in a path or in a `use`.
    fn names(&self, extern_crate: &str) -> bool {
        !after(&self.code, &format!("{extern_crate}::")).is_empty()
            || self.code.contains(&format!("use {extern_crate};"))
    }
}

/// What follows each occurrence of a path's beginning, where that does not continue another word or path.
fn after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let starts = code.match_indices(prefix).filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    });
    starts.map(|(at, _)| &code[at + prefix.len()..]).collect()
}

/// The first segment of a path, or those of a group in braces.
fn first_segments(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let mut depth = 0;
    let mut segments = vec![word(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => segments.push(word(&group[at + 1..])),
            _ => {}
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// The identifier that a text begins with.
fn word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// All files of src/.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut dirs = vec![Path::new(SRC).to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let module = path.strip_prefix(SRC).expect("a path in src");
                let module = module.with_extension("");
                sources.push(Source::new(&module.to_string_lossy(), &text));
            }
        }
    }
    for module in ["main", "lib", "session", "transport/quic"] {
        assert!(
            sources.iter().any(|source| source.module == module),
            "{module} was not seen"
        );
    }
    sources
}

/// The rules: for modules of `room`, which of our modules are out of bounds.
const OUT_OF_BOUNDS: &[(&str, &[&str])] = &[
    ("listener", &["transport", "session", "access"]),
    ("connector", &["transport", "session", "access"]),
    ("web", &["transport", "session", "access"]),
    ("relay", &["session", "access", "config"]),
    ("control", &["transport", "session", "access", "config"]),
];

/// Those that may use nothing of ours but what is listed.
const SELF_CONTAINED: &[(&str, &[&str])] = &[
    ("wire", &["tunnel"]),
    ("tunnel", &["secret"]),
    ("proxy", &["tunnel"]),
    ("secret", &[]),
    ("socket", &[]),
    ("stdio", &["socket"]),
    ("memory", &[]),
    ("metrics", &[]),
    ("status", &["metrics"]),
];

/// All breaches of the rules in a set of files.
fn breaches(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let mut check = |broken: bool, rule: &str| {
            if broken {
                found.push(format!("src/{}.rs {rule}", source.module));
            }
        };
        let quic = source.is_in("transport/quic");
        for name in ["quinn", "quinn_proto"] {
            check(!quic && source.names(name), &format!("names {name}"));
        }
        // It knows nothing of QUIC.
        let sockets = quic || source.is_in("socket/udp");
        check(!sockets && source.names("quinn_udp"), "names quinn_udp");
        let uses = source.uses();
        let may_use_wire = source.is_in("session") || source.is_in("wire");
        check(!may_use_wire && uses.contains("wire"), "uses wire");
        for (room, forbidden) in OUT_OF_BOUNDS {
            for name in *forbidden {
                let broken = source.is_in(room) && uses.contains(name);
                check(broken, &format!("uses {name}"));
            }
        }
        for (room, allowed) in SELF_CONTAINED {
            for name in &uses {
                let ours = name == room || allowed.contains(name);
                check(source.is_in(room) && !ours, &format!("uses {name}"));
            }
        }
        for name in ["tokio", "tokio_util", "quinn"] {
            check(
                source.is_in("cli") && source.names(name),
                &format!("names {name}"),
            );
        }
        check(!after(&source.code, "tokio::spawn(").is_empty(), "spawns");
        let last = source.module.rsplit('/').next().unwrap_or_default();
        let vague = [
            "util", "utils", "helper", "helpers", "manager", "handler", "common",
        ];
        check(vague.contains(&last), "has a name that says nothing");
    }
    found
}

#[test]
fn rules_are_kept() {
    let found = breaches(&sources());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn breaches_are_found() {
    for (module, text, expected) in [
        (
            "server",
            "use quinn::Endpoint;",
            "src/server.rs names quinn",
        ),
        ("tls", "x: quinn_proto::X", "src/tls.rs names quinn_proto"),
        ("client", "use crate::wire;", "src/client.rs uses wire"),
        (
            "client/failover",
            "use super::super::wire::Hello;",
            "src/client/failover.rs uses wire",
        ),
        (
            "listener/udp",
            "use crate::{\n    config::{A, B},\n    session,\n};",
            "src/listener/udp.rs uses session",
        ),
        (
            "connector",
            "crate::access::f()",
            "src/connector.rs uses access",
        ),
        ("relay", "use super::config::C;", "src/relay.rs uses config"),
        ("wire", "use crate::session::S;", "src/wire.rs uses session"),
        ("tunnel", "use crate::tls::T;", "src/tunnel.rs uses tls"),
        ("cli", "use tokio::net;", "src/cli.rs names tokio"),
        ("bench", "tokio::spawn(f())", "src/bench.rs spawns"),
        (
            "relay/util",
            "",
            "src/relay/util.rs has a name that says nothing",
        ),
    ] {
        assert_eq!(breaches(&[Source::new(module, text)]), [expected]);
    }
    for (module, text) in [
        (
            "transport/quic/congestion",
            "use quinn::congestion::Controller;",
        ),
        ("session", "use crate::wire::{self, Login};"),
        ("wire", "use crate::tunnel::{Direction, Tunnel};"),
        ("relay", "// crate::session is not known here"),
        ("tls", "x: crate::transport::quinn_like()"),
        (
            "tunnel",
            "#[cfg(test)]\nmod tests {\n    use crate::cli;\n}",
        ),
    ] {
        assert_eq!(breaches(&[Source::new(module, text)]), [""; 0]);
    }
}
