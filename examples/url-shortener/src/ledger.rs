//! What visitors were told, held against what the database has at the end.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use serde::Serialize;
use sqlx::SqlitePool;

use crate::clicks::ClickId;
use crate::content;
use crate::driver::Visit;
use crate::link_id::LinkId;
use crate::service::Outcome;

/// How many faults are told in words.
const TOLD: usize = 5;

/// What the database has.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    clicks: HashMap<ClickId, LinkId>,
    counts: HashMap<LinkId, i64>,
    /// Links that were made under way, and where they lead.
    links: HashMap<LinkId, String>,
}

impl Stored {
    pub(crate) async fn read(pool: &SqlitePool) -> Result<Self> {
        let clicks: Vec<(i64, i64)> = sqlx::query_as("SELECT id, link FROM clicks").fetch_all(pool).await?;
        let counts: Vec<(i64, i64)> =
            sqlx::query_as("SELECT id, clicks FROM click_counts").fetch_all(pool).await?;
        let links: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, long_url FROM urls WHERE created_at > 0").fetch_all(pool).await?;
        Ok(Self {
            clicks: clicks.into_iter().map(|(id, link)| (ClickId(id as u64), LinkId(link as u64))).collect(),
            counts: counts.into_iter().map(|(id, clicks)| (LinkId(id as u64), clicks)).collect(),
            links: links.into_iter().map(|(id, url)| (LinkId(id as u64), url)).collect(),
        })
    }
}

/// Whether the books agree. What was asked and never answered may have been done, or not; all else is exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Books {
    /// Nothing is wrong.
    pub(crate) exact: bool,
    /// Clicks that were answered.
    pub(crate) clicks_made: usize,
    /// Those of them that have their row.
    pub(crate) clicks_stored: usize,
    /// What the counts of all links add up to.
    pub(crate) clicks_counted: i64,
    /// Clicks that were asked for when the process was killed, and never answered.
    pub(crate) unanswered: usize,
    /// Those of them that have a row all the same.
    pub(crate) unanswered_stored: usize,
    pub(crate) links_made: usize,
    pub(crate) failed: usize,
    /// What is wrong, the first of it in words.
    pub(crate) faults: usize,
    pub(crate) told: Vec<String>,
}

impl Books {
    pub(crate) fn of(visits: &[Visit], stored: &Stored) -> Self {
        let mut comparison =
            Comparison { stored, books: Self::default(), answered: HashSet::new(), open: HashMap::new() };
        visits.iter().for_each(|visit| comparison.visit(visit));
        comparison.strangers();
        comparison.counts();
        let exact = comparison.books.faults == 0;
        Self { exact, ..comparison.books }
    }

    fn fault(&mut self, words: impl FnOnce() -> String) {
        self.faults += 1;
        if self.told.len() < TOLD {
            self.told.push(words());
        }
    }
}

/// Under way: one visit after the other, then what the database has besides.
struct Comparison<'a> {
    stored: &'a Stored,
    books: Books,
    answered: HashSet<ClickId>,
    /// How many clicks of each link were asked for and never answered.
    open: HashMap<LinkId, usize>,
}

