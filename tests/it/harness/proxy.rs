//! A proxy that visitors ask for their targets.

use std::net::SocketAddr;

use super::tunnel::Mode;
use super::{Program, Site};

/// A server and a client with a proxy at one of them.
pub(crate) struct Proxy {
    pub(crate) server: Program,
    pub(crate) client: Program,
    /// Where visitors go in.
    pub(crate) entrance: SocketAddr,
}

/// What the server of every proxy lets its clients reach.
const DOWNSTREAM: [&str; 5] = [
    "127.0.0.0/8:1-65535",
    "udp://127.0.0.0/8:1-65535",
    "[::1]:1-65535",
    "255.255.255.255:9",
    "nowhere.invalid:80",
];

impl Proxy {
    /// One that is up and asks for no password.
    pub(crate) fn new(site: &Site, mode: Mode, scheme: &str) -> Self {
        Self::with(site, mode, scheme, "", &[])
    }

    /// The same with options behind its address and more arguments for the client.
    pub(crate) fn with(site: &Site, mode: Mode, scheme: &str, option: &str, more: &[&str]) -> Self {
        let web = site.unix("web.sock");
        let targets = DOWNSTREAM.iter().copied().chain([web.as_str()]);
        let args: Vec<&str> = targets.flat_map(|t| ["--downstream", t]).collect();
        let server = site.server_with("127.0.0.1:0", &[], &args);
        let (proxy, flag, announcement) = match mode {
            Mode::Out => (
                format!("{scheme}://127.0.0.1:0{option}"),
                "-D",
                ": listening on ",
            ),
            Mode::In => (
                format!("{scheme}^127.0.0.1:0{option}"),
                "-R",
                ": the server listens on ",
            ),
        };
        let args = [&[flag, &proxy], more].concat();
        let client = site.client(server.server_addr(), &args);
        client.line("connected to ");
        let entrance = client.addr(&format!("{proxy}{announcement}"));
        Self {
            server,
            client,
            entrance,
        }
    }

    /// One that is up, beside a tunnel by which the web server at `web.sock` can be reached through TCP too: it
    /// cannot be told to take any port that is free.
    pub(crate) fn beside_web(
        site: &Site,
        mode: Mode,
        scheme: &str,
        option: &str,
    ) -> (Self, SocketAddr) {
        let web = format!("127.0.0.1:0^{}", site.unix("web.sock"));
        let proxy = Self::with(site, mode, scheme, option, &["-L", &web]);
        let web = proxy
            .client
            .addr(&format!("TunnelOut {web}: listening on "));
        (proxy, web)
    }
}
