//! Every order of events of a small model, breadth first.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;

/// A protocol with a few actors: what can happen next in a state, and what must be true in every state.
pub trait Model {
    /// All that matters for what can happen next. The fewer states differ, the further an exploration comes: leave out
    /// what nobody looks at any more.
    type State: Clone + Eq + Hash;

    /// What happens between two states, in words: who does what, and what comes of it.
    type Step: Clone + Eq + Hash + fmt::Display;

    /// The state in which nothing has happened yet.
    fn start(&self) -> Self::State;

    /// Everything that can happen next. A step that leads nowhere new is worth telling too: it is counted.
    fn steps(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;

    /// Whether `state` is as it must be.
    ///
    /// # Errors
    ///
    /// What is broken, in a sentence.
    fn check(&self, state: &Self::State) -> Result<(), String>;
}

/// Walks through every state that `model` can come to, and stops at the first that is broken, which is one of those
/// nearest to the start.
///
/// ```
/// use larder::testing::{Model, explore};
///
/// /// Two clients add one to a counter: each reads it, and then writes what it read plus one.
/// struct Counter;
///
/// impl Model for Counter {
///     /// The counter, what each client has read, and whether it has written.
///     type State = (u8, [Option<u8>; 2], [bool; 2]);
///     type Step = String;
///
///     fn start(&self) -> Self::State {
///         (0, [None; 2], [false; 2])
///     }
///
///     fn steps(&self, state: &Self::State) -> Vec<(String, Self::State)> {
///         let mut next = Vec::new();
///         for client in 0..2 {
///             let (mut counter, mut read, mut done) = *state;
///             match read[client] {
///                 None => {
///                     read[client] = Some(counter);
///                     next.push((format!("client {client} reads"), (counter, read, done)));
///                 }
///                 Some(number) if !done[client] => {
///                     (counter, done[client]) = (number + 1, true);
///                     next.push((format!("client {client} writes"), (counter, read, done)));
///                 }
///                 Some(_) => {}
///             }
///         }
///         next
///     }
///
///     fn check(&self, (counter, _, done): &Self::State) -> Result<(), String> {
///         if *done == [true; 2] && *counter < 2 { Err("an addition is lost".to_owned()) } else { Ok(()) }
///     }
/// }
///
/// # fn main() -> Result<(), larder::testing::Unfinished> {
/// let exploration = explore(&Counter, 1_000)?;
/// let violation = exploration.violation().expect("both read before one writes");
/// assert_eq!(violation.broken(), "an addition is lost");
/// assert_eq!(violation.trace(), ["client 0 reads", "client 1 reads", "client 0 writes", "client 1 writes"]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Unfinished`] when there are more than `limit` states and none of the first `limit` is broken: nothing is known
/// of the others.
pub fn explore<M: Model>(model: &M, limit: usize) -> Result<Exploration, Unfinished> {
    let mut walk = Walk::<M>::new();
    if let Err(broken) = walk.discover(model, model.start(), None) {
        return Ok(walk.end(Some(broken)));
    }
    let mut here = 0;
    while let Some(state) = walk.ahead.pop_front() {
        for (step, next) in model.steps(&state) {
            let step = walk.count(step);
            if walk.known.contains(&next) {
                continue;
            }
            if walk.known.len() >= limit {
                return Err(Unfinished { limit });
            }
            if let Err(broken) = walk.discover(model, next, Some((here, step))) {
                return Ok(walk.end(Some(broken)));
            }
        }
        here += 1;
    }
    Ok(walk.end(None))
}

/// What was found by [`explore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Exploration {
    states: usize,
    violation: Option<Violation>,
    steps: BTreeMap<String, u64>,
}

impl Exploration {
    /// How many states there are; if one is broken, how many were seen until then.
    #[must_use]
    pub fn states(&self) -> usize {
        self.states
    }

    /// The state that is broken, if there is one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// How often each step was taken, by its words.
    #[must_use]
    pub fn steps(&self) -> &BTreeMap<String, u64> {
        &self.steps
    }

    /// How often the steps were taken whose words contain `words`. A model in which the dangerous step never happens
    /// proves nothing, so ask for it.
    #[must_use]
    pub fn times(&self, words: &str) -> u64 {
        self.steps.iter().filter(|(step, _)| step.contains(words)).map(|(_, times)| times).sum()
    }
}

/// A state that must not be, and how to come to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    broken: String,
    trace: Vec<String>,
}

impl Violation {
    /// What is broken, in the words of the model.
    #[must_use]
    pub fn broken(&self) -> &str {
        &self.broken
    }

    /// The steps that lead there from the start. No other way there, or to another broken state, has fewer.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        &self.trace
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} steps:", self.broken, self.trace.len())?;
        self.trace.iter().enumerate().try_for_each(|(at, step)| write!(f, "\n{:>4}. {step}", at + 1))
    }
}

