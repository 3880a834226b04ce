//! A configuration file: TOML, whose keys are the long names of a program's flags.
//!
//! What clap knows of a flag is all that there is to know of its key, so nothing is said twice: a
//! flag that is added to `cli` can stand in the file at once.

use std::any::TypeId;
use std::ffi::OsString;
use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::cli::{self, SECRETS, Setting};

/// From here on two names are so similar that one may be meant by the other: from 0 to 1, in the
/// measure of Jaro.
const SIMILAR: f64 = 0.7;

/// What a file says.
#[derive(Default)]
pub(super) struct Content {
    /// What flags say too, each with its line.
    pub(super) settings: Vec<(Setting, usize)>,
    /// Those of them that are secrets, by the flag's id.
    pub(super) secrets: Vec<(String, Zeroizing<String>)>,
}

/// Something that is wrong with a file.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{line}:{column}: {what}")]
pub(super) struct Mistake {
    /// Where, from 1.
    line: usize,
    column: usize,
    /// What is wrong, and what would be right.
    what: String,
}

/// Reads a file for a program, or finds all that is wrong with it.
pub(super) fn read(text: &str, program: &Command) -> Result<Content, Vec<Mistake>> {
    let mut reading = Reading {
        text,
        program,
        content: Content::default(),
        mistakes: Vec::new(),
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reading.note(error.span().unwrap_or(0..0), error.message());
    }
    // What could be saved of a malformed document would only be mistaken for more mistakes.
    if reading.mistakes.is_empty() {
        for (key, value) in document.get_ref() {
            reading.entry(key, value);
        }
        reading.find_rivals();
    }
    reading.mistakes.sort_by_key(|m| (m.line, m.column));
    match reading.mistakes.is_empty() {
        true => Ok(reading.content),
        false => Err(reading.mistakes),
    }
}

/// The name of a flag's key.
pub(super) fn key(arg: &Arg) -> String {
    match arg.get_long() {
        Some(long) => long.to_owned(),
        None => arg.get_id().as_str().replace('_', "-"),
    }
}

/// All flags of a program that may stand in its file.
pub(super) fn keys(program: &Command) -> impl Iterator<Item = &Arg> {
    let not_in_file = |arg: &&Arg| !matches!(arg.get_id().as_str(), "config" | "help" | "version");
    program.get_arguments().filter(not_in_file)
}

/// How many of a file's keys are flags of a program.
pub(super) fn known(text: &str, program: &Command) -> usize {
    let (document, _) = DeTable::parse_recoverable(text);
    let is_known = |name: &str| keys(program).any(|arg| key(arg) == name);
    let names = document.get_ref().keys();
    names.filter(|name| is_known(name.get_ref())).count()
}

/// Whether a flag takes the path of a file.
pub(super) fn is_path(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<PathBuf>()
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    Number,
    Text,
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let id = arg.get_value_parser().type_id();
        let numbers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
        ];
        match arg.get_action() {
            ArgAction::SetTrue => Self::Switch,
            _ if numbers.iter().any(|number| id == *number) => Self::Number,
            _ => Self::Text,
        }
    }

    /// What is to be written, as an example to go by.
    fn wanted(self) -> &'static str {
        match self {
            Self::Switch => "true or false, without quotes",
            Self::Number => "a whole number, without quotes",
            Self::Text => "text, in quotes",
        }
    }
}

type Key<'t> = Spanned<std::borrow::Cow<'t, str>>;
type Value<'t> = Spanned<DeValue<'t>>;

struct Reading<'t> {
    text: &'t str,
    program: &'t Command,
    content: Content,
    mistakes: Vec<Mistake>,
}

impl<'t> Reading<'t> {
    fn note(&mut self, at: Range<usize>, what: impl Display) {
        let (line, column) = place(self.text, at.start);
        let what = what.to_string();
        self.mistakes.push(Mistake { line, column, what });
    }

    fn entry(&mut self, name: &Key<'t>, value: &Value<'t>) {
        let Some(arg) = keys(self.program).find(|arg| key(arg) == **name.get_ref()) else {
            let what = unknown(name.get_ref(), self.program);
            return self.note(name.span(), what);
        };
        let id = arg.get_id().as_str().to_owned();
        let (line, _) = place(self.text, name.span().start);
        let mut values = Vec::new();
        for value in self.items(arg, value) {
            let Some(text) = self.scalar(arg, value) else {
                continue;
            };
            if SECRETS.contains(&id.as_str()) {
                let secret = Zeroizing::new(text.to_owned());
                self.content.secrets.push((id.clone(), secret));
                continue;
            }
            match cli::check(arg, text.as_ref()) {
                Ok(()) => values.push(OsString::from(text)),
                Err(why) => self.note(value.span(), why),
            }
        }
        self.content.settings.push((Setting { id, values }, line));
    }

