//! What a server listens on for its clients, where no other process can take its place.

use std::io;
use std::sync::Arc;

use super::Listener;
use crate::tunnel::Listen;

/// What is listened on, and what may be.
#[derive(Debug, Default)]
pub struct Ports;

impl Ports {
    /// Binds what a client's tunnel is to listen on. Must be called within a runtime.
    pub fn bind(&self, _owner: &str, listen: &Listen) -> io::Result<Arc<Listener>> {
        Listener::bind(listen).map(Arc::new)
    }
}
