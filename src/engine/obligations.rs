//! Dropping copies later: what a tier could not do when it was asked is owed until it is done.
//!
//! Losing a fill costs a load; losing an invalidation leaves a wrong answer until its ttl. So these are kept, newest per
//! key, and tried again until the tier has done them or the cache is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use super::background::Duty;
use crate::bounds::{Key, Value};
use crate::event::Event;
use crate::levels::Debt;
use crate::tier::Scope;
use crate::time;

/// The pauses between tries: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How many keys are dropped by one call.
const BATCH: usize = 500;

impl<K: Key, V: Value> Engine<K, V> {
    /// The copies of `keys` could not be dropped: they will be. Without a runtime there is nobody to do it, and in other
    /// processes a copy can be as old as its ttl.
    pub(super) fn owe(&self, keys: &[K]) {
        self.0.setup.owed.owe(keys);
        self.events().emit(&Event::Owed { keys: keys.len() });
        self.see_to_payment();
    }

    /// The same for all copies.
    pub(super) fn owe_everything(&self) {
        self.0.setup.owed.owe_everything();
        self.events().emit(&Event::Owed { keys: 1 });
        self.see_to_payment();
    }

    /// The same for the copies of the keys in `scope`.
    pub(super) fn owe_where(&self, scope: &Scope<K>) {
        self.0.setup.owed.owe_where(scope);
        self.events().emit(&Event::Owed { keys: 1 });
        self.see_to_payment();
    }

    /// Drops the copies of `keys` at `moment`, in the background, or when the cache is closed before that.
    pub(super) fn drop_later(&self, keys: Vec<K>, moment: Instant) {
        let engine = self.clone();
        let task = async move {
            _ = time::within(moment, engine.0.background.closing()).await;
            if engine.drop_copies(&keys).await.is_err() {
                engine.owe(&keys);
            }
        };
        _ = self.0.background.spawn(Duty::Write, task);
    }

    fn see_to_payment(&self) {
        if self.0.paying.swap(true, Ordering::AcqRel) {
            return;
        }
        let payer = Payer { engine: self.clone(), at_work: true };
        let background = Arc::clone(&self.0.background);
        _ = background.spawn(Duty::Write, async move { payer.pay().await });
    }
}

/// The task that pays. With its runtime it may go before its time, and another then begins at the next debt.
struct Payer<K: Key, V: Value> {
    engine: Engine<K, V>,
    at_work: bool,
}

impl<K: Key, V: Value> Payer<K, V> {
    async fn pay(mut self) {
        let Engine(parts) = self.engine.clone();
        while self.at_work {
            self.pay_all().await;
            parts.paying.store(false, Ordering::Release);
            let left = parts.setup.owed.len();
            if parts.background.is_closed() {
                parts.background.leave_copies(left);
            }
            // A debt that came after the last look has found this task still at work, and relies on it.
            self.at_work =
                left > 0 && !parts.background.is_closed() && !parts.paying.swap(true, Ordering::AcqRel);
        }
    }

    /// Until nothing is owed, or the cache is closed.
    async fn pay_all(&self) {
        let Engine(parts) = &self.engine;
        let mut pause = PAUSES.0;
        loop {
            let Payment { done, left } = self.pay_what_can_be().await;
            if left == 0 || parts.background.is_closed() {
                return;
            }
            pause = if done > 0 { PAUSES.0 } else { pause };
            let luck = 0.5 + fastrand::f64() / 2.0;
            _ = time::within(time::from_now(pause.mul_f64(luck)), parts.background.closing()).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Tries every debt once: of several servers one may be away, and what is owed to the others does not wait for it.
    async fn pay_what_can_be(&self) -> Payment {
        let mut all = Payment { done: 0, left: 0 };
        while let Some(debt) = self.engine.0.setup.owed.next(BATCH, all.left) {
            let Payment { done, left } = self.pay_one(debt).await;
            all = Payment { done: all.done + done, left: all.left + left };
        }
        all
    }

    async fn pay_one(&self, debt: Debt<K>) -> Payment {
        let engine = &self.engine;
        let done = match &debt {
            Debt::Keys(keys) => return self.pay_keys(keys).await,
            Debt::Scope(scope, _) => engine.drop_copies_where(scope).await.is_ok(),
            Debt::Everything(_) => {
                let cleared = engine.0.setup.levels.clear().await.is_ok();
                engine.0.flights.overtake_all();
                cleared
            }
        };
        if !done {
            return Payment { done: 0, left: 1 };
        }
        engine.0.setup.owed.paid(debt);
        engine.events().emit(&Event::Paid { keys: 1 });
        Payment { done: 1, left: 0 }
    }

    async fn pay_keys(&self, owed: &[(K, u64)]) -> Payment {
        let engine = &self.engine;
        let keys: Vec<K> = owed.iter().map(|(key, _)| key.clone()).collect();
        let answers = engine.drop_each(&keys).await;
        let done = owed.iter().zip(answers).filter(|(_, answer)| answer.is_ok());
        let done: Vec<(K, u64)> = done.map(|(debt, _)| debt.clone()).collect();
        let keys = done.len();
        if keys > 0 {
            engine.0.setup.owed.paid(Debt::Keys(done));
            engine.events().emit(&Event::Paid { keys });
        }
        Payment { done: keys, left: owed.len() - keys }
    }
}

/// How many debts were paid, and how many were not.
struct Payment {
    done: usize,
    left: usize,
}

impl<K: Key, V: Value> Drop for Payer<K, V> {
    fn drop(&mut self) {
        if self.at_work {
            self.engine.0.paying.store(false, Ordering::Release);
        }
    }
}