    /// The values of an entry: one, or those of a list for a flag that can be repeated.
    fn items<'v>(&mut self, arg: &Arg, value: &'v Value<'t>) -> Vec<&'v Value<'t>> {
        let repeatable =
            matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
        match value.get_ref() {
            DeValue::Array(list) if repeatable => list.iter().collect(),
            _ => vec![value],
        }
    }

    fn scalar<'v>(&mut self, arg: &Arg, value: &'v Value<'t>) -> Option<&'v str> {
        let kind = Kind::of(arg);
        let text = match (kind, value.get_ref()) {
            (Kind::Switch, DeValue::Boolean(true)) => Some("true"),
            (Kind::Switch, DeValue::Boolean(false)) => Some("false"),
            (Kind::Text, DeValue::String(text)) => Some(text.as_ref()),
            (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => {
                Some(number.as_str())
            }
            _ => None,
        };
        if text.is_none() {
            let (key, wanted) = (key(arg), kind.wanted());
            self.note(value.span(), format!("'{key}' is to be {wanted}"));
        }
        text
    }

    /// Keys of which one rules out the other.
    fn find_rivals(&mut self) {
        let there = &self.content.settings;
        let mut found = Vec::new();
        for (at, (one, line)) in there.iter().enumerate() {
            for (other, other_line) in &there[..at] {
                if cli::are_rivals(self.program, &one.id, &other.id) {
                    found.push((*line.max(other_line), one.id.clone(), other.id.clone()));
                }
            }
        }
        for (line, one, other) in found {
            let [one, other] = [one, other].map(|id| id.replace('_', "-"));
            let what = format!("'{one}' and '{other}' are for the same: take one of them");
            let column = 1;
            self.mistakes.push(Mistake { line, column, what });
        }
    }
}

/// What to say of a key that no flag has.
fn unknown(name: &str, program: &Command) -> String {
    let known = keys(program).map(key);
    let similar = known.map(|key| (strsim::jaro(name, &key), key));
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, key)) if likeness > SIMILAR => {
            format!("unknown key '{name}'; did you mean '{key}'?")
        }
        _ => format!(
            "unknown key '{name}'; keys are the names of the flags that `rstun {} --help` shows",
            program.get_name()
        ),
    }
}

/// The line and the column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    (line, before[begin..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str) -> Command {
        cli::program(&[name]).unwrap()
    }

    fn mistakes(name: &str, text: &str) -> Vec<String> {
        let mistakes = read(text, &program(name)).err().unwrap_or_default();
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_are_the_flags_names() {
        let text = "drain = 5\ntunnel-out = [\"1^2\",\n\"3^4\"]\ntunnel-in = \"5^6\"\n";
        let content = read(text, &program("client")).ok().unwrap();
        let settings: Vec<_> = content.settings.iter().map(|(s, _)| s).collect();
        let found = |id: &str| &settings.iter().find(|s| s.id == id).unwrap().values;
        assert_eq!(found("seconds"), &["5"]);
        assert_eq!(found("tunnel_out"), &["1^2", "3^4"]);
        assert_eq!(found("tunnel_in"), &["5^6"]);
    }

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_the_nearest_known_one() {
        assert_eq!(
            mistakes("client", "# mine\n  tunel_out = []\n"),
            ["2:3: unknown key 'tunel_out'; did you mean 'tunnel-out'?"]
        );
        let far = &mistakes("server", "[zzz]\nx = 1\n")[0];
        assert!(far.contains("`rstun server --help`"), "{far}");
    }

    #[test]
    fn all_that_is_wrong_is_told_in_its_order() {
        let text = "drain = \"5\"\naddr = 6060\nallow-bench = 1\nidle-timeout = 1\n\
                    congestion = \"reno\"\ndownstream = [\"1\", 2]\n";
        let found = mistakes("server", text);
        for (at, says) in [
            ("1:9: ", "'drain' is to be a whole number, without quotes"),
            ("2:8: ", "'addr' is to be text, in quotes"),
            ("3:15: ", "'allow-bench' is to be true or false"),
            ("4:16: ", "10..=86400"),
            ("5:14: ", "newreno"),
            ("6:20: ", "'downstream' is to be text"),
        ] {
            let told = |m: &String| m.starts_with(at) && m.contains(says);
            assert!(found.iter().any(told), "{at}{says}: {found:#?}");
        }
        assert_eq!(found.len(), 6, "{found:#?}");
        assert_eq!(mistakes("server", "a = \n").len(), 1);
    }

    #[test]
    fn what_excludes_each_other_cannot_stand_together() {
        let found = mistakes("client", "cert = \"a\"\n\npin = [\"b\"]\n");
        assert!(found[0].starts_with("3:1: "), "{found:?}");
        assert!(found[0].contains("'cert'") && found[0].contains("'pin'"));
    }
}
