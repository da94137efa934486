//! The reader: its copy, what it believes of it, and its connection. Marks, trust and the following of messages are the
//! production code, made anew for each step from numbers that can be compared.

use larder::Timestamp;
use larder::coherence::{Act, Follower, Mark, Said, Trust};

use crate::server::{Item, Link};
use crate::world::{BOUND, Flaw, Row, State, Steps, Way};

const BUCKET: usize = 5;
const STRIPE: usize = 9;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// How often its stripe has moved on.
    generation: u8,
    /// Until when it believes its copies.
    until: Option<u8>,
    copy: Option<(u8, u8)>,
    read: Read,
    line: Line,
    follower: Follower,
    /// When the question was sent that is not answered yet.
    asked: Option<u8>,
    /// Whether the server has the question already.
    is_taken: bool,
}

/// The read that is under way: its mark's generation, and then what the server said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Read {
    #[default]
    None,
    Asked(u8),
    Answered(u8, u8),
}

/// The connection, as the reader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Line {
    #[default]
    Down,
    Connected,
    /// The subscription was confirmed; or the server remembers reads.
    Listening,
}

/// More often no stripe moves on in any row.
const MOST: usize = 64;

thread_local! {
    /// The trust of a reader whose stripe has moved on so often; making one takes longer than a step.
    static TRUSTS: Vec<Trust> = (0..MOST).map(moved_on).collect();
}

fn moved_on(times: usize) -> Trust {
    let trust = Trust::default();
    (0..times).for_each(|_| trust.drop_stripe(BUCKET, STRIPE));
    trust
}

fn with_trust<A>(generation: u8, look: impl FnOnce(&Trust) -> A) -> A {
    TRUSTS.with(|trusts| look(&trusts[usize::from(generation)]))
}

fn mark(generation: u8) -> Mark {
    with_trust(generation, |trust| trust.mark(BUCKET, STRIPE))
}

/// Zero is before everything to a trust that nobody has.
fn at(tick: u8) -> Timestamp {
    Timestamp::from_nanos(u64::from(tick) + 1)
}

impl Reader {
    /// What has no consequences any more: trust that is over, and by how much a mark is behind.
    pub(crate) fn forget(&mut self, now: u8) {
        const CURRENT: u8 = 1;
        let current = self.generation;
        let brief = |generation: u8| if generation == current { CURRENT } else { CURRENT - 1 };
        self.copy =
            self.copy.filter(|(_, generation)| *generation == current).map(|(copy, _)| (copy, CURRENT));
        self.read = match self.read {
            Read::None => Read::None,
            Read::Asked(generation) => Read::Asked(brief(generation)),
            Read::Answered(generation, version) => Read::Answered(brief(generation), version),
        };
        self.generation = CURRENT;
        self.until = self.until.filter(|until| *until >= now);
    }

    /// The oldest version that it has or may have.
    pub(crate) fn oldest(&self) -> Option<u8> {
        let read = match self.read {
            Read::Answered(_, version) => Some(version),
            _ => None,
        };
        self.copy.map(|(version, _)| version).into_iter().chain(read).min()
    }

    /// The version that it would serve without asking.
    pub(crate) fn served(&self, now: u8) -> Option<u8> {
        let ((version, generation), until) = (self.copy?, self.until?);
        let mark = mark(generation);
        with_trust(self.generation, |trust| {
            trust.trust(BUCKET, at(until));
            trust.holds(mark, at(now)).then_some(version)
        })
    }

    fn obey(&mut self, act: Act) -> &'static str {
        if act == Act::None {
            return "";
        }
        let trust = moved_on(usize::from(self.generation));
        let words = match act {
            Act::None => "",
            Act::Drop(stripe) => {
                trust.drop_stripe(BUCKET, usize::from(stripe));
                ": drop"
            }
            Act::Flush => {
                trust.flush(BUCKET);
                ": flush"
            }
            Act::FlushForGap => {
                trust.flush(BUCKET);
                ": flush for a gap"
            }
        };
        self.generation += u8::from(!trust.is_current(mark(self.generation)));
        words
    }
}

impl Row {
    pub(crate) fn of_the_reader(&self, state: &State, steps: &mut Steps) {
        self.read(state, steps);
        self.connect(state, steps);
        self.ask(state, steps);
        self.receive(state, steps);
    }

