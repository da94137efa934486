//! Encrypted connections: what is trusted, what is refused, and in which words.

#![cfg(feature = "redis-rustls")]

mod support;

use std::time::Duration;

use larder::tier::redis::{Credentials, RedisBuilder};
use larder::{ErrorKind, Redis, cache_aside};
use support::tls::{Authority, Shown, TlsServer};
use support::watching::{everything_in, soon};
use support::{MINUTE, numbers};

/// As every application does that uses rustls.
fn provide() {
    _ = rustls::crypto::ring::default_provider().install_default();
}

fn trusting(server: &TlsServer) -> RedisBuilder {
    provide();
    Redis::builder(server.url())
        .root_certificates(server.authority().certificate())
        .deadline(Duration::from_secs(1))
}

/// One line, with these words, and nothing secret in it.
async fn is_refused(builder: RedisBuilder, words: &str) {
    let redis = builder.build().expect("settings");
    let error = soon(redis.ping()).await.expect_err("refused");
    let everything = everything_in(&error);
    let reason = std::error::Error::source(&error).expect("a reason").to_string();
    assert!(reason.contains(words), "{reason}");
    assert!(!reason.contains('\n'), "one line: {reason}");
    assert!(!everything.contains(support::rights::PASSWORD), "{everything}");
}

#[tokio::test]
async fn copies_are_shared_over_tls() {
    let Some(server) = TlsServer::start_or_skip("copies_are_shared_over_tls", Shown::Good).await else {
        return;
    };
    let process = || {
        let redis = trusting(&server).build().expect("settings");
        cache_aside(numbers(100)).tier(redis.namespace("n")).ttl(MINUTE).build().expect("complete")
    };
    let (one, other) = (process(), process());
    for key in 0..100 {
        assert_eq!(soon(one.get(&key)).await.expect("answered"), Some(key));
        assert_eq!(soon(other.get(&key)).await.expect("answered"), Some(key));
    }
    assert_eq!((other.stats().loads, one.stats().tier_failures + other.stats().tier_failures), (0, 0));
}

#[tokio::test]
async fn a_server_may_be_named() {
    let Some(server) = TlsServer::start_or_skip("a_server_may_be_named", Shown::Good).await else { return };
    provide();
    let redis = Redis::builder(server.url_by_name()).root_certificates(server.authority().certificate());
    soon(redis.build().expect("settings").ping()).await.expect("trusted");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let name = "a_certificate_for_another_name_is_refused";
    let Some(server) = TlsServer::start_or_skip(name, Shown::OfAnother).await else { return };
    is_refused(trusting(&server), "for another name").await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let name = "an_expired_certificate_is_refused";
    let Some(server) = TlsServer::start_or_skip(name, Shown::Expired).await else { return };
    is_refused(trusting(&server), "has expired").await;
}

#[tokio::test]
async fn a_certificate_signed_by_itself_is_refused() {
    let name = "a_certificate_signed_by_itself_is_refused";
    let Some(server) = TlsServer::start_or_skip(name, Shown::SelfSigned).await else { return };
    is_refused(trusting(&server), "signed by nobody who is trusted").await;
}

#[tokio::test]
async fn an_authority_that_the_machine_does_not_know_is_refused() {
    let name = "an_authority_that_the_machine_does_not_know_is_refused";
    let Some(server) = TlsServer::start_or_skip(name, Shown::Good).await else { return };
    provide();
    is_refused(Redis::builder(server.url()).deadline(Duration::from_secs(1)), "nobody who is trusted").await;
}

#[tokio::test]
async fn who_must_show_a_certificate_shows_it() {
    let Some(server) = TlsServer::start_mutual_or_skip("who_must_show_a_certificate_shows_it").await else {
        return;
    };
    let client = server.authority().client();
    let redis = trusting(&server).client_certificate(client.certificate, client.key);
    soon(redis.build().expect("settings").ping()).await.expect("let in");
    let redis = trusting(&server).build().expect("settings");
    soon(redis.ping()).await.expect_err("nothing was shown");
}

#[test]
fn certificates_that_are_none_are_refused() {
    let bad = [
        Redis::builder("rediss://localhost").root_certificates("-----BEGIN CERTIFICATE-----\nx"),
        Redis::builder("rediss://localhost").client_certificate("", ""),
    ];
    for builder in bad {
        let error = builder.build().expect_err("no certificate");
        assert!(error.kind() == ErrorKind::Settings && error.to_string().contains("PEM"), "{error}");
    }
    let authority = Authority::new();
    let plain = Redis::builder("redis://localhost").root_certificates(authority.certificate());
    let error = plain.build().expect_err("what for?");
    assert!(error.to_string().contains("rediss://"), "{error}");
}

#[test]
fn a_server_that_anybody_could_be_is_refused() {
    let error = Redis::new("rediss://localhost/#insecure").expect_err("refused");
    assert!(error.to_string().contains("#insecure"), "{error}");
}

/// To a machine that is not this one: nothing is connected to.
#[test]
fn a_password_in_plain_text_is_refused() {
    let refused = |builder: RedisBuilder| {
        let error = builder.build().expect_err("refused");
        assert!(error.to_string().contains("plain text"), "{error}");
        assert!(!everything_in(&error).contains("hunter2"));
    };
    let password = || async { Ok(Credentials::password("hunter2")) };
    refused(Redis::builder("redis://:hunter2@cache.internal"));
    refused(Redis::builder("redis://cache.internal").credentials(password));
    refused(Redis::builder("redis://user:hunter2@localhost:1").cluster(["cache.internal:2"]));
    let sentinels = Redis::builder("redis://mymaster").sentinels(["cache.internal:26379"]);
    refused(sentinels.sentinel_credentials(Credentials::password("hunter2")));

    let fine = [
        Redis::builder("redis://cache.internal"),
        Redis::builder("redis://:hunter2@127.0.0.1"),
        Redis::builder("redis://:hunter2@localhost").credentials(password),
        Redis::builder("rediss://:hunter2@cache.internal"),
        Redis::builder("redis://:hunter2@cache.internal").allow_plaintext(),
    ];
    for builder in fine {
        builder.build().expect("allowed");
    }
}
