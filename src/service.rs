//! `rstun service`: writes our units for systemd and has it take them up.
//!
//! Each step is done again however often it is asked for, and says what it did.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use directories::BaseDirs;

use crate::cli::{ServiceAction, ServiceFlags, ServiceProgram, UnitFlags};

/// Where a program is in our units, and in packages.
const PACKAGED: &str = "/usr/bin/rstun";

/// Where an administrator's units are, and where packages have theirs.
const UNITS: &str = "/etc/systemd/system";
const UNITS_OF_PACKAGES: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// What our units keep from a service of the system's, for others' secrets are there.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// What is to be run as a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The server.
    Server,
    /// The client of this name.
    Client(String),
}

/// Whose service it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This system's.
    System,
    /// This user's.
    User,
    /// That of a system that does not run, whose root directory is here.
    Root(PathBuf),
}

/// A service, to be installed or uninstalled.
#[derive(Clone, Debug)]
pub struct Service {
    /// What it runs.
    pub program: Program,
    /// Whose it is.
    pub scope: Scope,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// Does what was asked for.
pub fn run(flags: ServiceFlags) -> Result<()> {
    match flags.action {
        ServiceAction::Install(flags) => Service::from(flags).install(),
        ServiceAction::Uninstall(flags) => Service::from(flags).uninstall(),
    }
}

impl From<UnitFlags> for Service {
    fn from(flags: UnitFlags) -> Self {
        Self {
            program: match flags.program {
                ServiceProgram::Server => Program::Server,
                ServiceProgram::Client => Program::Client(flags.name),
            },
            scope: match flags.root {
                Some(root) => Scope::Root(root),
                None if flags.user => Scope::User,
                None => Scope::System,
            },
            dry_run: flags.dry_run,
        }
    }
}

impl Service {
    /// Writes the unit, enables it, and starts it if it has what it needs.
    pub fn install(&self) -> Result<()> {
        self.check_rights("install")?;
        let unit = self.unit(&self.executable()?);
        let file = self.units()?.join(self.file_name());
        match self.packaged() {
            // It was installed with the program.
            Some(packaged) if unit == self.text() => self.say(format!("{packaged} is there")),
            _ => self.write(&file, &unit)?,
        }
        self.reload()?;
        let started = self.has_configuration() && !matches!(self.scope, Scope::Root(_));
        match started && is_running_here() {
            true => self.systemctl(&["enable", "--now", &self.name()])?,
            false => self.systemctl(&["enable", &self.name()])?,
        }
        self.say_next(started)
    }

    /// Stops the service, and takes its unit away unless it is a package's or another's too.
    pub fn uninstall(&self) -> Result<()> {
        self.check_rights("uninstall")?;
        let file = self.units()?.join(self.file_name());
        if !file.exists() && self.packaged().is_none() {
            self.say(format!("{} is not there", file.display()));
            return Ok(());
        }
        match matches!(self.scope, Scope::Root(_)) || !is_running_here() {
            true => self.systemctl(&["disable", &self.name()])?,
            false => self.systemctl(&["disable", "--now", &self.name()])?,
        }
        if file.exists() && !self.has_siblings()? {
            self.say(format!("removed {}", file.display()));
            if !self.dry_run {
                fs::remove_file(&file).with_context(|| file.display().to_string())?;
            }
        }
        self.reload()?;
        let configuration = self.configuration()?;
        self.say(format!("{} stays", configuration.display()));
        Ok(())
    }

    /// The unit's text, for the program at its place in a package.
    fn text(&self) -> &'static str {
        match (&self.program, &self.scope) {
            (Program::Server, Scope::User) => {
                include_str!("../systemd/user/rstun-server.service")
            }
            (Program::Client(_), Scope::User) => {
                include_str!("../systemd/user/rstun-client@.service")
            }
            (Program::Server, _) => include_str!("../systemd/rstun-server.service"),
            (Program::Client(_), _) => include_str!("../systemd/rstun-client@.service"),
        }
    }

