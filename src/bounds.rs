//! What a type must be able to do to be a key or a value.

use std::hash::Hash;

/// A type that can be a cache key.
///
/// Implemented for every type that is `Clone + Eq + Hash + Send + Sync + 'static`. Keys are cloned on a miss and on
/// a write, never on a hit; for long keys take `Arc<str>` or a newtype over it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a cache key: a key is `Clone + Eq + Hash + Send + Sync + 'static`",
    label = "not a cache key",
    note = "derive what is missing: `#[derive(Clone, PartialEq, Eq, Hash)]`"
)]
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T> Key for T where T: Clone + Eq + Hash + Send + Sync + 'static {}

/// A type that can be a cached value.
///
/// Implemented for every type that is `Clone + Send + Sync + 'static`. A hit clones the value: wrap anything bigger
/// than a few words in an [`Arc`](std::sync::Arc).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a cached value: a value is `Clone + Send + Sync + 'static`",
    label = "not a cached value",
    note = "wrap it in an `Arc`: `Arc<{Self}>` can be cached when `{Self}` is `Send + Sync + 'static`"
)]
pub trait Value: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T> Value for T where T: Clone + Send + Sync + 'static {}
