//! The file of `--clients`: who may log in, by what, and to do what. TOML, an entry for each client:
//!
//! ```toml
//! [[client]]
//! name = "laptop"
//! key = "SHA256:AB:CD:..."        # or: verifier = "0123..."
//! disabled = false
//! listen = ["tcp:127.0.0.1:8000-8999", "udp:0.0.0.0:51820"]
//! reach = ["10.0.0.0/8:5432", "db.internal:5432"]
//! max_tunnels = 10
//! max_flows = 1000
//! rate = 1000000                  # bytes per second
//! ```
//!
//! Read by its tree and not into structures: so all mistakes are told at once, each with its line.

use std::collections::HashSet;
use std::fmt::Display;
use std::num::NonZeroU64;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Access, ListenRule, Listening, PASSWORD_IDENTITY, Rule, StoredKey};
use crate::tls::Fingerprint;

/// Most bytes of a client's name, as in its login (PROTOCOL.md).
const MAX_NAME: usize = 64;

/// A client and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is called, in its login and in logs.
    pub name: String,
    /// What its credential is checked by.
    pub verifier: Verifier,
    /// Whether it may not log in for now.
    pub disabled: bool,
    /// What it may do.
    pub access: Access,
}

/// What a credential is checked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verifier {
    /// The certificate that the client presents has this fingerprint.
    Key(Fingerprint),
    /// The client proves the secret behind this.
    Secret(StoredKey),
}

/// Something that is wrong with a file.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{line}: {what}")]
pub struct Mistake {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// Whether a text can be a client's name: letters, digits, `.`, `_` and `-`, of which the first is
/// a letter or a digit, so that it can also name a file.
pub fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins && text.len() <= MAX_NAME && text.chars().all(inside) && text != PASSWORD_IDENTITY
}

/// Reads a file of clients, or finds all that is wrong with it.
pub fn read(text: &str) -> Result<Vec<Entry>, Vec<Mistake>> {
    let mut reading = Reading::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reading.note(error.span().unwrap_or(0..0), error.message());
    }
    let mut entries = Vec::new();
    // What could be saved of a malformed document would only be mistaken for more mistakes.
    if reading.mistakes.is_empty() {
        entries = reading.document(document.get_ref());
        reading.find_twins(&entries);
    }
    match reading.mistakes.is_empty() {
        true => Ok(entries.into_iter().map(|(_, entry)| entry).collect()),
        false => {
            reading.mistakes.sort_by_key(|mistake| mistake.line);
            Err(reading.mistakes)
        }
    }
}

type Value<'t> = Spanned<DeValue<'t>>;

struct Reading<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
}

