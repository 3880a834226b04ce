//! The sessions of a server by whose they are, so that a client can take over from itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::session::{Former, Inheritance, Instance, MakeRoom, Newcomer, PROBE, Summons};

/// Whose a session is: an identity's, and one process's among those that log in as it.
type Owner = (String, Instance);

/// Time beyond the probe's own for a dead session to give its ports back.
const CLEARING: Duration = Duration::from_millis(300);

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<Owner, Taken>>);

/// A session's place: how to reach it, and how to know that it has ended.
#[derive(Clone, Debug)]
struct Taken {
    summons: Arc<Summons>,
    gone: CancellationToken,
}

/// The place of one session; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    owner: Owner,
    taken: Taken,
    seats: Arc<Seats>,
}

impl Seats {
    /// Takes a client's place, after its former session has left it with all of its ports; or has
    /// given them away, if it is to go on without.
    pub(super) async fn take(self: &Arc<Self>, newcomer: &Newcomer) -> (Seat, Inheritance) {
        let owner = (newcomer.identity.name().to_owned(), newcomer.instance);
        let taken = Taken {
            summons: Arc::default(),
            gone: CancellationToken::new(),
        };
        let former = self.lock().insert(owner.clone(), taken.clone());
        let seat = Seat {
            owner,
            taken,
            seats: self.clone(),
        };
        let inheritance = match (former, newcomer.former) {
            (None, _) => Inheritance::default(),
            (Some(former), Former::Breaks) => {
                former.summons.leave.cancel();
                former.gone.cancelled().await;
                Inheritance::default()
            }
            (Some(former), Former::Retires) => tokio::select! {
                inheritance = former.summons.succession.inherit() => inheritance,
                () = former.gone.cancelled() => Inheritance::default(),
            },
        };
        (seat, inheritance)
    }

    /// All other sessions of the same identity.
    fn others(&self, (identity, _): &Owner, taken: &Taken) -> Vec<Taken> {
        let seats = self.lock();
        let others = seats.iter().filter(|((theirs, _), other)| {
            theirs == identity && !Arc::ptr_eq(&other.summons, &taken.summons)
        });
        others.map(|(_, taken)| taken.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// How this session is told to leave, or to see whether its client lives.
    pub(super) fn summons(&self) -> &Summons {
        &self.taken.summons
    }

    /// How those of the client's other sessions are ended that are dead.
    pub(super) fn make_room(&self) -> MakeRoom {
        let (seats, owner, taken) = (self.seats.clone(), self.owner.clone(), self.taken.clone());
        MakeRoom::new(move || Box::pin(bury_the_dead(seats.others(&owner, &taken))))
    }
}

/// Has sessions see whether their clients live, and waits until those that do not are gone: not much
/// longer than a probe takes.
async fn bury_the_dead(others: Vec<Taken>) {
    for other in &others {
        other.summons.probe.notify_one();
    }
    let all_gone = async {
        for other in &others {
            other.gone.cancelled().await;
        }
    };
    // Those that are not gone by then live.
    let _ = timeout(PROBE + CLEARING, all_gone).await;
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock();
        let sits = seats.get(&self.owner);
        // Unless the next one sits here already.
        if sits.is_some_and(|sits| Arc::ptr_eq(&sits.summons, &self.taken.summons)) {
            seats.remove(&self.owner);
        }
        self.taken.gone.cancel();
    }
}
