//! Passwords, and what never leaves the tier: no error, no event and no `Debug` says where the server is, who may use it,
//! or what is kept there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::MINUTE;
use crate::support::redis_server::{RedisServer, builder};
use crate::support::resp::Reply;
use crate::support::rights;
use crate::support::watching::{Heard, everything_in, soon, until};
use larder::testing::FakeStore;
use larder::tier::redis::{Credentials, Namespace, RedisBuilder};
use larder::{BoxError, Error, ErrorKind, LayeredCache, Redis, cache_aside};

const USER: &str = "margarete";
const PASSWORD: &str = "opensesame";
const KEY: &str = "key-of-a-customer";
const VALUE: &str = "name-of-a-customer";

/// Nothing of this may be found in `said`.
fn assert_silent(said: &str, server: Option<&RedisServer>) {
    let addresses = server.map(RedisServer::addresses).unwrap_or_default();
    let ports: Vec<String> = addresses.iter().map(|address| address.port().to_string()).collect();
    let secrets = [USER, PASSWORD, KEY, VALUE, "redis://", "127.0.0.1", "hunter2"];
    for secret in secrets.into_iter().chain(ports.iter().map(String::as_str)) {
        assert!(!said.contains(secret), "`{secret}` is told:\n{said}");
    }
}

async fn command(server: &RedisServer, words: &[&str]) {
    let answer = server.command(words).await;
    assert!(!matches!(answer, Reply::Error(_)), "{words:?}: {answer:?}");
}

/// The user may use the server with `password`, and with no other.
async fn let_in(server: &RedisServer, password: &str) {
    let password = format!(">{password}");
    command(server, &["ACL", "SETUSER", USER, "reset", "on", &password, "~*", "&*", "+@all"]).await;
}

/// Ends the tier's connections, as a proxy or an operator does.
async fn cut(server: &RedisServer) {
    command(server, &["CLIENT", "KILL", "USER", USER]).await;
}

/// With the user and the password in the URL.
fn as_user(server: &RedisServer, user: &str, password: &str) -> RedisBuilder {
    builder(&server.url_of_default_user().replace("redis://", &format!("redis://{user}:{password}@")))
}

struct Service {
    redis: Redis,
    cache: LayeredCache<String, String>,
    heard: Heard,
}

impl Service {
    fn on(redis: RedisBuilder) -> Self {
        let (redis, heard) = (redis.build().expect("a URL"), Heard::default());
        let store = FakeStore::with([(KEY.to_owned(), VALUE.to_owned())]);
        let builder = cache_aside(store).tier(redis.namespace("n")).ttl(MINUTE).jitter(0.0);
        let cache = builder.observer(heard.clone()).build().expect("complete");
        Self { redis, cache, heard }
    }

    /// Which tier answers.
    async fn read(&self) -> Option<&'static str> {
        let key = KEY.to_owned();
        let served = soon(self.cache.get_entry(&key)).await.expect("answered").expect("a store");
        assert_eq!(served.value().map(String::as_str), Some(VALUE));
        served.tier()
    }

    /// Does everything that can fail, and collects all that is said.
    async fn everything_said(&self) -> String {
        let key = KEY.to_owned();
        self.read().await;
        let errors: Vec<Error> = [
            soon(self.redis.ping()).await.err(),
            soon(self.cache.invalidate(&key)).await.err(),
            soon(self.cache.clear()).await.err(),
        ]
        .into_iter()
        .flatten()
        .collect();
        soon(self.cache.put(&key, VALUE.to_owned())).await.expect("the store has it");
        soon(self.cache.get_many(&[key])).await.pop().expect("one answer").expect("answered");
        let errors: String = errors.iter().map(|error| everything_in(error)).collect();
        assert!(self.heard.count("TierFailed") > 0, "something was to fail");
        format!("{errors}\n{}\n{:?} {:#?} {:?}", self.heard.everything(), self.redis, self.redis, self.cache)
    }
}

