//! Tests of the choice of server, with a clock that they set.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Servers, and a clock that the test sets.
struct Simulation {
    failover: Failover,
    now: Instant,
}

impl Simulation {
    fn new(policy: Policy, servers: usize) -> Self {
        let now = Instant::now();
        let failover = Failover::new(policy, servers, now);
        Self { failover, now }
    }

    /// All that are tried now.
    fn tried(&mut self) -> Vec<usize> {
        std::iter::from_fn(|| self.failover.next(self.now)).collect()
    }

    fn after(&mut self, time: Duration) -> Vec<usize> {
        self.now += time;
        self.tried()
    }

    fn up(&mut self, i: usize) {
        self.failover.up(i, MS);
    }

    fn left(&mut self, i: usize) {
        self.failover.left(i, self.now, 0.5);
    }

    fn outlook(&self) -> Outlook {
        self.failover.outlook()
    }

    fn spare(&mut self) -> Option<usize> {
        self.failover.spare(self.now)
    }
}

#[test]
fn one_server_is_tried_again_and_again() {
    let mut one = Simulation::new(Policy::First, 1);
    assert_eq!(one.tried(), [0]);
    assert_eq!(one.failover.wake(), None);
    for wait in [200, 400, 800, 1600, 3200, 5000, 5000] {
        one.left(0);
        assert!(one.after((wait - 1) * MS).is_empty());
        assert_eq!(one.after(MS), [0], "{wait}");
    }
    one.up(0);
    assert_eq!(one.outlook(), Outlook::Use(0));
    assert_eq!((one.failover.wake(), one.spare()), (None, None));
    one.failover.deaf(0, true);
    assert_eq!(one.outlook(), Outlook::Silent(0));
    one.left(0);
    assert_eq!(one.outlook(), Outlook::Wait);
    assert_eq!(one.after(200 * MS), [0]);
}

#[test]
fn the_next_in_line_gets_its_turn_after_two_seconds_or_a_failure() {
    let mut three = Simulation::new(Policy::First, 3);
    assert_eq!(three.tried(), [0]);
    assert!(three.after(1999 * MS).is_empty());
    assert_eq!(three.after(MS), [1]);
    assert_eq!(three.after(HEAD_START), [2]);
    assert_eq!(three.failover.wake(), None);
    let mut three = Simulation::new(Policy::First, 3);
    assert_eq!(three.tried(), [0]);
    three.left(0);
    assert_eq!(three.tried(), [1]);
    three.left(1);
    assert_eq!(three.tried(), [2]);
    three.left(2);
    assert_eq!(three.after(200 * MS), [0]);
}

#[test]
fn a_server_that_is_gone_is_left_for_another_at_once_and_returned_to_after_a_minute() {
    let mut two = Simulation::new(Policy::First, 2);
    assert_eq!(two.tried(), [0]);
    two.up(0);
    assert!(two.after(3600 * SECOND).is_empty());
    two.left(0);
    assert_eq!((two.tried(), two.outlook()), (vec![1], Outlook::Wait));
    two.up(1);
    assert_eq!((two.outlook(), two.spare()), (Outlook::Use(1), None));
    assert!(two.after(59 * SECOND).is_empty());
    for _ in 0..3 {
        assert_eq!(two.after(SECOND), [0]);
        two.left(0);
        assert!(two.after(59 * SECOND).is_empty());
    }
    assert_eq!(two.after(SECOND), [0]);
    two.up(0);
    assert_eq!(two.outlook(), Outlook::Use(0));
    assert_eq!((two.spare(), two.spare()), (Some(1), None));
    assert!(two.after(3600 * SECOND).is_empty());
    // What stands by is there at once.
    two.left(0);
    assert_eq!(two.tried(), [1]);
}

#[test]
fn a_deaf_server_keeps_its_session_and_gets_its_visitors_back() {
    for first_is_deaf in [true, false] {
        let mut two = Simulation::new(Policy::First, 2);
        two.tried();
        if !first_is_deaf {
            two.left(0);
            two.tried();
        }
        let (used, other) = if first_is_deaf { (0, 1) } else { (1, 0) };
        two.up(used);
        two.failover.deaf(used, true);
        // There may be another at once.
        assert!(!matches!(two.outlook(), Outlook::Use(_)));
        assert_eq!(two.after(SECOND), [other]);
        two.up(other);
        assert_eq!((two.outlook(), two.spare()), (Outlook::Use(other), None));
        two.failover.deaf(used, false);
        // The first of the two goes on.
        assert_eq!((two.outlook(), two.spare()), (Outlook::Use(0), Some(1)));
    }
}

#[test]
fn a_deaf_server_may_be_reached_by_another_way() {
    let mut one = Simulation::new(Policy::First, 1);
    one.tried();
    one.up(0);
    one.failover.deaf(0, true);
    one.failover.again(0);
    assert_eq!((one.outlook(), one.failover.wake()), (Outlook::Wait, None));
    one.up(0);
    assert_eq!(one.outlook(), Outlook::Use(0));
}

#[test]
fn visitors_do_not_wait_where_others_have_failed_too() {
    let mut two = Simulation::new(Policy::First, 2);
    two.tried();
    two.up(0);
    two.failover.deaf(0, true);
    assert_eq!(two.outlook(), Outlook::Wait);
    assert_eq!((two.tried(), two.outlook()), (vec![1], Outlook::Wait));
    two.left(1);
    assert_eq!(two.outlook(), Outlook::Silent(0));
}

