//! A configuration that is read again, and what differs from before.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{Asked, ClientConfig, NotUnderstood, ServerConfig, settings};
use crate::cli::Command;
use crate::tunnel::Tunnel;

/// What a program was started with, to be read again.
#[derive(Clone, Debug)]
pub struct Source {
    args: Vec<OsString>,
    file: Option<PathBuf>,
}

/// What differs between two configurations of a server.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServerChanges {
    /// The certificate or its key.
    pub identity: bool,
    /// The password, or what those may do who know it.
    pub password: bool,
    /// All of it, for people.
    pub lines: Vec<String>,
}

/// What differs between two configurations of a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ClientChanges {
    /// Tunnels that there are to be.
    pub new: Vec<Tunnel>,
    /// Tunnels that there are to be no more.
    pub gone: Vec<Tunnel>,
    /// What logins are made by.
    pub login: bool,
    /// What else there is to tell people.
    pub lines: Vec<String>,
}

impl Source {
    /// Of a command line and what it was understood as.
    pub fn new(args: Vec<OsString>, asked: &Asked) -> Self {
        let file = asked.file.clone();
        Self { args, file }
    }

    /// The file that it comes from, or that it would if it were there.
    pub fn files(&self) -> Vec<PathBuf> {
        self.file.iter().cloned().collect()
    }

    /// What a server is told now, or all that is wrong with it.
    pub fn server(&self) -> Result<ServerConfig> {
        self.read(|command| match command {
            Command::Server(mut flags) => {
                flags.password.never_ask = true;
                Some(ServerConfig::new(flags))
            }
            _ => None,
        })
    }

    /// What a client is told now, or all that is wrong with it.
    pub fn client(&self) -> Result<ClientConfig> {
        self.read(|command| match command {
            Command::Client(mut flags) => {
                flags.credential.password.never_ask = true;
                Some(ClientConfig::new(flags))
            }
            _ => None,
        })
    }

    fn read<T>(&self, make: impl FnOnce(Command) -> Option<Result<T>>) -> Result<T> {
        let asked = match settings::read(self.args.iter().cloned()) {
            Ok(asked) => asked,
            Err(NotUnderstood::CommandLine(e)) => bail!(crate::cli::explain(&e)),
            Err(NotUnderstood::Settings(e)) => return Err(e),
        };
        match make(asked.cli.command) {
            Some(made) => made.map_err(|e| asked.origins.explain(&e)),
            None => bail!("the command line is of another program"),
        }
    }
}

impl ServerConfig {
    /// What differs in another configuration.
    pub fn changes(&self, new: &Self) -> ServerChanges {
        let identity = !self.identity.is(&new.identity);
        let password = match (&self.password, &new.password) {
            (Some((old, may)), Some((new, may_now))) => !old.is(new) || may != may_now,
            (None, None) => false,
            _ => true,
        };
        let mut lines = Vec::new();
        if identity {
            let fingerprint = new.identity.fingerprint();
            lines.push(format!(
                "new connections get the certificate with SHA-256 {fingerprint}"
            ));
        }
        if password {
            lines.push("the password, or what those may do who know it, has changed".to_owned());
        }
        let path = |config: &Self| config.clients.as_ref().map(|file| file.path().to_owned());
        lines.extend(restart(&[
            ("--addr", self.addr != new.addr),
            ("--clients", path(self) != path(new)),
            (
                "--congestion",
                self.tuning.congestion != new.tuning.congestion,
            ),
            (
                "--idle-timeout",
                self.tuning.idle_timeout != new.tuning.idle_timeout,
            ),
            ("--drain", self.drain != new.drain),
            ("--udp-timeout", self.udp_idle != new.udp_idle),
            ("--metrics or --health", self.web != new.web),
            ("--allow-bench", self.allow_bench != new.allow_bench),
        ]));
        ServerChanges {
            identity,
            password,
            lines,
        }
    }
}

impl ClientConfig {
    /// What differs in another configuration.
    pub fn changes(&self, new: &Self) -> ClientChanges {
        let (gone, added) = differ(&self.tunnels, &new.tunnels);
        let addrs = |config: &Self| -> Vec<_> {
            let servers = config.servers.iter();
            servers.map(|server| server.addr.clone()).collect()
        };
        // Other servers need a restart, and what is shown to those is not for these.
        let same_servers = addrs(self) == addrs(new);
        let trust = same_servers && self.trust().to_string() != new.trust().to_string();
        let credential = same_servers && !self.credential.is(&new.credential);
        let mut lines = Vec::new();
        for (what, changed) in [
            ("what the server is trusted by", trust),
            ("what the client shows for itself", credential),
        ] {
            if changed {
                lines.push(format!("{what} has changed: logging in anew"));
            }
        }
        lines.extend(restart(&[
            ("--server-addr", !same_servers),
            ("--all-servers", self.all_servers != new.all_servers),
            (
                "--congestion",
                self.tuning.congestion != new.tuning.congestion,
            ),
            (
                "--idle-timeout",
                self.tuning.idle_timeout != new.tuning.idle_timeout,
            ),
            ("--drain", self.drain != new.drain),
            ("--udp-timeout", self.udp_idle != new.udp_idle),
            ("--metrics or --health", self.web != new.web),
        ]));
        ClientChanges {
            new: added,
            gone,
            login: trust || credential,
            lines,
        }
    }
}

/// A line for each of these flags that has changed and cannot without a restart.
fn restart(flags: &[(&str, bool)]) -> Vec<String> {
    let changed = flags.iter().filter(|(_, changed)| *changed);
    let line = |(flag, _): &(&str, bool)| format!("{flag} has changed, which needs a restart");
    changed.map(line).collect()
}

/// What is only in the first of two lists, and what is only in the second. What is in one twice and in
/// the other once is left once.
fn differ<T: Clone + PartialEq>(old: &[T], new: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut gone, mut added) = (old.to_vec(), Vec::new());
    for item in new {
        match gone.iter().position(|known| known == item) {
            Some(at) => drop(gone.remove(at)),
            None => added.push(item.clone()),
        }
    }
    (gone, added)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_change_is_told_by_its_flag() {
        assert_eq!(
            restart(&[("--addr", true), ("--drain", false)]),
            ["--addr has changed, which needs a restart"]
        );
    }

    proptest! {
        /// The old list without what is gone and with what is new is the new one, in some order, and
        /// nothing is both gone and new.
        #[test]
        fn differences_lead_from_one_to_the_other(
            old in prop::collection::vec(0u8..6, 0..12),
            new in prop::collection::vec(0u8..6, 0..12),
        ) {
            let (gone, added) = differ(&old, &new);
            prop_assert!(added.iter().all(|item| !gone.contains(item)));
            let mut made = old;
            for item in &gone {
                let at = made.iter().position(|known| known == item);
                made.remove(at.expect("what is gone was there"));
            }
            made.extend(added);
            let mut wanted = new;
            made.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(made, wanted);
        }

        #[test]
        fn the_same_differs_in_nothing(list in prop::collection::vec(0u8..6, 0..12)) {
            prop_assert_eq!(differ(&list, &list), (vec![], vec![]));
        }
    }
}
