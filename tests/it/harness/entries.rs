//! A server whose clients have entries of their own.

use std::net::SocketAddr;
use std::process::Command;

use super::{Program, Site};

/// The file of `--clients` in a site.
pub(crate) const CLIENTS: &str = "clients.toml";

/// How a client of a test's shows who it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum By {
    Key,
    Secret,
}

impl Site {
    /// Makes a credential for `name`, and returns its entry with `more` lines in place of the empty lists.
    pub(crate) fn entry(&self, name: &str, by: By, more: &str) -> String {
        let mut keygen = self.command("rstun");
        keygen.args(["keygen", "--client", name]);
        if by == By::Secret {
            keygen.arg("--secret");
        }
        let made = self.run(&mut keygen);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let lines = made.stdout.lines();
        let lines = lines.filter(|line| !line.starts_with("listen") && !line.starts_with("reach"));
        let entry: Vec<_> = lines.collect();
        assert_eq!(entry.len(), 3, "{}", made.stdout);
        format!("{}\n{more}\n", entry.join("\n"))
    }

    /// Puts these entries in the place of the former ones, as an editor does.
    pub(crate) fn replace_entries(&self, entries: &[&str]) {
        self.write("clients.new", entries.concat());
        let replaced = std::fs::rename(self.path("clients.new"), self.path(CLIENTS));
        replaced.expect("a file renamed");
    }

    /// `rstund` for clients with entries alone, and more arguments.
    pub(crate) fn server_for(&self, entries: &[&str], more: &[&str]) -> Program {
        self.replace_entries(entries);
        let mut command = self.command("rstund");
        command.args(["--addr", "127.0.0.1:0", "--clients", CLIENTS]);
        command.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
        Program::start(command.args(more))
    }

    /// The command of `rstunc` as the client `name`, and more arguments.
    pub(crate) fn client_command(&self, server: SocketAddr, name: &str, by: By) -> Command {
        let mut command = self.command("rstunc");
        command.args(["--server-addr", &server.to_string()]);
        command.args(["--cert", "certificate.der"]);
        match by {
            By::Key => command.args(["--identity", &format!("{name}.pem")]),
            By::Secret => {
                let file = format!("{name}.secret");
                command.args(["--name", name, "--password-file", &file])
            }
        };
        command
    }

    /// `rstunc` as the client `name`, with more arguments.
    pub(crate) fn client_as(
        &self,
        server: SocketAddr,
        name: &str,
        by: By,
        more: &[impl AsRef<str>],
    ) -> Program {
        let mut command = self.client_command(server, name, by);
        Program::start(command.args(more.iter().map(AsRef::as_ref)))
    }
}
