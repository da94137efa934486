//! The fence of a local tier: who may still fill, who may publish. Pure state, no I/O, time handed in.
//!
//! Keys share stripes. A stripe has a *generation*, which every write of one of its keys moves on; a lease is the
//! generation at which it was taken, and is alive while the two are equal. A write so also destroys the leases of
//! the other keys of its stripe: they lose one fill, never their truth.
//!
//! The race this stops (stale set): `R: miss · R: store→v1 · W: store←v2 · W: invalidate · R: keep v1`. With the
//! fence R's last step is refused, since W moved the generation after R had taken its lease.
//!
//! A stripe also has an *epoch*, which entries carry: moving it on makes every entry of the stripe unusable without
//! touching one of them. That is what `clear` does.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::RandomState;
use tokio::time::Instant;

use super::{Hold, Lease};
use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

/// What the fence knows a key by: a hash. Two keys with the same fingerprint are fenced as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

/// All stripes of one tier.
pub(super) struct Stripes {
    stripes: Box<[Mutex<Stripe>]>,
    epochs: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl Stripes {
    /// `count` is rounded up to a power of two.
    pub(super) fn new(count: usize) -> Self {
        let count = count.next_power_of_two();
        Self {
            stripes: (0..count).map(|_| Mutex::default()).collect(),
            epochs: (0..count).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::default(),
        }
    }

    pub(super) fn fingerprint<K: Hash>(&self, key: &K) -> Fingerprint {
        Fingerprint(self.hasher.hash_one(key))
    }

    pub(super) fn index(&self, fingerprint: Fingerprint) -> u32 {
        (fingerprint.0 as usize & (self.stripes.len() - 1)) as u32
    }

    pub(super) fn lock(&self, fingerprint: Fingerprint) -> MutexGuard<'_, Stripe> {
        self.stripes[self.index(fingerprint) as usize].lock()
    }

    /// The epoch of a stripe; an index that is not ours is never equal to any entry's.
    #[inline]
    pub(super) fn epoch(&self, index: u32) -> Option<u32> {
        self.epochs.get(index as usize).map(|epoch| epoch.load(Ordering::Acquire))
    }

    /// Destroys every lease and spoils every hold. Every fill and publication of before has then been done.
    pub(super) fn destroy_leases(&self) {
        self.stripes.iter().for_each(|stripe| stripe.lock().destroy_leases());
    }

    /// The same, and makes every entry unusable.
    pub(super) fn clear(&self) {
        for (stripe, epoch) in self.stripes.iter().zip(&self.epochs) {
            let mut stripe = stripe.lock();
            stripe.destroy_leases();
            epoch.fetch_add(1, Ordering::Release);
        }
    }
}

/// Some keys' generation and the holds on them.
#[derive(Debug, Default)]
pub(super) struct Stripe {
    generation: u64,
    claims: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    fingerprint: Fingerprint,
    hold: Hold,
    ends: Instant,
    /// Another writer touched the key while this hold lived: nobody can say whose write the store took last.
    contended: bool,
}

impl Stripe {
    /// The right to fill, unless a writer holds the key.
    pub(super) fn acquire(&mut self, fingerprint: Fingerprint, now: Instant) -> Option<Lease> {
        self.drop_ended(now);
        let held = self.claims.iter().any(|claim| claim.fingerprint == fingerprint);
        (!held).then(|| Lease::new(u128::from(self.generation)))
    }

    /// Whether nothing was written since the lease was taken.
    pub(super) fn may_fill(&self, lease: Lease) -> bool {
        lease.number() == u128::from(self.generation)
    }

    /// Destroys the leases and spoils the holds of the key.
    pub(super) fn invalidate(&mut self, fingerprint: Fingerprint) {
        self.generation += 1;
        self.of(fingerprint).for_each(|claim| claim.contended = true);
    }

    /// Claims the key, or prolongs the claim. With another live claim on it, both are contended.
    pub(super) fn hold(&mut self, fingerprint: Fingerprint, hold: Hold, ends: Instant, now: Instant) {
        self.drop_ended(now);
        if let Some(mine) = self.of(fingerprint).find(|claim| claim.hold == hold) {
            mine.ends = ends;
            return;
        }
        self.generation += 1;
        let mut contended = false;
        for other in self.of(fingerprint) {
            other.contended = true;
            contended = true;
        }
        self.claims.push(Claim { fingerprint, hold, ends, contended });
    }