    fn read(&self, state: &State, steps: &mut Steps) {
        let mut next = state.clone();
        match state.reader.read {
            Read::None if state.reads < self.reads => {
                next.reads += 1;
                next.reader.read = Read::Asked(state.reader.generation);
                steps.add("the reader marks and asks", next);
            }
            Read::None => {}
            Read::Asked(generation) => {
                if self.way == Way::Tracking && !self.has(Flaw::Untracked) {
                    // A read that is not remembered is not marked.
                    let Link::Up { remembers, .. } = &mut next.server.link else { return };
                    if state.reader.line != Line::Listening {
                        return;
                    }
                    *remembers = true;
                }
                next.reader.read = Read::Answered(generation, state.server.version);
                steps.add("the server answers the read", next);
            }
            Read::Answered(generation, version) => {
                let late = self.has(Flaw::LateMark);
                let generation = if late { state.reader.generation } else { generation };
                next.reader.copy = Some((version, generation));
                next.reader.read = Read::None;
                steps.add(format!("the reader keeps copy {version}"), next);
            }
        }
    }

    fn connect(&self, state: &State, steps: &mut Steps) {
        let mut next = state.clone();
        match (&state.reader.line, &state.server.link) {
            (Line::Down, Link::Down) => {
                next.server.link = Link::Up { subscribed: false, remembers: false };
                next.reader.line = Line::Connected;
                if self.way == Way::Tracking {
                    next.reader.line = Line::Listening;
                }
                steps.add("the reader connects", next);
            }
            (Line::Connected, Link::Up { subscribed: false, remembers }) => {
                next.server.link = Link::Up { subscribed: true, remembers: *remembers };
                next.server.sent.push(Item::Confirmed);
                steps.add("the server takes the subscription", next);
            }
            (Line::Connected | Line::Listening, Link::Down) => {
                next.reader = Reader { line: Line::Down, asked: None, is_taken: false, ..next.reader };
                next.reader.follower.lose();
                if !self.has(Flaw::NoBarrier) {
                    next.reader.until = None;
                }
                // A read on the connection ends with it.
                if self.way == Way::Tracking && !self.has(Flaw::Untracked) {
                    next.reader.read = Read::None;
                }
                if self.has(Flaw::EarlyFlush) {
                    next.reader.obey(Act::Flush);
                }
                steps.add("the reader notices that the connection is gone", next);
            }
            _ => {}
        }
    }

    /// The barrier.
    fn ask(&self, state: &State, steps: &mut Steps) {
        let reader = &state.reader;
        let mut next = state.clone();
        if reader.line == Line::Listening && reader.asked.is_none() {
            next.reader.asked = Some(state.now);
            next.reader.follower.ask();
            steps.add("the reader asks how far the server is", next);
        } else if reader.asked.is_some() && !reader.is_taken && state.server.link != Link::Down {
            next.reader.is_taken = true;
            next.server.begin_to_count();
            next.server.sent.push(Item::Answer(state.server.number));
            steps.add("the server says how far it is", next);
        }
    }

    fn receive(&self, state: &State, steps: &mut Steps) {
        let Some(item) = state.server.sent.first() else { return };
        let mut next = state.clone();
        next.server.sent.remove(0);
        let reader = &mut next.reader;
        let words = match item {
            Item::Confirmed => {
                reader.line = Line::Listening;
                "the subscription is confirmed".to_owned()
            }
            Item::Message(number) => {
                let said = Said::Stripe(STRIPE as u8);
                let act = match self.has(Flaw::NoNumbers) {
                    true => Act::Drop(STRIPE as u8),
                    false => reader.follower.hear(*number, said),
                };
                format!("message {number} comes{}", reader.obey(act))
            }
            Item::Push => format!("a push comes{}", reader.obey(Act::Drop(STRIPE as u8))),
            Item::Answer(number) => {
                let is_first = !reader.follower.is_following();
                // Where reads are remembered, nobody counts.
                let number = if self.way == Way::Tracking || self.has(Flaw::NoNumbers) { 0 } else { *number };
                let act = reader.follower.answered(number);
                let no_flush = self.has(Flaw::NoFlush) || self.has(Flaw::EarlyFlush);
                let act = if is_first && no_flush { Act::None } else { act };
                let words = reader.obey(act);
                let sent = reader.asked.take().unwrap_or_default();
                let from = if self.has(Flaw::TrustFromAnswer) { state.now } else { sent };
                let until = if self.has(Flaw::NoBarrier) { u8::MAX - 1 } else { from + BOUND };
                (reader.until, reader.is_taken) = (Some(until), false);
                format!("the answer comes{words}")
            }
        };
        steps.add(words, next);
    }
}
