//! The congestion controller: what it costs for each packet of a transfer over a simulated link.
//!
//! The transfer is run once, with a controller in charge of it, and its calls are noted; these are
//! made again to be measured. Single calls are not: on a copy of a controller they would be slower
//! than on one in use, whose queues have their room already and whose state is in the cache.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use rstun::transport::BareController;

/// Payload of a packet, in bytes.
const MTU: u16 = 1452;

/// Packets of a transfer: some 3 s on the link, of which start-up is a small part.
const PACKETS: usize = 25_000;

/// The link's round trip while it has no queue.
const RTT: Duration = Duration::from_millis(50);

/// How long the link takes for a byte: 100 Mbit/s.
const BYTE_TIME: Duration = Duration::from_nanos(80);

/// Bursts as quinn sends them, acknowledged as we ask the peer to; the same with loss; and single
/// packets that are acknowledged one by one, which is as dear as it can get.
pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("congestion");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for (name, burst, lost) in [
        ("bursts of 10 packets", 10, None),
        ("bursts of 10 packets, 1 % loss", 10, Some(100)),
        ("single packets", 1, None),
    ] {
        let transfer = Transfer::run(burst, lost);
        group.bench_function(name, |b| b.iter(|| transfer.replay().window()));
    }
    group.finish();
}

/// A call that quinn makes.
#[derive(Clone, Copy)]
enum Call {
    /// Now, so many bytes were sent.
    Sent(Instant, u64),
    /// A packet was acknowledged that had been sent then.
    Acked(Instant),
    /// Now, the last of a batch was acknowledged, and so many bytes are still in flight.
    EndAcks(Instant, u64),
    /// Now, a packet was lost that had been sent then.
    Lost(Instant, Instant),
}

impl Call {
    fn make(self, controller: &mut BareController) {
        match self {
            Self::Sent(now, bytes) => controller.on_sent(now, bytes),
            Self::Acked(sent) => controller.on_ack(sent, MTU.into(), RTT),
            Self::EndAcks(now, in_flight) => controller.on_end_acks(now, in_flight),
            Self::Lost(now, sent) => controller.on_congestion_event(now, sent, MTU.into()),
        }
    }
}

/// What a controller is told in the course of a transfer.
struct Transfer {
    begun: Instant,
    calls: Vec<Call>,
}

impl Transfer {
    /// In bursts of so many packets, over a link that loses one packet in so many. A burst goes out
    /// when the window and a pacer like quinn's let it; its acknowledgement is back a round trip
    /// after the link has carried it.
    fn run(burst: usize, one_lost_in: Option<usize>) -> Self {
        let begun = Instant::now();
        let bytes = burst as u64 * u64::from(MTU);
        let mut controller = BareController::new(begun, MTU);
        let mut calls = Vec::new();
        let mut call = |controller: &mut BareController, call: Call| {
            call.make(controller);
            calls.push(call);
        };
        let (mut now, mut link_free, mut packets) = (begun, begun, 0);
        let mut in_flight = VecDeque::new();
        for _ in 0..PACKETS / burst {
            // What is back by now, and what has to be back before the window has room.
            while let Some(&(sent, back)) = in_flight.front()
                && (back <= now || (in_flight.len() as u64 + 1) * bytes > controller.window())
            {
                now = now.max(back);
                in_flight.pop_front();
                for _ in 0..burst {
                    packets += 1;
                    let lost = one_lost_in.is_some_and(|n| packets % n == 0);
                    let fate = if lost {
                        Call::Lost(now, sent)
                    } else {
                        Call::Acked(sent)
                    };
                    call(&mut controller, fate);
                }
                let left = in_flight.len() as u64 * bytes;
                call(&mut controller, Call::EndAcks(now, left));
            }
            call(&mut controller, Call::Sent(now, bytes));
            link_free = link_free.max(now) + BYTE_TIME * bytes as u32;
            in_flight.push_back((now, link_free + RTT));
            let pace = 1.25 * controller.window() as f64 / RTT.as_secs_f64();
            now += Duration::from_secs_f64(bytes as f64 / pace);
        }
        Self { begun, calls }
    }

    /// Makes the same calls on a new controller.
    fn replay(&self) -> BareController {
        let mut controller = BareController::new(self.begun, MTU);
        for call in &self.calls {
            call.make(&mut controller);
        }
        controller
    }
}
