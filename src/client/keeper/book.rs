//! How a keeper has its session go along with the tunnels that there are to be.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::entry::Entry;
use super::{Given, Keeper};
use crate::session::{OpenError, Opener};

impl Keeper {
    /// Has a session open and close tunnels as the book says, for ever; it begins with these.
    pub(super) async fn keep_to_the_book(&self, opener: &Opener, mut open: Given) {
        let (mut book, judge) = (self.book.clone(), self.judge());
        let mut refused = BTreeSet::new();
        loop {
            let wanted = book.borrow_and_update().clone();
            let is_wanted = |number: &u32| wanted.iter().any(|entry| entry.number == *number);
            let (kept, gone) = open.into_iter().partition(|(number, _)| is_wanted(number));
            open = kept;
            for (number, _) in Given::from_iter(gone) {
                opener.close_tunnel(number, self.config.drain).await;
            }
            let new = |entry: &&Arc<Entry>| {
                !open.contains_key(&entry.number) && !refused.contains(&entry.number)
            };
            let new: Vec<_> = wanted.iter().filter(new).collect();
            for entry in new {
                // A session that takes nothing new is not to be asked, nor for what nobody may want any
                // more.
                if !opener.is_open() || book.has_changed().unwrap_or(true) {
                    break;
                }
                match opener.open_tunnel(entry.number, &entry.tunnel).await {
                    Ok(listening) => {
                        open.insert(entry.number, entry.take(&judge, Ok(listening)));
                    }
                    Err(OpenError::Refused(why)) => {
                        refused.insert(entry.number);
                        entry.take(&judge, Err(why));
                    }
                    Err(OpenError::Lost) => {}
                }
            }
            if book.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
