//! V2 against V3 at ten times the traffic: does one process still do, and do three that share a Redis do better?

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::measure::Measured;
use crate::report::{bars, checks, grouped, notes, short, table, tiers, wrapped};
use crate::verdict::{faulty, problems};

#[derive(Debug, Serialize)]
pub(crate) struct Tenfold {
    pub(crate) requests: usize,
    pub(crate) rate: f64,
    pub(crate) balancer: &'static str,
    /// V2, and then V3.
    pub(crate) versions: Vec<Measured>,
    pub(crate) verdict: String,
}

impl Tenfold {
    pub(crate) fn new(
        requests: usize,
        rate: f64,
        balancer: &'static str,
        versions: Vec<Measured>,
        cores: usize,
    ) -> Self {
        let verdict = verdict(&versions, cores);
        Self { requests, rate, balancer, versions, verdict }
    }

    pub(crate) fn faults(&self) -> usize {
        self.versions.iter().map(|measured| measured.faults.len()).sum()
    }
}

impl Display for Tenfold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nTen times the traffic: {} requests at {} a second, both versions over HTTP; balancer: {}\n",
            grouped(self.requests),
            self.rate,
            self.balancer
        )?;
        f.write_str(&table(&self.versions))?;
        f.write_str(&tiers(&self.versions))?;
        f.write_str(&notes(&self.versions))?;
        f.write_str(&bars("p99 of a page, ms", &self.versions, |measured| measured.page_ms.p99))?;
        f.write_str(&checks(&self.versions))?;
        writeln!(f, "\n{}", wrapped(&self.verdict))
    }
}

fn verdict(versions: &[Measured], cores: usize) -> String {
    if let Some(wrong) = faulty(versions) {
        return wrong;
    }
    let [one, three] = versions else {
        return String::new();
    };
    let found = match (&problems(one, cores)[..], &problems(three, cores)[..]) {
        ([], []) => "One process (V2) is enough for ten times the traffic as well, and so are three (V3). Here V3 \
                     would be paid for what this run does not show: a process may end or be replaced while the others \
                     serve, and a new one finds its copies in Redis."
            .to_owned(),
        ([], problems) => {
            format!(
                "One process (V2) is enough for ten times the traffic; V3 is not: {}.",
                problems.join("; ")
            )
        }
        (problems, []) => format!(
            "One process (V2) is not enough for ten times the traffic: {}. Three (V3) are: they earn their place.",
            problems.join("; ")
        ),
        (one, three) => format!(
            "Neither is enough for ten times the traffic. V2: {}. V3: {}.",
            one.join("; "),
            three.join("; ")
        ),
    };
    format!("{found} {} {}", compared(one, three), caution(cores))
}

fn compared(one: &Measured, three: &Measured) -> String {
    format!(
        "V2 against V3: p50 of a page {} ms and {} ms, p99 {} ms and {} ms, served {} and {} requests a second, \
         queries {} and {}.",
        short(one.page_ms.p50),
        short(three.page_ms.p50),
        short(one.page_ms.p99),
        short(three.page_ms.p99),
        grouped(one.served_per_second.round() as usize),
        grouped(three.served_per_second.round() as usize),
        grouped(one.queries),
        grouped(three.queries),
    )
}

/// What the figures of one machine can say of a version that is made for several.
fn caution(cores: usize) -> String {
    format!(
        "All of it shared the {cores} cores of this machine: the readers, the balancer, Redis and each process. So \
         these figures have what V3 costs in full, and what machines of their own would give it not at all."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine(version: &'static str) -> Measured {
        Measured { version, kept_up: true, requests: 10, ..Measured::default() }
    }

    fn behind(version: &'static str) -> Measured {
        Measured { kept_up: false, offered_per_second: 90.0, served_per_second: 40.0, ..fine(version) }
    }

    #[test]
    fn the_verdict_follows_the_figures() {
        for (versions, said) in [
            ([fine("V2"), fine("V3")], "and so are three"),
            ([fine("V2"), behind("V3")], "V3 is not: it served 40 of 90"),
            ([behind("V2"), fine("V3")], "they earn their place"),
            ([behind("V2"), behind("V3")], "Neither is enough"),
        ] {
            let verdict = verdict(&versions, 2);
            assert!(verdict.contains(said) && verdict.contains("shared the 2 cores"), "{verdict}");
        }
    }

    #[test]
    fn wrong_answers_prove_nothing() {
        let wrong = Measured { faults: vec!["a page lacked a comment".to_owned()], ..fine("V3") };
        let verdict = verdict(&[fine("V2"), wrong], 2);
        assert!(verdict.starts_with("V3 answered with something else"), "{verdict}");
    }
}
