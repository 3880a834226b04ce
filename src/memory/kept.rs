//! What flows keep in memory: what has come and was not passed on, and what was sent and is not
//! acknowledged.
//!
//! Where memory has a limit that is counted, byte by byte, and has a budget. What goes beyond it has
//! flows cut at that moment, not at the next look: first those that have stopped, the longest first,
//! then those that began last. They are of the connection that keeps most, if there are any, and among
//! those that keep no less there than others.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use tokio::sync::Notify;

use super::now;

/// How long nothing has moved in a flow that has stopped: longer than one waits for a busy processor.
pub(super) const STOPPED: Duration = Duration::from_secs(2);

/// What a flow may have sent and not acknowledged, in bytes, when the budget is half used up.
const LITTLE: u64 = 64 * 1024;

/// All that flows keep.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes: AtomicU64,
    budget: AtomicU64,
    cuts: AtomicU64,
    /// Those of connections that there are, in the order in which they began.
    accounts: Mutex<BTreeMap<u64, Weak<Account>>>,
    next: AtomicU64,
}

impl Ledger {
    pub(super) const fn new() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            budget: AtomicU64::new(u64::MAX),
            cuts: AtomicU64::new(0),
            accounts: Mutex::new(BTreeMap::new()),
            next: AtomicU64::new(0),
        }
    }

    /// Sets how many bytes flows may keep.
    pub(super) fn allow(&self, budget: u64) {
        self.budget.store(budget, Relaxed);
    }

    /// How many bytes flows may keep: the largest number where there is no limit.
    pub(super) fn budget(&self) -> u64 {
        self.budget.load(Relaxed)
    }

    /// Whether there is a budget at all. Nothing is counted without one, for that costs every request some
    /// per cent.
    pub(super) fn is_limited(&self) -> bool {
        self.budget() < u64::MAX
    }

    /// Bytes beyond half of what there may be.
    pub(super) fn beyond_half(&self) -> u64 {
        self.bytes.load(Relaxed).saturating_sub(self.budget() / 2)
    }

    /// How many flows were cut so far.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Relaxed)
    }

    fn add(&self, bytes: u64) {
        let (before, budget) = (self.bytes.fetch_add(bytes, Relaxed), self.budget());
        if before + bytes > budget {
            // More than is needed, for the choice takes time.
            self.cut(before + bytes - budget / 8 * 7, Duration::ZERO);
        }
    }

    /// Cuts flows until so many bytes are freed, if there are as many in flows in which nothing has
    /// moved for so long: first those that have stopped.
    pub(super) fn cut(&self, bytes: u64, idle: Duration) {
        let left = self.cut_idle(bytes, idle.max(STOPPED));
        self.cut_idle(left, idle);
    }

    /// Does so among those alone, and tells how many bytes are left to be freed.
    fn cut_idle(&self, bytes: u64, idle: Duration) -> u64 {
        let (mut accounts, now, mut left) = (self.accounts(), now(), bytes);
        while left > 0 {
            accounts.sort_by_key(|account| account.bytes.load(Relaxed));
            let Some(most) = accounts.last() else {
                break;
            };
            match most.cut_worst(now, idle) {
                Some(freed) => {
                    self.cuts.fetch_add(1, Relaxed);
                    left = left.saturating_sub(freed);
                }
                None => drop(accounts.pop()),
            }
        }
        left
    }

    /// Those of connections that there are.
    fn accounts(&self) -> Vec<Arc<Account>> {
        // None is dropped while they are locked, for that locks them too.
        let accounts = lock(&self.accounts);
        accounts.values().filter_map(Weak::upgrade).collect()
    }

    /// Bytes that the flows of one connection keep on average, of those that keep any.
    fn average(&self) -> u64 {
        let accounts = self.accounts();
        let bytes = accounts.iter().map(|account| account.bytes.load(Relaxed));
        let (all, count) = bytes.fold((0, 0), |(all, count), bytes| {
            (all + bytes, count + u64::from(bytes > 0))
        });
        all / count.max(1)
    }
}

/// What the flows of one connection keep.
#[derive(Debug)]
pub struct Account {
    ledger: &'static Ledger,
    number: u64,
    bytes: AtomicU64,
    /// Those that can be cut, in the order in which they began.
    flows: Mutex<BTreeMap<u64, Arc<Kept>>>,
    next: AtomicU64,
}

impl Account {
    pub(super) fn new(ledger: &'static Ledger) -> Arc<Self> {
        let number = ledger.next.fetch_add(1, Relaxed);
        let account = Arc::new(Self {
            ledger,
            number,
            bytes: AtomicU64::new(0),
            flows: Mutex::default(),
            next: AtomicU64::new(0),
        });
        lock(&ledger.accounts).insert(number, Arc::downgrade(&account));
        account
    }

    /// A new flow, which keeps nothing yet, and can be cut until [`Kept::end`].
    pub fn flow(self: &Arc<Self>) -> Arc<Kept> {
        let number = self.next.fetch_add(1, Relaxed);
        let flow = Arc::new(Kept {
            account: self.clone(),
            number,
            received: Side::default(),
            sent: Side::default(),
            acknowledged: Notify::new(),
            is_cut: AtomicBool::new(false),
            cut: AtomicWaker::new(),
        });
        lock(&self.flows).insert(number, flow.clone());
        flow
    }

