//! What a read may see while writes are under way.

/// What a read may see while writes are under way. See the [guide](crate::guide) for what each survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Consistency {
    /// A read that begins after a write has been answered sees that write or a later one; where this process keeps copies
    /// above a shared tier, a write of another process at the latest when
    /// [`local_ttl`](crate::Builder::local_ttl), or the bound of [`coherence`](crate::Builder::coherence), is over. Between
    /// its commit and its answer, a write may be seen by some and not by others. A writer that dies in between leaves the
    /// old copy until its ttl ends. Costs a shared tier one round trip a write, or two where the write also replaces the
    /// copy.
    #[default]
    NoStaleSet,
    /// A read sees what the store has at some moment while it reads: reads and writes of a key are linearizable. Every
    /// write holds its keys in all tiers from before the store is written until after it, and is refused where a tier
    /// cannot promise that. A writer that dies leaves no copy, and its keys uncached until its hold runs out. A hold that
    /// the shared tier loses, by eviction, restart or fail-over, leaves [`NoStaleSet`](Self::NoStaleSet) for the write
    /// under way, and a count of holds lost. Costs a shared tier two round trips a write. A shared tier then stands alone: copies in the memory of one process
    /// cannot know of another's write.
    Linearizable,
}
