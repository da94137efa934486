//! The tiers of this process: how much they keep, what they let go of, and who is told. The same for both engines.

use std::collections::hash_map::RandomState;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::MINUTE;
use larder::testing::FakeStore;
use larder::tier::{LocalMap, Removal};
use larder::{Fenced, LayeredCache, Local, Memory, Quick, Result, Tier};

fn cache<T: Tier<u64, String>>(tier: T, store: &FakeStore<u64, String>) -> LayeredCache<u64, String> {
    larder::cache_aside(store.clone())
        .tier(tier)
        .ttl(MINUTE)
        .absent_ttl(MINUTE)
        .build()
        .expect("right settings")
}

fn rows(count: u64) -> FakeStore<u64, String> {
    FakeStore::with((0..count).map(|key| (key, format!("value {key:04}"))))
}

async fn read_all(cache: &LayeredCache<u64, String>, keys: std::ops::Range<u64>) -> Result<()> {
    for key in keys {
        cache.get(&key).await?;
    }
    Ok(())
}

fn hits(cache: &LayeredCache<u64, String>, keys: std::ops::Range<u64>) -> usize {
    keys.filter(|key| cache.get_local(key) != Local::Unknown).count()
}

/// A tier that can still be counted when a cache has it.
fn counted<M: LocalMap<u64, String>>(tier: Fenced<u64, String, M>) -> Arc<Fenced<u64, String, M>> {
    Arc::new(tier)
}

/// What each of both engines must do.
macro_rules! both {
    ($name:ident, |$tier:ident| $body:block) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn moka() -> Result<()> {
                #[allow(unused_imports)]
                use Memory as $tier;
                $body
            }

            #[tokio::test]
            async fn quick() -> Result<()> {
                #[allow(unused_imports)]
                use Quick as $tier;
                $body
            }
        }
    };
}

both!(room_by_entries_is_kept_to, |Engine| {
    let tier = counted(Engine::<u64, String>::with_capacity(100));
    let cache = cache(Arc::clone(&tier), &rows(1000));
    read_all(&cache, 0..1000).await?;
    assert!((50..=100).contains(&tier.len()), "{} entries", tier.len());
    Ok(())
});

both!(room_by_weight_is_kept_to, |Engine| {
    let weigher = |_key: &u64, value: &String| value.len() as u32;
    let tier = counted(Engine::<u64, String>::builder().weight(1000, weigher).build());
    let cache = cache(Arc::clone(&tier), &rows(1000));
    read_all(&cache, 0..1000).await?;
    assert!((50..=100).contains(&tier.len()), "{} values of ten bytes", tier.len());
    Ok(())
});

both!(a_value_too_heavy_to_keep_is_served_all_the_same, |Engine| {
    let tier = Engine::<u64, String>::builder().weight(100, |_, _| u32::MAX).build();
    let cache = cache(tier, &rows(10));
    assert_eq!(cache.get(&1).await?.as_deref(), Some("value 0001"));
    assert_eq!(cache.get(&1).await?.as_deref(), Some("value 0001"));
    Ok(())
});

both!(no_room_keeps_nothing, |Engine| {
    let cache = cache(Engine::<u64, String>::with_capacity(0), &rows(10));
    read_all(&cache, 0..10).await?;
    read_all(&cache, 0..10).await?;
    assert_eq!(cache.get(&100).await?, None);
    Ok(())
});

both!(keys_that_do_not_exist_crowd_out_no_value, |Engine| {
    let tier = counted(Engine::<u64, String>::with_capacity(200));
    let cache = cache(Arc::clone(&tier), &rows(100));
    for _ in 0..3 {
        read_all(&cache, 0..100).await?;
    }
    let before = hits(&cache, 0..100);
    for key in 1_000..51_000 {
        assert_eq!(cache.get(&key).await?, None);
    }
    let after = hits(&cache, 0..100);
    println!("{before} of 100 values before 50,000 questions for nothing, {after} after");
    assert_eq!((before, after), (100, 100));
    assert!(tier.len() <= 100 + 20 + 1, "{} entries: the absences keep to their tenth", tier.len());
    Ok(())
});

