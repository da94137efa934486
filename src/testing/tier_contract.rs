//! The contract of a tier as a suite.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::consistency::Consistency;
use crate::entry::Entry;
use crate::error::Result;
use crate::event::Events;
use crate::tier::{Acquired, Filled, Hold, Host, Lease, Purpose, Tier};
use crate::time::{Clock, SystemClock, Timestamp};

const KEY: u64 = 1;
const OTHER: u64 = 2;
const LONG: Duration = Duration::from_secs(3_600);
/// By how much a tier may be mistaken about it.
const LITTLE: Duration = Duration::from_secs(6);

/// Checks every promise of [`Tier`] against tiers made by `make`, a new and empty one for each promise.
///
/// # Errors
///
/// The tier's own.
///
/// # Panics
///
/// When a promise is broken, naming it.
pub async fn tier_contract<T: Tier<u64, String>>(make: impl AsyncFn() -> T) -> Result<()> {
    let events = Arc::new(Events::new("contract".into(), None));
    let host = Host::new(Arc::clone(&clock().0) as Arc<dyn Clock>, &events, Consistency::NoStaleSet);
    let make = async || {
        let tier = make().await;
        tier.attach(&host).expect("a tier serves a cache without special wishes");
        tier
    };
    what_was_never_filled_is_not_there(make().await).await?;
    a_filled_entry_comes_back_as_it_was(make().await).await?;
    an_absence_is_kept_as_an_absence(make().await).await?;
    copies_come_in_the_order_asked(make().await).await?;
    what_is_local_is_what_is_there(make().await).await?;
    an_invalidation_destroys_copy_and_lease(make().await).await?;
    an_invalidation_on_the_spot_leaves_nothing_local(make().await).await?;
    an_older_answer_does_not_replace_a_newer(make().await).await?;
    nobody_fills_a_held_key(make().await).await?;
    a_sole_writer_publishes(make().await).await?;
    a_hold_can_be_prolonged(make().await).await?;
    of_two_writers_nobody_publishes(make().await).await?;
    an_invalidation_spoils_a_hold(make().await).await?;
    a_released_key_is_empty_and_free(make().await).await?;
    a_hold_ends_by_itself(make().await).await?;
    an_abandoned_lease_leaves_the_key_free(make().await).await?;
    a_clear_destroys_copies_and_leases(make().await).await?;
    make().await.close().await
}

/// The clock of all tiers under test, and when it was first looked at.
fn clock() -> &'static (Arc<SystemClock>, Timestamp) {
    static CLOCK: OnceLock<(Arc<SystemClock>, Timestamp)> = OnceLock::new();
    CLOCK.get_or_init(|| {
        let clock = Arc::new(SystemClock::new());
        let now = clock.now();
        (clock, now)
    })
}

/// An answer to a question asked `as_of` milliseconds after the beginning.
fn entry(value: &str, as_of: u64) -> Entry<String> {
    let as_of = clock().1.after(Duration::from_millis(as_of));
    Entry::new(Some(value.to_owned()), as_of, as_of.after(LONG), as_of.after(LONG))
}

/// A tier may know the time less well than we do. It may then call a copy older than it is, never younger.
fn assert_is(copy: Option<&Entry<String>>, expected: &Entry<String>, promise: &str) {
    let copy = copy.unwrap_or_else(|| panic!("{promise}: there is no copy"));
    assert_eq!(copy.value(), expected.value(), "{promise}");
    assert!(copy.as_of() <= expected.as_of(), "{promise}: no younger than it was");
    assert!(copy.fresh_until() <= expected.fresh_until(), "{promise}: fresh no longer than it was");
    assert!(copy.expires_at() <= expected.expires_at(), "{promise}: kept no longer than it was");
    let early = expected.expires_at().since(copy.expires_at());
    assert!(early < LITTLE, "{promise}: its life is what it was, give or take a little");
}

async fn copy<T: Tier<u64, String>>(tier: &T, key: u64) -> Result<Option<Entry<String>>> {
    let mut copies = tier.get_many(&[key]).await?;
    assert_eq!(copies.len(), 1, "one key asked for, one answer given");
    Ok(copies.pop().flatten())
}

async fn lease<T: Tier<u64, String>>(tier: &T, key: u64) -> Result<Lease> {
    match tier.acquire(&key, Purpose::Renew).await? {
        Acquired::Granted(lease, _) => Ok(lease),
        other => panic!("a free key grants a lease, not {other:?}"),
    }
}

