//! What `rstun connect` is to do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{ClientConfig, DEFAULT_PORT, UDP_IDLE, existing_or_default, password, tuning};
use crate::cli::{ConnectFlags, IdleFlags};
use crate::keygen;
use crate::tls::PinnedCertificate;
use crate::tunnel::{Direction, HostPort, Listen, Target, Tunnel};

/// One flow to carry, through a client that runs already or through a connection of its own.
#[derive(Debug)]
pub struct ConnectConfig {
    /// What to connect to.
    pub target: Target,
    /// The server to go through; none for that of the client that runs.
    pub server: Option<HostPort>,
    /// The certificate that the server must have, if one is named or at its usual place.
    pub pinned: Option<PinnedCertificate>,
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
        let cert = match (&flags.cert, &flags.server_addr) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(_)) => existing_or_default(None, "--cert", keygen::CERTIFICATE).ok(),
            (None, None) => None,
        };
        let pinned = cert.map(|path| PinnedCertificate::load(&path));
        Ok(Self {
            target,
            server: server.transpose()?,
            pinned: pinned.transpose()?,
            flags,
        })
    }

    /// All that a connection of its own needs.
    pub fn own(self) -> Result<ClientConfig> {
        let server = self.server.context(
            "no client is running here that could be gone through; give --server-addr, or start \
             `rstun client`",
        )?;
        let pinned = match self.pinned {
            Some(pinned) => pinned,
            None => {
                let path = existing_or_default(self.flags.cert, "--cert", keygen::CERTIFICATE)?;
                PinnedCertificate::load(&path)?
            }
        };
        Ok(ClientConfig {
            server,
            pinned,
            password: password(self.flags.password)?,
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
