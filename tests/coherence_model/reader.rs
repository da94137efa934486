//! The reader: its copy, its reads, and what it believes of them. Marks and trust are the production code, made anew for
//! each step from what can be compared.

use std::time::Duration;

use larder::Timestamp;
use larder::coherence::{Act, Follower, Mark, Trust};

use crate::server::Link;
use crate::world::{Age, BOUND, Flaw, Row, State, Steps, Way, older};

pub(crate) const BUCKET: usize = 5;
pub(crate) const STRIPE: u8 = 9;
pub(crate) const NEIGHBOUR: u8 = 10;

/// The present, and how long a tick is.
const NOW: Timestamp = Timestamp::from_nanos(1_000);
const TICK: u64 = 10;
/// Trust that has no end.
const FOREVER: u8 = u8::MAX;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// For how many ticks copies are trusted yet.
    until: Option<u8>,
    is_tracked: bool,
    pub(crate) copy: Option<Copy>,
    reads: [Read; 2],
    pub(crate) line: Line,
    pub(crate) follower: Follower,
    /// How long ago the question was sent that is not answered yet.
    pub(crate) asked: Option<Age>,
    /// Whether the server has the question already.
    pub(crate) is_taken: bool,
    /// Whether the server has an own write that this process has not been told of yet.
    pub(crate) writes: bool,
}

/// What a read got. The mark is a current one: with another it never counts, and there is no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Copy {
    kind: Kind,
    /// How long ago its key was dropped, if it was.
    pub(crate) dropped: Option<Age>,
    /// Whether an own write has dropped it, and that is done; or under way.
    pub(crate) is_overruled: bool,
    is_doubtful: bool,
    /// For how long it lives yet; only what no message reaches has an end.
    life: Option<u8>,
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Reached,
    Alone,
}

/// A read under way. The marks are current ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Read {
    #[default]
    None,
    /// It has looked at one of two things: its mark, and how changes are told of.
    Begun(Look, Age),
    Asked(Kind, Age),
    Answered(Copy, Age),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Look {
    /// It has its mark.
    Marked,
    /// It knows how changes are told of, and that it is so.
    Mode(bool),
}

/// The connection, as the reader sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    #[default]
    Down,
    Connected,
    /// The subscription was confirmed; or the server remembers reads.
    Listening {
        by_tracking: bool,
    },
    /// The first answer has come, and half of what follows from it is done.
    Halfway {
        by_tracking: bool,
        sent: Age,
    },
}

thread_local! {
    static TRUST: Trust = Trust::default();
}

/// For how many ticks a bucket is trusted yet.
fn left_of(trust: &Trust) -> Option<u8> {
    if trust.is_trusted(BUCKET, Timestamp::NEVER) {
        return Some(FOREVER);
    }
    (0..=BOUND).rev().find(|left| trust.is_trusted(BUCKET, in_ticks(*left)))
}

fn in_ticks(ticks: u8) -> Timestamp {
    NOW.after(Duration::from_nanos(u64::from(ticks) * TICK))
}

impl Reader {
    /// Asks production what it believes. All states share one trust, which is large: that stripes have moved on further
    /// makes no difference to marks that are taken now.
    fn with_trust<A>(&self, ask: impl FnOnce(&Trust) -> A) -> A {
        TRUST.with(|trust| {
            _ = trust.set_tracked(BUCKET, self.is_tracked);
            match self.until {
                Some(FOREVER) => trust.trust(BUCKET, Timestamp::NEVER),
                Some(left) => trust.trust(BUCKET, in_ticks(left)),
                None => trust.distrust(BUCKET),
            }
            ask(trust)
        })
    }

    /// Does something to what it believes, and wipes out what does not count any more.
    pub(crate) fn believe(&mut self, row: &Row, change: impl FnOnce(&Trust)) {
        let (until, is_tracked, is_current) = self.with_trust(|trust| {
            let mark = trust.mark(BUCKET, usize::from(STRIPE));
            change(trust);
            (left_of(trust), trust.is_tracked(BUCKET), trust.is_current(mark))
        });
        (self.until, self.is_tracked) = (until, is_tracked);
        if !is_current {
            self.copy = None;
            for read in self.reads.iter_mut().filter(|_| !row.has(Flaw::LateMark)) {
                if !matches!(read, Read::Begun(Look::Mode(_), _)) {
                    *read = Read::None;
                }
            }
        }
        self.settle();
    }

    /// The copy that it would serve without asking.
    pub(crate) fn served(&self) -> Option<Copy> {
        let copy = self.copy?;
        self.with_trust(|trust| trust.holds(copy.kind.mark(trust), NOW)).then_some(copy)
    }

