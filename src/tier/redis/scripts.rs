//! The scripts that say in Lua what `tier/slot.rs` says in Rust.

use std::sync::LazyLock;

use redis::Script;

/// A script with its hash, by which a server that has seen it knows it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) source: String,
    pub(super) hash: String,
}

impl Known {
    fn new(clock: &str, body: &str) -> Self {
        let source = format!("{clock}{SLOT}{body}");
        let hash = Script::new(&source).get_hash().to_owned();
        Self { source, hash }
    }
}

const SLOT: &str = include_str!("scripts/slot.lua");
const CLOCK: &str = include_str!("scripts/clock.lua");

/// The scripts, a name and a body for each.
pub(super) const BODIES: [(&str, &str); 8] = [
    ("acquire", include_str!("scripts/acquire.lua")),
    ("fill", include_str!("scripts/fill.lua")),
    ("renew", include_str!("scripts/renew.lua")),
    ("abandon", include_str!("scripts/abandon.lua")),
    ("invalidate", include_str!("scripts/invalidate.lua")),
    ("hold", include_str!("scripts/hold.lua")),
    ("release", include_str!("scripts/release.lua")),
    ("publish", include_str!("scripts/publish.lua")),
];

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Acquire,
    Fill,
    Renew,
    Abandon,
    Invalidate,
    Hold,
    Release,
    Publish,
}

impl Name {
    pub(super) fn script(self) -> &'static Known {
        static ALL: LazyLock<Vec<Known>> =
            LazyLock::new(|| BODIES.iter().map(|(_, body)| Known::new(CLOCK, body)).collect());
        &ALL[self as usize]
    }
}

/// The sources of all scripts with their names, reading the time from their last argument instead of the server's
/// clock: so that tests can hold them against `slot::step` with times of their own.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn with_time_as_argument() -> Vec<(&'static str, String)> {
    const ARGUMENT: &str = "local now = tonumber(table.remove(ARGV))\n";
    BODIES.iter().map(|(name, body)| (*name, Known::new(ARGUMENT, body).source)).collect()
}
