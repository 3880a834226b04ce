//! Ctrl-C and SIGTERM: no more flows, time for those that are open, then exit code 0.

use std::time::Duration;

use crate::harness::sockets::{
    Reception, assert_joined, assert_reset, finish, receive, receive_all, send,
    visit_with_small_buffer, wait_for_reception,
};
use crate::harness::tunnel::{Mode, Tunnel, in_both_modes};
use crate::harness::{Ended, Program, Signal};

in_both_modes!(
    transfer_finishes,
    bytes_on_the_way_still_arrive,
    idle_programs_end_at_once,
    time_runs_out,
    second_signal_ends_at_once,
);

/// Longer than any test waits: what ends earlier has not waited for it.
const FOR_EVER: &str = "600";

/// The program that is asked to end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Server,
    Client,
}

const SIDES: [Side; 2] = [Side::Server, Side::Client];

impl Tunnel {
    /// Asks one side to end, and waits until it lets no visitor through any more: the side that listens
    /// closes its listener, the other one turns away what comes.
    fn terminate(&self, side: Side, signal: Signal) {
        self.program(side).signal(signal);
        let receptions: &[Reception] = match (self.mode, side) {
            (Mode::Out, Side::Client) | (Mode::In, Side::Server) => &[Reception::Closed],
            _ => &[Reception::Closed, Reception::TurnedAway],
        };
        wait_for_reception(self.entrance, receptions);
    }

    fn program(&self, side: Side) -> &Program {
        match side {
            Side::Server => &self.server,
            Side::Client => &self.client,
        }
    }

    /// Waits for the end of one side, while the other one goes on.
    fn ended(self, side: Side) -> Ended {
        let (ending, _other) = match side {
            Side::Server => (self.server, self.client),
            Side::Client => (self.client, self.server),
        };
        ending.ended()
    }
}

/// Half of the bytes before the signal and half after it, then an answer the other way.
fn transfer_finishes(mode: Mode) {
    for side in SIDES {
        let tunnel = Tunnel::with(mode, &["--drain", FOR_EVER]);
        let (visitor, target) = tunnel.flow();
        let mut bytes = vec![0; 20_000_000];
        aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
        let (before, after) = bytes.split_at(bytes.len() / 2);
        std::thread::scope(|scope| {
            scope.spawn(|| send(&visitor, before));
            assert!(receive(&target, before.len()) == before, "{side:?}");
        });
        tunnel.terminate(side, Signal::Terminate);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&visitor, after);
                finish(&visitor);
            });
            assert!(receive_all(&target) == after, "{side:?}");
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&target, before);
                finish(&target);
            });
            assert!(receive_all(&visitor) == before, "{side:?}");
        });
        assert_eq!(tunnel.ended(side).code, 0, "{side:?}");
    }
}

/// The target has sent everything and is gone, but the visitor is slow: the flow has not ended yet.
fn bytes_on_the_way_still_arrive(mode: Mode) {
    for side in SIDES {
        let tunnel = Tunnel::with(mode, &["--drain", FOR_EVER]);
        let visitor = visit_with_small_buffer(tunnel.entrance);
        finish(&visitor);
        let target = tunnel.target.accept();
        assert_eq!(receive_all(&target), b"");
        let mut bytes = vec![0; 2_500_000];
        aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| {
                send(&target, &bytes);
                finish(&target);
            });
            tunnel.terminate(side, Signal::Terminate);
            let program = tunnel.program(side);
            program.give_time_to_end(Duration::from_millis(500));
            assert!(receive_all(&visitor) == bytes, "{side:?}");
            sent.join().expect("all bytes sent");
        });
        assert_eq!(tunnel.ended(side).code, 0, "{side:?}");
    }
}

fn idle_programs_end_at_once(mode: Mode) {
    for side in SIDES {
        for signal in [Signal::Terminate, Signal::Interrupt] {
            let tunnel = Tunnel::with(mode, &["--drain", FOR_EVER]);
            // A flow that has ended is none.
            let (visitor, target) = tunnel.flow();
            finish(&visitor);
            finish(&target);
            assert_eq!(receive_all(&visitor), b"");
            assert_eq!(receive_all(&target), b"");
            tunnel.program(side).signal(signal);
            let ended = tunnel.ended(side);
            assert_eq!(ended.code, 0, "{side:?} {signal:?}: {}", ended.stderr);
        }
    }
}

/// What is cut off is seen to be cut off, at both ends.
fn time_runs_out(mode: Mode) {
    for side in SIDES {
        let tunnel = Tunnel::with(mode, &["--drain", "1"]);
        let (visitor, target) = tunnel.flow();
        tunnel.program(side).signal(Signal::Terminate);
        assert_reset(&visitor);
        assert_reset(&target);
        assert_eq!(tunnel.ended(side).code, 0, "{side:?}");
    }
}

fn second_signal_ends_at_once(mode: Mode) {
    for side in SIDES {
        let tunnel = Tunnel::with(mode, &["--drain", FOR_EVER]);
        let (visitor, target) = tunnel.flow();
        tunnel.terminate(side, Signal::Terminate);
        assert_joined(&visitor, &target);
        tunnel.program(side).signal(Signal::Terminate);
        tunnel.ended(side);
    }
}
