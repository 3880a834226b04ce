//! completions/ and man/ are what clap makes of cli.rs. `RSTUN_BLESS=1 cargo test` writes them anew.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Command;
use clap_complete::{Generator, Shell};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A file's name and what it has to contain.
type Generated = (String, Vec<u8>);

#[test]
fn completions() {
    let shells = [
        Shell::Bash,
        Shell::Zsh,
        Shell::Fish,
        Shell::PowerShell,
        Shell::Elvish,
    ];
    let files = shells.map(|shell| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut rstun::cli::command(), "rstun", &mut script);
        (shell.file_name("rstun"), script)
    });
    assert_committed("completions", &files);
}

#[test]
fn man_pages() {
    let mut command = rstun::cli::command().disable_help_subcommand(true);
    command.build();
    let mut files = Vec::new();
    pages("rstun", &command, &mut files);
    for (link, subcommand) in [("rstund", "server"), ("rstunc", "client")] {
        let subcommand = command.find_subcommand(subcommand).expect("a subcommand");
        let renamed = subcommand.clone().name(link).bin_name(link);
        files.push(page(link, renamed));
    }
    let named = |name: &str| files.iter().any(|(file, _)| file == name);
    for command in ["server", "client", "keygen", "bench", "service-install"] {
        assert!(named(&format!("rstun-{command}.1")), "{command}");
    }
    for (page, text) in &files {
        let text = String::from_utf8_lossy(text).replace("\\-", "-");
        let pages = text.lines().filter_map(|line| line.strip_suffix("(1)"));
        for other in pages {
            assert!(named(&format!("{other}.1")), "{page} names {other}(1)");
        }
    }
    assert_committed("man", &files);
}

/// The man page of a command, and those of all its subcommands.
fn pages(name: &str, command: &Command, files: &mut Vec<Generated>) {
    files.push(page(name, command.clone()));
    for subcommand in command.get_subcommands() {
        pages(
            &format!("{name}-{}", subcommand.get_name()),
            subcommand,
            files,
        );
    }
}

/// The man page of a command, under a name of its own.
fn page(name: &str, command: Command) -> Generated {
    let command = command.display_name(name.to_owned());
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .title(name)
        .source(concat!("rstun ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .expect("a page in memory");
    (format!("{name}.1"), page)
}

/// Compares a directory with what it has to hold, no less and no more, or writes it where that was asked for.
fn assert_committed(dir: &str, files: &[Generated]) {
    assert!(!files.is_empty());
    let dir = Path::new(ROOT).join(dir);
    if std::env::var_os("RSTUN_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::create_dir_all(&dir).expect("a directory");
        for (name, content) in files {
            std::fs::write(dir.join(name), content).expect("a file written");
        }
    }
    for (name, content) in files {
        let path = dir.join(name);
        let committed = std::fs::read(&path).unwrap_or_default();
        assert!(
            committed == *content,
            "{} is not what cli.rs makes; RSTUN_BLESS=1 cargo test writes it anew",
            path.display()
        );
    }
    let there: BTreeSet<String> = std::fs::read_dir(&dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let expected = files.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(there, expected, "in {}", dir.display());
}