#[tokio::test]
async fn a_password_in_the_url_opens_the_server() {
    let Some(server) = RedisServer::start_or_skip("a_password_in_the_url_opens_the_server").await else {
        return;
    };
    let_in(&server, PASSWORD).await;
    let service = Service::on(as_user(&server, USER, PASSWORD));
    soon(service.redis.ping()).await.expect("let in");
    service.read().await;
    assert_eq!(service.read().await, Some("redis"));
    assert_eq!(service.cache.stats().tier_failures, 0);
    command(&server, &["CONFIG", "SET", "requirepass", "hunter2"]).await; // the default user's, and the last command
    let by_default = as_user(&server, "", "hunter2").build().expect("a URL");
    soon(by_default.ping()).await.expect("let in");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_and_nothing_else() {
    let Some(server) = RedisServer::start_or_skip("who_is_not_let_in_is_told_so_and_nothing_else").await
    else {
        return;
    };
    let_in(&server, "another").await;
    let address = server.url_of_default_user();
    let refused = [
        as_user(&server, USER, PASSWORD),
        as_user(&server, "nobody", PASSWORD),
        as_user(&server, "", PASSWORD),
        builder(&address).credentials(|| async { Ok(Credentials::user(USER, PASSWORD)) }),
        builder(&address).credentials(|| async { Ok(Credentials::password(PASSWORD)) }),
        builder(&address).credentials(|| async { Err(format!("{USER} has no {PASSWORD} at {KEY}").into()) }),
    ];
    // From now on the default user needs a password too.
    command(&server, &["CONFIG", "SET", "requirepass", "hunter2"]).await;
    for redis in refused {
        let shown = format!("{redis:?} {redis:#?}");
        let service = Service::on(redis);
        let error = soon(service.redis.ping()).await.expect_err("not let in");
        assert_eq!(error.kind(), ErrorKind::Tier);
        assert!(everything_in(&error).contains("credentials"), "{error:?}");
        let said = service.everything_said().await;
        assert!(said.contains("TierFailed") && said.contains("TierAway"), "{said}");
        assert_silent(&format!("{shown}\n{said}"), Some(&server));
    }
    let without = Service::on(builder(&address));
    let error = soon(without.redis.ping()).await.expect_err("not let in");
    assert!(everything_in(&error).contains("credentials"), "{error:?}");
    assert_silent(&without.everything_said().await, Some(&server));
}

/// Whoever may come in and may not do what the tier needs: the server's answer repeats the key.
#[tokio::test]
async fn who_lacks_permissions_is_told_so_and_nothing_else() {
    let Some(server) = RedisServer::start_or_skip("who_lacks_permissions_is_told_so_and_nothing_else").await
    else {
        return;
    };
    let password = format!(">{PASSWORD}");
    for rights in
        [&["~other:*", "+@all"][..], &["~*", "+@all", "-eval", "-evalsha"], &["~*", "+@all", "-get"]]
    {
        let user = ["ACL", "SETUSER", USER, "reset", "on", &password, "&*"];
        command(&server, &[&user[..], rights].concat()).await;
        let service = Service::on(as_user(&server, USER, PASSWORD));
        let said = service.everything_said().await;
        assert!(said.contains("NOPERM"), "{said}");
        assert_silent(&said, Some(&server));
        assert_eq!(service.cache.stats().tier_outages, 0, "it answers: nobody leaves it alone");
    }
}

/// What the tier's documentation says that it needs is enough.
#[tokio::test]
async fn the_rights_that_are_asked_for_are_enough() {
    let Some(server) = RedisServer::start_or_skip("the_rights_that_are_asked_for_are_enough").await else {
        return;
    };
    // The tests' own user, which may come at all keys, comes at those of one namespace now.
    command(&server, &["ACL", "DELUSER", rights::USER]).await;
    let user = server.rights("~n:*");
    let user: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(user.iter().map(String::as_str)).collect();
    command(&server, &user).await;
    let service = Service::on(server.builder());
    let key = KEY.to_owned();
    service.read().await;
    assert_eq!(service.read().await, Some("redis"));
    soon(service.cache.get_many(&[key.clone(), "none".to_owned()])).await;
    soon(service.cache.put(&key, VALUE.to_owned())).await.expect("written");
    soon(service.cache.invalidate(&key)).await.expect("dropped");
    service.read().await;
    soon(service.cache.clear()).await.expect("cleared");
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Int(0));
    assert_eq!(service.cache.stats().tier_failures, 0, "{}", service.heard.everything());
}

