//! All that a server listens on for its clients: so that it can be passed on to a process that takes
//! its place, and be taken over from one.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Listener;
use crate::tunnel::Listen;

/// What is listened on, and what may be.
#[derive(Debug, Default)]
pub struct Ports(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// In use, with whose they are.
    open: Vec<(String, Weak<Listener>)>,
    /// Taken over, and not asked for yet: by whose they are and where.
    inherited: HashMap<(String, String), OwnedFd>,
}

impl Ports {
    /// Binds what a client's tunnel is to listen on, or takes it over from a process before, if it
    /// was this client's there. Must be called within a runtime.
    pub fn bind(&self, owner: &str, listen: &Listen) -> io::Result<Arc<Listener>> {
        let mut known = self.lock();
        let mut places = places(listen).into_iter();
        let inherited = places.find_map(|place| known.inherited.remove(&(owner.to_owned(), place)));
        let listener = Arc::new(match inherited {
            Some(socket) => Listener::adopt(listen, socket)?,
            None => Listener::bind(listen)?,
        });
        known
            .open
            .retain(|(_, listener)| listener.strong_count() > 0);
        known
            .open
            .push((owner.to_owned(), Arc::downgrade(&listener)));
        Ok(listener)
    }

    /// All that is listened on, to be passed on: whose it is, where it is, and the socket. The other
    /// process has it from then on, whatever becomes of it here.
    pub fn pass_on(&self) -> io::Result<Vec<(String, String, OwnedFd)>> {
        let known = self.lock();
        let open = known.open.iter();
        let open = open.filter_map(|(owner, listener)| Some((owner, listener.upgrade()?)));
        open.map(|(owner, listener)| {
            listener.leave();
            let socket = listener.as_fd().try_clone_to_owned()?;
            Ok((owner.clone(), place(&listener), socket))
        })
        .collect()
    }

    /// Keeps a socket for the client that had it.
    pub fn inherit(&self, owner: String, place: String, socket: OwnedFd) {
        self.lock().inherited.insert((owner, place), socket);
    }

    /// Closes what nobody has asked for.
    pub fn forget(&self) {
        self.lock().inherited.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a socket listens, as one process tells it another.
fn place(listener: &Listener) -> String {
    let scheme = match listener {
        Listener::Tcp(_) => "tcp",
        Listener::Unix(_) => "unix",
        Listener::Udp(_) => "udp",
    };
    format!("{scheme} {listener}")
}

/// Where a tunnel may listen already.
fn places(listen: &Listen) -> Vec<String> {
    let scheme = match listen {
        Listen::Udp { .. } => "udp",
        Listen::Unix { path, .. } => return vec![format!("unix {path}")],
        _ => "tcp",
    };
    let Some(addr) = listen.addr() else {
        return Vec::new();
    };
    let addrs = match addr.ip {
        Some(ip) => vec![ip],
        None => vec![
            std::net::Ipv6Addr::UNSPECIFIED.into(),
            std::net::Ipv4Addr::UNSPECIFIED.into(),
        ],
    };
    let addrs = addrs.into_iter();
    addrs
        .map(|ip| format!("{scheme} {}", std::net::SocketAddr::new(ip, addr.port)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::tunnel::{Direction, Tunnel};

    fn listen(remote: &str) -> Listen {
        let mut tunnels = Tunnel::parse(Direction::In, &format!("1^{remote}")).unwrap();
        tunnels.remove(0).listen
    }

    #[tokio::test]
    async fn what_is_passed_on_is_its_owners_and_never_refuses() {
        let (old, new) = (Ports::default(), Ports::default());
        let listener = old.bind("a", &listen("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let same = listen(&addr.to_string());
        for (owner, place, socket) in old.pass_on().unwrap() {
            new.inherit(owner, place, socket);
        }
        drop(listener);
        let waiting = TcpStream::connect(addr).unwrap();
        let refused = new.bind("b", &same).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        let listener = new.bind("a", &same).unwrap();
        listener.accept().await;
        assert_eq!(listener.local_addr(), Some(addr));
        drop((listener, waiting));
        assert!(new.pass_on().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_unix_sockets_file_outlives_the_process_that_passed_it_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s").display().to_string();
        let listen = listen(&format!("unix://{path}"));
        let (old, new) = (Ports::default(), Ports::default());
        let listener = old.bind("a", &listen).unwrap();
        for (owner, place, socket) in old.pass_on().unwrap() {
            new.inherit(owner, place, socket);
        }
        drop(listener);
        let listener = new.bind("a", &listen).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!std::path::Path::new(&path).exists());
    }
}
