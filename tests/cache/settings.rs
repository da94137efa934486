//! A cache is not built on a guess: `build` names every setting that is missing and every one that cannot be meant, all
//! in one error, and says of which cache.

use std::time::Duration;

use larder::testing::{FakeStore, SharedServer};
use larder::tier::{Acquired, Filled, Hold, Lease, Purpose};
use larder::{Builder, Coherence, Consistency, Entry, Error, ErrorKind, Memory, Operation, Result, Tier};

const MINUTE: Duration = Duration::from_secs(60);

fn posts() -> Builder<u64, String> {
    larder::cache_aside(FakeStore::new()).name("posts")
}

/// What `build` says against `builder`: an error of the right kind, cache and operation.
fn refusal(builder: Builder<u64, String>) -> Error {
    let error = builder.build().expect_err("these settings are refused");
    assert_eq!(error.kind(), ErrorKind::Settings);
    assert_eq!(error.operation(), Some(Operation::Build));
    assert_eq!(error.cache(), Some("posts"));
    assert!(!error.is_retryable(), "the same settings are wrong next time too");
    error
}

fn assert_names(error: &Error, settings: &[&str]) {
    let text = error.to_string();
    for setting in settings {
        assert!(text.contains(setting), "{setting} is not named in: {text}");
    }
}

