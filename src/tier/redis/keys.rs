//! The names of keys in Redis: `namespace:{bNNN}:key`.
//!
//! The braces hold the bucket, one of 64. On a cluster it decides where the key lives, so that later everything about a
//! bucket (its entries, its messages, its log) can be in one place; being first, it leaves braces in keys without a
//! meaning. A key longer than [`LONGEST`] is named by a hash instead; the envelope repeats it whole.

use crate::codec::{CacheKey, KeyWriter};

/// How many buckets a namespace has. Fixed for ever: it is part of every name.
pub(super) const BUCKETS: Bucket = 64;
/// A bucket, by its number.
pub(super) type Bucket = u8;
/// What buckets are called.
const BUCKET_NAMES: [&str; BUCKETS as usize] = [
    "000", "001", "002", "003", "004", "005", "006", "007", "008", "009", "010", "011", "012", "013", "014",
    "015", "016", "017", "018", "019", "020", "021", "022", "023", "024", "025", "026", "027", "028", "029",
    "030", "031", "032", "033", "034", "035", "036", "037", "038", "039", "040", "041", "042", "043", "044",
    "045", "046", "047", "048", "049", "050", "051", "052", "053", "054", "055", "056", "057", "058", "059",
    "060", "061", "062", "063",
];
/// The longest key, in bytes, that is written out.
const LONGEST: usize = 1024;

/// A key as its namespace writes it, and its name in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) redis: String,
    /// Where in `redis` the key begins; `None` when a hash stands there.
    begins: Option<usize>,
    long: Option<String>,
    pub(super) bucket: Bucket,
}

impl Name {
    pub(super) fn of<K: CacheKey + ?Sized>(namespace: &str, key: &K) -> Self {
        // Most keys are short: written in place, behind a bucket that is known afterwards.
        let mut head = String::with_capacity(namespace.len() + 32);
        head.push_str(namespace);
        head.push_str(":{b000}:");
        let begins = head.len();
        let mut redis = KeyWriter::append(head, key);
        let hash = fnv_1a(&redis.as_bytes()[begins..]);
        let long = (redis.len() - begins > LONGEST).then(|| redis.split_off(begins));
        if long.is_some() {
            redis.push_str(&format!("#{hash:032x}"));
        }
        let bucket = ((hash ^ (hash >> 64)) as u64 % u64::from(BUCKETS)) as Bucket;
        redis.replace_range(begins - 5..begins - 2, BUCKET_NAMES[usize::from(bucket)]);
        Self { redis, begins: long.is_none().then_some(begins), long, bucket }
    }

    /// The key as the envelope repeats it.
    pub(super) fn echo(&self) -> &[u8] {
        match (&self.long, self.begins) {
            (Some(long), _) => long.as_bytes(),
            (None, Some(begins)) => &self.redis.as_bytes()[begins..],
            (None, None) => &[],
        }
    }
}

/// What stands between the braces of a bucket's names.
pub(super) fn bucket_name(bucket: Bucket) -> String {
    format!("b{bucket:03}")
}

/// The bucket of a name in Redis, if it is one that a namespace has made.
pub(super) fn bucket_of(name: &[u8]) -> Option<Bucket> {
    let begins = name.iter().position(|byte| *byte == b'{')?;
    let digits = name.get(begins..)?.strip_prefix(b"{b")?.get(..3)?;
    BUCKET_NAMES.iter().position(|bucket| bucket.as_bytes() == digits)?.try_into().ok()
}

/// Names that a namespace can have: nothing with a meaning in a pattern, in a cluster or in a key.
pub(super) fn is_namespace(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The pattern of all names in a namespace, and of no other's.
pub(super) fn pattern(namespace: &str) -> String {
    format!("{namespace}:{{b*")
}

/// FNV-1a with 128 bits (Fowler, Noll and Vo; RFC 9923). Stable for ever, and not meant to withstand anybody: two keys
/// that share a hash are told apart by the envelope, and push each other out.
fn fnv_1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: these names are in people's Redis.
    #[test]
    fn names_are_what_they_have_always_been() {
        assert_eq!(Name::of("post", &42_u64).redis, "post:{b002}:42");
        assert_eq!(Name::of("post", "a{b}c").redis, "post:{b062}:a{b}c");
        assert_eq!(Name::of("post", &(7_u8, "x:y")).redis, "post:{b042}:7:x%3Ay");
        assert_eq!(fnv_1a(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18, "the published vector");
    }

    #[test]
    fn a_long_key_is_named_by_a_hash_and_repeated_whole() {
        let long = "k".repeat(LONGEST + 1);
        let name = Name::of("post", long.as_str());
        assert!(name.redis.len() < 64 && name.redis.contains(":#"));
        assert_eq!(name.echo(), long.as_bytes());
        let short = "k".repeat(LONGEST);
        let name = Name::of("post", short.as_str());
        assert!(name.redis.ends_with(&short));
        assert_eq!(name.echo(), short.as_bytes());
    }

    #[test]
    fn no_key_looks_like_a_hash() {
        // A short key is never taken for a long one: the echo of the two differs.
        let long = "k".repeat(LONGEST + 1);
        let name = Name::of("post", long.as_str());
        let hash = name.redis.rsplit(':').next().expect("a part").to_owned();
        let imposter = Name::of("post", hash.as_str());
        assert_ne!(imposter.echo(), name.echo());
    }

    #[test]
    fn a_namespace_has_a_plain_name() {
        assert!(is_namespace("post") && is_namespace("blog.post-2_x"));
        for name in ["", "a:b", "a{b", "a*", "a b", "ä", &"x".repeat(65)] {
            assert!(!is_namespace(name), "{name}");
        }
    }

    #[test]
    fn a_name_tells_its_bucket() {
        for key in 0..200_u32 {
            let name = Name::of("post", &(key, "{b007}"));
            assert_eq!(bucket_of(name.redis.as_bytes()), Some(name.bucket));
            assert!(name.redis.contains(&bucket_name(name.bucket)));
        }
        for none in [&b""[..], b"post", b"post:{b", b"post:{b064}:1", b"post:{bxyz}:1"] {
            assert_eq!(bucket_of(none), None);
        }
    }

    #[test]
    fn buckets_are_even() {
        let mut count = [0; BUCKETS as usize];
        for key in 0..6_400_u32 {
            let name = Name::of("n", &key).redis;
            let bucket: usize = name[4..7].parse().expect("three digits");
            count[bucket] += 1;
        }
        assert!(count.iter().all(|keys| (60..160).contains(keys)), "{count:?}");
    }
}
