//! How a keeper has its session go along with the tunnels that there are to be.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::super::backoff::Backoff;
use super::super::entry::{Entry, Judge};
use super::{Given, Keeper};
use crate::session::{OpenError, Opener};

/// First and longest wait before a tunnel that the server refused is asked for again.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Keeper {
    /// Has a session open and close tunnels as the book says, for ever; it begins with these. What is
    /// refused is asked for again.
    pub(super) async fn keep_to_the_book(&self, opener: &Opener, mut open: Given) {
        let (mut book, judge) = (self.book.clone(), self.judge());
        let mut refused = BTreeMap::<u32, Refused>::new();
        loop {
            let wanted = book.borrow_and_update().clone();
            let is_wanted = |number: &u32| wanted.iter().any(|entry| entry.number == *number);
            let (kept, gone) = open.into_iter().partition(|(number, _)| is_wanted(number));
            open = kept;
            self.close(opener, gone).await;
            refused.retain(|number, _| is_wanted(number));
            for entry in &wanted {
                // A session that takes nothing new is not to be asked, nor for what nobody may want any
                // more.
                if !opener.is_open() || book.has_changed().unwrap_or(true) {
                    break;
                }
                let number = entry.number;
                if open.contains_key(&number) || !is_due(entry, &judge, &mut refused) {
                    continue;
                }
                match opener.open_tunnel(number, &entry.tunnel).await {
                    Ok(listening) => {
                        refused.remove(&number);
                        open.insert(number, entry.take(&judge, Ok(listening)));
                    }
                    Err(OpenError::Refused(why)) => {
                        refused.entry(number).or_default().wait();
                        entry.take(&judge, Err(why));
                    }
                    Err(OpenError::Lost) => {}
                }
            }
            let retry = refused.values().map(|refused| refused.until).min();
            tokio::select! {
                changed = book.changed() => if changed.is_err() {
                    pending::<()>().await;
                },
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() && opener.is_open() => {}
            }
        }
    }

    /// Closes tunnels. Where the server listens for them is shown until it says that it does not any
    /// more.
    async fn close(&self, opener: &Opener, gone: Given) {
        let mut closing = Vec::new();
        for (number, whereabouts) in gone {
            let closed = opener.close_tunnel(number, self.config.drain).await;
            closing.push((closed, whereabouts));
        }
        for (closed, _whereabouts) in closing {
            // It fails where the client listens, and where the session has ended.
            let _ = closed.await;
        }
    }
}

/// Whether a tunnel that is not open is to be asked for. One that was refused at the login has to wait
/// first.
fn is_due(entry: &Entry, judge: &Judge, refused: &mut BTreeMap<u32, Refused>) -> bool {
    if !refused.contains_key(&entry.number) && entry.is_refused_by(judge) {
        refused.entry(entry.number).or_default().wait();
    }
    let waits = refused.get(&entry.number).map(|refused| refused.until);
    waits.is_none_or(|until| until <= Instant::now())
}

/// When a tunnel that was refused is asked for again.
#[derive(Debug)]
struct Refused {
    backoff: Backoff,
    until: Instant,
}

impl Refused {
    fn wait(&mut self) {
        self.until = Instant::now() + self.backoff.wait(fastrand::f64());
    }
}

impl Default for Refused {
    fn default() -> Self {
        Self {
            backoff: Backoff::between(FIRST_RETRY, LONGEST_RETRY),
            until: Instant::now(),
        }
    }
}
