//! The reader's connection: it subscribes or has its reads remembered, hears, and asks again and again how far the server
//! is. The following of messages is the production code.

use larder::Timestamp;
use larder::coherence::{Act, Said};

use crate::reader::{BUCKET, Line, STRIPE, trusted_since};
use crate::server::{Item, Link, Server};
use crate::world::{Age, Flaw, Row, State, Steps, Way};

impl Server {
    /// The key is read on the connection.
    pub(crate) fn remember(&mut self) {
        if let Link::Up { tracks: true, remembers, .. } = &mut self.link {
            *remembers = true;
        }
    }
}

impl Row {
    pub(crate) fn listen(&self, state: &State, steps: &mut Steps) {
        self.connect(state, steps);
        self.ask(state, steps);
        if let Line::Halfway { by_tracking, sent } = state.reader.line {
            let mut next = state.clone();
            self.finish(&mut next, by_tracking, sent);
            return steps.add("the first answer is believed", next);
        }
        self.receive(state, steps);
    }

    fn connect(&self, state: &State, steps: &mut Steps) {
        let mut next = state.clone();
        match (state.reader.line, state.server.link) {
            (Line::Down, Link::Down) => {
                next.server.link = Link::Up { subscribed: false, tracks: false, remembers: false };
                if self.has(Flaw::EarlyFlush) {
                    next.reader.obey(self, Act::Flush);
                }
                if self.may_track() {
                    let mut tracking = next.clone();
                    tracking.server.link = Link::Up { subscribed: false, tracks: true, remembers: false };
                    tracking.reader.line = Line::Listening { by_tracking: true };
                    steps.add("the reader connects to a server that remembers", tracking);
                }
                if self.way != Way::Tracking {
                    next.reader.line = Line::Connected;
                    steps.add("the reader connects", next);
                }
            }
            (Line::Connected, Link::Up { subscribed: false, .. }) => {
                next.server.link = Link::Up { subscribed: true, tracks: false, remembers: false };
                next.server.sent.push(Item::Confirmed);
                steps.add("the server takes the subscription", next);
            }
            // What follows from an answer is done before anything else.
            (_, Link::Up { .. }) | (Line::Halfway { .. }, _) => {}
            (_, Link::Down) => {
                let reader = &mut next.reader;
                (reader.line, reader.asked, reader.is_taken) = (Line::Down, None, false);
                reader.follower.lose();
                if !self.has(Flaw::NoBarrier) {
                    reader.believe(self, |trust| trust.distrust(BUCKET));
                }
                steps.add("the reader notices that the connection is gone", next);
            }
        }
    }

    /// The barrier.
    fn ask(&self, state: &State, steps: &mut Steps) {
        let mut next = state.clone();
        if let (Line::Listening { .. }, None) = (state.reader.line, state.reader.asked) {
            next.reader.asked = Some(0);
            next.reader.follower.ask();
            steps.add("the reader asks how far the server is", next);
        } else if state.reader.asked.is_some() && !state.reader.is_taken && state.server.link != Link::Down {
            next.reader.is_taken = true;
            next.server.begin_to_count();
            next.server.sent.push(Item::Answer(next.server.number));
            steps.add("the server says how far it is", next);
        }
    }

    fn receive(&self, state: &State, steps: &mut Steps) {
        let Some(item) = state.server.sent.first() else { return };
        let mut next = state.clone();
        next.server.sent.remove(0);
        let words = match *item {
            Item::Confirmed => {
                next.reader.line = Line::Listening { by_tracking: false };
                "the subscription is confirmed".to_owned()
            }
            Item::Message(number, stripe) => {
                let act = match self.has(Flaw::NoNumbers) {
                    true => Act::Drop(stripe),
                    false => next.reader.follower.hear(number, Said::Stripe(stripe)),
                };
                format!("a message comes{}", next.reader.obey(self, act))
            }
            Item::Push => format!("a push comes{}", next.reader.obey(self, Act::Drop(STRIPE))),
            Item::Answer(number) => self.answered(&mut next, number),
        };
        steps.add(words, next);
    }

    fn answered(&self, next: &mut State, number: u64) -> String {
        let Line::Listening { by_tracking } = next.reader.line else {
            return "an answer comes that nobody waits for".to_owned();
        };
        let sent = next.reader.asked.take().unwrap_or_default();
        next.reader.is_taken = false;
        let sent = if self.has(Flaw::TrustFromAnswer) { 0 } else { sent };
        let is_first = !next.reader.follower.is_following();
        // Where reads are remembered nobody counts.
        let number = if by_tracking || self.has(Flaw::NoNumbers) { 0 } else { number };
        let act = next.reader.follower.answered(number);
        if !is_first {
            let words = next.reader.obey(self, act);
            self.trust(next, sent);
            return format!("an answer comes{words}");
        }
        next.reader.line = Line::Halfway { by_tracking, sent };
        match self.has(Flaw::ModeAfterFlush) {
            true => format!("the first answer comes{}", next.reader.obey(self, act)),
            false => {
                next.reader.believe(self, |trust| _ = trust.set_tracked(BUCKET, by_tracking));
                "the first answer comes".to_owned()
            }
        }
    }

    /// What follows from the first answer, in two steps: reads go on meanwhile.
    fn finish(&self, next: &mut State, by_tracking: bool, sent: Age) {
        let no_flush = self.has(Flaw::NoFlush) || self.has(Flaw::EarlyFlush);
        match self.has(Flaw::ModeAfterFlush) {
            true => next.reader.believe(self, |trust| _ = trust.set_tracked(BUCKET, by_tracking)),
            false if no_flush => {}
            false => _ = next.reader.obey(self, Act::Flush),
        }
        next.reader.line = Line::Listening { by_tracking };
        self.trust(next, sent);
    }

    fn trust(&self, next: &mut State, sent: Age) {
        let until = if self.has(Flaw::NoBarrier) { Timestamp::NEVER } else { trusted_since(sent) };
        next.reader.believe(self, |trust| trust.trust(BUCKET, until));
    }
}
