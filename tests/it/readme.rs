//! What the documents say of the program's words is so: each command line and the file of clients in
//! the README parse, and every flag and file that is named is there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 5] = [
    "README.md",
    "SECURITY.md",
    "RELIABILITY.md",
    "PROTOCOL.md",
    "CHANGELOG.md",
];

const PROGRAMS: [&str; 3] = ["rstun", "rstund", "rstunc"];

#[test]
fn command_lines_parse() {
    let documents = ["README.md", "examples/ha/README.md"].map(read);
    let lines = documents.each_ref().map(|text| command_lines(text));
    assert!(lines.iter().all(|lines| !lines.is_empty()));
    let lines = lines.concat();
    for subcommand in ["server", "client", "connect", "keygen", "bench"] {
        let personality = match subcommand {
            "server" => "rstund",
            "client" => "rstunc",
            _ => "rstun",
        };
        let runs_it = |words: &&Vec<String>| {
            words[0].ends_with(personality)
                && (personality != "rstun" || words.get(1).is_some_and(|word| word == subcommand))
        };
        let shown = lines.iter().filter(runs_it).count();
        assert!(shown > 0, "{subcommand} is not among {lines:#?}");
    }
    for words in &lines {
        let args = words.iter().map(OsString::from);
        if let Err(error) = rstun::cli::parse_from(args) {
            panic!("{}\n{error}", words.join(" "));
        }
    }
}

#[test]
fn the_file_of_clients_is_one() {
    let readme = read("README.md");
    let (_, block) = readme.split_once("```toml\n").expect("a block of TOML");
    let (block, _) = block.split_once("```").expect("its end");
    let whole = ["5F:0D", &":00".repeat(30)].concat();
    let clients = rstun::access::read(&block.replace("5F:0D:...", &whole));
    assert_eq!(clients.expect("no mistake").len(), 1);
}

#[test]
fn flags_that_are_named_are_there() {
    let known = flags();
    for document in DOCUMENTS {
        let text = prose(&read(document));
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let named = words.filter_map(|word| word.strip_prefix("--"));
        let named: BTreeSet<_> = named.filter(|flag| !flag.starts_with('-')).collect();
        for flag in &named {
            assert!(known.contains(*flag), "{document}: --{flag}");
        }
        // All of them name some, but for the protocol's: that has no command line.
        assert_eq!(named.is_empty(), document == "PROTOCOL.md", "{document}");
    }
}

#[test]
fn files_that_are_linked_to_are_there() {
    let mut links = 0;
    for document in DOCUMENTS {
        for link in read(document).split("](").skip(1) {
            let (link, _) = link.split_once(')').expect("the end of a link");
            if !link.contains("://") {
                assert!(root(link).exists(), "{document}: {link}");
                links += 1;
            }
        }
    }
    assert!(links >= 5, "only {links} links");
}

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root(name)).expect(name)
}

/// The long names of all flags of all programs.
pub(crate) fn flags() -> BTreeSet<String> {
    let mut command = rstun::cli::command();
    command.build();
    let mut flags = BTreeSet::new();
    let mut commands: Vec<_> = command.get_subcommands().collect();
    while let Some(command) = commands.pop() {
        let longs = command.get_arguments().filter_map(|arg| arg.get_long());
        flags.extend(longs.map(str::to_owned));
        commands.extend(command.get_subcommands());
    }
    flags
}

/// A document without its fenced blocks.
pub(crate) fn prose(markdown: &str) -> String {
    let parts = markdown.split("\n```").enumerate();
    let outside = parts.filter(|(n, _)| n % 2 == 0).map(|(_, part)| part);
    outside.collect::<Vec<_>>().join("\n")
}

/// The words of each command line that runs one of our programs: in a fenced block, or within a line
/// of prose if it has flags.
pub(crate) fn command_lines(markdown: &str) -> Vec<Vec<String>> {
    let joined = markdown.replace("\\\n", " ");
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in joined.lines().map(str::trim) {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced && !line.contains("cargo ") {
            commands.extend(command(line));
            let quoted = words(line).into_iter().filter(|word| word.contains(' '));
            commands.extend(quoted.filter_map(|word| command(&proxy_command(&word))));
        }
    }
    let prose = prose(&joined);
    let code = prose.split('`').skip(1).step_by(2);
    let called = code.filter(|code| code.contains("--"));
    commands.extend(called.filter_map(command));
    commands
}

/// What ssh makes of an option that names a command, or what stands there if it is none.
fn proxy_command(option: &str) -> String {
    let command = option.strip_prefix("ProxyCommand=").unwrap_or(option);
    command.replace("%h", "db.internal").replace("%p", "22")
}

/// The words of a line from one of our programs' names on, whatever prompt, `sudo` or variable stands before.
fn command(line: &str) -> Option<Vec<String>> {
    let words = words(line.strip_prefix("$ ").unwrap_or(line));
    let name = |word: &String| {
        let name = Path::new(word).file_name()?.to_str()?;
        PROGRAMS.contains(&name).then_some(())
    };
    let start = words.iter().position(|word| name(word).is_some())?;
    let before = &words[..start];
    let runs_it = |word: &String| word == "sudo" || word.contains('=');
    before.iter().all(runs_it).then(|| words[start..].to_vec())
}

/// Splits as a shell does, as far as a README needs it: quotes, and an end at a comment or an operator.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '&' | ';' | '>') => break,
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\n') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn command_lines_are_found() {
    let markdown = "\
rstun outside of a block
```sh
cargo run --release -- bench
rstun keygen     # writes two files
$ sudo ./rstund --password 'a # b' \\
       --downstream 1 &
RSTUN_PASSWORD=x /usr/bin/rstunc -L 1^2 | tee log
ls rstun
ssh -o ProxyCommand='rstun connect [%h]:%p' host
```
rstunc, `rstun bench`, `rstun bench
--json` and `--json`";
    let found = command_lines(markdown);
    let expected: [&[&str]; 5] = [
        &["rstun", "keygen"],
        &["./rstund", "--password", "a # b", "--downstream", "1"],
        &["/usr/bin/rstunc", "-L", "1^2"],
        &["rstun", "connect", "[db.internal]:22"],
        &["rstun", "bench", "--json"],
    ];
    assert_eq!(found, expected);
}
