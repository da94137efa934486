//! A run in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::clicks::Written;
use crate::driver::Visit;
use crate::latencies::Latencies;
use crate::ledger::Books;
use crate::service::Outcome;
use crate::shortener::AnsweredBy;

/// What the run was, and what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) links: u32,
    pub(crate) memory: u64,
    pub(crate) visitors: usize,
    pub(crate) seed: u64,
    pub(crate) redis: bool,
    /// Whether the process was killed in the middle.
    pub(crate) crashed: bool,
    pub(crate) seconds: f64,
    pub(crate) redirects: usize,
    pub(crate) redirects_per_second: f64,
    /// By who knew where the link leads.
    pub(crate) tiers: BTreeMap<AnsweredBy, Answers>,
    pub(crate) unknown: Answers,
    pub(crate) unknown_asked_of_database: usize,
    pub(crate) created: Answers,
    /// Of all lookups, those that memory answered.
    pub(crate) memory_hit_ratio: f64,
    /// Of those that memory did not answer, those that Redis did.
    pub(crate) redis_hit_ratio: Option<f64>,
    /// How rows came to the database; after a crash, from the process that came after.
    pub(crate) written: Written,
    pub(crate) books: Books,
}

/// Of answers of one kind, how many there were and how long they took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Answers {
    pub(crate) answers: usize,
    /// Until it was known where the link leads.
    pub(crate) found_p50_ms: f64,
    pub(crate) found_p99_ms: f64,
    /// Until whoever asked was answered: the click is in the journals.
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

#[derive(Default)]
struct Times {
    found: Vec<Duration>,
    took: Vec<Duration>,
}

impl Times {
    fn add(&mut self, found: Duration, took: Duration) {
        self.found.push(found);
        self.took.push(took);
    }

    fn answers(self) -> Answers {
        let (found, took) = (Latencies::new(self.found), Latencies::new(self.took.clone()));
        Answers {
            answers: self.took.len(),
            found_p50_ms: millis(found.percentile(50.0)),
            found_p99_ms: millis(found.percentile(99.0)),
            mean_ms: millis(took.mean()),
            p50_ms: millis(took.percentile(50.0)),
            p99_ms: millis(took.percentile(99.0)),
        }
    }
}

/// What visits say of it.
pub(crate) struct Figures {
    pub(crate) redirects: usize,
    pub(crate) tiers: BTreeMap<AnsweredBy, Answers>,
    pub(crate) unknown: Answers,
    pub(crate) unknown_asked_of_database: usize,
    pub(crate) created: Answers,
    pub(crate) memory_hit_ratio: f64,
    pub(crate) redis_hit_ratio: f64,
}

impl Figures {
    pub(crate) fn of(visits: &[Visit]) -> Self {
        let mut tiers: BTreeMap<AnsweredBy, Times> = BTreeMap::new();
        let (mut unknown, mut created) = (Times::default(), Times::default());
        let mut lookups: BTreeMap<AnsweredBy, usize> = BTreeMap::new();
        let mut unknown_asked_of_database = 0;
        for visit in visits {
            match visit {
                Visit::Created { outcome: Outcome::Answered(_), took, .. } => created.add(*took, *took),
                Visit::Followed { outcome: Outcome::Answered(followed), took, .. } => {
                    *lookups.entry(followed.by).or_default() += 1;
                    if followed.to.is_some() {
                        tiers.entry(followed.by).or_default().add(followed.found_in, *took);
                    } else {
                        unknown_asked_of_database += usize::from(followed.by == AnsweredBy::Database);
                        unknown.add(followed.found_in, *took);
                    }
                }
                _ => {}
            }
        }
        let by = |tier| lookups.get(&tier).copied().unwrap_or(0);
        let (memory, redis, database) =
            (by(AnsweredBy::Memory), by(AnsweredBy::Redis), by(AnsweredBy::Database));
        Self {
            redirects: tiers.values().map(|times| times.took.len()).sum(),
            tiers: tiers.into_iter().map(|(tier, times)| (tier, times.answers())).collect(),
            unknown: unknown.answers(),
            unknown_asked_of_database,
            created: created.answers(),
            memory_hit_ratio: part(memory, memory + redis + database),
            redis_hit_ratio: part(redis, redis + database),
        }
    }
}

fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
