//! What a process is told to do: in its environment, since it is this very test program, run again.

use std::path::PathBuf;

use crate::place::Place;

/// The variable that has the job.
pub(crate) const JOB: &str = "LARDER_TEST_KILLS_JOB";

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) place: Place,
    pub(crate) log: PathBuf,
    pub(crate) guards: Guards,
    pub(crate) work: Work,
    /// The first operation that nobody else has asked for.
    pub(crate) first: u64,
    pub(crate) armed: Option<Armed>,
}

/// What keeps a write from being lost, done twice or overtaken, or what is left of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guards {
    All,
    /// A write is answered before it is on a disk.
    Volatile,
    /// The store has no offset: what it has had may be given to it again.
    NoOffset,
    /// The offset is moved in a transaction of its own, after that of the effects.
    OffsetAfter,
    /// The same, before.
    OffsetBefore,
    /// Some batches come to the store after the one that follows them.
    Overtaken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Writes until it is told to close, or killed.
    Write,
    /// Brings to the store what others have left.
    Drain,
}

/// A step at which something is to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    pub(crate) step: Step,
    /// When it is taken for the how-many-th time.
    pub(crate) time: u64,
    pub(crate) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The process kills itself.
    Die,
    /// It waits until it is told to go on.
    Wait,
}

/// The steps of the flusher, and of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A write has been answered.
    Answered,
    /// The shard is about to be claimed.
    Claiming,
    /// It is claimed, and the flusher does not know it.
    Claimed,
    /// A batch is about to be given to the store.
    Given,
    /// In its transaction the offset has been moved, and one effect is done.
    Begun,
    /// All its effects are done, and COMMIT has not been sent.
    Applied,
    /// COMMIT has done its work, and not been answered. PostgreSQL can be made to wait there.
    Committing,
    /// COMMIT has been answered, and the flusher does not know it.
    Committed,
    /// The flusher knows, and so does the log.
    Flushed,
    /// A batch is about to be given to the store while `close` waits for it.
    Closing,
}

impl Step {
    pub(crate) const ALL: [Self; 10] = [
        Self::Answered,
        Self::Claiming,
        Self::Claimed,
        Self::Given,
        Self::Begun,
        Self::Applied,
        Self::Committed,
        Self::Flushed,
        Self::Closing,
        Self::Committing,
    ];

    /// Those at which a process can stop by itself.
    pub(crate) const OF_A_PROCESS: &[Self] = Self::ALL.split_at(9).0;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Claiming => "claiming",
            Self::Claimed => "claimed",
            Self::Given => "given",
            Self::Begun => "begun",
            Self::Applied => "applied",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Flushed => "flushed",
            Self::Closing => "closing",
        }
    }

    /// Whether a process takes it more than once.
    pub(crate) fn is_repeated(self) -> bool {
        !matches!(self, Self::Claiming | Self::Claimed)
    }
}

const GUARDS: [Guards; 6] = [
    Guards::All,
    Guards::Volatile,
    Guards::NoOffset,
    Guards::OffsetAfter,
    Guards::OffsetBefore,
    Guards::Overtaken,
];

impl Job {
    pub(crate) fn write(&self) -> String {
        let place = self.place.write();
        let armed = match self.armed {
            Some(Armed { step, time, then }) => format!("{step:?}|{time}|{then:?}"),
            None => "||".to_owned(),
        };
        let Self { log, guards, work, first, .. } = self;
        format!("{place}|{}|{guards:?}|{work:?}|{first}|{armed}", log.display())
    }

    pub(crate) fn read(text: &str) -> Self {
        let words: Vec<_> = text.split('|').collect();
        let [kind, place, log, guards, work, first, step, time, then] = words[..] else {
            panic!("a job of nine words: {text}")
        };
        let step = Step::ALL.into_iter().find(|known| format!("{known:?}") == step);
        let armed = step.map(|step| Armed {
            step,
            time: time.parse().expect("a number"),
            then: if then == "Die" { Then::Die } else { Then::Wait },
        });
        let guards = GUARDS.into_iter().find(|known| format!("{known:?}") == guards);
        Self {
            place: Place::read(kind, place),
            log: log.into(),
            guards: guards.expect("known guards"),
            work: if work == "Drain" { Work::Drain } else { Work::Write },
            first: first.parse().expect("a number"),
            armed,
        }
    }
}
