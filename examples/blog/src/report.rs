//! What people look at in the end: a table, bars, and the verdict.

use std::fmt::{self, Display, Formatter, Write};

use serde::Serialize;

use crate::measure::Measured;
use crate::tenfold::Tenfold;
use crate::trace::COMMENTS_IN_A_HUNDRED;
use crate::verdict::verdict;

const BAR: usize = 40;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) posts: u32,
    pub(crate) comments: u32,
    pub(crate) authors: u32,
    pub(crate) requests: usize,
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    pub(crate) cores: usize,
    pub(crate) versions: Vec<Measured>,
    pub(crate) verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenfold: Option<Tenfold>,
}

impl Report {
    pub(crate) fn faults(&self) -> usize {
        let versions: usize = self.versions.iter().map(|measured| measured.faults.len()).sum();
        versions + self.tenfold.as_ref().map_or(0, Tenfold::faults)
    }

    pub(crate) fn with_verdict(self) -> Self {
        Self { verdict: verdict(&self.versions, self.cores), ..self }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rate, seed, cores, .. } = self;
        writeln!(
            f,
            "\n{} posts, {} comments, {} authors; {} requests at {rate} a second, {COMMENTS_IN_A_HUNDRED} % of them \
             new comments; seed {seed}, {cores} cores\n",
            grouped(self.posts as usize),
            grouped(self.comments as usize),
            grouped(self.authors as usize),
            grouped(self.requests),
        )?;
        f.write_str(&table(&self.versions))?;
        if self.tenfold.is_some() {
            f.write_str(&tiers(&self.versions))?;
        }
        f.write_str(&notes(&self.versions))?;
        f.write_str(&bars("p95 of a page, ms", &self.versions, |measured| measured.page_ms.p95))?;
        f.write_str(&bars("queries a request", &self.versions, |measured| measured.queries_per_request))?;
        f.write_str(&bars("database, ms a request", &self.versions, busy_per_request))?;
        f.write_str(&checks(&self.versions))?;
        writeln!(f, "\n{}", wrapped(&self.verdict))?;
        self.tenfold.as_ref().map_or(Ok(()), |tenfold| write!(f, "{tenfold}"))
    }
}

fn busy_per_request(measured: &Measured) -> f64 {
    measured.busy_seconds * 1_000.0 / measured.requests as f64
}

pub(crate) fn table(versions: &[Measured]) -> String {
    let mut table = format!(
        "{:11}{:>16}   {:>32}{:>9}{:>20}{:>20}{:>8}\n{:11}{:>8}{:>8}   {:>8}{:>8}{:>8}{:>8}{:>9}{:>10}{:>10}{:>9}{:>11}{:>8}\n",
        "",
        "requests/s",
        "page, ms",
        "comment",
        "queries",
        "database busy",
        "hit",
        "version",
        "offered",
        "served",
        "mean",
        "p50",
        "p95",
        "p99",
        "p95 ms",
        "total",
        "/request",
        "seconds",
        "% of wall",
        "ratio",
    );
    for measured in versions {
        table += &row(measured);
    }
    table
}

fn row(measured: &Measured) -> String {
    let page = &measured.page_ms;
    format!(
        "{:<11}{:>8.0}{:>8.0}{:<2} {:>8}{:>8}{:>8}{:>8}{:>9}{:>10}{:>10.2}{:>9.2}{:>11.1}{:>8}\n",
        measured.version,
        measured.offered_per_second,
        measured.served_per_second,
        if measured.kept_up { "" } else { " *" },
        short(page.mean),
        short(page.p50),
        short(page.p95),
        short(page.p99),
        short(measured.comment_ms.p95),
        grouped(measured.queries),
        measured.queries_per_request,
        measured.busy_seconds,
        measured.busy_share * 100.0,
        percent(measured.hit_ratio),
    )
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))
}

/// What there is to say of versions that may have more tiers than one.
pub(crate) fn tiers(versions: &[Measured]) -> String {
    let mut table = format!(
        "\n{:31}   {:>16}{:>10}   {:>18}   {:>14}\n{:11}{:>10}{:>10}   {:>8}{:>8}{:>10}   {:>9}{:>9}   {:>7}{:>7}\n",
        "",
        "page, ms",
        "queries",
        "hit ratio",
        "pages",
        "version",
        "processes",
        "requests",
        "p50",
        "p99",
        "total",
        "memory",
        "Redis",
        "behind",
        "stale",
    );
    for measured in versions {
        _ = writeln!(
            table,
            "{:<11}{:>10}{:>10}   {:>8}{:>8}{:>10}   {:>9}{:>9}   {:>7}{:>7}",
            measured.version,
            measured.processes.map_or_else(|| "-".to_owned(), grouped),
            grouped(measured.requests),
            short(measured.page_ms.p50),
            short(measured.page_ms.p99),
            grouped(measured.queries),
            percent(measured.memory_hit_ratio),
            percent(measured.redis_hit_ratio),
            grouped(measured.pages_behind),
            grouped(measured.faults.len()),
        );
    }
    table + &about_tiers(versions)
}

fn about_tiers(versions: &[Measured]) -> String {
    let lag = versions.iter().map(|measured| measured.may_be_behind_ms).fold(0.0, f64::max);
    format!(
        "The hit ratio of Redis is of what memory did not have. A page of V3 may be behind what another process has\n\
         stored by {lag:.0} ms (`local_ttl`); a page that lacks something for longer, or that never was like this,\n\
         is stale. What has a number of processes was asked over HTTP, the others by a call inside the driver.\n\n",
    )
}

