//! The server: how far it has counted, what it remembers, and what is on its way to the reader.

use crate::reader::{NEIGHBOUR, STRIPE};
use crate::world::{Left, Row, State, Steps, Way};

/// Where the server begins to count again, above all that was ever heard.
const ANEW: u64 = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) number: u64,
    /// How often the count was lost.
    lives: u64,
    pub(crate) link: Link,
    /// In the order in which it arrives.
    pub(crate) sent: Vec<Item>,
}

/// The reader's connection, as the server sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    #[default]
    Down,
    Up {
        subscribed: bool,
        /// Whether the server remembers what is read here.
        tracks: bool,
        /// Whether it remembers the key: that was read here since it changed last.
        remembers: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// Its number, and the stripe that it is about.
    Message(u64, u8),
    Push,
    Confirmed,
    Answer(u64),
}

impl Server {
    /// Has it count, if it does not, or does not any more: from its time on in truth, which is never the same twice.
    pub(crate) fn begin_to_count(&mut self) {
        if self.number == 0 {
            self.number = ANEW * (self.lives + 1);
        }
    }

    /// Somebody drops the key, and whoever listens is told, in one step.
    fn change(&mut self, stripe: u8) -> Option<Item> {
        self.number = if self.number == 0 { ANEW * (self.lives + 1) } else { self.number + 1 };
        match &mut self.link {
            Link::Up { subscribed: true, .. } => Some(Item::Message(self.number, stripe)),
            Link::Up { remembers, .. } if stripe == STRIPE => std::mem::take(remembers).then_some(Item::Push),
            _ => None,
        }
    }
}

impl Row {
    pub(crate) fn of_the_server(&self, state: &State, steps: &mut Steps) {
        self.others_write(state, steps);
        self.others_write_a_neighbour(state, steps);
        self.write_here(state, steps);
        harm(state, steps);
        if let Some(left) = state.left.breaks.checked_sub(1)
            && state.server.link != Link::Down
        {
            let mut next = state.clone();
            next.left.breaks = left;
            next.server.link = Link::Down;
            next.server.sent.clear();
            steps.add("the connection breaks", next);
        }
        if let Some(left) = state.left.lost_counts.checked_sub(1)
            && state.server.number > 0
            && self.way != Way::Tracking
        {
            let mut next = state.clone();
            next.left.lost_counts = left;
            next.server = Server { number: 0, lives: state.server.lives + 1, ..next.server };
            steps.add("the count is lost", next);
        }
    }

    fn others_write(&self, state: &State, steps: &mut Steps) {
        let Some(writes) = state.left.writes.checked_sub(1) else { return };
        let mut next = State { left: Left { writes, ..state.left }, ..state.clone() };
        next.reader.fall_behind(false);
        let told = next.server.change(STRIPE);
        if let (Some(Item::Message(..)), Some(losses)) = (told, state.left.losses.checked_sub(1)) {
            let mut lost = next.clone();
            lost.left.losses = losses;
            steps.add("a write, and its message is lost", lost);
        }
        next.server.sent.extend(told);
        steps.add(words(told), next);
    }

    fn others_write_a_neighbour(&self, state: &State, steps: &mut Steps) {
        let Some(neighbours) = state.left.neighbours.checked_sub(1) else { return };
        let mut next = State { left: Left { neighbours, ..state.left }, ..state.clone() };
        let told = next.server.change(NEIGHBOUR);
        next.server.sent.extend(told);
        steps.add("a write of a neighbour", next);
    }

    /// This process drops the key; it is told so later.
    fn write_here(&self, state: &State, steps: &mut Steps) {
        let Some(own_writes) = state.left.own_writes.checked_sub(1) else { return };
        if state.reader.writes {
            return;
        }
        let mut next = State { left: Left { own_writes, ..state.left }, ..state.clone() };
        next.reader.fall_behind(true);
        next.reader.writes = true;
        let told = next.server.change(STRIPE);
        next.server.sent.extend(told);
        steps.add("the server takes an own write", next);
    }
}

fn words(told: Option<Item>) -> &'static str {
    match told {
        Some(Item::Push) => "a write, and a push",
        Some(_) => "a write, and a message",
        None => "a write that nobody is told of",
    }
}

/// Messages come twice, late, or from somebody else.
fn harm(state: &State, steps: &mut Steps) {
    for (at, item) in state.server.sent.iter().enumerate() {
        let Item::Message(..) = item else { continue };
        if let Some(left) = state.left.doubles.checked_sub(1) {
            let mut next = state.clone();
            next.left.doubles = left;
            next.server.sent.push(*item);
            steps.add("a message comes twice", next);
        }
        if let Some(left) = state.left.overtakings.checked_sub(1)
            && at + 1 < state.server.sent.len()
        {
            let mut next = state.clone();
            next.left.overtakings = left;
            next.server.sent.swap(at, at + 1);
            steps.add("a message is overtaken", next);
        }
    }
    if let (Some(left), Link::Up { subscribed: true, .. }) =
        (state.left.forgeries.checked_sub(1), state.server.link)
    {
        for number in [1, state.server.number + 1, u64::MAX] {
            let mut next = state.clone();
            next.left.forgeries = left;
            next.server.sent.push(Item::Message(number, STRIPE));
            steps.add("somebody forges a message", next);
        }
    }
}