/// A tier that claims to be shared with other processes. It is never asked for anything.
struct Shared(&'static str);

impl Tier<u64, String> for Shared {
    fn name(&self) -> &'static str {
        self.0
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn get_many(&self, keys: &[u64]) -> Result<Vec<Option<Entry<String>>>> {
        Ok(vec![None; keys.len()])
    }

    async fn acquire(&self, _key: &u64, _purpose: Purpose) -> Result<Acquired<String>> {
        Ok(Acquired::Busy(MINUTE))
    }

    async fn fill(&self, _key: &u64, _lease: Lease, _entry: &Entry<String>) -> Result<Filled> {
        Ok(Filled::Refused)
    }

    async fn invalidate_many(&self, _keys: &[u64]) -> Result<()> {
        Ok(())
    }

    async fn hold_many(&self, _keys: &[u64], _hold: Hold, _lifetime: Duration) -> Result<()> {
        Ok(())
    }

    async fn release_many(&self, _keys: &[u64], _hold: Hold) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, _key: &u64, _hold: Hold, _entry: &Entry<String>) -> Result<Filled> {
        Ok(Filled::Refused)
    }

    async fn clear(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_tier_and_a_ttl_are_all_that_a_cache_needs() {
    assert!(posts().tier(Memory::with_capacity(10)).ttl(MINUTE).build().is_ok());
}

#[test]
fn a_cache_without_a_tier_is_refused() {
    let error = refusal(posts().ttl(MINUTE));
    assert_names(&error, &["no tier", ".tier("]);
    assert!(!error.to_string().contains("no ttl"), "nothing else is wrong: {error}");
}

#[test]
fn a_cache_without_a_ttl_is_refused() {
    let error = refusal(posts().tier(Memory::with_capacity(10)));
    assert_names(&error, &["no ttl", ".ttl("]);
    assert!(!error.to_string().contains("no tier"), "nothing else is wrong: {error}");
}

#[test]
fn a_linearizable_cache_has_no_memory_beside_a_shared_tier() {
    let linearizable = || posts().ttl(MINUTE).consistency(Consistency::Linearizable);
    let error = refusal(linearizable().tier(Memory::with_capacity(10)).tier(Shared("redis")));
    assert_names(&error, &["consistency(Linearizable)", "tier(memory)", "tier(redis)"]);
    assert!(linearizable().tier(Shared("redis")).build().is_ok());
    assert!(linearizable().tier(Memory::with_capacity(10)).tier(Memory::with_capacity(10)).build().is_ok());
}

#[tokio::test]
async fn an_update_beside_other_processes_is_refused_unless_none_of_them_writes() {
    let usual = || posts().tier(Shared("redis")).ttl(MINUTE);
    let cache = usual().build().expect("complete");
    let refused = cache.update(&1, |old| old).await.expect_err("others may write in between");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_names(&refused, &["sole_writer()"]);
    let sole = usual().sole_writer().build().expect("complete");
    assert!(sole.update(&1, |_| Some("new".to_owned())).await.is_ok());
}

#[test]
fn a_jitter_that_is_not_a_part_is_refused() {
    for jitter in
        [f64::NAN, -1.0, -f64::MIN_POSITIVE, 1.0 + f64::EPSILON, 2.0, f64::INFINITY, f64::NEG_INFINITY]
    {
        let error = refusal(posts().tier(Memory::with_capacity(10)).ttl(MINUTE).jitter(jitter));
        assert_names(&error, &[&format!("jitter({jitter})"), "from 0 to 1"]);
    }
    for jitter in [0.0, 0.1, 1.0] {
        assert!(
            posts().tier(Memory::with_capacity(10)).ttl(MINUTE).jitter(jitter).build().is_ok(),
            "{jitter}"
        );
    }
}

#[test]
fn a_deadline_of_zero_is_refused() {
    let usual = || posts().tier(Memory::with_capacity(10)).ttl(MINUTE);
    let error = refusal(usual().load_deadline(Duration::ZERO));
    assert_names(&error, &["`load_deadline`"]);
    assert!(!error.to_string().contains("write_deadline"), "nothing else is wrong: {error}");
    let error = refusal(usual().write_deadline(Duration::ZERO));
    assert_names(&error, &["`write_deadline`"]);
    assert!(!error.to_string().contains("load_deadline"), "nothing else is wrong: {error}");
}

#[test]
fn a_refresh_ahead_that_is_not_a_part_is_refused() {
    let usual = || posts().tier(Memory::with_capacity(10)).ttl(MINUTE);
    for part in [f64::NAN, -1.0, 0.0, 1.0, 2.0, f64::INFINITY] {
        let error = refusal(usual().refresh_ahead(part));
        assert_names(&error, &[&format!("refresh_ahead({part})"), "above 0 and below 1"]);
    }
    assert!(usual().refresh_ahead(f64::MIN_POSITIVE).build().is_ok());
    assert!(usual().refresh_ahead(1.0 - f64::EPSILON).build().is_ok());
}

#[test]
fn a_refresh_ahead_with_nothing_to_load_is_refused() {
    let without_a_loader = larder::cache().name("posts").tier(Memory::with_capacity(10)).ttl(MINUTE);
    assert_names(&refusal(without_a_loader.refresh_ahead(0.8)), &["`refresh_ahead`", "no loader"]);
}

#[test]
fn a_refresh_ahead_beside_a_read_strategy_is_refused() {
    let usual = posts().tier(Memory::with_capacity(10)).ttl(MINUTE);
    let error = refusal(usual.refresh_ahead(0.8).read(larder::strategy::ReadThrough::new()));
    assert_names(&error, &["`refresh_ahead`", "`read`"]);
}

#[test]
fn a_batch_of_nothing_is_refused() {
    let usual = || posts().tier(Memory::with_capacity(10)).ttl(MINUTE);
    assert_names(&refusal(usual().max_batch(0)), &["`max_batch`"]);
    assert!(usual().max_batch(1).build().is_ok());
}

#[test]
fn a_second_shared_tier_is_refused() {
    let usual = || posts().tier(Memory::with_capacity(10)).ttl(MINUTE);
    let error = refusal(usual().tier(Shared("redis")).tier(Shared("valkey")));
    assert_names(&error, &["tier(redis)", "tier(valkey)", "shared"]);
    assert!(
        usual().tier(Memory::with_capacity(100)).tier(Shared("redis")).build().is_ok(),
        "one is not too many"
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    assert_names(&refusal(posts()), &["no tier", "no ttl"]);
    let all = posts()
        .tier(Shared("redis"))
        .tier(Shared("valkey"))
        .jitter(2.0)
        .refresh_ahead(3.0)
        .max_batch(0)
        .load_deadline(Duration::ZERO)
        .write_deadline(Duration::ZERO);
    let named = [
        "no ttl",
        "jitter(2)",
        "refresh_ahead(3)",
        "max_batch",
        "shared",
        "`load_deadline`",
        "`write_deadline`",
    ];
    assert_names(&refusal(all), &named);
}

#[test]
fn the_error_reads_as_one_sentence_about_this_cache() {
    let error = refusal(posts().ttl(MINUTE));
    assert!(error.to_string().starts_with("cache `posts`: build: "), "{error}");
}

#[test]
fn a_bound_that_cannot_be_kept_is_refused() {
    let builder = posts().tier(Memory::with_capacity(10)).ttl(MINUTE);
    let error = refusal(builder.coherence(Coherence::Bus(Duration::from_millis(1))));
    assert!(error.to_string().contains("coherence(Bus(1ms))"), "{error}");
}

#[test]
fn a_shared_tier_that_tells_nothing_keeps_nobody_in_step() {
    let server = SharedServer::new();
    let builder = |coherence| {
        let posts = posts().tier(Memory::with_capacity(10)).tier(server.tier());
        posts.ttl(MINUTE).coherence(coherence)
    };
    for coherence in [Coherence::Validated, Coherence::Auto(Duration::from_secs(1))] {
        let error = refusal(builder(coherence));
        assert!(error.to_string().contains("TtlOnly"), "{error}");
    }
    builder(Coherence::TtlOnly(Duration::from_secs(1))).build().expect("that it can");
}
