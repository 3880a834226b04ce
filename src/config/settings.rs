//! What was typed, completed by the environment and a file.
//!
//! A flag counts as it was typed; else as `RSTUN_<FLAG>` says; else as the file says; else as `cli`
//! says. What comes from elsewhere than the command line is given to clap as its default, so a flag
//! needs nothing but its field in `cli` to be understood in all of these places.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use zeroize::Zeroizing;

use super::file::{self, Content};
use super::{checked, places};
use crate::cli::{self, Cli, SECRETS, Setting};
use crate::secret;

/// A command line that is complete.
#[derive(Debug)]
pub struct Asked {
    /// What is to be done.
    pub cli: Cli,
    /// The file that was read, or that would be if it were there.
    pub file: Option<PathBuf>,
    /// Where settings come from that were not typed.
    pub origins: Origins,
}

/// Why there is nothing to be done.
#[derive(Debug)]
pub enum NotUnderstood {
    /// Something about the command line, or the help that was asked for.
    CommandLine(clap::Error),
    /// Something about the environment or the file.
    Settings(anyhow::Error),
}

impl From<clap::Error> for NotUnderstood {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

impl From<anyhow::Error> for NotUnderstood {
    fn from(error: anyhow::Error) -> Self {
        Self::Settings(error)
    }
}

/// Reads a command line, whose first element is the name that the program was called by, and all
/// that may complete it. The same again after a change of the file reads what it says then.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Asked, NotUnderstood> {
    let mut args = cli::arguments(args);
    let mut matches = cli::matches(&args, &[], &[])?;
    if let (["check"], check) = (&innermost(&matches).0[..], innermost(&matches).1) {
        args = checked::complete(args, check.get_one("file"))?;
        matches = cli::matches(&args, &[], &[])?;
    }
    let (path, typed) = innermost(&matches);
    let program = cli::program(&path).filter(has_file);
    let Some(program) = program else {
        return Ok(Asked {
            cli: cli::read(&matches)?,
            file: None,
            origins: Origins::default(),
        });
    };
    let schema = cli::program(&[role(&program)]).unwrap_or_default();
    let mut layers = Layers::new(&program, &schema, typed);
    layers.add_environment()?;
    let file = layers.add_file(typed.get_one::<PathBuf>("config").cloned())?;
    let matches = cli::matches(&args, &path, &layers.settings)?;
    let mut cli = cli::read(&matches)?;
    for (id, text) in layers.secrets {
        cli.command.keep_secret(&id, text);
    }
    let is_empty = |s: &Setting| cli::TUNNELS.contains(&s.id.as_str()) && s.values.is_empty();
    if layers.settings.iter().any(is_empty) {
        cli.command.allow_no_tunnels();
    }
    Ok(Asked {
        cli,
        file,
        origins: layers.origins,
    })
}

/// The subcommand that was asked for, by its path, and its flags.
fn innermost(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut path, mut innermost) = (Vec::new(), matches);
    while let Some((name, matches)) = innermost.subcommand() {
        path.push(name);
        innermost = matches;
    }
    (path, innermost)
}

/// Whether a program takes its flags from a file too.
fn has_file(program: &Command) -> bool {
    has(program, "config")
}

/// Which of the two files a program reads: the server's or the client's.
fn role(program: &Command) -> &'static str {
    match has(program, "server_addr") {
        true => "client",
        false => "server",
    }
}

fn has(program: &Command, id: &str) -> bool {
    program.get_arguments().any(|arg| arg.get_id() == id)
}

/// What each place says of a program's flags, the first place first.
struct Layers<'p> {
    program: &'p Command,
    /// The program whose flags are the file's keys: this one, or that of which it has some flags.
    schema: &'p Command,
    /// The ids of the flags that are settled.
    settled: Vec<String>,
    settings: Vec<Setting>,
    secrets: Vec<(String, Zeroizing<String>)>,
    origins: Origins,
}

impl<'p> Layers<'p> {
    fn new(program: &'p Command, schema: &'p Command, typed: &ArgMatches) -> Self {
        let is_typed = |arg: &&Arg| {
            let source = typed.value_source(arg.get_id().as_str());
            source == Some(clap::parser::ValueSource::CommandLine)
        };
        let typed = program.get_arguments().filter(is_typed);
        Self {
            program,
            schema,
            settled: typed.map(|arg| arg.get_id().to_string()).collect(),
            settings: Vec::new(),
            secrets: Vec::new(),
            origins: Origins::default(),
        }
    }

    /// Whether a flag is of interest: the program has it, and no place before has settled it, or one
    /// that it cannot stand beside.
    fn is_open(&self, id: &str) -> bool {
        let settles = |before: &String| before == id || cli::are_rivals(self.schema, before, id);
        let wanted = has(self.program, id) || SECRETS.contains(&id);
        wanted && !self.settled.iter().any(settles)
    }

