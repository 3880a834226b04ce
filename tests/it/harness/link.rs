//! A link of a test's own, between a machine for the client and one for the server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::io::Errno;
use wan::{Conditions, Counts, Namespace};

use super::is_installed;
use super::tunnel::Mode;

/// Links that are up at once. What a test sees on its link is to be the link's doing, and a link with the
/// programs and the load at its ends keeps half a core busy.
const AT_ONCE: usize = 2;

/// A link, and the two machines at its ends. All is taken down when this is dropped.
pub(crate) struct Link {
    link: wan::Link,
    conditions: Conditions,
    client: Namespace,
    server: Namespace,
    _turn: Option<Turn>,
}

impl Link {
    /// A link with these conditions, as [`Conditions`] reads them. None where this machine gives us no
    /// means for that, after saying so.
    pub(crate) fn new(conditions: &str) -> Option<Self> {
        Self::with(conditions, Some(Turn::wait()))
    }

    /// The same for a test that waits for most of its time, and so disturbs no other.
    pub(crate) fn mostly_idle(conditions: &str) -> Option<Self> {
        Self::with(conditions, None)
    }

    fn with(conditions: &str, turn: Option<Turn>) -> Option<Self> {
        let conditions = conditions.parse().expect("a link's conditions");
        match Self::up(conditions, turn) {
            Ok(link) => Some(link),
            Err(error) => {
                let missing = Errno::from_io_error(&error).filter(|errno| {
                    [Errno::PERM, Errno::ACCESS, Errno::NOENT, Errno::NODEV].contains(errno)
                });
                assert!(missing.is_some(), "no link: {error}");
                say(&format!(
                    "SKIPPED, as it needs root and /dev/net/tun (or `unshare -rn`): {error}"
                ));
                None
            }
        }
    }

    fn up(conditions: Conditions, turn: Option<Turn>) -> io::Result<Self> {
        let client = Namespace::new()?;
        let server = Namespace::new()?;
        Ok(Self {
            link: wan::Link::new(&client, &server, conditions, 1)?,
            conditions,
            client,
            server,
            _turn: turn,
        })
    }

    /// From now on the conditions are those of the beginning but for `changes`.
    pub(crate) fn set(&self, changes: &str) {
        let conditions = self.conditions.with(changes);
        self.link.set(conditions.expect("a link's conditions"));
    }

    /// From now on no UDP arrives at either machine; false where there is no program to do that.
    pub(crate) fn block_udp(&self) -> bool {
        let rules = "table inet blocked { chain input { type filter hook input priority 0; \
                     meta l4proto udp drop; }; }";
        let installed = is_installed("nft");
        if installed {
            assert!(self.nft(rules), "no rules");
        }
        installed
    }

    /// Ends what [`Link::block_udp`] began.
    pub(crate) fn unblock_udp(&self) {
        assert!(self.nft("delete table inet blocked"), "no way back");
    }

    fn nft(&self, rules: &str) -> bool {
        let run = || {
            let mut nft = Command::new("sh");
            nft.args(["-c", "PATH=$PATH:/usr/sbin exec nft \"$1\"", "nft", rules]);
            nft.status().is_ok_and(|status| status.success())
        };
        self.at_client(run) && self.at_server(run)
    }

    /// What became of the packets so far, from the client and from the server.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        self.link.counts()
    }

    /// Runs `f` on the client's machine: its sockets and the programs that it starts are there.
    pub(crate) fn at_client<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.client.inside(f).expect("a thread in the namespace")
    }

    /// Runs `f` on the server's machine.
    pub(crate) fn at_server<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.server.inside(f).expect("a thread in the namespace")
    }

    /// Runs `f` on the machine where the visitors of a tunnel in this mode are.
    pub(crate) fn at_visitor<T: Send>(&self, mode: Mode, f: impl FnOnce() -> T + Send) -> T {
        match mode {
            Mode::Out => self.at_client(f),
            Mode::In => self.at_server(f),
        }
    }

    /// Runs `f` on the machine where the target of a tunnel in this mode is.
    pub(crate) fn at_target<T: Send>(&self, mode: Mode, f: impl FnOnce() -> T + Send) -> T {
        match mode {
            Mode::Out => self.at_server(f),
            Mode::In => self.at_client(f),
        }
    }

    /// An address of the server's machine that the client's reaches over the link, with a free port.
    pub(crate) fn server_addr() -> SocketAddr {
        (wan::RIGHT, 0).into()
    }
}

/// Tells what a test has measured: for whoever reads its output, also where it passes.
pub(crate) fn say(what: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    // Past the capture of print macros, which shows them for tests that fail alone.
    let _ = writeln!(io::stderr(), "{test}: {what}");
}

/// One of [`AT_ONCE`] permits.
struct Turn;

static TAKEN: Mutex<usize> = Mutex::new(0);
static RETURNED: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = RETURNED.wait_while(taken, |taken| *taken == AT_ONCE);
        *taken.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RETURNED.notify_one();
    }
}
