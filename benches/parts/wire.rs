//! The wire codec: a session's messages into bytes and back, and the header of each flow.

use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use rstun::tunnel::{Direction, MAX_TUNNELS, Tunnel};
use rstun::wire::{
    FLOW_HEADER, FRAME_HEADER, Grant, Login, Message, decode_flow_header, encode_flow_header,
};

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
    let header = encode_flow_header(7);
    group.throughput(Throughput::Bytes(FLOW_HEADER as u64));
    group.bench_function("encode flow header", |b| {
        b.iter(|| encode_flow_header(black_box(7)));
    });
    group.bench_function("decode flow header", |b| {
        b.iter(|| decode_flow_header(black_box(&header)));
    });
}

fn login(tunnels: usize) -> Message {
    let mapping = "127.0.0.1:9900^db.internal:5432";
    let tunnel = Tunnel::parse(Direction::Out, mapping).expect("a tunnel");
    Message::Login(Login {
        instance: [7; 16],
        proof: [9; 32],
        tunnels: vec![tunnel; tunnels],
    })
}

fn welcome(tunnels: usize) -> Message {
    let addr = "[2001:db8::1]:18080".parse().expect("an address");
    Message::Welcome(vec![Grant::Listening(addr); tunnels])
}
