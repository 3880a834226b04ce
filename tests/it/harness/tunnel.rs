//! A server and a client joined by one tunnel, in either mode.

use std::net::{SocketAddr, TcpStream};

#[cfg(target_os = "linux")]
use super::link::Link;
use super::nat::Nat;
use super::sockets::{Target, join};
use super::{Program, Site};

/// Runs a test function that takes a [`Mode`] once in each: `name::tunnel_out` and `name::tunnel_in`.
macro_rules! in_both_modes {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::harness::tunnel::Mode;

            #[test]
            fn tunnel_out() {
                super::$name(Mode::Out);
            }

            #[test]
            fn tunnel_in() {
                super::$name(Mode::In);
            }
        }
    )+};
}
pub(crate) use in_both_modes;

/// The direction of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// TunnelOut: the client listens.
    Out,
    /// TunnelIn: the server listens.
    In,
}

impl Mode {
    /// The arguments for a tunnel to `target` whose entrance is a free port of 127.0.0.1.
    pub(crate) fn args(self, target: SocketAddr) -> [String; 2] {
        match self {
            Self::Out => ["-L".into(), format!("127.0.0.1:0^{target}")],
            Self::In => ["-R".into(), format!("{target}^127.0.0.1:0")],
        }
    }

    /// What stands before the entrance's address in the client's log.
    pub(crate) fn announcement(self, target: SocketAddr) -> String {
        match self {
            Self::Out => format!("TunnelOut 127.0.0.1:0^{target}: listening on "),
            Self::In => format!("TunnelIn {target}^127.0.0.1:0: the server listens on "),
        }
    }
}

/// A server and a client with one tunnel to a target of the test's own.
pub(crate) struct Tunnel {
    /// Where both run.
    pub(crate) site: Site,
    /// `rstund`.
    pub(crate) server: Program,
    /// The server's address.
    pub(crate) server_addr: SocketAddr,
    /// `rstunc`.
    pub(crate) client: Program,
    /// Where visitors go in.
    pub(crate) entrance: SocketAddr,
    /// Where they come out.
    pub(crate) target: Target,
    /// Which side listens.
    pub(crate) mode: Mode,
}

impl Tunnel {
    /// A tunnel that is up.
    pub(crate) fn new(mode: Mode) -> Self {
        Self::with(mode, &[])
    }

    /// A tunnel that is up, between programs that both got `args` too.
    pub(crate) fn with(mode: Mode, args: &[&str]) -> Self {
        Self::with_server(mode, &[], args)
    }

    /// A tunnel that is up, between programs that both got `both`, and the server also `server`.
    pub(crate) fn with_server(mode: Mode, server: &[&str], both: &[&str]) -> Self {
        let target = Target::new();
        let site = Site::new();
        let args = [server, both].concat();
        let server = site.server_with("127.0.0.1:0", &[target.addr()], &args);
        Self::joined(site, server, target, mode, both)
    }

    /// A tunnel that is up, over a link.
    #[cfg(target_os = "linux")]
    pub(crate) fn over(link: &Link, mode: Mode) -> Self {
        Self::over_with(link, mode, &[])
    }

    /// The same, whose client got `args` too.
    #[cfg(target_os = "linux")]
    pub(crate) fn over_with(link: &Link, mode: Mode, args: &[&str]) -> Self {
        let site = Site::new();
        let target = link.at_target(mode, Target::new);
        let targets = [target.addr()];
        let server = link.at_server(|| site.server_with(Link::server_addr(), &targets, &[]));
        link.at_client(|| Self::joined(site, server, target, mode, args))
    }

    /// A tunnel that is up, through something between the client and the server.
    pub(crate) fn through(mode: Mode, between: impl FnOnce(SocketAddr) -> Nat) -> (Self, Nat) {
        let target = Target::new();
        let site = Site::new();
        let server = site.server(&[target.addr()]);
        let nat = between(server.server_addr());
        let tunnel = Self::joined_at(site, server, nat.addr(), target, mode, &[]);
        (tunnel, nat)
    }

    /// Joins a client to a server.
    fn joined(site: Site, server: Program, target: Target, mode: Mode, args: &[&str]) -> Self {
        let server_addr = server.server_addr();
        Self::joined_at(site, server, server_addr, target, mode, args)
    }

    /// As [`Tunnel::joined`], where the client finds the server at `server_addr`.
    fn joined_at(
        site: Site,
        server: Program,
        server_addr: SocketAddr,
        target: Target,
        mode: Mode,
        args: &[&str],
    ) -> Self {
        let tunnel = mode.args(target.addr());
        let mut args = args.to_vec();
        args.extend(tunnel.iter().map(String::as_str));
        let client = site.client(server_addr, &args);
        let entrance = client.entrance(&mode.announcement(target.addr()));
        Self {
            site,
            server,
            server_addr,
            client,
            entrance,
            target,
            mode,
        }
    }

    /// A new flow: the visitor's end and the target's, both seen to work.
    pub(crate) fn flow(&self) -> (TcpStream, TcpStream) {
        join(self.entrance, &self.target)
    }
}