/// A password that changes while the service runs: connections that are there stay, new ones are made with the new one.
#[tokio::test]
async fn a_password_may_change_while_the_service_runs() {
    let Some(server) = RedisServer::start_or_skip("a_password_may_change_while_the_service_runs").await
    else {
        return;
    };
    let_in(&server, PASSWORD).await;
    let (current, asked) = (Arc::new(Mutex::new(PASSWORD)), Arc::new(AtomicUsize::new(0)));
    let service = Service::on(server.builder().lanes(2).credentials({
        let (current, asked) = (Arc::clone(&current), Arc::clone(&asked));
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            let password = *current.lock().expect("no panic");
            async move { Ok(Credentials::user(USER, password)) }
        }
    }));
    service.read().await;
    assert_eq!(service.read().await, Some("redis"));
    let before = asked.load(Ordering::Relaxed);
    // Who asks for the nodes of a cluster does it on connections of its own, to each that it was told of.
    let connections = if server.is_in_a_cluster() { 2 + server.addresses().len() } else { 2 };
    assert!((1..=connections).contains(&before), "once for each connection, not {before} times");

    let_in(&server, "hunter2").await;
    *current.lock().expect("no panic") = "hunter2";
    cut(&server).await;
    assert_eq!(service.read().await, Some("redis"), "a cut connection is replaced within the read");
    assert!(asked.load(Ordering::Relaxed) > before, "and asked for anew");
    assert_eq!(service.cache.stats().tier_outages, 0);
    assert_silent(&service.heard.everything(), Some(&server));
}

/// The server has the new password before the service has: it is away until the callback knows it.
#[tokio::test]
async fn a_service_that_learns_the_password_late_comes_back() {
    let Some(server) = RedisServer::start_or_skip("a_service_that_learns_the_password_late_comes_back").await
    else {
        return;
    };
    let_in(&server, PASSWORD).await;
    let current = Arc::new(Mutex::new(PASSWORD));
    let service = Service::on(server.builder().lanes(2).credentials({
        let current = Arc::clone(&current);
        move || {
            let password = *current.lock().expect("no panic");
            async move { Ok(Credentials::user(USER, password)) }
        }
    }));
    service.read().await;
    let_in(&server, "hunter2").await;
    cut(&server).await;
    assert_eq!(service.read().await, None, "the store answers");
    assert_eq!(service.cache.stats().tier_outages, 1);
    *current.lock().expect("no panic") = "hunter2";
    until("the new password is learned", async || service.heard.count("TierBack") == 1).await;
    service.read().await;
    assert_eq!(service.read().await, Some("redis"));
    assert_silent(&service.heard.everything(), Some(&server));
}

/// Whoever is asked for the password may hang: that is a server that cannot be reached, and no more.
#[tokio::test]
async fn a_callback_that_hangs_holds_nobody_up() {
    let Some(server) = RedisServer::start_or_skip("a_callback_that_hangs_holds_nobody_up").await else {
        return;
    };
    let hangs = || async { std::future::pending::<Result<Credentials, BoxError>>().await };
    let service =
        Service::on(server.builder().credentials(hangs).connect_deadline(Duration::from_millis(200)));
    until("it is left alone", async || {
        assert_eq!(service.read().await, None);
        service.cache.stats().tier_outages > 0
    })
    .await;
    assert_silent(&service.everything_said().await, Some(&server));
}

/// A panic of the callback's is a failed connection as well.
#[tokio::test]
async fn a_callback_that_panics_holds_nobody_up() {
    let Some(server) = RedisServer::start_or_skip("a_callback_that_panics_holds_nobody_up").await else {
        return;
    };
    let panics = || async { panic!("the password manager is no more") };
    let service = Service::on(server.builder().credentials(panics));
    for _ in 0..20 {
        assert_eq!(service.read().await, None);
    }
    let said = service.everything_said().await;
    assert!(!said.contains("password manager"), "{said}");
}