impl<'t> Reading<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            mistakes: Vec::new(),
        }
    }

    fn note(&mut self, at: Range<usize>, what: impl Display) {
        let before = self.text.as_bytes().get(..at.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let what = what.to_string();
        self.mistakes.push(Mistake { line, what });
    }

    /// All entries, each with its place.
    fn document(&mut self, document: &DeTable<'t>) -> Vec<(Range<usize>, Entry)> {
        let mut entries = Vec::new();
        for (key, value) in document {
            let list = match (key.get_ref().as_ref(), value.get_ref()) {
                ("client", DeValue::Array(list)) => list,
                ("client", _) => {
                    self.note(key.span(), "write [[client]] in front of each client");
                    continue;
                }
                (other, _) => {
                    let what = format!("unknown key '{other}'; a client begins with [[client]]");
                    self.note(key.span(), what);
                    continue;
                }
            };
            for value in list.iter() {
                match value.get_ref() {
                    DeValue::Table(table) => {
                        let entry = self.entry(value.span(), table);
                        entries.extend(entry.map(|entry| (value.span(), entry)));
                    }
                    _ => self.note(value.span(), "write [[client]] in front of each client"),
                }
            }
        }
        entries
    }

    fn entry(&mut self, at: Range<usize>, table: &DeTable<'t>) -> Option<Entry> {
        let (mut name, mut disabled) = (None, false);
        let mut verifiers = Vec::new();
        let mut access = Access::none();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = self.name(value),
                "key" => verifiers.extend(self.parsed(value).map(Verifier::Key)),
                "verifier" => verifiers.extend(self.parsed(value).map(Verifier::Secret)),
                "disabled" => disabled = self.boolean(value),
                "listen" => access.listen = Listening::Listed(self.list::<ListenRule>(value)),
                "reach" => access.reach = self.list::<Rule>(value),
                "max_tunnels" => access.max_tunnels = self.count(value),
                "max_flows" => access.max_flows = self.count(value),
                "rate" => access.rate = self.number(value).and_then(NonZeroU64::new),
                other => self.note(key.span(), format!("unknown key '{other}'")),
            }
        }
        let named = ["key", "verifier"].map(|key| table.contains_key(key));
        match named {
            [true, true] => self.note(at.clone(), "there are a key and a verifier: take one"),
            [false, false] => {
                let how =
                    "there is neither key nor verifier: `rstun keygen --client NAME` makes one";
                self.note(at.clone(), how);
            }
            _ => {}
        }
        if !table.contains_key("name") {
            self.note(at, "the client has no name");
        }
        Some(Entry {
            name: name?,
            verifier: verifiers.pop()?,
            disabled,
            access,
        })
    }

    fn name(&mut self, value: &Value<'t>) -> Option<String> {
        let text = self.string(value)?;
        if !is_name(text) {
            let what = format!(
                "'{text}' is no name: 1 to {MAX_NAME} of A-Z a-z 0-9 . _ - that begin with a \
                 letter or a digit, and not '{PASSWORD_IDENTITY}'"
            );
            self.note(value.span(), what);
            return None;
        }
        Some(text.to_owned())
    }

    fn string<'v>(&mut self, value: &'v Value<'t>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.mismatch(value, "text in quotes");
        }
        text
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, value: &Value<'t>) -> Option<T> {
        let text = self.string(value)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(e) => {
                self.note(value.span(), e);
                None
            }
        }
    }

    fn list<T: FromStr<Err: Display>>(&mut self, value: &Value<'t>) -> Vec<T> {
        let Some(list) = value.get_ref().as_array() else {
            self.mismatch(value, "a list, as in [\"8800\"]");
            return Vec::new();
        };
        list.iter().filter_map(|item| self.parsed(item)).collect()
    }

    fn boolean(&mut self, value: &Value<'t>) -> bool {
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.mismatch(value, "true or false");
            true
        })
    }

    fn number(&mut self, value: &Value<'t>) -> Option<u64> {
        let number = value.get_ref().as_integer().and_then(|integer| {
            let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
            number.filter(|number| *number > 0)
        });
        if number.is_none() {
            self.mismatch(value, "a whole number from 1");
        }
        number
    }

    fn count(&mut self, value: &Value<'t>) -> usize {
        let count = self.number(value).unwrap_or(1);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    fn mismatch(&mut self, value: &Value<'t>, wanted: &str) {
        let found = &self.text[value.span()];
        self.note(value.span(), format!("{found} is not {wanted}"));
    }

    /// Two clients of one name, or of one key, could not be told apart.
    fn find_twins(&mut self, entries: &[(Range<usize>, Entry)]) {
        let mut names = HashSet::new();
        let mut keys = HashSet::new();
        for (at, entry) in entries {
            if !names.insert(&entry.name) {
                let what = format!("there is another client of the name '{}'", entry.name);
                self.note(at.clone(), what);
            }
            if let Verifier::Key(key) = &entry.verifier
                && !keys.insert(key)
            {
                self.note(at.clone(), "another client has the same key");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "SHA256:E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:\
                       27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55";

    fn mistakes(text: &str) -> Vec<String> {
        let mistakes = read(text).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_entry_is_all_that_it_says() {
        let text = format!(
            "[[client]]\nname = \"laptop\"\nkey = \"{KEY}\"\nlisten = [\"tcp:127.0.0.1:80\"]\n\
             reach = [\"8800\", \"db:5432\"]\nmax_tunnels = 2\nmax_flows = 1_000\nrate = 0x10\n\
             [[client]]\nname = \"phone\"\nverifier = \"{}\"\ndisabled = true\n",
            "0a".repeat(32)
        );
        let entries = read(&text).unwrap();
        let [laptop, phone] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!(laptop.verifier, Verifier::Key(KEY.parse().unwrap()));
        assert_eq!(laptop.access.reach.len(), 2);
        assert_eq!(
            (laptop.access.max_tunnels, laptop.access.max_flows),
            (2, 1000)
        );
        assert_eq!(laptop.access.rate, NonZeroU64::new(16));
        assert!(!laptop.disabled && phone.disabled);
        assert_eq!(phone.access, Access::none());
        assert_eq!(read("# nobody yet\n"), Ok(vec![]));
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let text = "colour = 1\n[[client]]\nname = \"../x\"\nkey = 5\nlisten = [\n  \"80\",\n  \
                    \"x:80\",\n]\nreach = \"8800\"\nmax_flows = 0\nrate = -1\n\n[[client]]\nreech = []\n";
        let found = mistakes(text);
        for (line, says) in [
            (1, "'colour'"),
            (3, "'../x'"),
            (4, "5 is not text"),
            (7, "'x' is a name"),
            (9, "not a list"),
            (10, "0 is not a whole number"),
            (11, "-1 is not a whole number"),
            (13, "no name"),
            (13, "neither key nor verifier"),
            (14, "'reech'"),
        ] {
            let told = |m: &String| m.starts_with(&format!("{line}: ")) && m.contains(says);
            assert!(found.iter().any(told), "{line} {says}: {found:#?}");
        }
        assert_eq!(found.len(), 10, "{found:#?}");
    }

    #[test]
    fn malformed_files_and_twins_are_mistakes() {
        let found = mistakes("[[client]]\nname = \"a\nkey = 1\n");
        assert!(found[0].starts_with("2: "), "{found:?}");
        let client = |name: &str| format!("[[client]]\nname = \"{name}\"\nkey = \"{KEY}\"\n");
        let found = mistakes(&[client("a"), client("a")].concat());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|m| m.starts_with("4: ")), "{found:?}");
    }

    #[test]
    fn names_are_fit_for_files() {
        for name in ["a", "laptop-2.example_org", &"n".repeat(64), "9"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "-a",
            ".a",
            "a/b",
            "a b",
            "é",
            "password",
            &"n".repeat(65),
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