    /// Ends a hold. True when the key was this writer's alone from the claim until now.
    ///
    /// A hold that had ended by itself is gone, and a reader may have filled since: that answer is destroyed too.
    pub(super) fn end_hold(&mut self, fingerprint: Fingerprint, hold: Hold, now: Instant) -> bool {
        self.drop_ended(now);
        let mine =
            self.claims.iter().position(|claim| claim.fingerprint == fingerprint && claim.hold == hold);
        let sole = mine.is_some_and(|at| !self.claims.swap_remove(at).contended);
        if !sole {
            self.invalidate(fingerprint);
        }
        sole
    }

    fn destroy_leases(&mut self) {
        self.generation += 1;
        self.claims.iter_mut().for_each(|claim| claim.contended = true);
    }

    fn of(&mut self, fingerprint: Fingerprint) -> impl Iterator<Item = &mut Claim> {
        self.claims.iter_mut().filter(move |claim| claim.fingerprint == fingerprint)
    }

    fn drop_ended(&mut self, now: Instant) {
        self.claims.retain(|claim| claim.ends > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const KEY: Fingerprint = Fingerprint(1);
    const OTHER: Fingerprint = Fingerprint(2);

    fn now() -> Instant {
        Instant::now()
    }

    fn soon() -> Instant {
        now() + Duration::from_secs(10)
    }

    #[test]
    fn a_write_destroys_the_lease() {
        let mut stripe = Stripe::default();
        let lease = stripe.acquire(KEY, now()).expect("nobody holds the key");
        assert!(stripe.may_fill(lease));
        stripe.invalidate(KEY);
        assert!(!stripe.may_fill(lease));
    }

    #[test]
    fn nobody_fills_under_a_hold() {
        let mut stripe = Stripe::default();
        let lease = stripe.acquire(KEY, now()).expect("nobody holds the key");
        let hold = Hold::unique();
        stripe.hold(KEY, hold, soon(), now());
        assert!(!stripe.may_fill(lease));
        assert!(stripe.acquire(KEY, now()).is_none());
        assert!(stripe.acquire(OTHER, now()).is_some(), "the stripe's other keys are free");
        assert!(stripe.end_hold(KEY, hold, now()));
        assert!(stripe.acquire(KEY, now()).is_some());
    }

    #[test]
    fn two_writers_both_lose_the_right_to_publish() {
        let mut stripe = Stripe::default();
        let (first, second) = (Hold::unique(), Hold::unique());
        stripe.hold(KEY, first, soon(), now());
        stripe.hold(KEY, second, soon(), now());
        assert!(!stripe.end_hold(KEY, second, now()));
        assert!(!stripe.end_hold(KEY, first, now()));
    }

    #[test]
    fn a_hold_is_prolonged_by_its_own_writer_without_being_contended() {
        let mut stripe = Stripe::default();
        let hold = Hold::unique();
        stripe.hold(KEY, hold, now() + Duration::from_secs(1), now());
        stripe.hold(KEY, hold, soon(), now());
        assert!(stripe.end_hold(KEY, hold, now() + Duration::from_secs(5)));
    }

    #[test]
    fn an_invalidation_during_a_hold_forbids_to_publish() {
        let mut stripe = Stripe::default();
        let hold = Hold::unique();
        stripe.hold(KEY, hold, soon(), now());
        stripe.invalidate(KEY);
        assert!(!stripe.end_hold(KEY, hold, now()));
    }

    #[test]
    fn a_hold_that_outlived_itself_may_not_publish_and_frees_the_key() {
        let mut stripe = Stripe::default();
        let hold = Hold::unique();
        stripe.hold(KEY, hold, now(), now());
        let lease = stripe.acquire(KEY, soon()).expect("the hold has ended");
        assert!(!stripe.end_hold(KEY, hold, soon()));
        assert!(!stripe.may_fill(lease), "the load may have missed the write");
    }
}