#[test]
fn what_cannot_be_a_server_is_an_error_of_the_settings() {
    let wrong = [
        Redis::new(format!("http://{USER}:{PASSWORD}@127.0.0.1")),
        Redis::new(format!("{USER}:{PASSWORD}")),
        Redis::new(format!("redis://{USER}:{PASSWORD}@127.0.0.1:port")),
        Redis::new(format!("redis://{USER}:{PASSWORD}@127.0.0.1/no-database")),
        Redis::new(format!("redis://{USER}:{PASSWORD}@")),
        Redis::new(""),
        #[cfg(not(feature = "redis-rustls"))]
        Redis::new(format!("rediss://{USER}:{PASSWORD}@127.0.0.1")),
        Redis::new(format!("rediss://{USER}:{PASSWORD}@127.0.0.1/#insecure")),
        Redis::new(format!("redis://{USER}:{PASSWORD}@cache.internal")),
        Redis::builder(format!("redis://{USER}:{PASSWORD}@127.0.0.1")).lanes(0).build(),
        Redis::builder(format!("redis://{USER}:{PASSWORD}@127.0.0.1")).deadline(Duration::ZERO).build(),
        Redis::builder(format!("redis://{USER}:{PASSWORD}@127.0.0.1"))
            .connect_deadline(Duration::ZERO)
            .build(),
    ];
    for (at, wrong) in wrong.into_iter().enumerate() {
        let error = wrong.err().unwrap_or_else(|| panic!("number {at} is accepted"));
        assert_eq!(error.kind(), ErrorKind::Settings, "number {at}: {error}");
        assert_silent(
            &everything_in(&error).replace("`redis://host:6379/0`", "").replace("`rediss://`", ""),
            None,
        );
    }
}

#[test]
fn a_namespace_without_a_proper_name_is_an_error_of_the_settings() {
    let redis = Redis::new("redis://127.0.0.1").expect("a URL");
    let too_long = "n".repeat(65);
    for name in ["", "a:b", "a{b}", "a*", "a b", "ä", "a/b", "a\n", &too_long] {
        let tier: Namespace<String> = redis.namespace(name);
        let built = larder::cache::<String, String>().tier(tier).ttl(MINUTE).name("posts").build();
        let error = built.expect_err("no name for a namespace");
        assert_eq!(error.kind(), ErrorKind::Settings, "`{name}`");
        assert_eq!(error.cache(), Some("posts"));
    }
    let longest = "n".repeat(64);
    for name in ["a", "blog.post-2_x", &longest] {
        let tier: Namespace<String> = redis.namespace(name);
        larder::cache::<String, String>().tier(tier).ttl(MINUTE).build().expect("a name");
    }
    let tier = redis.namespace::<String>("a").lease(Duration::ZERO);
    let error = larder::cache::<String, String>().tier(tier).ttl(MINUTE).build().expect_err("no lease");
    assert_eq!(error.kind(), ErrorKind::Settings);
}

#[test]
fn a_namespace_serves_one_cache() {
    let redis = Redis::new("redis://127.0.0.1").expect("a URL");
    let tier: Arc<Namespace<String>> = Arc::new(redis.namespace("n"));
    let build = || larder::cache::<String, String>().tier(Arc::clone(&tier)).ttl(MINUTE).build();
    build().expect("the first");
    let error = build().expect_err("their keys would be each other's");
    assert_eq!(error.kind(), ErrorKind::Settings);
}

#[test]
fn nothing_that_can_be_printed_tells_a_secret() {
    let url = format!("redis://{USER}:{PASSWORD}@127.0.0.1:16379/3");
    let builder = Redis::builder(&*url).credentials(|| async { Ok(Credentials::password(PASSWORD)) });
    let mut said = format!("{builder:?} {builder:#?}");
    let redis = builder.build().expect("a URL");
    let tier: Namespace<String> = redis.namespace("n");
    let credentials = [Credentials::user(USER, PASSWORD), Credentials::password(PASSWORD)];
    said += &format!("{redis:?} {redis:#?} {tier:?} {tier:#?} {credentials:?} {credentials:#?}");
    let cache = larder::cache::<String, String>().tier(tier).ttl(MINUTE);
    said += &format!("{cache:?} {cache:#?}");
    let cache = cache.build().expect("complete");
    said += &format!("{cache:?} {cache:#?}");
    assert_silent(&said, None);
    assert!(!said.contains("16379"), "{said}");
}
