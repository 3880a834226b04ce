//! How much memory the process may have, by the control groups that it is in, and who goes when it
//! runs out: the kernel kills what goes beyond its limit.
//!
//! What flows keep is counted and has a budget (`kept`), which is a share of the limit, and that bounds
//! it. All else is seen by looking at what the kernel counts, now and then: whoever is about to begin
//! something asks here first. Where there is no limit, there is always room.

mod group;
mod kept;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;
use tracing::warn;

use self::group::{Group, Level, Usage};
pub use self::kept::{Account, Kept};
use self::kept::{Ledger, STOPPED};

/// How often is looked where there is a limit, and where none is yet.
const LOOK: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(1);

/// How long nothing has moved in a flow that makes way for one that wants in.
const STALE: Duration = Duration::from_secs(5);

/// What all flows together may keep: one in so many bytes of the limit.
const BUDGET: u64 = 4;

/// What one connection may keep beyond first windows, each way: one in so many bytes of the budget, so that
/// one fast flow does not keep more than a flood.
const SHARES: u64 = 8;

static LEDGER: Ledger = Ledger::new();

/// The level as it was seen last, and whether somebody was turned away since.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Room as u8);
static WANTED: AtomicBool = AtomicBool::new(false);

/// Whether there is a limit at all.
pub fn is_limited() -> bool {
    LEDGER.is_limited()
}

/// Whether nothing new is to begin. It costs next to nothing to ask.
fn is_short() -> bool {
    LEVEL.load(Relaxed) != Level::Room as u8
}

/// The same, asked for a new client that is turned away if so. Flows that have stopped for long make way
/// for the next one then.
pub fn turns_away() -> bool {
    turned_away(is_short())
}

fn turned_away(short: bool) -> bool {
    if short {
        WANTED.store(true, Relaxed);
    }
    short
}

/// What one connection may keep of something that is `most` bytes where memory has no limit.
pub fn share(most: u64) -> u64 {
    most.min(LEDGER.budget() / SHARES)
}

/// A new connection, whose flows keep nothing yet.
pub fn account() -> Arc<Account> {
    Account::new(&LEDGER)
}

/// Looks how much there is, and has flows cut where that is little, for ever. Cancel-safe.
///
/// The first look is before this returns: whatever is made after that is as large as it may be.
pub fn keep() -> impl Future<Output = ()> {
    let mut limit = look();
    async move {
        let (mut told, mut cuts) = (None::<Instant>, 0);
        loop {
            sleep(limit.map_or(SELDOM, |_| LOOK)).await;
            limit = look();
            let cut = LEDGER.cuts() - cuts;
            if cut > 0 && told.is_none_or(|told| told.elapsed() >= SELDOM) {
                warn!("memory is short: {cut} flows were cut for which too much waited");
                (told, cuts) = (Some(Instant::now()), cuts + cut);
            }
        }
    }
}

/// Has what there is known to all, and tells the limit.
fn look() -> Option<u64> {
    let limit = groups().iter().filter_map(Group::limit).min();
    LEDGER.allow(limit.map_or(u64::MAX, |limit| limit / BUDGET));
    let usages = groups().iter().filter_map(Group::usage);
    let worst = usages.max_by_key(|usage| (usage.level(), usage.excess()));
    let level = worst.map_or(Level::Room, Usage::level);
    let excess = worst.map_or(0, Usage::excess);
    LEVEL.store(level as u8, Relaxed);
    if level == Level::Full {
        // What flows keep that have not is not what there is too much of.
        LEDGER.cut(excess, STOPPED);
    } else if WANTED.swap(false, Relaxed) {
        LEDGER.cut(excess.max(LEDGER.beyond_half()), STALE);
    }
    if level != Level::Room {
        give_back();
    }
    limit
}

/// Gives memory back to the system that was freed, and that glibc keeps as long as something above it is
/// in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "malloc_trim(3) has no other name")]
fn give_back() {
    // SAFETY: it may be called any time, by any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

fn groups() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        group::groups(Path::new("/sys/fs/cgroup"), &own)
    })
}

/// Milliseconds since some moment, at which the system began or this was asked first.
///
/// Where memory has a limit each chunk of a flow asks four times: so it is the clock of the last tick, some
/// milliseconds ago, which only has to be read from memory.
#[cfg(target_os = "linux")]
fn now() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn now() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64
}
