//! The versions, one after the other, each on the same rows and with the same readers.

use anyhow::Result;

use crate::args::{Settings, TENFOLD, Version};
use crate::content::Content;
use crate::file::DatabaseFile;
use crate::fleet::{Fleet, Plan, RedisServer, Scratch};
use crate::measure::{self, Measured, Subject, measure};
use crate::report::Report;
use crate::tenfold::Tenfold;
use crate::trace::{self, Arrival};
use crate::{cores, fill};

/// The trace is drawn with another seed than the content, or both would begin with the same numbers.
const TRACE: u64 = 0x5eed;

/// How many processes V3 has.
const PROCESSES: usize = 3;

pub(crate) async fn compare(settings: &Settings) -> Result<Report> {
    // Before anything is measured: what V3 lacks is told at once.
    let sharing = match &settings.redis {
        Some(choice) => {
            settings.balancer.check()?;
            let scratch = Scratch::make()?;
            Some(Sharing { redis: RedisServer::choose(choice, &scratch).await?, scratch })
        }
        None => None,
    };
    let file = match (&settings.database, &sharing) {
        (None, Some(sharing)) => DatabaseFile::looked_after(&sharing.scratch.path().join("blog.db")),
        (path, _) => DatabaseFile::choose(path.as_deref())?,
    };
    let bench = Bench { settings, file, content: Content::generate(settings.size, settings.seed) };
    let versions = bench.versions(sharing.as_ref()).await?;
    let tenfold = match &sharing {
        Some(sharing) => Some(bench.tenfold(sharing).await?),
        None => None,
    };
    Ok(report(settings, versions, tenfold))
}

/// What V3 has beside the database. Goes in this order.
struct Sharing {
    redis: RedisServer,
    scratch: Scratch,
}

/// What all versions are given.
struct Bench<'a> {
    settings: &'a Settings,
    file: DatabaseFile,
    content: Content,
}

impl Bench<'_> {
    async fn versions(&self, sharing: Option<&Sharing>) -> Result<Vec<Measured>> {
        let trace = self.trace(1);
        let mut versions = Vec::new();
        for &version in &self.settings.versions {
            self.refill(measure::name(version)).await?;
            let subject = match sharing {
                Some(sharing) if version == Version::V3 => self.fleet(version, sharing).await?,
                _ => Subject::open(version, self.file.path()).await?,
            };
            versions.push(self.measure(subject, &trace).await?);
        }
        Ok(versions)
    }

    /// V2 and V3 with ten times the readers, both over HTTP and through the same balancer.
    async fn tenfold(&self, sharing: &Sharing) -> Result<Tenfold> {
        let trace = self.trace(TENFOLD);
        let mut versions = Vec::new();
        for version in [Version::V2, Version::V3] {
            let label = format!("{TENFOLD} × {}", measure::name(version));
            self.refill(&label).await?;
            let subject = self.fleet(version, sharing).await?.labelled(label);
            versions.push(self.measure(subject, &trace).await?);
        }
        let rate = self.settings.rate * TENFOLD as f64;
        Ok(Tenfold::new(trace.len(), rate, self.settings.balancer.name(), versions, cores()))
    }

    fn trace(&self, times: usize) -> Vec<Arrival> {
        let Settings { requests, rate, size, seed, .. } = *self.settings;
        trace::draw(requests * times, rate * times as f64, size, seed ^ TRACE)
    }

    async fn refill(&self, label: &str) -> Result<()> {
        self.file.clear()?;
        fill(&format!("{label}, rows"), &self.file, &self.content).await
    }

    async fn fleet(&self, version: Version, sharing: &Sharing) -> Result<Subject> {
        let shares = version == Version::V3;
        let plan = Plan {
            processes: if shares { PROCESSES } else { 1 },
            redis: shares.then_some(&sharing.redis),
            balancer: self.settings.balancer,
            scratch: &sharing.scratch,
        };
        Ok(Subject::fleet(version, Fleet::start(&plan, self.file.path()).await?))
    }

    async fn measure(&self, subject: Subject, trace: &[Arrival]) -> Result<Measured> {
        measure(subject, self.file.path(), &self.content, trace, self.settings.patience).await
    }
}

fn report(settings: &Settings, versions: Vec<Measured>, tenfold: Option<Tenfold>) -> Report {
    let report = Report {
        posts: settings.size.posts,
        comments: settings.size.comments,
        authors: settings.size.authors,
        requests: settings.requests,
        rate: settings.rate,
        seed: settings.seed,
        cores: cores(),
        versions,
        verdict: String::new(),
        tenfold,
    };
    report.with_verdict()
}
