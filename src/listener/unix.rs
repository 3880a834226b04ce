//! Unix sockets, which are files too: with permissions, and left behind by those who died.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};
use tokio::net::UnixListener;
use tracing::debug;

use super::{BACKLOG, Origin, Visitor};
use crate::socket::Socket;
use crate::tunnel::UnixPath;

/// A bound and listening Unix socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    path: UnixPath,
    /// Which file is ours: its device and inode.
    file: (u64, u64),
    /// Another process listens there too.
    left: AtomicBool,
}

impl Listener {
    /// Binds, in place of a socket that nobody listens on any more. Anything else that is there
    /// stays, and is an error.
    ///
    /// Nobody can connect before the permissions are right: until then the socket is bound, and
    /// refuses, for it does not listen yet.
    pub(super) fn bind(path: &UnixPath, mode: u32) -> io::Result<Self> {
        let file = path.as_path();
        remove_stale(file)?;
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(file)?)?;
        let ours = identify(file)?;
        fs::set_permissions(file, Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            inner: UnixListener::from_std(socket.into())?,
            path: path.clone(),
            file: ours,
            left: AtomicBool::new(false),
        })
    }

    /// Takes over a socket that listens at a path.
    pub(super) fn adopt(path: &UnixPath, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            inner: UnixListener::from_std(socket.into())?,
            path: path.clone(),
            file: identify(path.as_path())?,
            left: AtomicBool::new(false),
        })
    }

    /// Leaves the file where it is when this is dropped.
    pub(super) fn leave(&self) {
        self.left.store(true, Relaxed);
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    pub(super) fn path(&self) -> &UnixPath {
        &self.path
    }

    /// Waits for the next visitor. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Visitor> {
        let (socket, _) = self.inner.accept().await?;
        Ok(Visitor {
            socket: Socket::Unix(socket),
            from: Origin::Unix,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.left.load(Relaxed) {
            return;
        }
        let path = self.path.as_path();
        // Another program may have put its own in our place.
        if identify(path).is_ok_and(|file| file == self.file)
            && let Err(e) = fs::remove_file(path)
        {
            debug!("{} stays behind: {e}", self.path);
        }
    }
}

fn identify(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Removes a socket that nobody listens on, and says what is in the way if it is not one.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        let what = "a file that is no socket is there, and is left alone";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    // Without waiting: a listener whose queue is full is alive.
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net;

    use super::*;

    fn path(dir: &tempfile::TempDir) -> UnixPath {
        let path = dir.path().join("s");
        path.to_str().unwrap().parse().unwrap()
    }

    fn mode(path: &UnixPath) -> u32 {
        fs::symlink_metadata(path.as_path()).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_file_has_its_mode_and_goes_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        for wanted in [0o600, 0o666, 0o070] {
            let listener = Listener::bind(&path, wanted).unwrap();
            assert_eq!(mode(&path), wanted);
            drop(listener);
            assert!(!path.as_path().exists());
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        drop(net::UnixListener::bind(path.as_path()).unwrap());
        assert!(path.as_path().exists());
        let listener = Listener::bind(&path, 0o600).unwrap();
        let error = Listener::bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        net::UnixStream::connect(path.as_path()).unwrap();
        drop(listener);
    }

    #[tokio::test]
    async fn what_is_not_ours_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir);
        fs::write(path.as_path(), "precious").unwrap();
        assert!(Listener::bind(&path, 0o600).is_err());
        assert_eq!(fs::read(path.as_path()).unwrap(), b"precious");
        fs::remove_file(path.as_path()).unwrap();

        let listener = Listener::bind(&path, 0o600).unwrap();
        fs::rename(path.as_path(), dir.path().join("elsewhere")).unwrap();
        let other = net::UnixListener::bind(path.as_path()).unwrap();
        drop(listener);
        assert!(path.as_path().exists());
        drop(other);
    }
}
