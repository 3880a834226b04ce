//! What `rstun connect` is to do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    ClientConfig, DEFAULT_PORT, UDP_IDLE, credential, transport::ways, trust::trust, tuning,
};
use crate::cli::{ConnectFlags, IdleFlags};
use crate::tls::Trust;
use crate::tunnel::{Direction, HostPort, Listen, Target, Tunnel};

/// One flow to carry, through a client that runs already or through a connection of its own.
#[derive(Debug)]
pub struct ConnectConfig {
    /// What to connect to.
    pub target: Target,
    /// The server to go through; none for that of the client that runs.
    pub server: Option<HostPort>,
    /// What makes the server the right one, as far as that was said.
    pub trust: Option<Trust>,
    flags: ConnectFlags,
}

impl ConnectConfig {
    /// Checks what was typed, as far as it is needed for going through a client that runs.
    pub fn new(flags: ConnectFlags) -> Result<Self> {
        let target: Target = flags
            .target
            .parse()
            .with_context(|| format!("target {}", flags.target))?;
        ensure!(
            !matches!(target, Target::Udp(_)),
            "target {target}: standard input and output are streams of bytes, not UDP packets"
        );
        let server = flags.server_addr.as_ref().map(|addr| {
            HostPort::with_default_port(addr, DEFAULT_PORT)
                .with_context(|| format!("--server-addr {addr}"))
        });
        let server = server.transpose()?;
        let trust = match (flags.trust.is_given(), &server) {
            (true, server) => Some(trust(&flags.trust, server.as_ref())?),
            // Only a connection of its own needs what is missing here.
            (false, Some(server)) => trust(&flags.trust, Some(server)).ok(),
            (false, None) => None,
        };
        Ok(Self {
            target,
            server,
            trust,
            flags,
        })
    }

    /// All that a connection of its own needs.
    pub fn own(self) -> Result<ClientConfig> {
        let server = self.server.context(
            "no client is running here that could be gone through; give --server-addr, or start \
             `rstun client`",
        )?;
        let trust = match self.trust {
            Some(trust) => trust,
            None => trust(&self.flags.trust, Some(&server))?,
        };
        Ok(ClientConfig {
            ways: ways(&self.flags.transport, &server)?,
            server,
            trust,
            credential: credential(self.flags.credential)?,
            tunnels: vec![Tunnel {
                direction: Direction::Out,
                listen: Listen::Stdio,
                target: self.target,
                proxy: None,
            }],
            tuning: tuning(&self.flags.congestion, &IdleFlags::default()),
            drain: Duration::ZERO,
            udp_idle: UDP_IDLE,
            control: false,
        })
    }
}
