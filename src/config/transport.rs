//! What a client was told of the way to its server.

use std::env;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::cli::{self, TransportFlags};
use crate::transport::Proxy;
use crate::tunnel::HostPort;

/// The variables that tell of a proxy, as curl has them: either case, the lower one first.
const HTTPS_PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The ways to a server that may be taken.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Whether QUIC may carry the connection.
    pub quic: bool,
    /// Whether TCP may, and through which proxy.
    pub tcp: Option<Option<Arc<Proxy>>>,
}

impl Ways {
    /// Those that lead straight to a server.
    pub fn straight(by: cli::Transport) -> Self {
        Self {
            quic: by != cli::Transport::Tcp,
            tcp: (by != cli::Transport::Quic).then_some(None),
        }
    }
}

/// The ways that the flags, and for a proxy the environment, leave to a server.
pub(super) fn ways(flags: &TransportFlags, server: &HostPort) -> Result<Ways> {
    let mut ways = Ways::straight(flags.by);
    match &mut ways.tcp {
        None => ensure!(
            flags.proxy.is_none(),
            "--proxy is for TCP, which --transport quic leaves out"
        ),
        Some(proxy) => {
            let found = match &flags.proxy {
                Some(url) => Some(Proxy::new(&url.0).context("--proxy")?),
                None => from_environment(server)?,
            };
            *proxy = found.map(Arc::new);
        }
    }
    Ok(ways)
}

fn from_environment(server: &HostPort) -> Result<Option<Proxy>> {
    let find = |names: [&'static str; 2]| {
        let found = names
            .into_iter()
            .filter_map(|name| Some((name, env::var(name).ok()?)));
        found.into_iter().find(|(_, value)| !value.is_empty())
    };
    let Some((name, url)) = find(HTTPS_PROXY) else {
        return Ok(None);
    };
    let left_out = find(NO_PROXY).map(|(_, hosts)| hosts).unwrap_or_default();
    let host = server.host.to_string();
    Proxy::from_environment(&url, &left_out, &host).context(name)
}
