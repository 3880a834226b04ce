//! What logins are made by: it may change while a client runs.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;

use crate::access::Credential;
use crate::config::ClientConfig;
use crate::session::ALPN;
use crate::tls::Trust;

/// What makes a server the right one, and shows to it who we are.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) trust: Trust,
    pub(super) credential: Credential,
    pub(super) tls: Arc<rustls::ClientConfig>,
}

/// Those that the next login is made by.
pub(super) type Current = watch::Receiver<Arc<Terms>>;

impl Terms {
    /// Those of a configuration, of whose servers all are trusted by the same.
    pub(super) fn new(config: &ClientConfig) -> Result<Arc<Self>> {
        let trust = config.trust().clone();
        let credential = config.credential.clone();
        let tls = Arc::new(trust.config(ALPN, credential.key())?);
        Ok(Arc::new(Self {
            trust,
            credential,
            tls,
        }))
    }
}
