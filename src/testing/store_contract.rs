//! The contract of a store as a suite.

use crate::error::StoreError;
use crate::store::{Change, Store};

/// Checks every promise of [`Store`] against stores made by `make`, a new and empty one for each promise.
///
/// # Errors
///
/// The store's own.
///
/// # Panics
///
/// When a promise is broken, naming it.
pub async fn store_contract<S: Store<u64, String>>(make: impl AsyncFn() -> S) -> Result<(), StoreError> {
    what_was_never_saved_is_absent(make().await).await?;
    what_was_saved_is_loaded(make().await).await?;
    what_was_deleted_is_absent(make().await).await?;
    many_keys_have_an_answer_each(make().await).await?;
    changes_are_applied_in_order(make().await).await
}

async fn what_was_never_saved_is_absent<S: Store<u64, String>>(store: S) -> Result<(), StoreError> {
    assert_eq!(store.load(&1).await?, None, "what was never saved is `None`, not an error");
    Ok(())
}

async fn what_was_saved_is_loaded<S: Store<u64, String>>(store: S) -> Result<(), StoreError> {
    for value in ["", "one", "another"] {
        let (kept, _version) = store.save(&1, &value.to_owned()).await?.into_parts();
        let kept = kept.unwrap_or_else(|| value.to_owned());
        assert_eq!(store.load(&1).await?, Some(kept), "what was saved last is loaded");
    }
    Ok(())
}

async fn what_was_deleted_is_absent<S: Store<u64, String>>(store: S) -> Result<(), StoreError> {
    _ = store.save(&1, &"one".to_owned()).await?;
    store.delete(&1).await?;
    assert_eq!(store.load(&1).await?, None, "what was deleted is absent");
    store.delete(&1).await
}

async fn many_keys_have_an_answer_each<S: Store<u64, String>>(store: S) -> Result<(), StoreError> {
    _ = store.save(&1, &"one".to_owned()).await?;
    let mut answers = Vec::new();
    for answer in store.load_many(&[2, 1, 1]).await {
        answers.push(answer?);
    }
    let one = Some("one".to_owned());
    assert_eq!(answers, [None, one.clone(), one], "an answer for each key, in order");
    assert!(store.load_many(&[]).await.is_empty(), "no key, no answer");
    Ok(())
}

async fn changes_are_applied_in_order<S: Store<u64, String>>(store: S) -> Result<(), StoreError> {
    let put = |value: &str| Change::Put(1, value.to_owned());
    store.apply(&[put("one"), Change::Delete(1)]).await?;
    assert_eq!(store.load(&1).await?, None, "a delete after a put wins");
    store.apply(&[put("one"), Change::Delete(1), put("two")]).await?;
    assert_eq!(store.load(&1).await?, Some("two".to_owned()), "a put after a delete wins");
    Ok(())
}
