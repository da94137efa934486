//! A row: who takes part, what may go wrong, and what is done otherwise than larder does it.

/// What the protocol lacks, or does in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Readers ask the store first and the overlay afterwards.
    OverlayFirst,
    /// A reader fills what it has found whoever wrote meanwhile.
    Lease,
    /// The store's row moves for everybody who comes with a batch.
    EpochInTheStore,
    /// The server does not ask in which epoch somebody owns the shard.
    EpochAtTheServer,
    /// Nobody owns the shard: what is given out once is not given to others, until somebody has taken too long.
    Owner,
    /// The overlay is forgotten when a batch is given out.
    OverlayUntilTheCommit,
    /// What is stored is forgotten by its key.
    OverlayByNumber,
    /// A server that takes over is met as if it were the one before.
    HandOver,
    /// An owner goes on with another server as with the one before.
    ClaimPerLife,
    /// Who counts asks the store first and the overlay afterwards.
    OverlayBeforeTheCount,
    /// Who counts asks for the value and for the offset, one after the other.
    OneSnapshot,
    /// Who counts adds all that waits.
    CountAboveTheOffset,
    /// An owner asks in which life the server is after it has claimed the shard.
    LifeBeforeTheClaim,
    /// A writer appends under the life before.
    LifeOfTheServer,
    /// Readers do not ask whether the server has been met.
    ReadersWait,
    /// The owner asks for more while it has some.
    OneBatchAtATime,
}

/// By which clock a server that takes over numbers its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// All that it numbers is above all that was numbered before.
    Right,
    /// It may be behind by as much as the fail-over took and more: then the next number is the last that it has, and one.
    Behind,
    /// There is none: numbers are counted.
    None,
}

/// One step of a writer. The last one is followed by the acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Hold,
    /// What replaces all before it.
    Append,
    /// What is added to what is there.
    Add,
    /// What waits up to its own write.
    AskWhatWaits,
    /// And what that comes to with what the store has.
    AskTheTotal,
    Release,
    Publish,
    Drop,
}

pub(crate) type Script = &'static [Act];

pub(crate) const PUBLISHED: Script = &[Act::Hold, Act::Append, Act::Publish];
pub(crate) const RELEASED: Script = &[Act::Hold, Act::Append, Act::Release];
pub(crate) const DROPPED: Script = &[Act::Append, Act::Drop];
/// Nobody reads.
pub(crate) const APPENDED: Script = &[Act::Append];
pub(crate) const ADDED: Script = &[Act::Add];
/// And is told what it has come to.
pub(crate) const TOLD: Script = &[Act::Add, Act::AskWhatWaits, Act::AskTheTotal];

/// How often what may go wrong does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Misfortunes {
    /// How often somebody claims the shard, from whoever has it.
    pub(crate) claims: u8,
    /// How many owners or writers die.
    pub(crate) deaths: u8,
    /// How many answers of the store are lost.
    pub(crate) losses: u8,
    /// How often the server is replaced by an earlier copy of itself.
    pub(crate) fail_overs: u8,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// One for each.
    pub(crate) writers: &'static [Script],
    /// How many reads each reader does.
    pub(crate) reads: &'static [u8],
    /// Whether they count: they put the value together themselves, and leave no copy.
    pub(crate) is_counted: bool,
    pub(crate) misfortunes: Misfortunes,
    pub(crate) clock: Clock,
    pub(crate) lack: Option<Lack>,
}

impl Row {
    pub(crate) fn lacks(&self, what: Lack) -> bool {
        self.lack == Some(what)
    }
}
