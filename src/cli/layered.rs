//! Command lines of which some flags come from elsewhere.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use zeroize::Zeroizing;

use super::{CheckFlags, Checked, Cli, Hidden, reason};

/// The ids of flags that hold a secret. Clap would keep it, so it goes past clap.
pub const SECRETS: [&str; 2] = ["password", "ticket"];

/// What a flag is to be where it was not typed.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its id.
    pub id: String,
    /// What could have been typed behind it, once for each time.
    pub values: Vec<OsString>,
}

/// A command line by the program's own name, whatever link it was called by.
pub fn arguments(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if let Some(subcommand) = args.first().and_then(|name| personality(name)) {
        args.splice(..1, ["rstun".into(), subcommand.into()]);
    }
    args
}

/// The subcommand that a link's name stands for.
fn personality(argv0: &OsString) -> Option<&'static str> {
    let stem = Path::new(argv0).file_name()?.to_str()?;
    match stem.strip_suffix(".exe").unwrap_or(stem) {
        "rstund" => Some("server"),
        "rstunc" => Some("client"),
        _ => None,
    }
}

/// Matches arguments, with settings for the subcommand at a path.
pub fn matches(
    args: &[OsString],
    path: &[&str],
    settings: &[Setting],
) -> Result<ArgMatches, clap::Error> {
    set(Cli::command(), path, settings).try_get_matches_from(args)
}

/// Reads what was matched.
pub fn read(matches: &ArgMatches) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(matches)
}

fn set(command: Command, path: &[&str], settings: &[Setting]) -> Command {
    match path {
        [] => settings.iter().fold(command, |command, setting| {
            let values = setting.values.clone();
            command.mut_arg(&setting.id, |arg| arg.default_values(values))
        }),
        [name, path @ ..] => command.mut_subcommand(*name, |command| set(command, path, settings)),
    }
}

/// The definition of the subcommand at a path.
pub fn program(path: &[&str]) -> Option<Command> {
    let mut command = Cli::command();
    command.build();
    let mut found = &command;
    for name in path {
        found = found.find_subcommand(name)?;
    }
    Some(found.clone())
}

/// Whether a program's flags cannot stand together.
pub fn are_rivals(program: &Command, one: &str, other: &str) -> bool {
    let find = |id: &str| program.get_arguments().find(|arg| arg.get_id() == id);
    let excludes = |one: &str, other: &str| {
        let conflicts = find(one).map(|arg| program.get_arg_conflicts_with(arg));
        conflicts.is_some_and(|list| list.iter().any(|arg| arg.get_id() == other))
    };
    excludes(one, other) || excludes(other, one)
}

/// Whether a flag takes a value, or why not.
pub fn check(arg: &Arg, value: &OsStr) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    let alone = Arg::new("value")
        .long(arg.get_long().unwrap_or("value").to_owned())
        .value_names(arg.get_value_names().unwrap_or_default().iter().cloned())
        .value_parser(arg.get_value_parser().clone())
        .ignore_case(arg.is_ignore_case_set());
    let mut typed = OsString::from(format!("--{}=", arg.get_long().unwrap_or("value")));
    typed.push(value);
    let command = Command::new("value").no_binary_name(true).arg(alone);
    match command.try_get_matches_from([typed]) {
        Ok(_) => Ok(()),
        Err(e) => Err(reason(&e).trim_start_matches("error: ").to_owned()),
    }
}

/// The ids of the flags for tunnels of a client. An empty list in a file says that they come later.
pub const TUNNELS: [&str; 3] = ["tunnel_out", "tunnel_in", "dynamic"];

impl super::Command {
    /// Lets a client begin without tunnels.
    pub fn allow_no_tunnels(&mut self) {
        match self {
            Self::Client(flags) => flags.tunnels_later = true,
            Self::Check(CheckFlags {
                what: Some(Checked::Client(flags)),
                ..
            }) => flags.tunnels_later = true,
            _ => {}
        }
    }

    /// Keeps a secret that was found in a file for the flag of this id.
    pub fn keep_secret(&mut self, id: &str, text: Zeroizing<String>) {
        let (password, credential) = match self {
            Self::Server(flags) => (Some(&mut flags.password), None),
            Self::Ticket(flags) => (Some(&mut flags.password), None),
            Self::Client(flags) => (None, Some(&mut flags.credential)),
            Self::Connect(flags) => (None, Some(&mut flags.credential)),
            Self::Check(flags) => match &mut flags.what {
                Some(Checked::Server(flags)) => (Some(&mut flags.password), None),
                Some(Checked::Client(flags)) => (None, Some(&mut flags.credential)),
                None => return,
            },
            _ => return,
        };
        let (password, ticket) = match (password, credential) {
            (_, Some(credential)) => (&mut credential.password, Some(&mut credential.kept_ticket)),
            (Some(password), None) => (password, None),
            (None, None) => return,
        };
        let text = Some(Hidden(text));
        match (id, ticket) {
            ("password", _) => password.kept = text,
            ("ticket", Some(ticket)) => *ticket = text,
            _ => {}
        }
    }
}
