//! The addresses of this machine's own interfaces.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// How long a look at the interfaces holds: it takes some 50 µs, and there may be many flows.
const FRESH: Duration = Duration::from_secs(1);

/// The last look, which is the process's and no session's.
static LAST: Mutex<Option<(Instant, HashSet<IpAddr>)>> = Mutex::new(None);

/// Whether an address is one of this machine's. If that cannot be known it may be.
pub(super) fn is_own(ip: IpAddr) -> bool {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH) {
        *last = match if_addrs::get_if_addrs() {
            Ok(found) => Some((Instant::now(), found.iter().map(|i| i.ip()).collect())),
            Err(e) => {
                warn!("the addresses of this machine are not known: {e}");
                None
            }
        };
    }
    last.as_ref().is_none_or(|(_, own)| own.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_of_this_machine_and_documentation_is_not() {
        assert!(is_own([127, 0, 0, 1].into()));
        assert!(!is_own([192, 0, 2, 1].into()));
    }
}
