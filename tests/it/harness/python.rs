//! Python and the packages that tests use.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::is_installed;

const PACKAGES: [&str; 2] = ["aioquic==1.7.2", "jsonschema==4.26.0"];

/// A Python with the packages, made on first use; none where that cannot be, unless it has to.
pub(crate) fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python");
        let python = dir.join("bin/python");
        let run = |command: &mut Command| {
            let status = command.stdout(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let usable = || run(Command::new(&python).args(["-c", "import aioquic, jsonschema"]));
        let install = ["-m", "pip", "install", "-q"];
        let made = is_installed("python3")
            && (usable()
                || run(Command::new("python3").args(["-m", "venv"]).arg(&dir))
                    && run(Command::new(&python).args(install).args(PACKAGES)));
        let required = std::env::var_os("RSTUN_TEST_ALL").is_some();
        assert!(made || !required, "there is no Python with {PACKAGES:?}");
        if !made {
            eprintln!("there is no Python with {PACKAGES:?}, nothing is shown");
        }
        made.then_some(python)
    };
    PYTHON.get_or_init(make).clone()
}
