//! The scripts that say in Lua what `tier/slot.rs` says in Rust of the slot of a key, and `stream.rs` of the shard of
//! a stream.

use std::sync::LazyLock;

use redis::Script;

/// A script with its hash, by which a server that has seen it knows it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) source: String,
    pub(super) hash: String,
}

impl Known {
    fn new(parts: &[&str]) -> Self {
        let source = parts.concat();
        let hash = Script::new(&source).get_hash().to_owned();
        Self { source, hash }
    }
}

const SLOT: &str = include_str!("scripts/slot.lua");
const CLOCK: &str = include_str!("scripts/clock.lua");

/// The scripts, a name and a body for each.
pub(super) const BODIES: [(&str, &str); 9] = [
    ("acquire", include_str!("scripts/acquire.lua")),
    ("fill", include_str!("scripts/fill.lua")),
    ("renew", include_str!("scripts/renew.lua")),
    ("abandon", include_str!("scripts/abandon.lua")),
    ("invalidate", include_str!("scripts/invalidate.lua")),
    ("hold", include_str!("scripts/hold.lua")),
    ("release", include_str!("scripts/release.lua")),
    ("publish", include_str!("scripts/publish.lua")),
    ("tell", include_str!("scripts/tell.lua")),
];

const SHARD: &str = include_str!("scripts/stream/shard.lua");
const SHARD_CLOCK: &str = include_str!("scripts/stream/clock.lua");

/// The scripts of a stream's shard, and the one that tells who is there.
const STREAM_BODIES: [(&str, &str); 4] = [
    ("append", include_str!("scripts/stream/append.lua")),
    ("collect", include_str!("scripts/stream/collect.lua")),
    ("look", include_str!("scripts/stream/look.lua")),
    ("read", include_str!("scripts/stream/read.lua")),
];
const BEAT: &str = include_str!("scripts/stream/beat.lua");

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
    Tell,
    Append,
    Collect,
    Look,
    Read,
    Beat,
}

impl Name {
    /// Whether it can end a load that others wait for.
    pub(super) fn ends_a_load(self) -> bool {
        matches!(self, Self::Fill | Self::Abandon)
    }

    /// Whether it can drop a copy that others have.
    pub(super) fn drops(self) -> bool {
        matches!(self, Self::Invalidate | Self::Hold | Self::Release | Self::Publish | Self::Tell)
    }

    pub(super) fn script(self) -> &'static Known {
        static ALL: LazyLock<Vec<Known>> = LazyLock::new(|| {
            let of_slots = BODIES.iter().map(|(_, body)| Known::new(&[CLOCK, SLOT, body]));
            let of_shards = STREAM_BODIES.iter().map(|(_, body)| Known::new(&[SHARD_CLOCK, SHARD, body]));
            of_slots.chain(of_shards).chain([Known::new(&[SHARD_CLOCK, BEAT])]).collect()
        });
        &ALL[self as usize]
    }
}

/// The sources of all scripts with their names, reading the time from their last argument instead of the server's
/// clock: so that tests can hold them against `slot::step` with times of their own.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn with_time_as_argument() -> Vec<(&'static str, String)> {
    const ARGUMENT: &str = "local now = tonumber(table.remove(ARGV))\n";
    BODIES.iter().map(|(name, body)| (*name, Known::new(&[ARGUMENT, SLOT, body]).source)).collect()
}

/// The same for the shard of a stream and `StreamShard`. Their keys: `PREFIXmeta`, `PREFIXlog`, and `PREFIXp:KEY` of what is
/// appended or read.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn stream_scripts_with_time_as_argument() -> Vec<(&'static str, String)> {
    const ARGUMENT: &str = "local now = tonumber(table.remove(ARGV))\n";
    STREAM_BODIES.iter().map(|(name, body)| (*name, Known::new(&[ARGUMENT, SHARD, body]).source)).collect()
}
