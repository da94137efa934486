//! The lesson's last step: from the figures of this run, and nothing else, was the cache needed?
//!
//! A part is added only when a measured problem is worth its cost and its risk, and when what was there
//! before has already been tuned. So V0 never speaks for a cache; only V1 can.

use crate::measure::Measured;
use crate::report::{grouped, short};

/// Readers want their page within this time.
const WANTED_MS: f64 = 1_000.0;
/// A query slower than this *after* tuning asks for a cache.
const SLOW_QUERY_MS: f64 = 100.0;
/// So does a database that is busy for more than this share of what the machine has.
const BUSY: f64 = 0.7;

pub(crate) fn verdict(measured: &[Measured], cores: usize) -> String {
    let version = |name: &str| measured.iter().find(|measured| measured.version.starts_with(name));
    if let Some(wrong) = faulty(measured) {
        return wrong;
    }
    let Some(mended) = version("V1") else {
        return "V1 was not run, so this run cannot say whether a cache is needed.".to_owned();
    };
    let problems = problems(mended, cores);
    if problems.is_empty() {
        return enough(mended, version("V0"), version("V2"), cores);
    }
    let found = format!("V1 is not enough for this load: {}.", problems.join("; "));
    let Some(cached) = version("V2") else {
        return format!("{found} V2 was not run, so this run cannot say whether a cache is the answer.");
    };
    format!("{found} {}", with_cache(mended, cached, cores))
}

/// What there is to say when an answer was wrong, and that is all there is to say then.
pub(crate) fn faulty(measured: &[Measured]) -> Option<String> {
    let wrong = measured.iter().find(|measured| !measured.faults.is_empty())?;
    Some(format!(
        "{} answered with something else than the database holds: however fast, it proves nothing. Mend it first.",
        wrong.version
    ))
}

/// What the lesson counts as a reason to add a part.
pub(crate) fn problems(measured: &Measured, cores: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if !measured.kept_up {
        problems.push(format!(
            "it served {:.0} of {:.0} requests a second",
            measured.served_per_second, measured.offered_per_second
        ));
    }
    if measured.failed > 0 {
        problems.push(format!("{} requests failed", measured.failed));
    }
    let slowest = measured.page_ms.p99.max(measured.comment_ms.p99);
    if slowest >= WANTED_MS {
        problems.push(format!(
            "one answer in a hundred took {} ms or more, wanted were {WANTED_MS}",
            short(slowest)
        ));
    }
    if measured.query_p95_ms > SLOW_QUERY_MS {
        problems.push(format!("one query in twenty took {:.0} ms or more", measured.query_p95_ms));
    }
    let busy = measured.busy_share / cores as f64;
    if busy > BUSY {
        problems
            .push(format!("the database was busy for {:.0} % of what {cores} cores can give", busy * 100.0));
    }
    problems
}

fn enough(mended: &Measured, naive: Option<&Measured>, cached: Option<&Measured>, cores: usize) -> String {
    let mut text = format!(
        "V1 is enough for this load: p99 of a page {} ms (wanted: under {WANTED_MS}), p95 of a query {} ms \
         (a cache is worth a thought above {SLOW_QUERY_MS}), database busy for {:.1} % of what {cores} cores can give \
         (above {:.0} %).",
        short(mended.page_ms.p99),
        short(mended.query_p95_ms),
        mended.busy_share / cores as f64 * 100.0,
        BUSY * 100.0,
    );
    if let Some(naive) = naive.filter(|naive| !problems(naive, cores).is_empty()) {
        text += &format!(
            " The trouble was in the queries, and mending them cured it: {:.1} a request became {:.1}.",
            naive.queries_per_request, mended.queries_per_request
        );
    }
    if let Some(cached) = cached {
        text += &format!(
            " The cache spared {:.0} % of V1's queries, but no problem was left for it to solve: here it would \
             cost memory and one more thing to understand, and pay for nothing.",
            spared(mended, cached),
        );
    }
    text + &outlook(mended, cores)
}

/// At which rate V1 itself would reach the trigger, if a request kept costing what it cost here.
fn outlook(mended: &Measured, cores: usize) -> String {
    let per_request = mended.busy_seconds / mended.requests as f64;
    let rate = BUSY * cores as f64 / per_request;
    if !rate.is_finite() {
        return String::new();
    }
    format!(
        " On this machine that may change towards {} requests a second, where the same queries would make the \
         database {:.0} % busy. That is an estimate: measure with --rate before believing it.",
        grouped(two_digits(rate)),
        BUSY * 100.0
    )
}

