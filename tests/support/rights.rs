//! The user as whom the tests run the library: it may do what the documentation says that it needs, and no more. The
//! harness itself is the default user, who may do everything.

use std::net::SocketAddr;

pub const USER: &str = "larder";
pub const PASSWORD: &str = "pantry";

/// What the library needs of a server, as docs/redis.md says.
pub const RIGHTS: &[&str] =
    &["+get", "+mget", "+set", "+del", "+scan", "+time", "+ping", "+info", "+eval", "+evalsha"];
/// What it needs besides where processes keep their copies in step.
pub const RIGHTS_IN_STEP: &[&str] =
    &["+getrange", "+client|tracking", "+subscribe", "+incr", "+publish", "&larder:1:*"];
/// What it needs of a cluster besides.
pub const RIGHTS_IN_A_CLUSTER: &[&str] =
    &["+cluster|slots", "+cluster|info", "+asking", "+ssubscribe", "+spublish"];

/// Says `resp3` to have all tests speak that.
const PROTOCOL: &str = "LARDER_TEST_PROTOCOL";

/// Words of a command line that make the user, before anybody can connect, with these `keys`: `~*`, or `~posts:*`.
pub fn on_the_command_line(keys: &str, is_in_a_cluster: bool) -> Vec<String> {
    [vec!["--user".to_owned()], user(keys, is_in_a_cluster)].concat()
}

/// What follows `ACL SETUSER`.
pub fn user(keys: &str, is_in_a_cluster: bool) -> Vec<String> {
    let more = if is_in_a_cluster { RIGHTS_IN_A_CLUSTER } else { &[] };
    let password = format!(">{PASSWORD}");
    let words = [&[USER, "on", &password, keys], RIGHTS, RIGHTS_IN_STEP, more].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// Of the server there, for this user.
pub fn url(address: SocketAddr) -> String {
    format!("redis://{USER}:{PASSWORD}@{address}{}", protocol())
}

/// How a URL asks for the protocol that the tests are to speak.
pub fn protocol() -> &'static str {
    match std::env::var(PROTOCOL).as_deref() {
        Err(_) | Ok("" | "resp2") => "",
        Ok("resp3") => "?protocol=resp3",
        Ok(other) => panic!("{PROTOCOL}={other}: `resp2` or `resp3`"),
    }
}
