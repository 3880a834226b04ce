//! UDP flows from the side that listens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, interval};

use super::association::Queue;
use super::{Content, Datagrams, Envelope, FlowId, Flows, MAX_FLOWS, REFUSAL, Word, whole};
use crate::pace;
use crate::session::counted::Counted;
use crate::session::local::Local;
use crate::socket::{Packet, Route, UdpPort};
use crate::transport::ResetCode;
use crate::wire::{FlowHeader, Introduction};

/// How often flows are looked through for those that are over, in their idle time.
const SWEEPS: u32 = 4;

/// Flows whose visitors are on this side.
#[derive(Debug, Default)]
pub(super) struct Opened {
    flows: HashMap<u64, Flow>,
    next: u64,
}

#[derive(Debug)]
pub(super) struct Flow {
    tunnel: Arc<Tunnel>,
    way: Way,
    /// Whether the far side knows it.
    known: bool,
    /// The far side has refused it, and is not to be asked before.
    refused_until: Option<Instant>,
    active: Instant,
    /// Packets that went in pieces.
    fragmented: u16,
    counted: Counted,
}

/// What all flows of a tunnel have in common.
#[derive(Debug)]
pub(in crate::session) struct Tunnel {
    local: Arc<Local>,
    introduction: Vec<u8>,
}

/// The way back to a visitor.
#[derive(Debug)]
pub(super) enum Way {
    Port(Arc<UdpPort>, Route),
    Queue(Arc<Queue>),
}

impl Tunnel {
    /// A tunnel with what its flows are introduced by; `idle` is what was written.
    pub(in crate::session) fn new(
        local: Arc<Local>,
        header: FlowHeader,
        idle: Option<Duration>,
    ) -> Self {
        let idle = idle.map_or(0, |idle| idle.as_secs() as u32);
        Self {
            local,
            introduction: Introduction { header, idle }.encode(),
        }
    }
}

impl Datagrams {
    /// Carries all packets that arrive at a port, and those that come back. For ever; cancel-safe.
    pub(in crate::session) async fn carry_all(
        &self,
        tunnel: Tunnel,
        port: &Arc<UdpPort>,
        idle: Option<Duration>,
    ) {
        let idle = idle.unwrap_or(self.idle);
        let mut visitors = Visitors {
            datagrams: self,
            tunnel: Arc::new(tunnel),
            port,
            numbers: HashMap::new(),
        };
        let mut sweep = interval(idle / SWEEPS);
        loop {
            tokio::select! {
                _ = port.recv(|packets| visitors.take(packets)) => {}
                now = sweep.tick() => visitors.forget_silent(now, idle),
            }
        }
    }

    /// Opens a flow; none if there are too many.
    pub(super) fn open(&self, flows: &mut Flows, tunnel: Arc<Tunnel>, way: Way) -> Option<u64> {
        let opened = &mut flows.opened;
        if opened.flows.len() >= MAX_FLOWS {
            return None;
        }
        let counted = self.count(&tunnel.local.count).ok()?;
        let number = opened.next;
        opened.next += 1;
        let flow = Flow {
            tunnel,
            way,
            known: false,
            refused_until: None,
            active: Instant::now(),
            fragmented: 0,
            counted,
        };
        opened.flows.insert(number, flow);
        Some(number)
    }

    /// Sends packets of one size through a flow that was opened here.
    pub(super) fn forward<P: AsRef<[u8]>>(&self, flows: &mut Flows, number: u64, packets: &[P]) {
        let Flows { opened, count, .. } = flows;
        let Some(flow) = opened.flows.get_mut(&number) else {
            return;
        };
        flow.active = Instant::now();
        if flow.refused_until.is_some_and(|until| until > flow.active) {
            return;
        }
        let envelope = Envelope {
            flow: opened_here(number),
            introduction: (!flow.known).then_some(&flow.tunnel.introduction),
        };
        self.send(
            &flow.counted,
            count,
            &envelope,
            &mut flow.fragmented,
            packets,
        );
    }

