//! Many flows at once, all of them intact.

use std::io::Write;
use std::net::TcpStream;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand;

use crate::harness::load::hash_to_end;
use crate::harness::sockets::{fill, finish, receive, receive_all, send, visit};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};

in_both_modes!(
    flows_of_ten_megabytes,
    both_directions_at_once,
    full_flows_do_not_stop_others,
);

/// Flows at once.
const FLOWS: usize = 64;

/// Bytes that each carries.
const LEN: usize = 10_000_000;

/// Where a flow's bytes begin in the common block, further along for each: no flow's bytes are another's.
const STEP: usize = 4099;

/// Half of the flows carry their bytes from the visitor to the target, half the other way, all at once. The
/// end that receives answers with the hash of what it got.
fn flows_of_ten_megabytes(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let mut block = vec![0; LEN];
    rand::fill(&mut block).expect("random bytes");

    let visitors: Vec<TcpStream> = (0..FLOWS)
        .map(|flow| {
            let visitor = visit(tunnel.entrance);
            send(&visitor, [flow as u8]);
            visitor
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..FLOWS {
            let target = tunnel.target.accept();
            let block = &block;
            scope.spawn(move || {
                let flow = usize::from(receive(&target, 1)[0]);
                serve(flow, &target, block);
            });
        }
        for (flow, visitor) in visitors.iter().enumerate() {
            let block = &block;
            scope.spawn(move || match flow % 2 {
                0 => upload(visitor, block, flow),
                _ => download(visitor, block, flow),
            });
        }
    });
}

/// One flow, full both ways: what goes up comes back down while more goes up.
fn both_directions_at_once(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let mut block = vec![0; LEN];
    rand::fill(&mut block).expect("random bytes");
    let visitor = visit(tunnel.entrance);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send(&visitor, &block);
            finish(&visitor);
        });
        scope.spawn(|| {
            let target = tunnel.target.accept();
            std::io::copy(&mut &target, &mut &target).expect("an echo");
            finish(&target);
        });
        assert!(receive_all(&visitor) == block, "the echo differs");
    });
}

/// Targets that read nothing hold up those who write to them, and nobody else.
fn full_flows_do_not_stop_others(mode: Mode) {
    let tunnel = Tunnel::new(mode);
    let full: Vec<_> = (0..FLOWS).map(|_| tunnel.flow()).collect();
    std::thread::scope(|scope| {
        for (visitor, _) in &full {
            scope.spawn(|| fill(visitor));
        }
    });
    let (visitor, target) = tunnel.flow();
    for (visitor, target) in [(&visitor, &target), (&target, &visitor)] {
        std::thread::scope(|scope| {
            scope.spawn(|| send(visitor, [b'x'; 1 << 20]));
            assert_eq!(receive(target, 1 << 20), [b'x'; 1 << 20]);
        });
    }
}

/// The target's half of a flow.
fn serve(flow: usize, target: &TcpStream, block: &[u8]) {
    match flow % 2 {
        0 => download(target, block, flow),
        _ => upload(target, block, flow),
    }
}

/// Sends the flow's bytes and expects their hash.
fn upload(mut stream: &TcpStream, block: &[u8], flow: usize) {
    let (head, tail) = block.split_at(flow * STEP);
    let mut hash = Context::new(&SHA256);
    for part in [tail, head] {
        stream.write_all(part).expect("bytes written");
        hash.update(part);
    }
    finish(stream);
    let answer = receive_all(stream);
    assert_eq!(answer, hash.finish().as_ref(), "flow {flow}");
}

/// Receives the flow's bytes to their end and answers with their hash.
fn download(stream: &TcpStream, block: &[u8], flow: usize) {
    let mut len = 0;
    let hash = hash_to_end(stream, |n| len += n);
    assert_eq!(len, block.len(), "flow {flow}");
    send(stream, hash);
    finish(stream);
}
