//! The identities of a server: who there is at any time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Access, ChannelBinding, Entry, Identity, Password, Proof, StoredKey, Verifier};
use crate::tls::Fingerprint;

/// What the identity of all who know the password is called.
pub const PASSWORD_IDENTITY: &str = "password";

/// Who is let in.
#[derive(Debug)]
pub struct Registry {
    password: RwLock<Option<(Password, Arc<Identity>)>>,
    listed: RwLock<HashMap<String, Listed>>,
    /// What an unknown name's secret is checked by, so that it takes as long as a known one's.
    unknown: StoredKey,
    bench: Option<SocketAddr>,
}

#[derive(Debug)]
struct Listed {
    verifier: Verifier,
    identity: Arc<Identity>,
}

/// What a client claims to be, as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// One who knows the password.
    Password(&'a Proof),
    /// The client of a name, who knows its secret.
    Secret(&'a str, &'a Proof),
    /// The holder of the key that was shown in the handshake, if any was.
    Key(Option<Fingerprint>),
}

impl Registry {
    /// Lets in those who know the password, if there is one, and those who have an entry. `bench`
    /// is where all of them may measure, if they may.
    pub fn new(
        password: Option<(Password, Access)>,
        entries: Vec<Entry>,
        bench: Option<SocketAddr>,
    ) -> Self {
        let registry = Self {
            password: RwLock::default(),
            listed: RwLock::default(),
            unknown: StoredKey::unknown(),
            bench,
        };
        registry.set_password(password);
        registry.update(entries);
        registry
    }

    /// Takes this password in place of the former one, if any. Who came in by another is revoked; if it
    /// is the same, those who know it may do this from now on.
    pub fn set_password(&self, new: Option<(Password, Access)>) {
        let mut current = self
            .password
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let new = new.map(|(password, access)| {
            let bench = self.bench;
            (password, Access { bench, ..access })
        });
        if let (Some((password, identity)), Some((same, access))) = (&*current, &new)
            && password.is(same)
        {
            return identity.allow(access.clone());
        }
        if let Some((_, identity)) = &*current {
            identity.revoked.cancel();
        }
        *current = new.map(|(password, access)| {
            let identity = Identity::new(PASSWORD_IDENTITY, access);
            (password, identity)
        });
    }

    /// Who a client is, if it is anyone. Takes the same time for an unknown name as for a wrong
    /// secret.
    pub fn recognise(&self, claim: Claim<'_>, binding: &ChannelBinding) -> Option<Arc<Identity>> {
        match claim {
            Claim::Password(proof) => {
                let known = self.password.read().unwrap_or_else(PoisonError::into_inner);
                let (password, identity) = known.as_ref()?;
                password.verifies(binding, proof).then(|| identity.clone())
            }
            Claim::Secret(name, proof) => {
                let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
                let found = listed.get(name).and_then(|listed| match &listed.verifier {
                    Verifier::Secret(stored) => Some((stored, &listed.identity)),
                    Verifier::Key(_) => None,
                });
                let stored = found.map_or(&self.unknown, |(stored, _)| stored);
                let verified = stored.verifies(binding, proof);
                found.filter(|_| verified).map(|found| found.1.clone())
            }
            Claim::Key(shown) => {
                let shown = Verifier::Key(shown?);
                let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
                let found = listed.values().find(|listed| listed.verifier == shown);
                found.map(|listed| listed.identity.clone())
            }
        }
    }