pub(crate) fn notes(versions: &[Measured]) -> String {
    let mut notes = String::new();
    for measured in versions.iter().filter(|measured| !measured.kept_up) {
        _ = writeln!(
            notes,
            "* {} could not keep up: readers came for {:.1} s, the last was answered after {:.1} s. Its latencies are \
             its queue and grow with the length of the run.",
            measured.version,
            measured.requests as f64 / measured.offered_per_second,
            measured.wall_seconds
        );
    }
    for measured in versions {
        if measured.unanswered > 0 {
            let count = grouped(measured.unanswered);
            _ = writeln!(
                notes,
                "! {} left {count} readers without an answer (counted as late as that).",
                measured.version
            );
        }
        if let Some(why) = &measured.first_failure {
            let count = grouped(measured.failed);
            _ = writeln!(notes, "! {} failed {count} requests, the first with: {why}", measured.version);
        }
        if measured.redis_outages > 0 {
            let count = measured.redis_outages;
            _ = writeln!(
                notes,
                "! {} lost its Redis ({count} times, over all processes) and went on without. {} comments left an old copy \
                 there, which readers may have met until it was dropped.",
                measured.version,
                grouped(measured.copies_left)
            );
        }
    }
    let late = versions.iter().map(|measured| format!("{:.2}", measured.driver_late_ms)).collect::<Vec<_>>();
    _ = writeln!(
        notes,
        "Latencies count from the scheduled arrival; of their mean, {} ms are the driver's own delay.\n\
         Busy is the time inside queries, added up: two connections at work all the time make 200 %.\n\
         The hit ratio counts from an empty cache. Numbers of queries hardly change from run to run; times vary \
         with whatever else the machine does.",
        late.join(", ")
    );
    notes
}

/// Bars on one linear scale, so that their lengths may be compared; the factor is against the version before.
pub(crate) fn bars(title: &str, versions: &[Measured], figure: fn(&Measured) -> f64) -> String {
    let largest = versions.iter().map(figure).fold(0.0, f64::max);
    let mut bars = format!("\n{title}\n");
    let mut before: Option<f64> = None;
    for measured in versions {
        let value = figure(measured);
        let change = before.map_or_else(String::new, |before| change(before, value));
        _ = writeln!(bars, "  {:<10} {} {}{change}", measured.version, bar(value, largest), short(value));
        before = Some(value);
    }
    bars
}

fn change(before: f64, after: f64) -> String {
    if before <= 0.0 || after <= 0.0 {
        return String::new();
    }
    let factor = before / after;
    if factor >= 1.0 { format!("   ÷ {}", short(factor)) } else { format!("   × {}", short(1.0 / factor)) }
}

fn bar(value: f64, largest: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = if largest > 0.0 { (value / largest * (BAR * 8) as f64).round() as usize } else { 0 };
    // Something that is there is shown, however small.
    let eighths = eighths.max(usize::from(value > 0.0));
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

pub(crate) fn checks(versions: &[Measured]) -> String {
    const SHOWN: usize = 5;
    let sum = |figure: fn(&Measured) -> usize| versions.iter().map(figure).sum::<usize>();
    let mut checks = format!(
        "\n{} pages and {} comments checked against the database, {} differ\n",
        grouped(sum(|measured| measured.pages_checked)),
        grouped(sum(|measured| measured.comments_checked)),
        grouped(sum(|measured| measured.faults.len())),
    );
    for measured in versions {
        for fault in measured.faults.iter().take(SHOWN) {
            _ = writeln!(checks, "  {}: {fault}", measured.version);
        }
        if measured.faults.len() > SHOWN {
            _ = writeln!(
                checks,
                "  {}: and {} more",
                measured.version,
                grouped(measured.faults.len() - SHOWN)
            );
        }
    }
    checks
}

/// Three digits that matter.
pub(crate) fn short(value: f64) -> String {
    match value {
        100.0.. => grouped(value.round() as usize),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
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

pub(crate) fn wrapped(text: &str) -> String {
    const WIDTH: usize = 110;
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.len() > WIDTH {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word.len();
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn bars_are_linear_and_never_vanish() {
        assert_eq!(bar(8.0, 8.0), "█".repeat(BAR));
        assert_eq!(bar(4.0, 8.0), "█".repeat(BAR / 2));
        assert_eq!(bar(0.0001, 8.0), "▏");
        assert_eq!(bar(0.0, 8.0), "");
        assert_eq!(bar(0.0, 0.0), "");
    }

    #[test]
    fn a_change_is_a_factor_in_either_direction() {
        assert_eq!(change(8.0, 2.0), "   ÷ 4.00");
        assert_eq!(change(2.0, 8.0), "   × 4.00");
        assert_eq!(change(0.0, 8.0), "");
    }

    #[test]
    fn a_version_that_fell_behind_is_marked() {
        let behind =
            Measured { version: "V0 naive", requests: 9, offered_per_second: 3.0, ..Measured::default() };
        let fine = Measured { version: "V1 mended", requests: 9, kept_up: true, ..Measured::default() };
        assert!(row(&behind).contains('*'));
        assert!(!row(&fine).contains('*'));
        assert!(notes(&[behind, fine]).contains("V0 naive could not keep up: readers came for 3.0 s"));
    }

    #[test]
    fn long_text_is_wrapped_at_words() {
        let text = "word ".repeat(50);
        let wrapped = wrapped(text.trim());
        assert!(wrapped.lines().all(|line| line.len() <= 110));
        assert_eq!(wrapped.replace('\n', " "), text.trim());
    }
}