    /// Whether none of its flows is to grow: memory is short, or flows keep half of what they may, and
    /// those of this connection no less than those of others.
    pub fn is_short(&self) -> bool {
        super::is_short()
            || self.ledger.beyond_half() > 0 && self.bytes.load(Relaxed) >= self.ledger.average()
    }

    /// The same, asked for a new flow that is turned away if so. Flows that have stopped for long make
    /// way for the next one then.
    pub fn turns_away(&self) -> bool {
        super::turned_away(self.is_short())
    }

    /// Cuts the flow that is to go first, if there is any, and tells what it kept. That is as good as
    /// freed.
    fn cut_worst(&self, now: u64, idle: Duration) -> Option<u64> {
        let mut flows = lock(&self.flows);
        let seen = flows.values().map(|flow| flow.state(now));
        let number = choose(seen.collect(), idle.as_millis() as u64)?;
        let flow = flows.remove(&number)?;
        flow.is_cut.store(true, Relaxed);
        flow.cut.wake();
        Some(flow.clear())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        lock(&self.ledger.accounts).remove(&self.number);
    }
}

/// A flow that may be cut.
#[derive(Clone, Copy, Debug)]
struct State {
    /// The larger, the later it began.
    number: u64,
    bytes: u64,
    /// Milliseconds for which something has waited and nothing moved.
    idle: u64,
}

/// The flow to be cut first, of those that have been idle for so long.
///
/// One that keeps little is of no use, so there has to be as much as flows keep on average.
fn choose(mut flows: Vec<State>, idle: u64) -> Option<u64> {
    flows.retain(|flow| flow.bytes > 0 && flow.idle >= idle);
    let all: u64 = flows.iter().map(|flow| flow.bytes).sum();
    let average = all.checked_div(flows.len() as u64)?;
    let order = |flow: &State| match u128::from(flow.idle) >= STOPPED.as_millis() {
        true => (true, flow.idle),
        false => (false, flow.number),
    };
    let enough = flows.iter().filter(|flow| flow.bytes >= average);
    Some(enough.max_by_key(|flow| order(flow))?.number)
}

/// What one flow keeps.
#[derive(Debug)]
pub struct Kept {
    account: Arc<Account>,
    number: u64,
    received: Side,
    sent: Side,
    acknowledged: Notify,
    is_cut: AtomicBool,
    cut: AtomicWaker,
}

/// The bytes of one direction, and when some of them moved last.
#[derive(Debug, Default)]
struct Side {
    bytes: AtomicU64,
    moved: AtomicU64,
}

impl Kept {
    /// Notes that so many bytes have come.
    pub fn arrive(&self, bytes: usize) {
        self.add(&self.received, bytes);
    }

    /// Notes that so many of them were passed on.
    pub fn pass(&self, bytes: u64) {
        self.remove(&self.received, bytes);
    }

    /// A chunk that counts until the last of its clones is dropped.
    pub fn hold(self: &Arc<Self>, chunk: Bytes) -> Bytes {
        if !self.account.ledger.is_limited() {
            return chunk;
        }
        self.add(&self.sent, chunk.len());
        let flow = self.clone();
        Bytes::from_owner(Sent { chunk, flow })
    }

    /// Waits while more than little is sent and not acknowledged, if half of the budget is used up.
    /// Cancel-safe.
    pub async fn room(&self) {
        while self.sent.bytes.load(Relaxed) > LITTLE && self.account.is_short() {
            self.acknowledged.notified().await;
        }
    }

    /// Whether it is to be turned away, as a new one; see [`Account::turns_away`].
    pub fn turns_away(&self) -> bool {
        self.account.turns_away()
    }