/// An estimate is given no more digits than it has.
fn two_digits(value: f64) -> usize {
    let unit = 10_f64.powf(value.log10().floor() - 1.0).max(1.0);
    ((value / unit).round() * unit) as usize
}

fn with_cache(mended: &Measured, cached: &Measured, cores: usize) -> String {
    let effect = format!(
        "mean of a page {} ms to {} ms, p95 {} ms to {} ms, {:.0} % of the queries spared, \
         hit ratio {:.0} %",
        short(mended.page_ms.mean),
        short(cached.page_ms.mean),
        short(mended.page_ms.p95),
        short(cached.page_ms.p95),
        spared(mended, cached),
        cached.hit_ratio.unwrap_or_default() * 100.0,
    );
    match problems(cached, cores).as_slice() {
        [] => format!("With the cache the problem is gone ({effect}): it earns its place."),
        left => format!(
            "The cache changes this ({effect}) but does not solve it: {}. The next step is another one.",
            left.join("; ")
        ),
    }
}

/// In percent, of the queries: their number repeats exactly, while the times of one run are at the mercy of
/// whatever else the machine does.
fn spared(before: &Measured, after: &Measured) -> f64 {
    (1.0 - after.queries as f64 / before.queries as f64) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Spread;

    fn fine(version: &'static str) -> Measured {
        Measured {
            version,
            requests: 1_000,
            kept_up: true,
            page_ms: Spread { mean: 1.0, p50: 1.0, p95: 2.0, p99: 3.0 },
            queries: 2_000,
            queries_per_request: 2.0,
            query_p95_ms: 0.5,
            busy_seconds: 1.0,
            busy_share: 0.1,
            ..Measured::default()
        }
    }

    fn overrun(version: &'static str) -> Measured {
        Measured { kept_up: false, offered_per_second: 90.0, served_per_second: 40.0, ..fine(version) }
    }

    #[test]
    fn a_cache_without_a_problem_is_not_worth_it() {
        let said = verdict(&[overrun("V0"), fine("V1"), fine("V2")], 2);
        assert!(said.starts_with("V1 is enough"), "{said}");
        assert!(said.contains("mending them cured it"), "{said}");
        assert!(said.contains("pay for nothing"), "{said}");
        assert!(said.contains("towards 1,400 requests a second"), "{said}");
    }

    #[test]
    fn nothing_is_said_about_versions_that_did_not_run() {
        assert!(verdict(&[overrun("V0"), fine("V2")], 2).contains("cannot say"));
        assert!(verdict(&[overrun("V1")], 2).contains("cannot say whether a cache is the answer"));
        let said = verdict(&[fine("V1")], 2);
        assert!(!said.contains("The cache spared") && !said.contains("mending"), "{said}");
    }

    #[test]
    fn a_cache_that_solves_the_problem_earns_its_place() {
        let said = verdict(&[overrun("V1"), fine("V2")], 2);
        assert!(said.contains("served 40 of 90 requests a second"), "{said}");
        assert!(said.contains("earns its place"), "{said}");
    }

    #[test]
    fn a_cache_that_does_not_solve_it_is_not_praised() {
        let said = verdict(&[overrun("V1"), overrun("V2")], 2);
        assert!(said.contains("does not solve it"), "{said}");
    }

    #[test]
    fn a_version_that_answers_wrong_proves_nothing() {
        let wrong = Measured { faults: vec!["a page of post 1 lacked a comment".to_owned()], ..fine("V2") };
        let said = verdict(&[overrun("V1"), wrong], 2);
        assert!(said.starts_with("V2 answered with something else"), "{said}");
    }

    #[test]
    fn every_trigger_speaks_for_itself() {
        let busy = Measured { busy_share: 1.5, ..fine("V1") };
        let slow_query = Measured { query_p95_ms: 101.0, ..fine("V1") };
        let slow_page = Measured { page_ms: Spread { p99: 1_200.0, ..Spread::default() }, ..fine("V1") };
        let slow_write = Measured { comment_ms: Spread { p99: 1_200.0, ..Spread::default() }, ..fine("V1") };
        let failing = Measured { failed: 1, ..fine("V1") };
        for measured in [busy, slow_query, slow_page, slow_write, failing] {
            assert_eq!(problems(&measured, 2).len(), 1, "{measured:?}");
        }
        assert_eq!(problems(&fine("V1"), 2), Vec::<String>::new());
    }
}