    pub(crate) fn obey(&mut self, row: &Row, act: Act) -> &'static str {
        self.believe(row, |trust| match act {
            Act::None => {}
            Act::Drop(stripe) => trust.drop_stripe(BUCKET, usize::from(stripe)),
            Act::Flush | Act::FlushForGap => trust.flush(BUCKET),
        });
        match act {
            Act::None => "",
            Act::Drop(_) => ": drop",
            Act::Flush => ": flush",
            Act::FlushForGap => ": flush for a gap",
        }
    }

    /// All that was read is out of date from now on.
    pub(crate) fn fall_behind(&mut self, by_own_write: bool) {
        for copy in self.copies() {
            copy.dropped.get_or_insert(0);
            copy.is_doubtful |= by_own_write;
        }
    }

    pub(crate) fn grow_older(&mut self) {
        self.until = match self.until {
            Some(FOREVER) => Some(FOREVER),
            until => until.and_then(|left| left.checked_sub(1)),
        };
        self.asked = self.asked.map(older);
        if let Line::Halfway { sent, .. } = &mut self.line {
            *sent = older(*sent);
        }
        for copy in self.copies() {
            copy.dropped = copy.dropped.map(older);
        }
        for read in &mut self.reads {
            if let Read::Begun(_, age) | Read::Asked(_, age) | Read::Answered(_, age) = read {
                *age = older(*age);
            }
        }
        self.copy = self.copy.and_then(|copy| match copy.life {
            Some(left) => Some(Copy { life: Some(left.checked_sub(1)?), ..copy }),
            None => Some(copy),
        });
        self.settle();
    }

    fn copies(&mut self) -> impl Iterator<Item = &mut Copy> {
        let answered = self.reads.iter_mut().filter_map(|read| match read {
            Read::Answered(copy, _) => Some(copy),
            _ => None,
        });
        self.copy.iter_mut().chain(answered)
    }

    /// What cannot make a difference any more is wiped out.
    fn settle(&mut self) {
        for read in &mut self.reads {
            // Only the life of what no message reaches counts from the question.
            if let Read::Asked(Kind::Reached, age) | Read::Answered(Copy { kind: Kind::Reached, .. }, age) =
                read
            {
                *age = 0;
            }
        }
        self.reads.sort_unstable();
    }
}

impl Kind {
    fn of(mark: Mark) -> Self {
        if mark.is_reached() { Self::Reached } else { Self::Alone }
    }

    fn mark(self, trust: &Trust) -> Mark {
        match self {
            Self::Reached => trust.mark(BUCKET, usize::from(STRIPE)),
            Self::Alone => trust.mark(BUCKET, usize::from(STRIPE)).alone(),
        }
    }
}

impl Row {
    pub(crate) fn of_the_reader(&self, state: &State, steps: &mut Steps) {
        let reads = &state.reader.reads;
        let under_way = reads.iter().filter(|read| **read != Read::None).count();
        for (at, read) in reads.iter().enumerate() {
            // Of two that are alike one is enough.
            if (*read != Read::None || under_way < self.reads) && (at == 0 || *read != reads[at - 1]) {
                self.read(state, at, steps);
            }
        }
        self.listen(state, steps);
        if state.reader.writes {
            let mut next = state.clone();
            next.reader.writes = false;
            if !self.has(Flaw::NoOwnDrop) {
                next.reader.believe(self, |trust| trust.drop_stripe(BUCKET, usize::from(STRIPE)));
            }
            for copy in next.reader.copies() {
                copy.is_overruled |= std::mem::take(&mut copy.is_doubtful);
            }
            steps.add("the own write is done", next);
        }
    }

    fn read(&self, state: &State, at: usize, steps: &mut Steps) {
        let reader = &state.reader;
        let mut add = |read: Read, words: &str, change: fn(&mut State)| {
            let mut next = state.clone();
            next.reader.reads[at] = read;
            change(&mut next);
            next.reader.settle();
            steps.add(words, next);
        };
        match reader.reads[at] {
            Read::None if self.way == Way::Bus => {
                add(Read::Asked(Kind::Reached, 0), "the reader marks and asks", |_| {});
            }
            Read::None if self.has(Flaw::ModeBeforeMark) => {
                add(Read::Begun(Look::Mode(reader.is_tracked), 0), "the reader looks how it is told", |_| {});
            }
            Read::None => add(Read::Begun(Look::Marked, 0), "the reader marks", |_| {}),
            Read::Begun(look, age) => {
                let is_tracked = match look {
                    Look::Marked => reader.is_tracked,
                    Look::Mode(is_tracked) => is_tracked,
                };
                let is_up = matches!(state.server.link, Link::Up { tracks: true, .. });
                if is_tracked && is_up && !self.has(Flaw::Untracked) {
                    let copy = Copy::new(Kind::Reached);
                    add(Read::Answered(copy, age), "the server answers, and remembers", |next| {
                        next.server.remember();
                    });
                }
                // Past the connection that pushes come on: it may be gone, or busy.
                let mark = reader.with_trust(|trust| match (look, self.has(Flaw::Untracked)) {
                    (Look::Marked, false) => trust.mark_untracked(BUCKET, usize::from(STRIPE)),
                    (Look::Mode(true), false) => trust.mark(BUCKET, usize::from(STRIPE)).alone(),
                    _ => trust.mark(BUCKET, usize::from(STRIPE)),
                });
                add(Read::Asked(Kind::of(mark), age), "the reader asks", |_| {});
            }
            Read::Asked(kind, age) => add(Read::Answered(Copy::new(kind), age), "the server answers", |_| {}),
            Read::Answered(copy, age) => {
                let age = if self.has(Flaw::LifeFromAnswer) { 0 } else { age };
                let kept = match copy.kind {
                    Kind::Reached => Some(copy),
                    Kind::Alone => BOUND.checked_sub(age).map(|left| Copy { life: Some(left), ..copy }),
                };
                let mut next = state.clone();
                next.reader.reads[at] = Read::None;
                next.reader.copy = kept;
                next.reader.settle();
                let words = match copy.kind {
                    Kind::Reached => "the reader keeps a copy",
                    Kind::Alone => "the reader keeps a copy that no message reaches",
                };
                steps.add(words, next);
            }
        }
    }

    /// Whether the connection may be one on which the server remembers reads.
    pub(crate) fn may_track(&self) -> bool {
        self.way != Way::Bus
    }
}

impl Copy {
    fn new(kind: Kind) -> Self {
        Self { kind, dropped: None, is_overruled: false, is_doubtful: false, life: None }
    }
}

/// Until when is believed what a question that was sent so long ago was answered.
pub(crate) fn trusted_since(sent: Age) -> Timestamp {
    NOW.before(Duration::from_nanos(u64::from(sent) * TICK))
        .after(Duration::from_nanos(u64::from(BOUND) * TICK))
}