async fn what_was_never_filled_is_not_there<T: Tier<u64, String>>(tier: T) -> Result<()> {
    assert_eq!(copy(&tier, KEY).await?, None, "what was never filled is not there");
    Ok(())
}

async fn a_filled_entry_comes_back_as_it_was<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let lease = lease(&tier, KEY).await?;
    assert_eq!(tier.fill(&KEY, lease, &entry("v1", 1)).await?, Filled::Stored, "a lease lets fill");
    assert_is(copy(&tier, KEY).await?.as_ref(), &entry("v1", 1), "value and times come back as they were");
    Ok(())
}

async fn an_absence_is_kept_as_an_absence<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let absent = Entry::new(None, clock().1, Timestamp::NEVER, Timestamp::NEVER);
    let lease = lease(&tier, KEY).await?;
    assert_eq!(tier.fill(&KEY, lease, &absent).await?, Filled::Stored);
    let copy = copy(&tier, KEY).await?.expect("an absence is an entry");
    assert!(copy.is_absent(), "an absence comes back as an absence");
    Ok(())
}

async fn copies_come_in_the_order_asked<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let lease = lease(&tier, KEY).await?;
    _ = tier.fill(&KEY, lease, &entry("v1", 1)).await?;
    let copies = tier.get_many(&[OTHER, KEY, KEY]).await?;
    assert_eq!(copies.len(), 3, "an answer for each key");
    assert_eq!(copies[0], None, "the answers are in the order of the keys");
    for copy in &copies[1..] {
        assert_is(copy.as_ref(), &entry("v1", 1), "a key may be asked for twice");
    }
    assert_eq!(tier.get_many(&[]).await?, [], "no key, no copy");
    Ok(())
}

async fn what_is_local_is_what_is_there<T: Tier<u64, String>>(tier: T) -> Result<()> {
    assert_eq!(tier.local(&KEY), None);
    let lease = lease(&tier, KEY).await?;
    _ = tier.fill(&KEY, lease, &entry("v1", 1)).await?;
    if let Some(local) = tier.local(&KEY) {
        assert_is(Some(&local), &entry("v1", 1), "what is local is what was filled");
    }
    tier.invalidate_many(&[KEY]).await?;
    assert_eq!(tier.local(&KEY), None, "what was invalidated is not local");
    Ok(())
}

async fn an_invalidation_destroys_copy_and_lease<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let first = lease(&tier, KEY).await?;
    _ = tier.fill(&KEY, first, &entry("v1", 1)).await?;
    let second = lease(&tier, KEY).await?;
    tier.invalidate_many(&[KEY]).await?;
    assert_eq!(copy(&tier, KEY).await?, None, "an invalidated copy is gone");
    let late = tier.fill(&KEY, second, &entry("v1", 2)).await?;
    assert_eq!(late, Filled::Refused, "a lease from before the invalidation lets nobody fill");
    assert_eq!(copy(&tier, KEY).await?, None, "and nothing was kept");
    Ok(())
}

async fn an_invalidation_on_the_spot_leaves_nothing_local<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let lease = lease(&tier, KEY).await?;
    _ = tier.fill(&KEY, lease, &entry("v1", 1)).await?;
    tier.invalidate_now(&[KEY]);
    assert_eq!(tier.local(&KEY), None, "what was invalidated on the spot is not local");
    Ok(())
}

async fn an_older_answer_does_not_replace_a_newer<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let old = lease(&tier, KEY).await?;
    let new = match tier.acquire(&KEY, Purpose::Renew).await? {
        Acquired::Granted(lease, _) => lease,
        _one_at_a_time => return Ok(()),
    };
    _ = tier.fill(&KEY, new, &entry("v2", 2)).await?;
    let late = tier.fill(&KEY, old, &entry("v1", 1)).await?;
    assert_eq!(late, Filled::Refused, "an answer to an older question does not replace a newer one");
    assert_is(copy(&tier, KEY).await?.as_ref(), &entry("v2", 2), "the newer answer is there");
    Ok(())
}