    /// Takes these entries in place of the former ones. Who is not there any more, or has another
    /// credential, is revoked; who may do other things than before is told.
    pub fn update(&self, entries: Vec<Entry>) {
        let mut listed = self.listed.write().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut *listed);
        for entry in entries.into_iter().filter(|entry| !entry.disabled) {
            let Entry {
                name,
                verifier,
                access,
                ..
            } = entry;
            let access = Access {
                bench: self.bench,
                ..access
            };
            let identity = match former.remove(&name) {
                Some(known) if known.verifier == verifier => {
                    known.identity.allow(access);
                    known.identity
                }
                Some(other) => {
                    other.identity.revoked.cancel();
                    Identity::new(&name, access)
                }
                None => Identity::new(&name, access),
            };
            listed.insert(name, Listed { verifier, identity });
        }
        for gone in former.into_values() {
            gone.identity.revoked.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const BINDING: ChannelBinding = [7; 32];

    fn entry(name: &str, secret: &Password) -> Entry {
        Entry {
            name: name.to_owned(),
            verifier: Verifier::Secret(secret.stored_key()),
            disabled: false,
            access: Access::none(),
        }
    }

    fn recognise(registry: &Registry, name: &str, secret: &Password) -> Option<Arc<Identity>> {
        let proof = secret.prove_stored(&BINDING);
        registry.recognise(Claim::Secret(name, &proof), &BINDING)
    }

    #[test]
    fn each_is_recognised_by_its_own_credential_alone() {
        let (a, b) = (Password::generate(), Password::generate());
        let key = Fingerprint::of_bytes(b"a key");
        let with_key = Entry {
            verifier: Verifier::Key(key),
            ..entry("c", &a)
        };
        let entries = vec![entry("a", &a), entry("b", &b), with_key];
        let registry = Registry::new(Some((b.clone(), Access::none())), entries, None);
        assert_eq!(recognise(&registry, "a", &a).unwrap().name(), "a");
        for (name, secret) in [("a", &b), ("b", &a), ("c", &a), ("d", &a)] {
            assert!(recognise(&registry, name, secret).is_none(), "{name}");
        }
        let by_key = |key| registry.recognise(Claim::Key(key), &BINDING);
        assert_eq!(by_key(Some(key)).unwrap().name(), "c");
        assert!(by_key(None).is_none());
        assert!(by_key(Some(Fingerprint::of_bytes(b"another"))).is_none());
        let by_password = |proof| registry.recognise(Claim::Password(&proof), &BINDING);
        assert_eq!(by_password(b.prove(&BINDING)).unwrap().name(), "password");
        assert!(by_password(a.prove(&BINDING)).is_none());
        let listed_only = Registry::new(None, vec![], None);
        let claim = Claim::Password(&[0; 32]);
        assert!(listed_only.recognise(claim, &BINDING).is_none());
    }

    /// The shortest of many is what it takes, whatever else the machine does.
    #[test]
    fn who_is_unknown_takes_as_long_as_who_is_wrong() {
        let (a, wrong) = (Password::generate(), Password::generate());
        let with_key = Entry {
            verifier: Verifier::Key(Fingerprint::of_bytes(b"a key")),
            ..entry("key", &a)
        };
        let registry = Registry::new(None, vec![entry("known", &a), with_key], None);
        let proof = wrong.prove_stored(&BINDING);
        let mut shortest = [Duration::MAX; 3];
        for _ in 0..2000 {
            for (name, shortest) in ["known", "key", "unknown"].iter().zip(&mut shortest) {
                let began = Instant::now();
                assert!(
                    registry
                        .recognise(Claim::Secret(name, &proof), &BINDING)
                        .is_none()
                );
                *shortest = began.elapsed().min(*shortest);
            }
        }
        let [known, others @ ..] = shortest;
        for other in others {
            let ratio = other.as_secs_f64() / known.as_secs_f64();
            assert!((0.7..1.4).contains(&ratio), "{shortest:?}");
        }
    }

    #[test]
    fn who_is_gone_disabled_or_has_another_credential_is_revoked() {
        let (a, b) = (Password::generate(), Password::generate());
        for next in [
            vec![],
            vec![entry("a", &b)],
            vec![Entry {
                disabled: true,
                ..entry("a", &a)
            }],
        ] {
            let registry = Registry::new(None, vec![entry("a", &a)], None);
            let identity = recognise(&registry, "a", &a).unwrap();
            registry.update(next);
            assert!(identity.revoked.is_cancelled());
            assert!(recognise(&registry, "a", &a).is_none());
        }
    }

    #[test]
    fn who_stays_is_told_of_changes_alone() {
        let a = Password::generate();
        let registry = Registry::new(None, vec![entry("a", &a)], None);
        let identity = recognise(&registry, "a", &a).unwrap();
        let mut changes = identity.changes();
        registry.update(vec![entry("b", &a), entry("a", &a)]);
        assert!(!changes.has_changed().unwrap());
        let mut wider = entry("a", &a);
        wider.access.max_flows = 5;
        registry.update(vec![wider]);
        assert!(changes.has_changed().unwrap());
        assert_eq!(changes.borrow_and_update().max_flows, 5);
        assert!(Arc::ptr_eq(
            &identity,
            &recognise(&registry, "a", &a).unwrap()
        ));
        assert!(!identity.revoked.is_cancelled());
    }

    #[test]
    fn what_is_held_counts_over_all_sessions_and_is_given_back() {
        let a = Password::generate();
        let mut limited = entry("a", &a);
        limited.access.max_flows = 2;
        limited.access.max_tunnels = 3;
        let registry = Registry::new(None, vec![limited], None);
        let one = recognise(&registry, "a", &a).unwrap();
        let other = recognise(&registry, "a", &a).unwrap();
        let first = one.take_flow().unwrap();
        let _second = other.take_flow().unwrap();
        assert!(one.take_flow().is_none());
        drop(first);
        assert!(other.take_flow().is_some());
        let _tunnels = one.take_tunnels(2).unwrap();
        assert!(other.take_tunnels(2).is_none());
        assert!(other.take_tunnels(usize::MAX).is_none());
        assert!(other.take_tunnels(1).is_some());
    }
}
