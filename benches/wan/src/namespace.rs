//! Network namespaces: machines of their own, as far as their sockets can tell.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::device;

/// The calling thread's namespace, as a file.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace.
///
/// One that [`Namespace::new`] made has no name and leaves nothing behind: it is gone with this value and
/// the last of the sockets and programs in it, however these end.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes a namespace with a loopback device that is up, and nothing else.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Self> {
        on_a_thread(|| {
            // SAFETY: what is unsafe is to unshare descriptors, and this does not.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            device::bring_up("lo")?;
            Ok(Self(File::open(OWN)?))
        })
    }

    /// Opens a namespace that `ip netns add` has made.
    pub fn named(name: &str) -> io::Result<Self> {
        let namespace = Self(File::open(Path::new("/var/run/netns").join(name))?);
        namespace.inside(|| device::bring_up("lo"))??;
        Ok(namespace)
    }

    /// Runs `f` in the namespace, on a thread of its own. The sockets, threads and programs that it
    /// starts stay there. A panic of `f` goes on here.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(f())
        })
    }
}

/// Runs `f` on a thread that may change its namespace, as it ends right after.
fn on_a_thread<T: Send>(f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let ended = scope.spawn(f).join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
