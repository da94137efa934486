//! Words on the bus: what is said of a key that was dropped, and how that is heard. No word holds a value or a key.

use redis::Value;

use crate::coherence::Said;
use crate::tier::redis::keys::{self, Bucket};

/// The message that goes with a script: where its bucket counts, where it is told, and of what.
pub(in crate::tier::redis) struct Word {
    /// What the script counts by, or asks whether anybody wants to hear.
    pub(in crate::tier::redis) key: String,
    arguments: [String; 3],
}

impl Word {
    /// That keys of `stripe` are dropped; without one, that any key of the bucket may be.
    pub(in crate::tier::redis) fn of(
        namespace: &str,
        bucket: Bucket,
        stripe: Option<u8>,
        is_cluster: bool,
    ) -> Self {
        // On a cluster a word must not leave the node that has the bucket: the others pass words on without a promise.
        let command = if is_cluster { "SPUBLISH" } else { "PUBLISH" };
        let stripe = stripe.map_or_else(|| ALL.to_owned(), |stripe| stripe.to_string());
        Self {
            key: keys::number_name(namespace, bucket),
            arguments: [command.to_owned(), keys::channel_name(namespace, bucket), stripe],
        }
    }

    /// That a load of a key of `stripe` has ended: for those who wait for it.
    pub(in crate::tier::redis) fn of_load(
        namespace: &str,
        bucket: Bucket,
        stripe: u8,
        is_cluster: bool,
    ) -> Self {
        let key = keys::waiting_name(namespace, bucket);
        Self { key, ..Self::of(namespace, bucket, Some(stripe), is_cluster) }
    }

    /// What a script wants to know of it, behind its other arguments.
    pub(in crate::tier::redis) fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.arguments.iter().map(String::as_bytes)
    }
}

/// The stripe of a word that is about a whole bucket.
const ALL: &str = "*";

/// What a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Something is dropped, with the bucket's message of this number.
    Dropped(u64, Said),
    /// A load of a key of this stripe has ended.
    Filled(u8),
}

/// A word as it comes from the server: the channel, and what was said on it.
pub(super) fn heard(data: &[Value]) -> Option<(&str, Bucket, Heard)> {
    let [Value::BulkString(channel), Value::BulkString(words)] = data else { return None };
    let (namespace, bucket) = place_of_channel(channel)?;
    let (number, stripe) = std::str::from_utf8(words).ok()?.split_once(' ')?;
    if number == "filled" {
        return Some((namespace, bucket, Heard::Filled(stripe.parse().ok()?)));
    }
    let said = match stripe {
        ALL => Said::All,
        stripe => Said::Stripe(stripe.parse().ok()?),
    };
    Some((namespace, bucket, Heard::Dropped(number.parse().ok()?, said)))
}

/// Whose channel it is.
pub(super) fn place_of_channel(channel: &[u8]) -> Option<(&str, Bucket)> {
    let (namespace, _) = std::str::from_utf8(channel).ok()?.strip_prefix("larder:1:")?.split_once(":{")?;
    Some((namespace, keys::bucket_of(channel)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(channel: &str, words: &str) -> [Value; 2] {
        [channel, words].map(|part| Value::BulkString(part.as_bytes().to_vec()))
    }

    /// Golden: processes of several versions hear these.
    #[test]
    fn what_is_said_is_heard() {
        let word = Word::of("post", 7, Some(12), false);
        let told: Vec<_> = word.arguments().collect();
        assert_eq!(told, [&b"PUBLISH"[..], b"larder:1:post:{b007}", b"12"]);
        assert_eq!(word.key, "post:{b007}:%number");
        let channel = "larder:1:post:{b007}";
        let said = |words| heard(&data(channel, words)).map(|(_, _, heard)| heard);
        assert_eq!(said("5 12"), Some(Heard::Dropped(5, Said::Stripe(12))));
        assert_eq!(said("6 *"), Some(Heard::Dropped(6, Said::All)));
        assert_eq!(said("filled 12"), Some(Heard::Filled(12)));
    }

    #[test]
    fn what_nobody_says_is_not_heard() {
        let channel = "larder:1:post:{b007}";
        for words in
            ["", "5", "x 1", "filled", "filled *", "5 x", "-1 2", "5 256", "5 1 2", "99999999999999999999 1"]
        {
            assert_eq!(heard(&data(channel, words)), None, "{words}");
        }
        for channel in ["", "larder:2:post:{b007}", "larder:1:post", "larder:1:post:{b064}", "x:{b007}"] {
            assert_eq!(heard(&data(channel, "5 1")), None, "{channel}");
        }
    }
}