#[test]
fn a_refusal_is_the_end_only_if_all_refuse() {
    let mut two = Simulation::new(Policy::First, 2);
    two.tried();
    two.failover.refused(0, two.now);
    assert!(!two.failover.is_hopeless());
    assert_eq!(two.tried(), [1]);
    two.up(1);
    assert!(two.after(REFUSED - SECOND).is_empty());
    assert_eq!(two.after(SECOND), [0]);
    two.failover.refused(0, two.now);
    two.left(1);
    assert!(!two.failover.is_hopeless());
    assert_eq!(two.after(SECOND), [1]);
    two.failover.refused(1, two.now);
    assert!(two.failover.is_hopeless());
}

#[test]
fn who_changes_something_is_tried_at_once() {
    let mut two = Simulation::new(Policy::First, 2);
    two.tried();
    two.failover.refused(0, two.now);
    assert_eq!(two.tried(), [1]);
    two.up(1);
    assert!(two.after(SECOND).is_empty());
    two.failover.forgive(two.now);
    assert_eq!(two.tried(), [0]);
    // Those that are there or wait for their turn are not concerned.
    two.failover.forgive(two.now);
    assert!(two.tried().is_empty());
}

#[test]
fn a_server_that_was_stopped_may_be_back_soon() {
    let mut one = Simulation::new(Policy::First, 1);
    one.tried();
    one.up(0);
    for _ in 0..8 {
        one.left(0);
        one.after(5 * SECOND);
    }
    one.left(0);
    one.failover.gone(0, one.now, 0.5);
    assert_eq!(one.after(200 * MS), [0]);
}

#[test]
fn all_servers_are_kept_and_the_nearest_is_used() {
    let mut three = Simulation::new(Policy::All, 3);
    assert_eq!(three.tried(), [0, 1, 2]);
    let failover = &mut three.failover;
    failover.up(0, 50 * MS);
    assert_eq!(failover.outlook(), Outlook::Use(0));
    failover.up(1, 10 * MS);
    assert_eq!(failover.outlook(), Outlook::Use(1));
    // Not for little.
    for (rtt, used) in [(9, 1), (8, 1), (7, 2), (9, 2), (13, 2), (14, 1)] {
        failover.up(2, rtt * MS);
        assert_eq!(failover.outlook(), Outlook::Use(used), "{rtt}");
    }
    failover.deaf(1, true);
    assert_eq!(failover.outlook(), Outlook::Use(2));
    assert_eq!(failover.spare(three.now), None);
    three.left(2);
    assert_eq!(three.outlook(), Outlook::Use(0));
    assert_eq!(three.after(200 * MS), [2]);
}

/// A world in which servers come and go, hang or fail, become deaf and are heard again.
#[derive(Clone, Copy, Debug)]
enum Event {
    Connects(usize),
    Fails(usize),
    Deaf(usize),
    Heard(usize),
    Gone(usize),
    Refuses(usize),
    Waits(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let server = 0..3usize;
    prop_oneof![
        server.clone().prop_map(Event::Connects),
        server.clone().prop_map(Event::Fails),
        server.clone().prop_map(Event::Deaf),
        server.clone().prop_map(Event::Heard),
        server.clone().prop_map(Event::Gone),
        server.prop_map(Event::Refuses),
        (0..100_000u32).prop_map(Event::Waits),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_best_is_used_and_nobody_is_hammered(
        all in any::<bool>(),
        events in prop::collection::vec(event(), 1..200),
    ) {
        let policy = if all { Policy::All } else { Policy::First };
        let mut world = Simulation::new(policy, 3);
        let mut last = [None; 3];
        for event in events {
            let state = |world: &Simulation, i: usize| world.failover.servers[i].state;
            let (is_coming, is_up) = match event {
                Event::Waits(_) => (false, false),
                Event::Connects(i) | Event::Fails(i) | Event::Deaf(i) | Event::Heard(i)
                | Event::Gone(i) | Event::Refuses(i) => {
                    let state = state(&world, i);
                    (state == State::Coming, matches!(state, State::Up | State::Deaf))
                }
            };
            match event {
                Event::Connects(i) if is_coming => world.up(i),
                Event::Fails(i) if is_coming => world.left(i),
                Event::Refuses(i) if is_coming => world.failover.refused(i, world.now),
                Event::Deaf(i) if is_up => world.failover.deaf(i, true),
                Event::Heard(i) if is_up => world.failover.deaf(i, false),
                Event::Gone(i) if is_up => world.left(i),
                Event::Waits(ms) => world.now += ms * MS,
                _ => {}
            }
            for i in world.tried() {
                let before: Option<Instant> = last[i].replace(world.now);
                prop_assert!(before.is_none_or(|before| world.now - before >= 200 * MS));
            }
            while let Some(i) = world.spare() {
                // It has done nothing wrong.
                last[i] = None;
            }
            let states: Vec<_> = (0..3).map(|i| state(&world, i)).collect();
            let up: Vec<_> = (0..3).filter(|i| states[*i] == State::Up).collect();
            match world.outlook() {
                Outlook::Use(i) => {
                    prop_assert!(up.contains(&i));
                    // One is enough.
                    prop_assert!(all || up == [i]);
                }
                _ => prop_assert!(up.is_empty()),
            }
            // Whoever has nothing has an attempt under way, or knows when the next one is.
            let coming = states.contains(&State::Coming);
            prop_assert!(!up.is_empty() || coming || world.failover.wake().is_some()
                || states.iter().all(|s| *s == State::Deaf));
        }
    }
}
