//! Settings of a Redis that cannot be meant: refused when it is built, before anything is connected to.

use larder::Redis;

#[test]
fn what_is_no_address_is_refused() {
    for address in ["redis://10.0.0.2:7000", "user:secret@host:7000", "host:0", " host:7000", "a:b:7000"] {
        let error = Redis::builder("redis://one:7000").cluster([address]).build().expect_err(address);
        assert!(error.to_string().contains("host:port") && !error.to_string().contains("secret"), "{error}");
    }
    for address in ["host:7000", "10.0.0.1:7000", "[::1]:7000", "::1:7000"] {
        Redis::builder("redis://one:7000").cluster([address]).build().expect(address);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let both = Redis::builder("redis://one:7000").cluster(["two:7000"]).sentinels(["three:26379"]).build();
    assert!(both.expect_err("which?").to_string().contains("`sentinels`"));
    Redis::builder("unix:///tmp/redis.sock").cluster(["two:7000"]).build().expect_err("a file");
    Redis::builder("unix:///tmp/redis.sock").sentinels(["two:7000"]).build().expect_err("a file");
}