both!(absences_have_the_room_they_are_given, |Engine| {
    let tier = counted(Engine::<u64, String>::builder().capacity(100).absent_capacity(2_000).build());
    let cache = cache(Arc::clone(&tier), &rows(0));
    // Far more than the tenth of 100 that is usual. Not all of the room: `Quick` parts it by the hashes of the keys, and
    // a part may be full before the others are.
    read_all(&cache, 0..200).await?;
    assert_eq!(hits(&cache, 0..200), 200);
    Ok(())
});

both!(a_key_is_a_value_or_an_absence_and_never_both, |Engine| {
    let store = rows(1);
    let tier = counted(Engine::<u64, String>::with_capacity(100));
    let cache = larder::write_through(store.clone())
        .tier(Arc::clone(&tier))
        .ttl(MINUTE)
        .absent_ttl(MINUTE)
        .build()?;
    for round in 0..10 {
        _ = cache.put(&0, round.to_string()).await?;
        assert_eq!(cache.get_local(&0), Local::Value(round.to_string()));
        _ = cache.delete(&0).await?;
        assert_eq!(cache.get_local(&0), Local::Absent);
    }
    assert_eq!(tier.len(), 1);
    cache.invalidate(&0).await?;
    assert_eq!((cache.get_local(&0), tier.len()), (Local::Unknown, 0));
    Ok(())
});

both!(who_listens_is_told_what_leaves_for_want_of_room, |Engine| {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = Arc::clone(&told);
        move |key: &u64, value: Option<&String>, removal| {
            told.lock().expect("no panic").push((*key, value.cloned(), removal));
        }
    };
    let tier = counted(Engine::<u64, String>::builder().capacity(10).on_removal(listener).build());
    let cache = cache(Arc::clone(&tier), &rows(100));
    read_all(&cache, 0..100).await?;
    let kept = tier.len() as usize;
    let told = told.lock().expect("no panic");
    let crowded_out = told.iter().filter(|(_, _, removal)| *removal == Removal::Capacity).count();
    assert!(crowded_out >= 80, "{crowded_out} of {} were told of, {kept} kept", 100 - kept);
    assert!(told.iter().all(|(key, value, _)| value.as_deref() == Some(&*format!("value {key:04}"))));
    Ok(())
});

both!(another_hasher_will_do, |Engine| {
    let tier = Engine::<u64, String>::builder().hasher(RandomState::new()).build();
    let cache = cache(tier, &rows(10));
    read_all(&cache, 0..10).await?;
    assert_eq!(hits(&cache, 0..10), 10);
    Ok(())
});

#[tokio::test]
async fn who_listens_to_memory_is_told_why() -> Result<()> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = Arc::clone(&told);
        move |key: &u64, _value: Option<&String>, removal| {
            told.lock().expect("no panic").push((*key, removal))
        }
    };
    let tier = counted(Memory::builder().on_removal(listener).build());
    let cache = larder::write_through(rows(10)).tier(Arc::clone(&tier)).ttl(MINUTE).build()?;
    _ = cache.put(&1, "a".to_owned()).await?;
    cache.refresh(&1).await?;
    cache.invalidate(&1).await?;
    tier.len(); // moka does its housekeeping
    assert_eq!(*told.lock().expect("no panic"), [(1, Removal::Replaced), (1, Removal::Dropped)]);
    Ok(())
}

#[tokio::test]
async fn what_nobody_asks_for_leaves_when_its_time_to_idle_is_over() -> Result<()> {
    let idle = Duration::from_millis(300);
    let tier = counted(Memory::builder().time_to_idle(idle).build());
    let cache = cache(Arc::clone(&tier), &rows(10));
    read_all(&cache, 0..10).await?;
    assert_eq!(tier.len(), 10);
    tokio::time::timeout(MINUTE, async {
        while !tier.is_empty() {
            tokio::time::sleep(idle / 10).await; // moka goes by the machine's clock
        }
    })
    .await
    .expect("what is idle leaves");
    let for_ever = Memory::builder().time_to_idle(Duration::MAX).build();
    let cache = self::cache(for_ever, &rows(10));
    read_all(&cache, 0..10).await?;
    assert_eq!(hits(&cache, 0..10), 10);
    Ok(())
}
