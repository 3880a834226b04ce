//! Files with secrets: refused if others can read them, and wiped from memory after use.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Most bytes of a file with a secret; a private key in PEM has some 3 KiB.
const MAX_LENGTH: usize = 64 * 1024;

/// Where systemd puts a service's credentials (systemd.exec(5), LoadCredential=).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Reads a whole file, if it is its owner's alone.
pub fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    // The file that is read is the one that is looked at, whatever becomes of the path.
    if !is_credential(path) {
        refuse_if_shared(&file)?;
    }
    read_all(file)
}

fn read_all(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    // All of it at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LENGTH + 1));
    file.take(MAX_LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_LENGTH {
        let what = format!("it has more than {MAX_LENGTH} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// Reads a text that may hold a secret, and says whether its file is its owner's alone.
pub fn read_text(path: &Path) -> io::Result<(Zeroizing<String>, io::Result<()>)> {
    let file = File::open(path)?;
    let alone = match is_credential(path) {
        true => Ok(()),
        false => refuse_if_shared(&file),
    };
    Ok((text(read_all(file)?)?, alone))
}

/// Reads a file's first line, without its end.
pub fn read_line(path: &Path) -> io::Result<Zeroizing<String>> {
    let text = text(read(path)?)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}

fn text(mut bytes: Zeroizing<Vec<u8>>) -> io::Result<Zeroizing<String>> {
    let text = String::from_utf8(std::mem::take(&mut *bytes));
    text.map(Zeroizing::new).map_err(|e| {
        drop(Zeroizing::new(e.into_bytes()));
        let what = "it holds bytes that are not UTF-8";
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// The file of a credential that systemd gave this service by that name. A blank one stands for none:
/// so our units have it where there is none to load.
pub fn credential(name: &str) -> Option<PathBuf> {
    let dir = std::env::var_os(CREDENTIALS_DIRECTORY)?;
    let path = Path::new(&dir).join(name);
    // What cannot be read is complained of by whoever wants to have it.
    let blank = read(&path).is_ok_and(|bytes| bytes.trim_ascii().is_empty());
    (path.exists() && !blank).then_some(path)
}

/// Whether systemd put it there. Then the directory is closed to others, and the file's mode says
/// nothing: it may be an access control list's.
fn is_credential(path: &Path) -> bool {
    let dir = std::env::var_os(CREDENTIALS_DIRECTORY);
    dir.is_some_and(|dir| !dir.is_empty() && path.parent() == Some(Path::new(&dir)))
}

#[cfg(unix)]
fn refuse_if_shared(file: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let mode = file.metadata()?.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!("it holds a secret, and others may use it (mode {mode:03o}); chmod 600 it");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

#[cfg(not(unix))]
fn refuse_if_shared(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owners_own_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, "hunter2\nand a comment\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match read_line(&path) {
                Ok(line) => assert!(fine && *line == "hunter2", "{mode:o}"),
                Err(e) => assert!(
                    !fine && e.to_string().contains("chmod 600"),
                    "{mode:o}: {e}"
                ),
            }
        }
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (length, fine) in [(MAX_LENGTH, true), (MAX_LENGTH + 1, false)] {
            write(&path, vec![b'x'; length]).unwrap();
            set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert_eq!(read(&path).is_ok(), fine, "{length}");
        }
    }
}