    /// Waits until the flow is cut for want of memory. All that waits for this is to be in one task.
    pub fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        self.cut.register(cx.waker());
        match self.is_cut.load(Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// The same. Cancel-safe.
    pub async fn cut(&self) {
        poll_fn(|cx| self.poll_cut(cx)).await
    }

    /// Notes that it is over. What is still to be acknowledged counts as before.
    pub fn end(&self) {
        lock(&self.account.flows).remove(&self.number);
        self.remove(&self.received, u64::MAX);
    }

    fn state(&self, now: u64) -> State {
        let sides = [&self.received, &self.sent].map(|side| {
            let (bytes, moved) = (side.bytes.load(Relaxed), side.moved.load(Relaxed));
            (
                bytes,
                if bytes > 0 {
                    now.saturating_sub(moved)
                } else {
                    0
                },
            )
        });
        State {
            number: self.number,
            bytes: sides[0].0 + sides[1].0,
            idle: sides[0].1.max(sides[1].1),
        }
    }

    fn add(&self, side: &Side, bytes: usize) {
        if !self.account.ledger.is_limited() {
            return;
        }
        let bytes = bytes as u64;
        if side.bytes.fetch_add(bytes, Relaxed) == 0 {
            side.moved.store(now(), Relaxed);
        }
        self.account.bytes.fetch_add(bytes, Relaxed);
        self.account.ledger.add(bytes);
    }

    /// What was not counted, as there was no limit then, or does not count any more, as the flow was cut, is not
    /// there to be taken away.
    fn remove(&self, side: &Side, bytes: u64) {
        if side.bytes.load(Relaxed) == 0 {
            return;
        }
        let mut gone = 0;
        let _ = side.bytes.fetch_update(Relaxed, Relaxed, |kept| {
            gone = kept.min(bytes);
            Some(kept - gone)
        });
        side.moved.store(now(), Relaxed);
        self.forget(gone);
    }

    fn clear(&self) -> u64 {
        let sides = [&self.received, &self.sent];
        let bytes = sides.map(|side| side.bytes.swap(0, Relaxed)).iter().sum();
        self.forget(bytes);
        bytes
    }

    fn forget(&self, bytes: u64) {
        self.account.bytes.fetch_sub(bytes, Relaxed);
        self.account.ledger.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Bytes that were sent.
struct Sent {
    chunk: Bytes,
    flow: Arc<Kept>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.flow.remove(&self.flow.sent, self.chunk.len() as u64);
        self.flow.acknowledged.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn ledger(budget: usize) -> &'static Ledger {
        let ledger = Box::leak(Box::new(Ledger::new()));
        ledger.allow(budget as u64);
        ledger
    }

    fn kept(ledger: &Ledger) -> u64 {
        ledger.bytes.load(Relaxed)
    }

    fn is_cut(flow: &Kept) -> bool {
        flow.is_cut.load(Relaxed)
    }

    #[test]
    fn those_that_have_stopped_go_first_and_then_the_last() {
        let flow = |number, bytes, idle| State {
            number,
            bytes,
            idle,
        };
        // One that keeps next to nothing is of no use.
        let mut flows = vec![flow(0, 1, 60_000), flow(1, 90, 1900), flow(2, 80, 100)];
        assert_eq!(choose(flows.clone(), 0), Some(2));
        assert_eq!(choose(flows.clone(), 5000), Some(0));
        flows.extend([flow(3, 90, 3000), flow(4, 90, 2000)]);
        assert_eq!(choose(flows, 0), Some(3));
        assert_eq!(choose(vec![flow(1, 0, 0)], 0), None);
    }

    /// Nobody looks for those that are gone where there is no limit.
    #[test]
    fn nothing_is_left_of_a_connection_that_is_gone() {
        let ledger = ledger(usize::MAX);
        let stays = Account::new(ledger);
        for _ in 0..3 {
            Account::new(ledger).flow().end();
        }
        assert_eq!(lock(&ledger.accounts).len(), 1);
        drop(stays);
        assert!(lock(&ledger.accounts).is_empty());
    }

    #[test]
    fn what_is_kept_stays_within_the_budget_whoever_keeps_it() {
        let ledger = ledger(16 * MIB);
        let (greedy, modest) = (Account::new(ledger), Account::new(ledger));
        let old = modest.flow();
        old.arrive(3 * MIB);
        let flows: Vec<_> = (0..100).map(|_| greedy.flow()).collect();
        for flow in &flows {
            flow.arrive(MIB / 2);
            assert!(kept(ledger) <= 16 * MIB as u64);
        }
        let cut = flows.iter().filter(|flow| is_cut(flow)).count();
        assert_eq!(cut as u64, ledger.cuts());
        assert!((74..90).contains(&cut), "{cut}");
        assert!(!is_cut(&old) && !is_cut(&flows[0]));
        assert!(greedy.is_short() && !modest.is_short());
        flows.iter().for_each(|flow| flow.end());
        old.pass(3 * MIB as u64);
        assert_eq!(kept(ledger), 0);
        assert!(!greedy.is_short());
    }

    #[tokio::test]
    async fn what_is_sent_counts_until_it_is_acknowledged() {
        let ledger = ledger(MIB);
        let flow = Account::new(ledger).flow();
        let chunk = flow.hold(Bytes::from(vec![0; 3 * MIB / 4]));
        let (first, second) = (chunk.slice(..100), chunk.slice(100..));
        drop(chunk);
        let mut room = Box::pin(flow.room());
        assert!(poll_fn(|cx| Poll::Ready(room.as_mut().poll(cx).is_pending())).await);
        drop(first);
        assert_eq!(kept(ledger), 3 * MIB as u64 / 4);
        drop(second);
        room.await;
        assert_eq!(kept(ledger), 0);
    }

    #[tokio::test]
    async fn a_flow_that_is_cut_learns_of_it_and_counts_no_more() {
        let ledger = ledger(MIB);
        let flow = Account::new(ledger).flow();
        let sent = flow.hold(Bytes::from(vec![0; MIB / 2]));
        flow.arrive(MIB);
        flow.cut().await;
        assert_eq!(kept(ledger), 0);
        drop(sent);
        flow.end();
        assert_eq!(kept(ledger), 0);
    }
}