async fn nobody_fills_a_held_key<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let before = lease(&tier, KEY).await?;
    _ = tier.fill(&KEY, before, &entry("v1", 1)).await?;
    let waiting = lease(&tier, KEY).await?;
    tier.hold_many(&[KEY], Hold::unique(), LONG).await?;
    assert_eq!(copy(&tier, KEY).await?, None, "a held key has no copy");
    let late = tier.fill(&KEY, waiting, &entry("v1", 2)).await?;
    assert_eq!(late, Filled::Refused, "a lease from before the hold lets nobody fill");
    assert!(matches!(tier.acquire(&KEY, Purpose::Fill).await?, Acquired::Held), "a held key grants no lease");
    lease(&tier, OTHER).await?;
    Ok(())
}

async fn a_sole_writer_publishes<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let hold = Hold::unique();
    tier.hold_many(&[KEY], hold, LONG).await?;
    assert_eq!(tier.publish(&KEY, hold, &entry("v2", 2)).await?, Filled::Stored, "a sole writer publishes");
    assert_is(copy(&tier, KEY).await?.as_ref(), &entry("v2", 2), "the newer answer is there");
    Ok(())
}

async fn a_hold_can_be_prolonged<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let hold = Hold::unique();
    tier.hold_many(&[KEY], hold, Duration::from_millis(50)).await?;
    tier.hold_many(&[KEY], hold, LONG).await?;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(tier.publish(&KEY, hold, &entry("v2", 2)).await?, Filled::Stored, "a hold can be prolonged");
    Ok(())
}

async fn of_two_writers_nobody_publishes<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let (first, second) = (Hold::unique(), Hold::unique());
    tier.hold_many(&[KEY], first, LONG).await?;
    tier.hold_many(&[KEY], second, LONG).await?;
    assert_eq!(
        tier.publish(&KEY, second, &entry("v3", 3)).await?,
        Filled::Refused,
        "the first writer is still here"
    );
    assert_eq!(
        tier.publish(&KEY, first, &entry("v2", 2)).await?,
        Filled::Refused,
        "the second writer was here"
    );
    assert_eq!(copy(&tier, KEY).await?, None, "no copy says which write the store took last");
    Ok(())
}

async fn an_invalidation_spoils_a_hold<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let hold = Hold::unique();
    tier.hold_many(&[KEY], hold, LONG).await?;
    tier.invalidate_many(&[KEY]).await?;
    assert_eq!(
        tier.publish(&KEY, hold, &entry("v2", 2)).await?,
        Filled::Refused,
        "somebody else wrote meanwhile"
    );
    assert_eq!(copy(&tier, KEY).await?, None);
    Ok(())
}

async fn a_released_key_is_empty_and_free<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let hold = Hold::unique();
    tier.hold_many(&[KEY, OTHER], hold, LONG).await?;
    tier.release_many(&[KEY, OTHER], hold).await?;
    assert_eq!(copy(&tier, KEY).await?, None, "a released key has no copy");
    lease(&tier, KEY).await?;
    lease(&tier, OTHER).await?;
    Ok(())
}

async fn a_hold_ends_by_itself<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let hold = Hold::unique();
    tier.hold_many(&[KEY], hold, Duration::from_millis(50)).await?;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let reader = lease(&tier, KEY).await?;
    _ = tier.fill(&KEY, reader, &entry("v1", 1)).await?;
    assert_eq!(
        tier.publish(&KEY, hold, &entry("v2", 2)).await?,
        Filled::Refused,
        "a hold that has ended is no hold"
    );
    assert_eq!(copy(&tier, KEY).await?, None, "what was filled meanwhile may have missed the write");
    Ok(())
}

async fn an_abandoned_lease_leaves_the_key_free<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let given_back = lease(&tier, KEY).await?;
    tier.abandon(&KEY, given_back, Duration::ZERO).await?;
    lease(&tier, KEY).await?;
    Ok(())
}

async fn a_clear_destroys_copies_and_leases<T: Tier<u64, String>>(tier: T) -> Result<()> {
    let first = lease(&tier, KEY).await?;
    _ = tier.fill(&KEY, first, &entry("v1", 1)).await?;
    let waiting = lease(&tier, OTHER).await?;
    tier.clear().await?;
    assert_eq!(copy(&tier, KEY).await?, None, "a cleared copy is gone");
    let late = tier.fill(&OTHER, waiting, &entry("v1", 2)).await?;
    assert_eq!(late, Filled::Refused, "a lease from before the clear lets nobody fill");
    Ok(())
}
