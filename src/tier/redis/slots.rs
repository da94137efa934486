//! Which node of a cluster has which keys, as the cluster tells it. Pure: answers in, places out.
//!
//! A cluster parts its keys into 16,384 slots by a checksum of what stands between the first braces of the key
//! (Redis cluster specification). A namespace's keys have their bucket there, so all that matters is who has the 64 slots
//! of the 64 buckets.

use std::fmt;

use redis::Value as Answer;

use super::keys::{self, BUCKETS, Bucket};

/// A slot of a cluster.
pub(super) type Slot = u16;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// `host:port`, the host of an IPv6 address with or without brackets. An empty host means `asked`, the node that
    /// said so.
    pub(super) fn parse(text: &str, asked: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = if host.is_empty() || host == "?" { asked } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// Word of a node that a key is elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// `host:port`, as the node wrote it.
    pub(super) to: String,
    /// Only for this once, while the slot is being moved.
    pub(super) once: bool,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Errors are printed: no addresses.
        f.debug_struct("Elsewhere").field("once", &self.once).finish_non_exhaustive()
    }
}

/// The slot of a bucket's keys.
pub(super) fn slot_of(bucket: Bucket) -> Slot {
    crc_16(keys::bucket_name(bucket).as_bytes()) % SLOTS
}

/// Who is in a cluster, and has what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topology {
    /// The primary of each bucket; none while its slot is nobody's.
    pub(super) primaries: Vec<Option<Address>>,
    /// All nodes, replicas too.
    pub(super) nodes: Vec<Address>,
}

/// What the node at `asked` answers to `CLUSTER SLOTS`. `None`: that is no such answer.
pub(super) fn topology(answer: &Answer, asked: &str) -> Option<Topology> {
    let Answer::Array(ranges) = answer else { return None };
    let ranges = ranges.iter().map(|range| Range::read(range, asked)).collect::<Option<Vec<_>>>()?;
    let primary = |bucket| {
        let slot = i64::from(slot_of(bucket));
        // It is named before the replicas.
        ranges.iter().find(|range| (range.first..=range.last).contains(&slot))?.nodes.first().cloned()
    };
    let primaries = (0..BUCKETS).map(primary).collect();
    let mut nodes: Vec<Address> = ranges.iter().flat_map(|range| range.nodes.iter().cloned()).collect();
    nodes.sort();
    nodes.dedup();
    Some(Topology { primaries, nodes })
}

/// Some slots, and the nodes that have them.
struct Range {
    first: i64,
    last: i64,
    nodes: Vec<Address>,
}

impl Range {
    fn read(range: &Answer, asked: &str) -> Option<Self> {
        let Answer::Array(parts) = range else { return None };
        let [Answer::Int(first), Answer::Int(last), nodes @ ..] = parts.as_slice() else { return None };
        let nodes: Vec<_> = nodes.iter().map(|node| address_of(node, asked)).collect::<Option<_>>()?;
        (!nodes.is_empty()).then_some(Self { first: *first, last: *last, nodes })
    }
}

fn address_of(node: &Answer, asked: &str) -> Option<Address> {
    let Answer::Array(parts) = node else { return None };
    let [host, Answer::Int(port), ..] = parts.as_slice() else { return None };
    let host = match host {
        Answer::BulkString(host) => str::from_utf8(host).ok()?,
        Answer::SimpleString(host) => host,
        Answer::Nil => "",
        _ => return None,
    };
    let host = if host.is_empty() || host == "?" { asked } else { host };
    Some(Address { host: host.to_owned(), port: u16::try_from(*port).ok()? })
}

/// CRC-16/XMODEM.
fn crc_16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Answer {
        Answer::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Answer, port: i64) -> Answer {
        Answer::Array(vec![host, Answer::Int(port), bulk("id"), Answer::Array(vec![])])
    }

    fn range(first: i64, last: i64, nodes: Vec<Answer>) -> Answer {
        Answer::Array([vec![Answer::Int(first), Answer::Int(last)], nodes].concat())
    }

    #[test]
    fn slots_are_the_clusters() {
        assert_eq!(crc_16(b"123456789"), 0x31c3, "the published vector");
        assert_eq!(slot_of(0), crc_16(b"b000") % SLOTS);
    }

    #[test]
    fn the_first_node_of_a_range_is_its_primary() {
        let halves = Answer::Array(vec![
            range(0, 8_191, vec![node(bulk("one"), 1), node(bulk("replica"), 3)]),
            range(8_192, 16_383, vec![node(bulk("two"), 2)]),
        ]);
        let topology = topology(&halves, "asked").expect("an answer");
        for (bucket, primary) in (0..).zip(topology.primaries) {
            let host = if slot_of(bucket) < 8_192 { "one" } else { "two" };
            assert_eq!(primary.expect("somebody's").host, host);
        }
        let hosts: Vec<_> = topology.nodes.iter().map(|node| node.host.as_str()).collect();
        assert_eq!(hosts, ["one", "replica", "two"]);
    }

    #[test]
    fn a_node_without_a_name_is_the_one_that_was_asked() {
        for host in [Answer::Nil, bulk(""), bulk("?")] {
            let all = Answer::Array(vec![range(0, 16_383, vec![node(host, 7)])]);
            let topology = topology(&all, "asked").expect("an answer");
            assert_eq!(topology.primaries[0], Some(Address { host: "asked".to_owned(), port: 7 }));
        }
    }

    #[test]
    fn a_slot_may_be_nobodys() {
        let topology = topology(&Answer::Array(vec![]), "asked").expect("an answer");
        assert_eq!(topology.primaries, vec![None; usize::from(BUCKETS)]);
    }

    #[test]
    fn other_answers_are_none() {
        let odd = [
            Answer::Nil,
            bulk("x"),
            Answer::Array(vec![Answer::Int(1)]),
            Answer::Array(vec![range(0, 1, vec![])]),
            Answer::Array(vec![range(0, 1, vec![node(bulk("h"), 70_000)])]),
            Answer::Array(vec![range(0, 1, vec![node(Answer::BulkString(vec![0xff]), 7)])]),
        ];
        for answer in odd {
            assert_eq!(topology(&answer, "asked"), None, "{answer:?}");
        }
    }

    #[test]
    fn addresses_are_read_in_every_form() {
        let address = |host: &str| Some(Address { host: host.to_owned(), port: 7_000 });
        assert_eq!(Address::parse("10.0.0.1:7000", "asked"), address("10.0.0.1"));
        assert_eq!(Address::parse("::1:7000", "asked"), address("::1"));
        assert_eq!(Address::parse("[::1]:7000", "asked"), address("::1"));
        assert_eq!(Address::parse(":7000", "asked"), address("asked"));
        for none in ["", "host", "host:", "host:port", "host:70000"] {
            assert_eq!(Address::parse(none, "asked"), None, "{none}");
        }
    }
}
