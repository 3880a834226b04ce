//! UDP flows from the side that dials.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::{
    Content, Datagrams, Envelope, FlowId, Flows, MAX_FLOWS, REFUSAL, Word, answer_to, whole,
};
use crate::connector;
use crate::pace::Way;
use crate::session::counted::Counted;
use crate::session::dial::{Dialed, Refusal};
use crate::session::flow::FlowError;
use crate::socket::{Packet, UdpPort};
use crate::transport::ResetCode;
use crate::tunnel::Target;
use crate::wire::Introduction;

/// Most datagrams that wait for the name of their flow's target to be resolved, or are kept for the
/// next of its addresses.
const MAX_WAITING: usize = 16;

/// How long one of a target's addresses may refuse what it is sent, and lose it to the next.
const TRIAL: Duration = Duration::from_secs(1);

/// Flows of the peer's visitors.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    flows: HashMap<u64, Flow>,
}

#[derive(Debug)]
struct Flow {
    state: State,
    /// Carries back what the target says, and ends the flow.
    task: AbortHandle,
    /// How often the peer has introduced it, or spoken to it in spite of its refusal.
    introductions: u32,
    active: Instant,
    /// Packets that went in pieces.
    fragmented: u16,
    counted: Counted,
}

#[derive(Debug)]
enum State {
    /// Its target is being found; packets of one size each, and that size.
    Waiting(VecDeque<(usize, Bytes)>),
    /// One of its target's addresses has been sent these, and has not answered yet.
    Trial(Arc<UdpPort>, VecDeque<(usize, Bytes)>),
    Open(Arc<UdpPort>),
    Refused(ResetCode),
}

impl Datagrams {
    /// Takes what the peer says of a flow of its own.
    pub(super) fn accept(self: &Arc<Self>, flows: &mut Flows, id: FlowId, content: Content) {
        let Content::Carried(introduction, carried) = content else {
            // The only other word that a peer has for us is that the flow is no more.
            if content == Content::Unknown
                && let Some(flow) = flows.accepted.flows.remove(&id.number)
            {
                flow.task.abort();
            }
            return;
        };
        let introduced = introduction.is_some();
        if !flows.accepted.flows.contains_key(&id.number) {
            let Some(introduction) = introduction else {
                return self.deny(flows, id);
            };
            if flows.accepted.flows.len() >= MAX_FLOWS {
                let word = Word::Refused(ResetCode::Overloaded as u8);
                return self.say(&mut flows.count, answer_to(id), word);
            }
            let header = &introduction.header;
            let dialed = self.dialing.find(header);
            let Some(dialed) = dialed.filter(|it| it.target(header).is_some()) else {
                let word = Word::Refused(ResetCode::NotAllowed as u8);
                return self.say(&mut flows.count, answer_to(id), word);
            };
            let counted = match self.count(&dialed.count) {
                Ok(counted) => counted,
                Err(e) => {
                    let code = match e {
                        FlowError::NoMemory => ResetCode::Overloaded,
                        _ => ResetCode::TooMany,
                    };
                    dialed.count.refuse(code.into());
                    let word = Word::Refused(code as u8);
                    return self.say(&mut flows.count, answer_to(id), word);
                }
            };
            self.begin(flows, id, introduction, counted);
        }
        let now = Instant::now();
        let Flows {
            accepted,
            reassembly,
            count,
            ..
        } = flows;
        let Some(flow) = accepted.flows.get_mut(&id.number) else {
            return;
        };
        flow.active = now;
        if let Some(word) = flow.word(introduced) {
            self.say(count, answer_to(id), word);
        }
        if let Some((size, bytes)) = whole(reassembly, id, carried, now) {
            match self.may_go(Way::Down, bytes.len()) {
                true => {
                    flow.counted.received(bytes.len());
                    count.no_room += flow.state.send(size, bytes) as u64;
                }
                false => count.too_fast += 1,
            }
        }
    }

    fn begin(
        self: &Arc<Self>,
        flows: &mut Flows,
        id: FlowId,
        introduction: Introduction,
        counted: Counted,
    ) {
        let (datagrams, token) = (self.clone(), self.token.clone());
        let task = self.tasks.spawn(async move {
            let serve = Box::pin(datagrams.serve(id, introduction));
            token.run_until_cancelled(serve).await;
        });
        let flow = Flow {
            state: State::Waiting(VecDeque::new()),
            task: task.abort_handle(),
            introductions: 0,
            active: Instant::now(),
            fragmented: 0,
            counted,
        };
        flows.accepted.flows.insert(id.number, flow);
    }

    /// A flow's life from its introduction to its end.
    async fn serve(&self, id: FlowId, introduction: Introduction) {
        if let Err((code, why)) = self.reach(id, &introduction).await {
            debug!("a UDP flow was refused: {why}");
            self.refuse(id, code);
            sleep(REFUSAL).await;
        }
        self.flows().accepted.flows.remove(&id.number);
    }

    /// Finds the flow's target, and carries packets until neither side has any for long enough, or
    /// the target may not be reached, or no more.
    async fn reach(&self, id: FlowId, introduction: &Introduction) -> Result<(), Refusal> {
        let header = &introduction.header;
        let dialed = self.dialing.find(header);
        let found = dialed.as_ref();
        let (dialed, target) = found
            .and_then(|it| Some((&**it, it.target(header)?)))
            .ok_or_else(|| (ResetCode::NotAllowed, "no such tunnel".to_owned()))?;
        let carried = async {
            let dialing = dialed.dial_udp(target).await?;
            let idle = match introduction.idle {
                0 => self.idle,
                seconds => Duration::from_secs(seconds.into()),
            };
            // It ends where its visitor is, and then here: the next packet begins a new one.
            self.carry(id, (dialed, target), dialing, idle + idle / 2)
                .await
        };
        let carried = carried.await;
        carried.inspect_err(|(code, why)| dialed.complain(target, *code, why))
    }

