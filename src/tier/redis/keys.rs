//! The names of keys in Redis: `namespace:{bNNN}:key`.
//!
//! The braces hold the bucket, one of 64. On a cluster it decides where the key lives, so that everything about a
//! bucket (its entries, its messages, its log) is in one place; being first, it leaves braces in keys without a
//! meaning. A key longer than [`LONGEST`] is named by a hash instead; the envelope repeats it whole. Its tenant, if it
//! has one, stands before the hash, so that the pattern of a tenant's names finds it too.

use std::borrow::Cow;

use crate::codec::{CacheKey, KeyWriter};
use crate::coherence::STRIPES;

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

/// The longest tenant that is written out; the keys of a longer one are all named by hashes.
const LONGEST_TENANT: usize = 128;

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
        let (mut redis, tenant_ends) = KeyWriter::append(head, key);
        let tenant = tenant_ends.map_or(0, |ends| ends - begins);
        let hash = fnv_1a(&redis.as_bytes()[begins..]);
        let is_long = redis.len() - begins > LONGEST || tenant > LONGEST_TENANT;
        let long = is_long.then(|| redis.split_off(begins));
        if let Some(long) = &long {
            if tenant_ends.is_some() {
                redis.push_str(&tenant_name(&long[..tenant]));
                redis.push(':');
            }
            redis.push_str(&format!("#{hash:032x}"));
        }
        let bucket = ((hash ^ (hash >> 64)) as u64 % u64::from(BUCKETS)) as Bucket;
        redis.replace_range(begins - 5..begins - 2, BUCKET_NAMES[usize::from(bucket)]);
        Self { redis, begins: long.is_none().then_some(begins), long, bucket }
    }

    /// The name without namespace and bucket.
    pub(super) fn bare(&self) -> &str {
        // The bucket is closed by the first brace: no namespace has any.
        self.redis.split_once("}:").map_or("", |(_, bare)| bare)
    }

    /// Its stripe among those of its bucket.
    pub(super) fn stripe(&self) -> u8 {
        stripe_of(self.bare())
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

/// A name in a bucket that no key has: in keys a `%` is always followed by something.
pub(super) fn name_of_nothing(namespace: &str, bucket: Bucket) -> String {
    format!("{namespace}:{{{}}}:%", bucket_name(bucket))
}

/// The stripe of a name, by what it is without namespace and bucket: known from the name alone, for pushes.
pub(super) fn stripe_of(bare: &str) -> u8 {
    // Other bits than those that say the bucket, and such as the last byte reaches.
    ((fnv_1a(bare.as_bytes()) >> 94) % STRIPES as u128) as u8
}

/// Namespace, bucket and stripe of a name in Redis, if it is one that a namespace has made.
pub(super) fn place_of(name: &[u8]) -> Option<(&str, Bucket, u8)> {
    let name = std::str::from_utf8(name).ok()?;
    let (namespace, rest) = name.split_once(":{")?;
    let (_, bare) = rest.split_once("}:")?;
    Some((namespace, bucket_of(name.as_bytes())?, stripe_of(bare)))
}

/// The name of the number of a bucket's last message. No key has it: in keys a `%` is followed by two digits.
pub(super) fn number_name(namespace: &str, bucket: Bucket) -> String {
    format!("{namespace}:{{{}}}:%number", bucket_name(bucket))
}

/// The name of what is there while somebody waits for a load of the bucket. No key has it either.
pub(super) fn waiting_name(namespace: &str, bucket: Bucket) -> String {
    format!("{namespace}:{{{}}}:%waiting", bucket_name(bucket))
}

/// The channel of a bucket's messages: version 1 of what they say. On a cluster it is where the bucket is.
pub(super) fn channel_name(namespace: &str, bucket: Bucket) -> String {
    format!("larder:1:{namespace}:{{{}}}", bucket_name(bucket))
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

/// The pattern of the names of one tenant's keys, and of nobody else's; `tenant` as keys begin with it.
///
/// The bucket is three characters and not any number of them: another tenant's key may hold what looks like the end of
/// a bucket and the beginning of this tenant's key.
pub(super) fn pattern_of_tenant(namespace: &str, tenant: &str) -> String {
    let mut pattern = format!("{namespace}:{{b???}}:");
    for letter in tenant_name(tenant).chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push_str(":*");
    pattern
}

/// What stands for a tenant in names. `%#` is the beginning of no part that is written out. Two tenants that share a
/// hash are cleared together; the envelopes tell their copies apart.
fn tenant_name(tenant: &str) -> Cow<'_, str> {
    match tenant.len() > LONGEST_TENANT {
        true => Cow::Owned(format!("%#{:032x}", fnv_1a(tenant.as_bytes()))),
        false => Cow::Borrowed(tenant),
    }
}

/// FNV-1a with 128 bits (Fowler, Noll and Vo; RFC 9923). Stable for ever, and not meant to withstand anybody: two keys
/// that share a hash are told apart by the envelope, and push each other out.
pub(super) fn fnv_1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::{Tenant, TenantKey};
    use crate::tier::Scope;
    use proptest::prelude::*;

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
    fn a_long_key_is_named_by_its_tenant_and_a_hash() {
        let name = name("a:b", &"k".repeat(LONGEST));
        assert!(name.redis.len() < 64 && name.redis.contains("}:a%3Ab:#"), "{}", name.redis);
        assert_eq!(name.echo(), format!("a%3Ab:{}", "k".repeat(LONGEST)).as_bytes());
    }

    #[test]
    fn a_long_tenant_is_named_by_a_hash_and_repeated_whole() {
        let tenant = "t".repeat(LONGEST_TENANT + 1);
        let (one, two) = (name(&tenant, "1"), name(&tenant, "2"));
        assert!(one.redis.len() < 128 && one.redis != two.redis);
        assert_eq!(one.echo(), format!("{tenant}:1").as_bytes());
        assert!(is_match(&pattern_of(&tenant), &one.redis));
        assert!(
            !is_match(&pattern_of(&tenant_name(&tenant)), &one.redis),
            "a tenant that is called like the hash"
        );
    }

    fn name(tenant: &str, key: &str) -> Name {
        Name::of("post", &Tenant::of(tenant.to_owned()).key(key))
    }

    fn pattern_of(tenant: &str) -> String {
        let scope = Scope::<TenantKey<String, &str>>::of(&Tenant::of(tenant.to_owned()));
        pattern_of_tenant("post", &scope.written().expect("a tenant is written"))
    }

    /// Whether Redis finds `name` by `pattern`, as far as patterns of this file go.
    fn is_match(pattern: &str, name: &str) -> bool {
        let (mut pattern, mut name) = (pattern.chars(), name.chars());
        while let Some(letter) = pattern.next() {
            let is_same = match (letter, name.next()) {
                ('*', _) => return true,
                ('?', any) => any.is_some(),
                ('\\', here) => here == pattern.next(),
                (letter, here) => here == Some(letter),
            };
            if !is_same {
                return false;
            }
        }
        name.next().is_none()
    }

    /// What a cluster decides by: what is in the first braces, if it is not nothing.
    fn hash_tag(name: &str) -> Option<&str> {
        let (_, rest) = name.split_once('{')?;
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    }

    /// Any text, most of it of what means something in a name, a pattern or a cluster.
    fn text() -> impl Strategy<Value = String> {
        let odd: Vec<char> = "{}:%#*?[]^\\-! \r\n\0b01".chars().collect();
        let letter = prop_oneof![4 => proptest::sample::select(odd), 1 => any::<char>()];
        let short = proptest::collection::vec(letter, 0..8).prop_map(String::from_iter);
        (short, prop_oneof![4 => Just(1), 1 => Just(200)]).prop_map(|(text, times)| text.repeat(times))
    }

    proptest! {
        #[test]
        fn braces_in_a_key_mean_nothing_to_a_cluster(tenant in text(), key in text()) {
            for name in [Name::of("post", key.as_str()), name(&tenant, &key)] {
                let tag = hash_tag(&name.redis).unwrap_or_default();
                let bucket = tag.strip_prefix('b').and_then(|bucket| bucket.parse::<u64>().ok());
                prop_assert!(tag.len() == 4 && bucket.is_some_and(|bucket| bucket < u64::from(BUCKETS)), "{:?}", name.redis);
            }
        }

        #[test]
        fn the_pattern_of_a_tenant_finds_its_names_and_no_others(
            one in text(), other in text(), key in text(),
        ) {
            // Two keys that look like one another's tenant.
            let keys = [key.clone(), format!("x}}:{one}"), format!("{one}:{key}")];
            for key in &keys {
                for tenant in [&one, &other] {
                    let name = name(tenant, key).redis;
                    prop_assert_eq!(is_match(&pattern_of(&one), &name), *tenant == one, "{:?}", name);
                }
            }
        }
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

    /// Within a bucket too: one write drops the copies of a stripe in all memories.
    #[test]
    fn stripes_are_even() {
        let mut count = [[0; STRIPES]; BUCKETS as usize];
        for key in 0..16 * 64 * 64_u32 {
            let name = Name::of("n", &key);
            count[usize::from(name.bucket)][usize::from(name.stripe())] += 1;
        }
        assert!(count.as_flattened().iter().all(|keys| (1..48).contains(keys)), "{count:?}");
        let small = (0..1_000_u32).map(|key| Name::of("n", &key).stripe());
        assert!(
            small.collect::<std::collections::HashSet<_>>().len() > 48,
            "of numbers that begin alike too"
        );
    }

    /// It is told to other processes.
    #[test]
    fn a_stripe_stays_what_it_is() {
        assert_eq!(["7", "42", "acme:1", "post:7:en"].map(stripe_of), [36, 30, 5, 24]);
    }
}
