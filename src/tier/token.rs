//! Numbers that are never given twice: for leases and holds.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bits of a token count within this process; the bits above are this process's own.
const SERIAL: u32 = 40;
/// How many bits a token has without the [place](placed) for an incarnation.
#[cfg(any(feature = "redis", test))]
const BITS: u32 = 96;

/// A number of 96 bits like no other: 56 that the operating system drew for this process, and a count.
pub(super) fn unique() -> u128 {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed) & ((1 << SERIAL) - 1);
    (u128::from(*PROCESS >> 8) << SERIAL) | u128::from(serial)
}

/// `token` as one of the server incarnation `incarnation`: of another one it is another token, and opens nothing.
#[cfg(feature = "redis")]
pub(super) fn placed(token: u128, incarnation: u32) -> u128 {
    (u128::from(incarnation) << BITS) | (token & ((1 << BITS) - 1))
}

/// The incarnation at which a token was made.
#[cfg(feature = "redis")]
pub(super) fn incarnation(token: u128) -> u32 {
    (token >> BITS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_comes_twice() {
        let tokens: std::collections::HashSet<u128> = (0..10_000).map(|_| unique()).collect();
        assert_eq!(tokens.len(), 10_000);
        assert!(tokens.iter().all(|token| token >> BITS == 0));
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_token_knows_its_incarnation() {
        let token = placed(u128::MAX, 7);
        assert_eq!((incarnation(token), placed(token, 9) >> BITS), (7, 9));
    }
}