    /// Carries a flow to its target until it is over: at the first of the target's addresses that
    /// does not refuse.
    async fn carry(
        &self,
        id: FlowId,
        (dialed, target): (&Dialed, &Target),
        (port, mut others): (UdpPort, IntoIter<SocketAddr>),
        idle: Duration,
    ) -> Result<(), Refusal> {
        let mut port = Arc::new(port);
        loop {
            self.connect(id, &port, others.len() > 0);
            tokio::select! {
                refused = self.carry_back(id, &port, idle) => if !refused {
                    return Ok(());
                },
                refusal = dialed.barred(target, port.peer_addr()) => return Err(refusal),
            }
            if let Ok(other) = connector::dial_udp(&mut others) {
                port = Arc::new(other);
            }
        }
    }

    /// Lets the flow's packets out to its target, also those that have waited; they are kept as long
    /// as there may be another address to send them to.
    fn connect(&self, id: FlowId, port: &Arc<UdpPort>, trial: bool) {
        let flows = &mut *self.flows();
        let Some(flow) = flows.accepted.flows.get_mut(&id.number) else {
            return;
        };
        let packets = match std::mem::replace(&mut flow.state, State::Open(port.clone())) {
            State::Waiting(packets) | State::Trial(_, packets) => packets,
            State::Open(_) | State::Refused(_) => return,
        };
        for (size, bytes) in &packets {
            flows.count.no_room += port.send(None, *size, bytes) as u64;
        }
        if trial {
            flow.state = State::Trial(port.clone(), packets);
        }
    }

    fn refuse(&self, id: FlowId, code: ResetCode) {
        let flows = &mut *self.flows();
        if let Some(flow) = flows.accepted.flows.get_mut(&id.number) {
            flow.state = State::Refused(code);
            flow.introductions = 1;
            let word = Word::Refused(code as u8);
            self.say(&mut flows.count, answer_to(id), word);
        }
    }

    /// Carries what the target says to the peer, until neither has said anything for so long. Tells
    /// whether it has to go on elsewhere, because the target refused while it was on trial.
    async fn carry_back(&self, id: FlowId, port: &UdpPort, idle: Duration) -> bool {
        let mut silent = std::pin::pin!(sleep(idle));
        let mut trial = std::pin::pin!(sleep(TRIAL));
        let mut on_trial = self.is_on_trial(id);
        loop {
            tokio::select! {
                received = port.recv(|packets| self.back(id, packets)) => {
                    if received.is_err() && on_trial {
                        return true;
                    }
                }
                // Many a target never answers.
                () = &mut trial, if on_trial => self.settle(id),
                () = &mut silent => match self.silence_ends(id, idle) {
                    Some(end) if end > Instant::now() => silent.set(sleep_until(end)),
                    _ => return false,
                }
            }
            on_trial = on_trial && self.is_on_trial(id);
        }
    }

    fn is_on_trial(&self, id: FlowId) -> bool {
        let flows = self.flows();
        let flow = flows.accepted.flows.get(&id.number);
        flow.is_some_and(|flow| matches!(flow.state, State::Trial(..)))
    }

    fn settle(&self, id: FlowId) {
        if let Some(flow) = self.flows().accepted.flows.get_mut(&id.number) {
            flow.state.settle();
        }
    }

    fn back(&self, id: FlowId, packets: &[Packet<'_>]) {
        let Flows {
            accepted, count, ..
        } = &mut *self.flows();
        if let Some(flow) = accepted.flows.get_mut(&id.number) {
            flow.active = Instant::now();
            flow.state.settle();
            let envelope = Envelope {
                flow: answer_to(id),
                introduction: None,
            };
            for packets in packets.chunk_by(|a, b| a.bytes.len() == b.bytes.len()) {
                let Flow {
                    counted,
                    fragmented,
                    ..
                } = &mut *flow;
                self.send(counted, count, &envelope, fragmented, packets);
            }
        }
    }

    fn silence_ends(&self, id: FlowId, idle: Duration) -> Option<Instant> {
        let flows = self.flows();
        let flow = flows.accepted.flows.get(&id.number)?;
        Some(flow.active + idle)
    }
}

impl Flow {
    /// What is to be said to another packet. As words may be lost they are repeated, ever less often.
    fn word(&mut self, introduced: bool) -> Option<Word> {
        let word = match self.state {
            State::Refused(code) => Word::Refused(code as u8),
            _ if introduced => Word::Known,
            _ => return None,
        };
        self.introductions = self.introductions.saturating_add(1);
        self.introductions.is_power_of_two().then_some(word)
    }
}

impl State {
    /// Sends packets of one size to the target, or keeps them; tells how many were lost, at least.
    fn send(&mut self, size: usize, bytes: Bytes) -> usize {
        match self {
            Self::Open(port) => port.send(None, size, &bytes),
            Self::Waiting(packets) => keep(packets, size, bytes).into(),
            Self::Trial(port, packets) => {
                let lost = port.send(None, size, &bytes);
                keep(packets, size, bytes);
                lost
            }
            Self::Refused(_) => 0,
        }
    }

    /// Ends the trial of an address.
    fn settle(&mut self) {
        if let Self::Trial(port, _) = self {
            *self = Self::Open(port.clone());
        }
    }
}

/// Keeps packets of one size, and tells whether older ones had to go.
fn keep(packets: &mut VecDeque<(usize, Bytes)>, size: usize, bytes: Bytes) -> bool {
    let dropped = packets.len() >= MAX_WAITING && packets.pop_front().is_some();
    packets.push_back((size, bytes));
    dropped
}
