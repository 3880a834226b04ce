//! What `rstun connect` is to do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{
    ClientConfig, UDP_IDLE, WebConfig, credential, server_addrs, ticket, trust::trust, tuning,
    upstreams,
};
use crate::cli::{ConnectFlags, IdleFlags};
use crate::tls::Trust;
use crate::tunnel::{Direction, HostPort, Listen, Target, Tunnel};

/// One flow to carry, through a client that runs already or through a connection of its own.
#[derive(Debug)]
pub struct ConnectConfig {
    /// What to connect to.
    pub target: Target,
    /// The servers to go through; none for those of the client that runs.
    pub servers: Vec<HostPort>,
    /// What makes a server the right one, as far as that was said.
    pub trust: Option<Trust>,
    /// These with how many ports they have beside.
    addrs: Vec<(HostPort, u16)>,
    flags: ConnectFlags,
}

impl ConnectConfig {
    /// Checks what was typed, as far as it is needed for going through a client that runs.
    pub fn new(mut flags: ConnectFlags) -> Result<Self> {
        let otherwise = !flags.server_addr.is_empty();
        if let Some(addrs) =
            ticket::redeem(None, otherwise, &mut flags.credential, &mut flags.trust)?
        {
            flags.server_addr = addrs;
        }
        let target: Target = flags
            .target
            .parse()
            .with_context(|| format!("target {}", flags.target))?;
        ensure!(
            !matches!(target, Target::Udp(_)),
            "target {target}: standard input and output are streams of bytes, not UDP packets"
        );
        let addrs = server_addrs(&flags.server_addr)?;
        let servers: Vec<_> = addrs.iter().map(|(addr, _)| addr.clone()).collect();
        let trust = match (flags.trust.is_given(), servers.first()) {
            (true, server) => Some(trust(&flags.trust, server)?),
            // Only a connection of its own needs what is missing here.
            (false, Some(server)) => trust(&flags.trust, Some(server)).ok(),
            (false, None) => None,
        };
        Ok(Self {
            target,
            servers,
            trust,
            addrs,
            flags,
        })
    }

    /// All that a connection of its own needs.
    pub fn own(self) -> Result<ClientConfig> {
        ensure!(
            !self.servers.is_empty(),
            "no client is running here that could be gone through; give --server-addr, or start \
             `rstun client`",
        );
        Ok(ClientConfig {
            servers: upstreams(self.addrs, &self.flags.trust, &self.flags.transport)?,
            all_servers: false,
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
            web: WebConfig::default(),
        })
    }
}