    /// Takes what the far side says of a flow that was opened here.
    pub(super) fn answered(&self, flows: &mut Flows, id: FlowId, content: Content) {
        let Some(flow) = flows.opened.flows.get_mut(&id.number) else {
            // It ended here, or never was.
            if matches!(content, Content::Carried(..)) {
                self.deny(flows, id);
            }
            return;
        };
        let now = Instant::now();
        match content {
            Content::Carried(_, carried) => {
                flow.known = true;
                flow.active = now;
                if let Some((size, bytes)) = whole(&mut flows.reassembly, id, carried, now) {
                    match self.may_go(pace::Way::Down, bytes.len()) {
                        true => {
                            flow.counted.received(bytes.len());
                            flows.count.no_room += flow.way.send(size, bytes) as u64;
                        }
                        false => flows.count.too_fast += 1,
                    }
                }
            }
            Content::Known => flow.known = true,
            Content::Unknown => flow.known = false,
            Content::Refused(code) => {
                flow.known = false;
                flow.refused_until = Some(now + REFUSAL);
                let code = ResetCode::from_wire(code.into());
                flow.tunnel.local.tell_refused(code);
                if let Way::Queue(queue) = &flow.way {
                    queue.refuse(code);
                }
            }
        }
    }

    /// Ends a flow that was opened here, and tells the far side.
    pub(super) fn close(&self, flows: &mut Flows, number: u64) {
        if let Some(flow) = flows.opened.flows.remove(&number)
            && flow.refused_until.is_none()
        {
            self.say(&mut flows.count, opened_here(number), Word::Unknown);
        }
    }
}

impl Flows {
    /// When something last went through a flow that was opened here, if there is one.
    pub(super) fn last_active(&self, number: u64) -> Option<Instant> {
        self.opened.flows.get(&number).map(|flow| flow.active)
    }
}

impl Way {
    /// Sends packets of one size to the visitor, and tells how many were lost.
    fn send(&self, size: usize, bytes: Bytes) -> usize {
        match self {
            Self::Port(port, route) => port.send(Some(*route), size, &bytes),
            Self::Queue(queue) => queue.push(size, bytes),
        }
    }
}

fn opened_here(number: u64) -> FlowId {
    FlowId {
        senders: true,
        number,
    }
}

/// The visitors of one port, and the numbers of their flows.
struct Visitors<'a> {
    datagrams: &'a Datagrams,
    tunnel: Arc<Tunnel>,
    port: &'a Arc<UdpPort>,
    numbers: HashMap<Route, u64>,
}

impl Visitors<'_> {
    fn take(&mut self, packets: &[Packet<'_>]) {
        let mut flows = self.datagrams.flows();
        let alike =
            |a: &Packet<'_>, b: &Packet<'_>| a.route == b.route && a.bytes.len() == b.bytes.len();
        for packets in packets.chunk_by(alike) {
            if let Some(number) = self.number(&mut flows, packets[0].route) {
                self.datagrams.forward(&mut flows, number, packets);
            }
        }
    }

    fn number(&mut self, flows: &mut Flows, route: Route) -> Option<u64> {
        if let Some(number) = self.numbers.get(&route) {
            return Some(*number);
        }
        let way = Way::Port(self.port.clone(), route);
        let number = self.datagrams.open(flows, self.tunnel.clone(), way);
        match number {
            Some(number) => drop(self.numbers.insert(route, number)),
            None => self.tunnel.local.tell_too_many(),
        }
        number
    }

    fn forget_silent(&mut self, now: Instant, idle: Duration) {
        let mut flows = self.datagrams.flows();
        self.numbers.retain(|_, number| {
            let alive = flows.last_active(*number).is_some_and(|t| now < t + idle);
            if !alive {
                self.datagrams.close(&mut flows, *number);
            }
            alive
        });
    }
}

impl Drop for Visitors<'_> {
    /// What comes back for them has nowhere to go any more.
    fn drop(&mut self) {
        let mut flows = self.datagrams.flows();
        for number in self.numbers.values() {
            self.datagrams.close(&mut flows, *number);
        }
    }
}
