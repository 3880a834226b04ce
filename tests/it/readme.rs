//! Every command line of the README parses.

use std::ffi::OsString;
use std::path::Path;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

const PROGRAMS: [&str; 3] = ["rstun", "rstund", "rstunc"];

#[test]
fn command_lines_parse() {
    let readme = std::fs::read_to_string(README).expect("README.md");
    let lines = command_lines(&readme);
    assert!(lines.len() >= 4, "only these were found: {lines:#?}");
    for words in &lines {
        let args = words.iter().map(OsString::from);
        if let Err(error) = rstun::cli::parse_from(args) {
            panic!("{}\n{error}", words.join(" "));
        }
    }
}

/// The words of each command line in a fenced block that runs one of our programs.
fn command_lines(markdown: &str) -> Vec<Vec<String>> {
    let joined = markdown.replace("\\\n", " ");
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in joined.lines().map(str::trim) {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced && !line.contains("cargo ") {
            commands.extend(command(line));
        }
    }
    commands
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
fn words(line: &str) -> Vec<String> {
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
            (None, ' ') => words.extend(word.take()),
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
```
rstunc";
    let found = command_lines(markdown);
    let expected: [&[&str]; 3] = [
        &["rstun", "keygen"],
        &["./rstund", "--password", "a # b", "--downstream", "1"],
        &["/usr/bin/rstunc", "-L", "1^2"],
    ];
    assert_eq!(found, expected);
}
