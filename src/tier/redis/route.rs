//! How a server is found: by its address, or by asking sentinels who the primary is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo};

use super::fault::Fault;
use super::slots::Address;
use crate::time;

/// The way to a server.
#[derive(Clone)]
pub(super) enum Route {
    /// Its address.
    Straight(ConnectionInfo),
    /// Whoever is the primary of a service at the moment, as its sentinels say.
    Sentinels {
        /// How to speak to the servers; its host is the name of the service.
        servers: ConnectionInfo,
        sentinels: Vec<ConnectionInfo>,
    },
}

impl Route {
    /// Where the server is now.
    pub(super) async fn find(&self, patience: Duration) -> Result<ConnectionInfo, Fault> {
        match self {
            Self::Straight(info) => Ok(info.clone()),
            Self::Sentinels { servers, sentinels } => {
                let primary = primary_of(host(servers), sentinels, patience).await?;
                Ok(at(servers, &primary))
            }
        }
    }

    /// The host of a fixed address.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Straight(info) | Self::Sentinels { servers: info, .. } => host(info),
        }
    }
}

/// Asks all sentinels at once: one that is cut off from the others may still name a primary that was replaced, so the
/// answer of most counts.
async fn primary_of(
    service: &str,
    sentinels: &[ConnectionInfo],
    patience: Duration,
) -> Result<Address, Fault> {
    let mut answers: FuturesUnordered<_> =
        sentinels.iter().map(|sentinel| ask_sentinel(sentinel, service, patience)).collect();
    let mut votes: HashMap<Address, usize> = HashMap::new();
    let mut fault = Fault::Unreachable("no sentinel answers".to_owned());
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(address) => {
                let count = votes.entry(address.clone()).or_default();
                *count += 1;
                if *count > sentinels.len() / 2 {
                    return Ok(address);
                }
            }
            Err(Fault::Late | Fault::Lost | Fault::Unreachable(_)) => {}
            Err(other) => fault = other,
        }
    }
    votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(address, _)| address).ok_or(fault)
}

async fn ask_sentinel(
    sentinel: &ConnectionInfo,
    service: &str,
    patience: Duration,
) -> Result<Address, Fault> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(patience)).set_response_timeout(None);
    let ask = async {
        let client = Client::open(sentinel.clone())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        question.query_async::<Option<(String, u16)>>(&mut connection).await
    };
    let answer = time::within(time::from_now(patience), ask).await.map_err(|_unanswered| Fault::Late)?;
    match answer.map_err(|error| Fault::of(&error))? {
        Some((host, port)) => Ok(Address { host, port }),
        None => Err(Fault::Unfit("the sentinels know no service of that name")),
    }
}

/// The same way of speaking, to another address.
pub(super) fn at(info: &ConnectionInfo, address: &Address) -> ConnectionInfo {
    let Address { host, port } = address.clone();
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(address)
}

fn host(info: &ConnectionInfo) -> &str {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    }
}

/// Whether what is sent can be read by others on its way: neither encrypted nor to this machine itself.
pub(super) fn is_exposed(info: &ConnectionInfo) -> bool {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) => !is_loopback(host),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::IntoConnectionInfo;

    fn info(url: &str) -> ConnectionInfo {
        url.into_connection_info().expect("a URL")
    }

    #[test]
    fn only_the_way_to_other_machines_is_exposed() {
        for url in ["redis://localhost", "redis://127.0.0.1", "redis://127.9.9.9:1", "redis://[::1]:6379"] {
            assert!(!is_exposed(&info(url)), "{url}");
        }
        for url in ["redis://cache", "redis://10.0.0.1", "redis://localhost.example", "redis://[::2]"] {
            assert!(is_exposed(&info(url)), "{url}");
        }
    }

    #[test]
    fn another_address_is_spoken_to_in_the_same_way() {
        let other = at(&info("redis://user:secret@one:1/3"), &Address { host: "two".to_owned(), port: 2 });
        assert_eq!(host(&other), "two");
        assert_eq!((other.redis_settings().username(), other.redis_settings().db()), (Some("user"), 3));
    }
}
