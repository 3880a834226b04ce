//! Datagrams of a visitor's (RFC 1928, section 7), for as long as it keeps the connection by which it
//! has asked for them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tracing::debug;

use crate::proxy::socks5::{decode_datagram, encode_datagram_header};
use crate::session::flow::Opener;
use crate::session::local::Local;
use crate::session::{Association, FlowError};
use crate::socket::{Packet, Route, Socket, UdpPort};
use crate::tunnel::{HostPort, Target};

/// Most targets that one visitor has at a time; what it sends to others is lost.
const MAX_TARGETS: usize = 1024;

/// Most bytes of a datagram.
const MAX_DATAGRAM: usize = 65_507;

/// A visitor's datagrams and their targets.
pub(super) struct Associated<'a> {
    opener: &'a Opener,
    number: u32,
    tunnel: &'a Arc<Local>,
    port: Arc<UdpPort>,
    from: Visitor,
    targets: HashMap<HostPort, Arc<Association>>,
    /// What comes back, with the target whose flow is over.
    answers: JoinSet<HostPort>,
}

/// Whom datagrams are taken from.
#[derive(Clone, Copy)]
enum Visitor {
    /// Anybody at the address of the visitor's connection, whose first datagram tells its port: what
    /// it announced may be wrong, behind NAT and elsewhere.
    At(IpAddr),
    /// This port alone.
    Known(SocketAddr),
}

impl<'a> Associated<'a> {
    /// Binds a port where the visitor's connection came to; must be called within a runtime.
    pub(super) fn bind(
        opener: &'a Opener,
        number: u32,
        tunnel: &'a Arc<Local>,
        (visitor, arrived_at): (IpAddr, SocketAddr),
    ) -> io::Result<Self> {
        let mut addr = arrived_at;
        if let ip @ IpAddr::V4(_) = addr.ip().to_canonical() {
            addr.set_ip(ip);
        }
        addr.set_port(0);
        Ok(Self {
            opener,
            number,
            tunnel,
            port: Arc::new(UdpPort::bind(addr)?),
            from: Visitor::At(visitor),
            targets: HashMap::new(),
            answers: JoinSet::new(),
        })
    }

    /// Where the visitor is to send its datagrams.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.port.local_addr()
    }

    /// Carries datagrams until the visitor ends its connection. Cancel-safe: the flows end.
    pub(super) async fn carry(mut self, socket: &mut Socket) -> Result<(), FlowError> {
        let port = self.port.clone();
        let ended = async {
            while socket.read(&mut [0; 64]).await? > 0 {}
            Ok(())
        };
        tokio::pin!(ended);
        loop {
            tokio::select! {
                ended = &mut ended => return ended,
                _ = port.recv(|packets| self.take(packets)) => {}
            }
        }
    }

    fn take(&mut self, packets: &[Packet<'_>]) {
        while let Some(Ok(over)) = self.answers.try_join_next() {
            self.targets.remove(&over);
        }
        for packet in packets {
            let peer = packet.route.peer;
            let known = match self.from {
                Visitor::At(ip) => peer.ip().to_canonical() == ip,
                Visitor::Known(addr) => peer == addr,
            };
            // Neither others nor fragments are answered.
            if known && let Ok(Some((target, payload))) = decode_datagram(packet.bytes) {
                self.from = Visitor::Known(peer);
                if let Err(e) = self.send(target, payload, packet.route) {
                    debug!("a datagram of {peer} was dropped: {e}");
                }
            }
        }
    }

    fn send(&mut self, target: HostPort, payload: &[u8], route: Route) -> Result<(), FlowError> {
        if let Some(flow) = self.targets.get(&target) {
            flow.send(payload);
            return Ok(());
        }
        if self.targets.len() >= MAX_TARGETS {
            return Err(FlowError::TooMany);
        }
        let asked = Target::Udp(target.clone());
        let flow = Arc::new(self.opener.associate(self.number, self.tunnel, asked)?);
        flow.send(payload);
        self.targets.insert(target.clone(), flow.clone());
        let port = self.port.clone();
        self.answers.spawn(async move {
            let header = encode_datagram_header(&target);
            while let Ok(Some(answer)) = flow.recv().await {
                let datagram = [&header, &answer[..]].concat();
                if datagram.len() <= MAX_DATAGRAM {
                    port.send(Some(route), datagram.len(), &datagram);
                }
            }
            target
        });
        Ok(())
    }
}
