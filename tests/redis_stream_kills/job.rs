//! What a process is told to do: in its environment, since it is this very test program, run again.

use std::time::Duration;

use crate::place::Place;

/// The variable that has the job.
pub(crate) const JOB: &str = "LARDER_TEST_STREAM_KILLS_JOB";
/// So many operations has each process, at the most.
pub(crate) const OPERATIONS_EACH: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) place: Place,
    /// Where Redis is.
    pub(crate) redis: String,
    pub(crate) guards: Guards,
    pub(crate) work: Work,
    /// The how-many-th process it is: so all its operations have numbers that no other's have.
    pub(crate) start: u64,
    pub(crate) lease: Duration,
}

/// What keeps a write from being lost, done twice or overtaken, or what is left of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guards {
    All,
    /// Redis syncs once a second.
    EverySecond,
    /// Redis keeps nothing on its disk.
    Memory,
    /// The store takes batches of whoever was an owner once.
    NoEpoch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Writes until it is told to close, or killed.
    Write,
    /// The same, and increments counters.
    Count,
    /// Brings to the store what others have left, in the stream of writes and in that of increments.
    Drain,
}

const GUARDS: [Guards; 4] = [Guards::All, Guards::EverySecond, Guards::Memory, Guards::NoEpoch];
const WORKS: [Work; 3] = [Work::Write, Work::Count, Work::Drain];

impl Job {
    pub(crate) fn write(&self) -> String {
        let Self { place, redis, guards, work, start, lease } = self;
        format!("{}|{redis}|{guards:?}|{work:?}|{start}|{}", place.write(), lease.as_millis())
    }

    pub(crate) fn read(text: &str) -> Self {
        let words: Vec<_> = text.split('|').collect();
        let [kind, place, redis, guards, work, start, lease] = words[..] else {
            panic!("a job of seven words: {text}")
        };
        let guards = GUARDS.into_iter().find(|known| format!("{known:?}") == guards);
        let work = WORKS.into_iter().find(|known| format!("{known:?}") == work);
        Self {
            place: Place::read(kind, place),
            redis: redis.to_owned(),
            guards: guards.expect("known guards"),
            work: work.expect("known work"),
            start: start.parse().expect("a number"),
            lease: Duration::from_millis(lease.parse().expect("a number")),
        }
    }
}
