//! A key in a borrowed form: `&str` where the keys are `String`.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A key that is looked for by a borrowed form of it, without being made.
///
/// It hashes as the key does, and knows the key when it sees it; a map that can look up by anything
/// [`Equivalent`](https://docs.rs/equivalent) to its keys takes it as it is.
#[derive(Clone, Copy)]
pub struct Lookup<'a, K> {
    hash: &'a dyn Fn(&mut dyn Hasher),
    is: &'a dyn Fn(&K) -> bool,
}

impl<K> Lookup<'_, K> {
    /// Looks with `query` for the key it is a borrowed form of.
    pub(crate) fn with<Q, A>(query: &Q, look: impl FnOnce(&Lookup<'_, K>) -> A) -> A
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = |mut state: &mut dyn Hasher| query.hash(&mut state);
        let is = |key: &K| key.borrow() == query;
        look(&Lookup { hash: &hash, is: &is })
    }

    /// Whether `key` is the one looked for.
    pub fn is(&self, key: &K) -> bool {
        (self.is)(key)
    }
}

/// As the key hashes: that is what `Borrow` promises.
impl<K> Hash for Lookup<'_, K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.hash)(state);
    }
}

#[cfg(any(feature = "memory", feature = "quick-cache"))]
impl<K> equivalent::Equivalent<K> for Lookup<'_, K> {
    fn equivalent(&self, key: &K) -> bool {
        self.is(key)
    }
}

impl<K> fmt::Debug for Lookup<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn a_lookup_hashes_as_the_key_and_knows_it() {
        let hasher = foldhash::fast::RandomState::default();
        let key = "post:tenant-a:0000000042".to_owned();
        Lookup::<String>::with(key.as_str(), |lookup| {
            assert_eq!(hasher.hash_one(lookup), hasher.hash_one(&key));
            assert!(lookup.is(&key) && !lookup.is(&"another".to_owned()));
        });
    }
}
