//! What people look at in the end: a table, and whether the books agree.

use std::fmt::{self, Display, Formatter};

use crate::ledger::Books;
use crate::measure::{Answers, Report};
use crate::shortener::AnsweredBy;
use crate::trace::REDIRECTS_TO_ONE_NEW;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} links, {} of them fit in memory{}; {} visitors at a time, {REDIRECTS_TO_ONE_NEW} redirects to one new \
             link; seed {}\n",
            grouped(self.links as usize),
            grouped(self.memory as usize),
            if self.redis { ", and all in Redis" } else { "" },
            self.visitors,
            self.seed,
        )?;
        writeln!(
            f,
            "{:<18}{:>10}{:>9}   {:>18}   {:>27}\n{:<18}{:>10}{:>9}   {:>9}{:>9}   {:>9}{:>9}{:>9}",
            "",
            "",
            "",
            "link known, ms",
            "answered, ms",
            "by",
            "answers",
            "share",
            "p50",
            "p99",
            "mean",
            "p50",
            "p99",
        )?;
        for (tier, answers) in &self.tiers {
            row(f, name(*tier), answers, self.redirects)?;
        }
        row(f, "unknown id", &self.unknown, 0)?;
        row(f, "new link", &self.created, 0)?;
        self.notes(f)?;
        write!(f, "{}", self.books)
    }
}

impl Report {
    fn notes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let redis = match self.redis_hit_ratio {
            Some(ratio) => format!(", of Redis {:.1} % of what memory did not have", ratio * 100.0),
            None => String::new(),
        };
        writeln!(
            f,
            "\n{} redirects/s: {} in {:.1} s. Hit ratio of memory {:.1} %{redis}, from empty tiers.\n\
             Unknown ids were asked for {} times, and asked of the database {} times.\n\
             A redirect is answered when its click is in two journals on the disk, and counted: the count is exact, and \
             read from the database for it.\n\
             {} rows came to the database in {} batches, the largest of {}{}.\n",
            grouped(self.redirects_per_second.round() as usize),
            grouped(self.redirects),
            self.seconds,
            self.memory_hit_ratio * 100.0,
            grouped(self.unknown.answers),
            grouped(self.unknown_asked_of_database),
            grouped(self.written.rows as usize),
            grouped(self.written.batches as usize),
            grouped(self.written.largest as usize),
            if self.crashed { ", by the process that came after" } else { "" },
        )
    }
}

impl Display for Books {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "clicks made {} {} clicks stored {}; counted {}; {} links made",
            grouped(self.clicks_made),
            if self.clicks_made == self.clicks_stored { "=" } else { "≠" },
            grouped(self.clicks_stored),
            grouped(usize::try_from(self.clicks_counted).unwrap_or(0)),
            grouped(self.links_made),
        )?;
        if self.unanswered > 0 {
            writeln!(
                f,
                "{} more were asked for when the process was killed and not answered: {} of them are stored and counted",
                grouped(self.unanswered),
                grouped(self.unanswered_stored),
            )?;
        }
        if self.exact {
            return f.write_str(
                "EXACT: every answered click has its row, and every count is the number of its rows",
            );
        }
        write!(f, "WRONG: {} faults", grouped(self.faults))?;
        self.told.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

fn row(f: &mut Formatter<'_>, name: &str, answers: &Answers, of: usize) -> fmt::Result {
    if answers.answers == 0 {
        return Ok(());
    }
    let share = match of {
        0 => String::new(),
        all => format!("{:.1} %", answers.answers as f64 * 100.0 / all as f64),
    };
    writeln!(
        f,
        "{name:<18}{:>10}{share:>9}   {:>9}{:>9}   {:>9}{:>9}{:>9}",
        grouped(answers.answers),
        short(answers.found_p50_ms),
        short(answers.found_p99_ms),
        short(answers.mean_ms),
        short(answers.p50_ms),
        short(answers.p99_ms),
    )
}

const fn name(tier: AnsweredBy) -> &'static str {
    match tier {
        AnsweredBy::Memory => "memory",
        AnsweredBy::Redis => "Redis",
        AnsweredBy::Database => "SQLite",
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value {
        100.0.. => grouped(value.round() as usize),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn books_that_do_not_agree_say_so() {
        let wrong = Books {
            faults: 1,
            told: vec!["click 7 was answered and is lost".to_owned()],
            ..Books::default()
        };
        assert!(wrong.to_string().contains("WRONG: 1 faults\n  click 7"));
        assert!(Books { exact: true, ..Books::default() }.to_string().contains("EXACT"));
    }
}
