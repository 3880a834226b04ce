//! The options behind an address: `?KEY=VALUE[&KEY=VALUE]...`.

use std::path::Path;
use std::time::Duration;

use super::{ParseError, ProxyHeader};

/// Longest silence in a UDP flow, in seconds.
const MAX_TIMEOUT: u64 = 24 * 60 * 60;

/// What stands behind the `?` of a side.
#[derive(Debug, Default)]
pub(super) struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, ParseError> {
        let mut options: Vec<(&str, &str)> = Vec::new();
        for option in text.split('&') {
            let no_value = || ParseError::NoValue(option.into());
            let (key, value) = option.split_once('=').ok_or_else(no_value)?;
            if value.is_empty() {
                return Err(no_value());
            }
            if options.iter().any(|(other, _)| *other == key) {
                return Err(ParseError::Twice(key.into()));
            }
            options.push((key, value));
        }
        Ok(Self(options))
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let place = self.0.iter().position(|(other, _)| *other == key)?;
        Some(self.0.swap_remove(place).1)
    }

    /// How long a UDP flow may be silent.
    pub(super) fn timeout(&mut self) -> Result<Option<Duration>, ParseError> {
        self.take("timeout").map(timeout).transpose()
    }

    /// The permissions of a Unix socket.
    pub(super) fn mode(&mut self) -> Result<Option<u32>, ParseError> {
        self.take("mode").map(mode).transpose()
    }

    /// The header in front of each flow.
    pub(super) fn proxy(&mut self) -> Result<Option<ProxyHeader>, ParseError> {
        self.take("proxy").map(proxy_header).transpose()
    }

    /// The file that says who may use a proxy.
    pub(super) fn auth(&mut self) -> Option<&'a Path> {
        self.take("auth").map(Path::new)
    }

    /// Nothing is to be left; `takes` says what could have been there.
    pub(super) fn end(&self, takes: &'static str) -> Result<(), ParseError> {
        match self.0.first() {
            Some((key, _)) => Err(ParseError::Option(key.to_string(), takes)),
            None => Ok(()),
        }
    }
}

fn timeout(value: &str) -> Result<Duration, ParseError> {
    let seconds = value.parse().ok().filter(|s| (1..=MAX_TIMEOUT).contains(s));
    let takes = "seconds, from 1 to 86400";
    let seconds = seconds.ok_or_else(|| wrong("timeout", value, takes))?;
    Ok(Duration::from_secs(seconds))
}

fn mode(value: &str) -> Result<u32, ParseError> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(value, 8).ok();
    mode.filter(|mode| digits && *mode <= 0o777)
        .ok_or_else(|| wrong("mode", value, "permissions in octal, such as 0600 or 666"))
}

fn proxy_header(value: &str) -> Result<ProxyHeader, ParseError> {
    match value {
        "v1" => Ok(ProxyHeader::V1),
        "v2" => Ok(ProxyHeader::V2),
        _ => Err(wrong("proxy", value, "v1 or v2")),
    }
}

fn wrong(option: &'static str, value: &str, takes: &'static str) -> ParseError {
    ParseError::Value {
        option,
        value: value.to_owned(),
        takes,
    }
}