    fn add_environment(&mut self) -> Result<()> {
        let mut found: Vec<(&str, String)> = Vec::new();
        for arg in file::keys(self.schema) {
            let (id, name) = (arg.get_id().as_str(), variable(arg));
            let Some(value) = env::var_os(&name).filter(|_| self.is_open(id)) else {
                continue;
            };
            let rivals = |(other, _): &&(&str, _)| cli::are_rivals(self.schema, other, id);
            if let Some((_, rival)) = found.iter().find(rivals) {
                bail!("{name} and {rival} are for the same: set one of them");
            }
            // Whoever needs a secret reads it.
            if !SECRETS.contains(&id) {
                let values = listed(arg, value).with_context(|| name.clone())?;
                self.origins.note(arg, &name);
                let id = id.to_owned();
                self.settings.push(Setting { id, values });
            }
            found.push((id, name));
        }
        let found = found.into_iter().map(|(id, _)| id.to_owned());
        self.settled.extend(found);
        Ok(())
    }

    /// Reads the file that was named, or else the one at the usual place if there is one.
    fn add_file(&mut self, named: Option<PathBuf>) -> Result<Option<PathBuf>> {
        let name = format!("{}.toml", self.schema.get_name());
        let named = named.or_else(|| env::var_os("RSTUN_CONFIG").map(PathBuf::from));
        let path = match (named, places::configuration()) {
            (Some(path), _) => path,
            (None, Ok(dir)) if dir.join(&name).exists() => dir.join(&name),
            (None, place) => return Ok(place.ok().map(|dir| dir.join(&name))),
        };
        let Content { settings, secrets } = load(&path, self.schema)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        for (mut setting, line) in settings {
            let arg = file::keys(self.schema).find(|arg| arg.get_id() == setting.id.as_str());
            let Some(arg) = arg.filter(|_| self.is_open(&setting.id)) else {
                continue;
            };
            if file::is_path(arg) {
                let within = |value: &OsString| directory.join(value).into();
                setting.values = setting.values.iter().map(within).collect();
            }
            self.origins
                .note(arg, &format!("{}:{line}", path.display()));
            match secrets.iter().find(|(id, _)| *id == setting.id) {
                Some(secret) => self.secrets.push(secret.clone()),
                None => self.settings.push(setting),
            }
        }
        Ok(Some(path))
    }
}

/// Reads a file, which is to be its owner's alone if it holds a secret.
fn load(path: &Path, schema: &Command) -> Result<Content> {
    let shown = path.display();
    let (text, alone) =
        secret::read_text(path).with_context(|| format!("cannot read --config {shown}"))?;
    let content = file::read(&text, schema).map_err(|mistakes| {
        let lines = mistakes.iter().map(|mistake| format!("{shown}:{mistake}"));
        anyhow!(lines.collect::<Vec<_>>().join("\n"))
    })?;
    if !content.secrets.is_empty() {
        alone.with_context(|| format!("cannot use --config {shown}"))?;
    }
    Ok(content)
}

/// The environment variable for a flag.
fn variable(arg: &Arg) -> String {
    format!("RSTUN_{}", file::key(arg).to_uppercase().replace('-', "_"))
}

/// The values in a variable: several are separated by spaces.
fn listed(arg: &Arg, value: OsString) -> Result<Vec<OsString>> {
    let values = match (arg.get_action(), value.to_str()) {
        (ArgAction::Append, Some(text)) => text.split_whitespace().map(OsString::from).collect(),
        (ArgAction::SetTrue, text) => {
            let valid = matches!(text, Some("true" | "false"));
            ensure!(valid, "is to be true or false");
            vec![value]
        }
        _ => vec![value],
    };
    for value in &values {
        cli::check(arg, value).map_err(|why| anyhow!(why))?;
    }
    Ok(values)
}

/// Where settings come from that were not typed.
#[derive(Debug, Default)]
pub struct Origins(Vec<(String, String)>);

impl Origins {
    fn note(&mut self, arg: &Arg, place: &str) {
        self.0.push((format!("--{}", file::key(arg)), place.into()));
    }

    /// An error whose lines with a flag say where it comes from.
    pub fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let explain = |line: &str| {
            let mut words = line.split([' ', ':']);
            let from = |word| self.0.iter().find(|(flag, _)| flag == word);
            match words.find_map(from) {
                Some((_, place)) => format!("{line} (from {place})"),
                None => line.to_owned(),
            }
        };
        let lines: Vec<_> = format!("{error:#}").lines().map(explain).collect();
        anyhow!(lines.join("\n"))
    }
}
