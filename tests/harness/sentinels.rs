//! Sentinels name the primary, and another one when it is lost or told to go.

use super::support::redis_process::RedisProcess;
use super::support::resp::{self, Reply, Road};
use super::support::sentinel::{Plan, SERVICE, Sentinels};

async fn set(server: &RedisProcess, value: &str) -> Reply {
    server.command(&["SET", "k", value]).await
}

#[tokio::test]
async fn all_sentinels_name_the_primary() {
    let Some(deployment) = Sentinels::start_or_skip("all_sentinels_name_the_primary").await else { return };
    assert_eq!((deployment.addresses().len(), deployment.primary().await), (3, 0));
    let port = deployment.server(0).address().port().to_string();
    let named = Reply::Array(vec![Reply::bulk("127.0.0.1"), Reply::bulk(port)]);
    for address in deployment.addresses() {
        let asked = resp::ask(address, &["SENTINEL", "get-master-addr-by-name", SERVICE]).await;
        assert_eq!(asked.expect("it answers"), named);
    }
    assert_eq!(set(deployment.server(0), "v").await, Reply::ok());
    assert!(matches!(set(deployment.server(1), "v").await, Reply::Error(why) if why.starts_with("READONLY")));
}

#[tokio::test]
async fn when_the_primary_is_killed_the_sentinels_name_another() {
    let Some(deployment) = Sentinels::start_or_skip("when_the_primary_is_killed").await else { return };
    let killed = deployment.kill_primary().await;
    assert_eq!((killed, deployment.switched(killed).await), (0, 1));
    assert_eq!(set(deployment.server(1), "v").await, Reply::ok());
}

#[tokio::test]
async fn when_the_primary_is_frozen_the_sentinels_name_another() {
    let Some(deployment) = Sentinels::start_or_skip("when_the_primary_is_frozen").await else { return };
    let frozen = deployment.freeze_primary().await;
    let promoted = deployment.switched(frozen).await;
    deployment.server(frozen).resume();
    assert_eq!(deployment.primary().await, promoted);
}

#[tokio::test]
async fn a_sentinel_replaces_the_primary_when_it_is_told_to() {
    let plan = Plan { replicas: 2, ..Plan::default() };
    let name = "a_sentinel_replaces_the_primary_when_it_is_told_to";
    let Some(deployment) = Sentinels::start_or_skip_with(name, plan).await else { return };
    let promoted = deployment.fail_over().await;
    assert_ne!(promoted, 0);
    assert_eq!(deployment.primary().await, promoted);
    assert_eq!(set(deployment.server(promoted), "v").await, Reply::ok());
}

#[tokio::test]
async fn servers_and_sentinels_may_have_passwords() {
    let plan = Plan {
        password: Some("of the servers".to_owned()),
        sentinel_password: Some("sesame".to_owned()),
        ..Plan::default()
    };
    let Some(deployment) =
        Sentinels::start_or_skip_with("servers_and_sentinels_may_have_passwords", plan).await
    else {
        return;
    };
    let address = deployment.addresses()[0];
    let stranger = resp::ask(address, &["SENTINEL", "MASTERS"]).await.expect("it answers");
    assert!(matches!(stranger, Reply::Error(why) if why.starts_with("NOAUTH")));
    let stranger = resp::ask(deployment.server(0).address(), &["GET", "k"]).await.expect("it answers");
    assert!(matches!(stranger, Reply::Error(why) if why.starts_with("NOAUTH")));
    assert!(matches!(deployment.sentinel(0).endpoint().road, Road::Tcp(own) if own == address));
    assert_eq!(deployment.fail_over().await, 1);
}
