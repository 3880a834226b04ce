//! Another user to go on as, once the sockets that need more rights are there.

#[cfg(target_vendor = "apple")]
use std::ffi::CStr;
use std::ffi::CString;

use anyhow::{Context, Result, anyhow};
#[cfg(not(target_vendor = "apple"))]
use nix::unistd::initgroups as take_groups;
use nix::unistd::{User, geteuid, setgid, setuid};

/// A user of this system.
#[derive(Debug)]
pub struct Account(User);

impl Account {
    /// Looks a user up by name.
    pub fn find(name: &str) -> Result<Self> {
        let user = User::from_name(name).with_context(|| format!("cannot look up user {name}"))?;
        user.map(Self)
            .ok_or_else(|| anyhow!("there is no user {name} here"))
    }

    /// Goes on as this user and its groups, in all threads and for good: every capability is gone
    /// with it.
    pub fn assume(&self) -> Result<()> {
        let Self(user) = self;
        if geteuid() == user.uid {
            return Ok(());
        }
        let name = CString::new(user.name.as_str())?;
        // The user last: it takes away the right to change the groups.
        take_groups(&name, user.gid)
            .and_then(|()| setgid(user.gid))
            .and_then(|()| setuid(user.uid))
            .with_context(|| format!("cannot go on as user {}; only root can", user.name))
    }
}

/// Apple's systems keep groups elsewhere than in the process, and have launchd start it as another user.
#[cfg(target_vendor = "apple")]
fn take_groups(_: &CStr, _: nix::unistd::Gid) -> nix::Result<()> {
    Err(nix::errno::Errno::ENOTSUP)
}
