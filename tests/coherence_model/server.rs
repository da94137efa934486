//! The server: what it has, how far it has counted, and what is on its way to the reader.

use crate::world::{Row, State, Steps, Way};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// The version that a reader gets now.
    pub(crate) version: u8,
    /// When each earlier version was dropped.
    dropped: Vec<u8>,
    pub(crate) number: u64,
    beginnings: u64,
    pub(crate) link: Link,
    /// In the order in which it arrives.
    pub(crate) sent: Vec<Item>,
}

/// The connection, as the server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    #[default]
    Down,
    Up {
        subscribed: bool,
        /// Whether the reader has read the key here since it changed last.
        remembers: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Message(u64),
    Push,
    Confirmed,
    Answer(u64),
}

impl Server {
    pub(crate) fn dropped(&self, version: u8) -> Option<u8> {
        self.dropped.get(usize::from(version)).copied()
    }

    /// Nobody can be served a version before this one.
    pub(crate) fn forget_before(&mut self, version: u8) {
        self.dropped.iter_mut().take(usize::from(version)).for_each(|at| *at = 0);
    }

    /// A count that was lost goes on above all that were ever heard, whoever asks for it.
    pub(crate) fn begin_to_count(&mut self) {
        if self.number == 0 {
            // In truth its time: no two beginnings have the same.
            self.beginnings += 1;
            self.number = 100 * self.beginnings;
        }
    }

    /// Somebody writes: the key is dropped, and everybody is told, in one step.
    fn write(&mut self, now: u8) -> Option<Item> {
        self.version += 1;
        self.dropped.push(now);
        self.begin_to_count();
        self.number += 1;
        match &mut self.link {
            Link::Up { subscribed: true, .. } => Some(Item::Message(self.number)),
            Link::Up { remembers, .. } => std::mem::take(remembers).then_some(Item::Push),
            Link::Down => None,
        }
    }
}

impl Row {
    pub(crate) fn of_the_server(&self, state: &State, steps: &mut Steps) {
        self.write(state, steps);
        self.harm_messages(state, steps);
        if state.breaks < self.breaks && state.server.link != Link::Down {
            let mut next = State { breaks: state.breaks + 1, ..state.clone() };
            next.server.link = Link::Down;
            next.server.sent.clear();
            steps.add("the connection breaks", next);
        }
        if state.count_lost < self.count_lost && state.server.number > 0 {
            let mut next = State { count_lost: state.count_lost + 1, ..state.clone() };
            next.server.number = 0;
            steps.add("the count is lost", next);
        }
    }

    fn write(&self, state: &State, steps: &mut Steps) {
        if state.server.version >= self.writes {
            return;
        }
        let mut next = state.clone();
        let told = next.server.write(state.now);
        if told.is_some() && self.way == Way::Bus && state.losses < self.losses {
            let mut lost = next.clone();
            lost.losses += 1;
            steps.add("a message is lost", lost);
        }
        let words = match told {
            Some(Item::Push) => "a write, and a push",
            Some(_) => "a write, and a message",
            None => "a write",
        };
        next.server.sent.extend(told);
        steps.add(words, next);
    }

    fn harm_messages(&self, state: &State, steps: &mut Steps) {
        let sent = &state.server.sent;
        if let [.., Item::Message(number)] = sent[..]
            && state.doubles < self.doubles
        {
            let mut next = State { doubles: state.doubles + 1, ..state.clone() };
            next.server.sent.push(Item::Message(number));
            steps.add("a message comes twice", next);
        }
        if let [.., Item::Message(one), Item::Message(other)] = sent[..]
            && one != other
            && state.overtakings < self.overtakings
        {
            let mut next = State { overtakings: state.overtakings + 1, ..state.clone() };
            let last = sent.len() - 1;
            next.server.sent.swap(last - 1, last);
            steps.add("a message is overtaken", next);
        }
    }
}