    fn unit(&self, executable: &str) -> String {
        let (packaged, here) = (format!("={PACKAGED} "), format!("={executable} "));
        self.text().replace(&packaged, &here)
    }

    fn file_name(&self) -> &'static str {
        match self.program {
            Program::Server => "rstun-server.service",
            Program::Client(_) => "rstun-client@.service",
        }
    }

    /// What systemd calls it.
    fn name(&self) -> String {
        match &self.program {
            Program::Server => "rstun-server.service".to_owned(),
            Program::Client(name) => format!("rstun-client@{name}.service"),
        }
    }

    /// Where its unit goes.
    fn units(&self) -> Result<PathBuf> {
        Ok(match &self.scope {
            Scope::System => PathBuf::from(UNITS),
            Scope::User => user_configuration()?.join("systemd/user"),
            Scope::Root(root) => within(root, UNITS),
        })
    }

    /// The unit that a package has installed, if one has.
    fn packaged(&self) -> Option<String> {
        let root = match &self.scope {
            Scope::System => Path::new("/"),
            Scope::Root(root) => root,
            Scope::User => return None,
        };
        let units = UNITS_OF_PACKAGES.map(|dir| within(root, dir).join(self.file_name()));
        let found = units.into_iter().find(|unit| unit.exists())?;
        Some(found.display().to_string())
    }

    /// Where its options are.
    fn configuration(&self) -> Result<PathBuf> {
        let dir = match &self.scope {
            Scope::System => PathBuf::from("/etc/rstun"),
            Scope::User => user_configuration()?.join("rstun"),
            Scope::Root(root) => within(root, "/etc/rstun"),
        };
        Ok(match &self.program {
            Program::Server => dir.join("server.toml"),
            Program::Client(name) => dir.join(name).join("client.toml"),
        })
    }

    /// Whether there is all that it needs to run; a server needs nothing.
    fn has_configuration(&self) -> bool {
        let configured = || self.configuration().is_ok_and(|file| file.exists());
        self.program == Program::Server || configured()
    }

    /// The program that the unit is to start.
    fn executable(&self) -> Result<String> {
        if matches!(self.scope, Scope::Root(_)) {
            return Ok(PACKAGED.to_owned());
        }
        let path = std::env::current_exe().context("where this program is cannot be found")?;
        if self.scope == Scope::System {
            check_visible(&path)?;
        }
        let text = path
            .to_str()
            .filter(|path| !path.contains([' ', '%', '$', '\\', '"', '\'']));
        let text = text.with_context(|| format!("{}: no path for a unit", path.display()))?;
        Ok(text.to_owned())
    }

    fn check_rights(&self, action: &str) -> Result<()> {
        let needed = self.scope == Scope::System && !self.dry_run;
        ensure!(
            !needed || rustix::process::geteuid().is_root(),
            "services of the system are root's: sudo rstun service {action} ..., or give --user for \
             a service of this user's"
        );
        Ok(())
    }

    /// Whether other clients have the same template for their unit.
    fn has_siblings(&self) -> Result<bool> {
        let Program::Client(_) = self.program else {
            return Ok(false);
        };
        let own = self.name();
        let wants = fs::read_dir(self.units()?)?.flatten();
        let wants = wants.filter(|entry| entry.path().extension().is_some_and(|e| e == "wants"));
        let mut names = wants
            .flat_map(|dir| fs::read_dir(dir.path()).into_iter().flatten().flatten())
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.any(|name| name.starts_with("rstun-client@") && name != own))
    }

    fn write(&self, file: &Path, text: &str) -> Result<()> {
        let shown = file.display();
        let there = match fs::read_to_string(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            there => Some(there.with_context(|| shown.to_string())?),
        };
        if there.as_deref() == Some(text) {
            self.say(format!("{shown} is there"));
        } else {
            let done = if there.is_some() { "replaced" } else { "wrote" };
            self.say(format!("{done} {shown}"));
            if self.dry_run {
                print!("{text}");
                return Ok(());
            }
            if let Some(dir) = file.parent() {
                fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            }
            fs::write(file, text).with_context(|| shown.to_string())?;
        }
        Ok(())
    }

    /// Has systemd read the units again, if it is here to do so.
    fn reload(&self) -> Result<()> {
        match self.scope {
            Scope::Root(_) => Ok(()),
            _ if !is_running_here() => Ok(()),
            _ => self.systemctl(&["daemon-reload"]),
        }
    }

    fn systemctl(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new("systemctl");
        match &self.scope {
            Scope::System => {}
            Scope::User => {
                command.arg("--user");
            }
            Scope::Root(root) => {
                command.arg("--root").arg(root);
            }
        }
        command.args(args);
        let words: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        let shown = format!("systemctl {}", words.join(" "));
        self.say(shown.clone());
        if self.dry_run {
            return Ok(());
        }
        let status = command.status().with_context(|| shown.clone())?;
        if !status.success() {
            bail!("`{shown}` failed; it says above why");
        }
        Ok(())
    }

    /// Says what is left for a person to do.
    fn say_next(&self, started: bool) -> Result<()> {
        let (name, configuration) = (self.name(), self.configuration()?);
        let (user, file) = (self.scope == Scope::User, configuration.display());
        let flag = if user { " --user" } else { "" };
        if !started && !matches!(self.scope, Scope::Root(_)) {
            println!("write its options into {file}, then: systemctl{flag} start {name}");
        } else if !is_running_here() {
            println!("systemd does not run here; the service starts where it does");
        } else {
            println!("its log: journalctl{flag} -u {name}");
        }
        if user {
            println!("to have it run while you are not logged in: loginctl enable-linger");
        }
        Ok(())
    }

    fn say(&self, what: impl fmt::Display) {
        match self.dry_run {
            true => println!("dry run: {what}"),
            false => println!("{what}"),
        }
    }
}

