//! Where control sockets are.

use std::env;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use rustix::process::geteuid;

/// Where systemd makes the runtime directories of services of the system.
const SYSTEM: &str = "/run";

/// Where the runtime directories of users are.
const USERS: &str = "/run/user";

/// The directory for a control socket of ours: that of the service that we are, or one in the user's
/// runtime directory, or else one for this user among the temporary files. It is made if it is not
/// there, and refused if others may enter it.
pub(super) fn own() -> io::Result<PathBuf> {
    let mut refused = None;
    for place in Place::candidates() {
        match place.make() {
            Ok(()) => return place.check().map(|()| place.dir),
            // After --user the environment is still another's, and leads where we may not go.
            Err(e) => refused = refused.or(Some(e)),
        }
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// All directories in which programs may have their sockets that this user may ask.
pub(super) fn all() -> Vec<PathBuf> {
    let ours = Place::candidates().into_iter();
    let ours = ours.filter(|place| place.check().is_ok());
    let mut dirs: Vec<_> = ours.map(|place| place.dir).collect();
    dirs.extend(children(SYSTEM).filter(|dir| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        name == "rstun" || name.starts_with("rstun-")
    }));
    if geteuid().is_root() {
        dirs.extend(children(USERS).map(|dir| dir.join("rstun")));
    }
    dirs.sort();
    dirs.dedup();
    dirs
}

/// Where a socket of ours may be.
struct Place {
    dir: PathBuf,
    /// Permissions that it must not have.
    forbidden: u32,
}

impl Place {
    /// The best first.
    fn candidates() -> Vec<Self> {
        let ours_alone = |dir| Self {
            dir,
            forbidden: 0o077,
        };
        let service = env::var_os("RUNTIME_DIRECTORY");
        let service = service.and_then(|dirs| env::split_paths(&dirs).next());
        // Systemd makes it, and lets all look into it; the sockets themselves are their owner's.
        let service = service.map(|dir| Self {
            dir,
            forbidden: 0o022,
        });
        let user = ProjectDirs::from("", "", "rstun");
        let user = user.and_then(|dirs| dirs.runtime_dir().map(Path::to_owned));
        let temporary = env::temp_dir().join(format!("rstun-{}", geteuid().as_raw()));
        let others = user.into_iter().chain([temporary]).map(ours_alone);
        service.into_iter().chain(others).collect()
    }

    fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn check(&self) -> io::Result<()> {
        let found = self.dir.symlink_metadata()?;
        let ours = found.uid() == geteuid().as_raw() && found.mode() & self.forbidden == 0;
        if found.is_dir() && ours {
            return Ok(());
        }
        let what = format!(
            "{} is not a directory of this user's alone",
            self.dir.display()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
    }
}

fn children(dir: &str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}
