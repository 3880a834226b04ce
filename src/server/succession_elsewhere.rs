//! No server takes another's place where processes cannot pass on their sockets.

use std::future::pending;
use std::io;

use anyhow::Result;

use super::Server;
use crate::transport::Bound;

/// A server of before; there is none.
#[derive(Debug)]
pub enum Predecessor {}

/// A server that comes after; there is none.
#[derive(Debug)]
pub(super) enum Successor {}

impl Predecessor {
    /// There is none.
    pub fn find() -> io::Result<Option<Self>> {
        Ok(None)
    }
}

/// The sockets that a server of before has for this one.
pub async fn sockets(predecessor: &Predecessor) -> Result<Bound> {
    match *predecessor {}
}

impl Server {
    /// Does not return.
    pub(super) async fn succeed(&self, _: Option<Predecessor>) {
        pending().await
    }

    /// Does not return.
    pub(super) async fn replaced(&self) -> Successor {
        pending().await
    }
}
