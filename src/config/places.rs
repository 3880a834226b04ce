//! The directories of this program: the service's, if systemd names them, or else the user's.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use directories::ProjectDirs;

/// Where systemd says that a service's files are (systemd.exec(5), ConfigurationDirectory= and
/// StateDirectory=).
const CONFIGURATION_DIRECTORY: &str = "CONFIGURATION_DIRECTORY";
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Where the service's state is if nothing else is said to systemd.
const SERVICE_STATE: &str = "/var/lib/rstun";

/// Where a person writes files.
pub(super) fn configuration() -> Result<PathBuf> {
    let own = || user().map(|dirs| dirs.config_dir().to_owned());
    by_systemd(CONFIGURATION_DIRECTORY).map_or_else(own, Ok)
}

/// Where this program writes files.
pub(super) fn state() -> Result<PathBuf> {
    let own = || {
        user().map(|dirs| {
            let state = dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir());
            state.to_owned()
        })
    };
    by_systemd(STATE_DIRECTORY).map_or_else(own, Ok)
}

/// Where the files of a server are that has run: this user's own, or the service's.
pub(super) fn state_with(file: &str) -> Option<PathBuf> {
    let own = state().ok();
    let mut places = own.into_iter().chain([PathBuf::from(SERVICE_STATE)]);
    places.find(|place| place.join(file).exists())
}

/// What has to stand before a command for it to find the same directories.
pub(super) fn prefix() -> String {
    let named = [CONFIGURATION_DIRECTORY, STATE_DIRECTORY].map(|variable| {
        let value = by_systemd(variable)?;
        let usual = variable == STATE_DIRECTORY && value == Path::new(SERVICE_STATE);
        (!usual).then(|| format!("{variable}={} ", value.display()))
    });
    named.into_iter().flatten().collect()
}

fn by_systemd(variable: &str) -> Option<PathBuf> {
    let directories = env::var_os(variable).filter(|list| !list.is_empty())?;
    env::split_paths(&directories).next()
}

fn user() -> Result<ProjectDirs> {
    ProjectDirs::from("", "", "rstun").context("there is no home directory")
}