/// Fails for a program that a service of the system's would not see.
fn check_visible(path: &Path) -> Result<()> {
    if let Some(hidden) = HIDDEN.into_iter().find(|hidden| path.starts_with(hidden)) {
        let path = path.display();
        bail!(
            "services do not see {hidden}; put the program where they do, and call it there: sudo \
             install {path} /usr/local/bin/rstun && sudo /usr/local/bin/rstun service install ..."
        );
    }
    Ok(())
}

fn user_configuration() -> Result<PathBuf> {
    let dirs = BaseDirs::new().context("--user: there is no home directory")?;
    Ok(dirs.config_dir().to_owned())
}

/// What has this path in a system whose root directory is elsewhere.
fn within(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Whether systemd is what runs this machine.
fn is_running_here() -> bool {
    sd_notify::booted().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(program: Program, scope: Scope) -> Service {
        Service {
            program,
            scope,
            dry_run: false,
        }
    }

    #[test]
    fn units_start_this_program() {
        for scope in [Scope::System, Scope::User] {
            for (program, line) in [
                (
                    Program::Server,
                    "ExecStart=/opt/rstun server $RSTUN_OPTIONS",
                ),
                (
                    Program::Client("a".into()),
                    "ExecStart=/opt/rstun client $RSTUN_OPTIONS",
                ),
            ] {
                let unit = service(program, scope.clone()).unit("/opt/rstun");
                assert!(unit.lines().any(|l| l == line), "{unit}");
                assert!(!unit.contains(PACKAGED));
            }
        }
    }

    #[test]
    fn programs_that_a_service_does_not_see_are_refused() {
        for path in ["/usr/bin/rstun", "/opt/rstun", "/homes/rstun"] {
            assert!(check_visible(Path::new(path)).is_ok(), "{path}");
        }
        for path in ["/root/.cargo/bin/rstun", "/home/a/rstun", "/tmp/rstun"] {
            let error = check_visible(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(&format!("install {path} ")), "{error}");
        }
    }
}