impl Comparison<'_> {
    fn visit(&mut self, visit: &Visit) {
        match visit {
            Visit::Created { outcome: Outcome::Failed(error), .. }
            | Visit::Followed { outcome: Outcome::Failed(error), .. } => {
                self.books.failed += 1;
                self.books.fault(|| format!("a request failed: {error:#}"));
            }
            Visit::Created { outcome: Outcome::Unanswered, .. } => {}
            Visit::Created { number, outcome: Outcome::Answered(id), .. } => self.created(*number, *id),
            // Nobody could have clicked on what is not there.
            Visit::Followed { expected: None, outcome: Outcome::Unanswered, .. } => {}
            Visit::Followed { id, outcome: Outcome::Unanswered, .. } => {
                self.books.unanswered += 1;
                *self.open.entry(*id).or_default() += 1;
            }
            Visit::Followed { id, expected, outcome: Outcome::Answered(followed), .. } => {
                let to = followed.to.as_ref();
                if to.map(|to| &*to.link.url) != expected.as_deref() {
                    self.books.fault(|| format!("link {id} led somewhere else"));
                }
                if let Some(to) = to {
                    self.clicked(*id, to.click);
                }
            }
        }
    }

    fn created(&mut self, number: usize, id: LinkId) {
        self.books.links_made += 1;
        if self.stored.links.get(&id) != Some(&content::new_url(number)) {
            self.books.fault(|| format!("link {id} was made and is not in the database as it was made"));
        }
    }

    fn clicked(&mut self, id: LinkId, click: ClickId) {
        self.books.clicks_made += 1;
        if !self.answered.insert(click) {
            self.books.fault(|| format!("click {} was answered twice", click.0));
        }
        match self.stored.clicks.get(&click) {
            Some(link) if *link == id => self.books.clicks_stored += 1,
            Some(_) => self.books.fault(|| format!("click {} is another link's", click.0)),
            None => self.books.fault(|| format!("click {} was answered and is lost", click.0)),
        }
    }

    /// Rows that no answer speaks of: each must have been asked for.
    fn strangers(&mut self) {
        for (click, link) in self.stored.clicks.iter().filter(|(click, _)| !self.answered.contains(click)) {
            match self.open.get_mut(link) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    self.books.unanswered_stored += 1;
                }
                _ => self.books.fault(|| format!("click {} on link {link} was never asked for", click.0)),
            }
        }
    }

    /// A link's count is the number of its rows.
    fn counts(&mut self) {
        let counts = &self.stored.counts;
        let mut rows: HashMap<LinkId, i64> = HashMap::new();
        for link in self.stored.clicks.values() {
            *rows.entry(*link).or_default() += 1;
        }
        self.books.clicks_counted = counts.values().sum();
        let links: HashSet<_> = rows.keys().chain(counts.keys()).collect();
        for link in links {
            let of = |clicks: &HashMap<LinkId, i64>| clicks.get(link).copied().unwrap_or(0);
            let (rows, count) = (of(&rows), of(counts));
            if rows != count {
                self.books.fault(|| format!("link {link} has {rows} clicks, and its count says {count}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::link::Link;
    use crate::shortener::{AnsweredBy, Followed, Redirect};

    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);

    fn visit(id: LinkId, outcome: Outcome<Followed>) -> Visit {
        Visit::Followed { id, expected: Some("https://a".to_owned()), outcome, took: Duration::ZERO }
    }

    fn answered(id: LinkId, click: u64) -> Visit {
        let link = Link { url: "https://a".into(), created_at: 0 };
        let to = Some(Redirect { link, click: ClickId(click) });
        visit(id, Outcome::Answered(Followed { to, by: AnsweredBy::Memory, found_in: Duration::ZERO }))
    }

    fn stored(clicks: &[(u64, LinkId)], counts: &[(LinkId, i64)]) -> Stored {
        Stored {
            clicks: clicks.iter().map(|&(click, link)| (ClickId(click), link)).collect(),
            counts: counts.iter().copied().collect(),
            links: HashMap::new(),
        }
    }

    fn told(visits: &[Visit], stored: &Stored) -> Vec<String> {
        Books::of(visits, stored).told
    }

    #[test]
    fn books_that_agree_are_exact_and_the_unanswered_may_be_there_or_not() {
        let visits =
            [answered(A, 1), answered(A, 2), visit(A, Outcome::Unanswered), visit(B, Outcome::Unanswered)];
        let books = Books::of(&visits, &stored(&[(1, A), (2, A), (7, B)], &[(A, 2), (B, 1)]));
        assert!(books.exact, "{books:?}");
        assert_eq!((books.clicks_made, books.clicks_stored, books.clicks_counted), (2, 2, 3));
        assert_eq!((books.unanswered, books.unanswered_stored), (2, 1));
    }

    #[test]
    fn every_way_to_be_wrong_is_told() {
        let one = [answered(A, 1)];
        assert_eq!(told(&one, &stored(&[], &[])), ["click 1 was answered and is lost"]);
        assert_eq!(told(&one, &stored(&[(1, A)], &[(A, 2)])), ["link 1 has 1 clicks, and its count says 2"]);
        assert_eq!(told(&one, &stored(&[(1, A)], &[])), ["link 1 has 1 clicks, and its count says 0"]);
        let more = stored(&[(1, A), (2, A)], &[(A, 2)]);
        assert_eq!(told(&one, &more), ["click 2 on link 1 was never asked for"]);
        let moved = told(&one, &stored(&[(1, B)], &[(B, 1)]));
        assert_eq!(moved, ["click 1 is another link's"]);
        let twice = [answered(A, 1), answered(A, 1)];
        assert_eq!(told(&twice, &stored(&[(1, A)], &[(A, 1)])), ["click 1 was answered twice"]);
        let failed = [visit(A, Outcome::Failed(anyhow::anyhow!("no")))];
        assert_eq!(told(&failed, &stored(&[], &[])), ["a request failed: no"]);
        let lost = [Visit::Created { number: 1, outcome: Outcome::Answered(B), took: Duration::ZERO }];
        assert_eq!(told(&lost, &stored(&[], &[])).len(), 1);
    }
}
