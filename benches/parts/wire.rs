//! The wire codec: a session's messages into bytes and back, and the header of each flow.

use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use rstun::tunnel::{Direction, MAX_TUNNELS, Tunnel};
use rstun::wire::{Credential, FRAME_HEADER, FlowHeader, Former, Grant, Login, Message, Request};

/// Tunnels of a usual client.
const FEW: usize = 3;

/// Messages with a few tunnels and with as many as there can be, and the header.
pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    for count in [FEW, MAX_TUNNELS] {
        message(
            &mut group,
            &format!("login of {count} tunnels"),
            &login(count),
        );
        message(
            &mut group,
            &format!("welcome of {count} tunnels"),
            &welcome(count),
        );
    }
    flow_header(&mut group);
    group.finish();
}

fn message(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, message: &Message) {
    let bytes = message.encode();
    let (header, body): (&[u8; FRAME_HEADER], _) =
        bytes.split_first_chunk().expect("a whole frame");
    assert_eq!(Message::decode(header, body).as_ref(), Ok(message));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(format!("encode {name}"), |b| {
        b.iter(|| black_box(message).encode());
    });
    group.bench_function(format!("decode {name}"), |b| {
        b.iter(|| Message::decode(black_box(header), black_box(body)));
    });
}

fn flow_header(group: &mut BenchmarkGroup<'_, WallTime>) {
    let header = FlowHeader::Fixed(7);
    let bytes = header.encode();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode flow header", |b| {
        b.iter(|| black_box(&header).encode());
    });
    group.bench_function("decode flow header", |b| {
        b.iter(|| FlowHeader::decode(black_box(&bytes)));
    });
}

fn login(tunnels: usize) -> Message {
    let mapping = "127.0.0.1:9900^db.internal:5432";
    let parsed = Tunnel::parse(Direction::Out, mapping).expect("a tunnel");
    Message::Login(Login {
        instance: [7; 16],
        former: Former::Breaks,
        credential: Credential::Password([9; 32]),
        tunnels: (0..tunnels as u32)
            .map(|number| Request::new(number, &parsed[0]))
            .collect(),
    })
}

fn welcome(tunnels: usize) -> Message {
    let addr = "[2001:db8::1]:18080".parse().expect("an address");
    Message::Welcome(vec![Grant::Listening(addr); tunnels])
}