/// There are more states than were allowed, so nothing is known of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    limit: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the model has more than {} states: nothing is known of the others", self.limit)
    }
}

impl std::error::Error for Unfinished {}

/// An exploration under way. States have numbers, in the order of their discovery; in the same order they are explored.
struct Walk<M: Model> {
    known: HashSet<M::State>,
    /// Discovered and not yet explored.
    ahead: VecDeque<M::State>,
    /// For each state, from which one and by which step it was discovered: enough for a trace.
    origins: Vec<Option<(usize, usize)>>,
    numbers: HashMap<M::Step, usize>,
    taken: Vec<u64>,
}

impl<M: Model> Walk<M> {
    fn new() -> Self {
        Self {
            known: HashSet::new(),
            ahead: VecDeque::new(),
            origins: Vec::new(),
            numbers: HashMap::new(),
            taken: Vec::new(),
        }
    }

    fn count(&mut self, step: M::Step) -> usize {
        let unknown = self.taken.len();
        let number = *self.numbers.entry(step).or_insert(unknown);
        if number == unknown {
            self.taken.push(0);
        }
        self.taken[number] += 1;
        number
    }

    fn discover(&mut self, model: &M, state: M::State, origin: Option<(usize, usize)>) -> Result<(), String> {
        let checked = model.check(&state);
        self.origins.push(origin);
        self.known.insert(state.clone());
        self.ahead.push_back(state);
        checked
    }

    /// What was found, if nothing more is looked for; `broken` is what the state discovered last is.
    fn end(self, broken: Option<String>) -> Exploration {
        let words: HashMap<usize, String> =
            self.numbers.iter().map(|(step, number)| (*number, step.to_string())).collect();
        let mut steps = BTreeMap::new();
        for (number, words) in &words {
            *steps.entry(words.clone()).or_default() += self.taken[*number];
        }
        let violation = broken.map(|broken| Violation { broken, trace: self.trace(&words) });
        Exploration { states: self.origins.len(), violation, steps }
    }

    fn trace(&self, words: &HashMap<usize, String>) -> Vec<String> {
        let last = self.origins.last().copied().flatten();
        let back = std::iter::successors(last, |(state, _)| self.origins[*state]);
        let mut trace: Vec<String> = back.map(|(_, step)| words[&step].clone()).collect();
        trace.reverse();
        trace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A walker on the numbers from 0: one further, three further, or not at all. `wall` is the last, `hole` is broken.
    struct Line {
        wall: u32,
        hole: u32,
    }

    impl Model for Line {
        type State = u32;
        type Step = &'static str;

        fn start(&self) -> u32 {
            0
        }

        fn steps(&self, at: &u32) -> Vec<(&'static str, u32)> {
            let steps = [("rests", *at), ("walks", at + 1), ("leaps", at + 3)];
            steps.into_iter().filter(|(_, to)| *to <= self.wall).collect()
        }

        fn check(&self, at: &u32) -> Result<(), String> {
            if *at == self.hole { Err(format!("{at} is a hole")) } else { Ok(()) }
        }
    }

    #[test]
    fn every_state_is_seen_once() {
        let exploration = explore(&Line { wall: 9, hole: 99 }, 10).expect("there are ten");
        assert_eq!(exploration.states(), 10);
        assert_eq!(exploration.violation(), None);
    }

    #[test]
    fn a_violation_comes_with_a_shortest_trace() {
        let exploration = explore(&Line { wall: 9, hole: 7 }, 100).expect("the hole is found");
        let violation = exploration.violation().expect("the hole is found");
        assert_eq!(violation.trace().len(), 3, "two leaps and one step, in any order: {violation}");
        assert!(violation.to_string().starts_with("7 is a hole, after 3 steps:\n   1. "));
    }

    #[test]
    fn the_start_may_be_broken() {
        let exploration = explore(&Line { wall: 9, hole: 0 }, 100).expect("the hole is found");
        assert_eq!(exploration.violation().map(|violation| violation.trace().len()), Some(0));
    }

    #[test]
    fn more_states_than_allowed_is_neither_broken_nor_sound() {
        let unfinished = explore(&Line { wall: 9, hole: 99 }, 9).expect_err("there are ten");
        let words = "the model has more than 9 states: nothing is known of the others";
        assert_eq!(unfinished.to_string(), words);
    }

    #[test]
    fn steps_are_counted_also_when_they_lead_nowhere_new() {
        let exploration = explore(&Line { wall: 9, hole: 99 }, 10).expect("there are ten");
        assert_eq!(exploration.times("rests"), 10);
        assert_eq!(exploration.times("walks"), 9);
        assert_eq!(exploration.times("s"), 10 + 9 + 7);
        assert_eq!(exploration.times("flies"), 0);
    }
}
