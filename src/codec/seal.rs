//! Values that only holders of a key can read or make: XChaCha20-Poly1305.
//!
//! | bytes | |
//! |---|---|
//! | 4 | number of the key, big-endian |
//! | 24 | nonce |
//! | 3 × 8 | what the writer asked for: as of, fresh until, gone at; milliseconds, big-endian |
//! | … | the payload, encrypted |
//! | 16 | tag |
//!
//! The tag also covers what the bytes are about: everything before the payload, and whose they are.

use std::fmt;

use chacha20poly1305::aead::{AeadInOut, Generate, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use super::buffer::Buffer;

/// How long the part before the payload is.
pub(crate) const HEAD: usize = KEY + NONCE + 3 * TIME;
/// How long the part behind it is.
pub(crate) const TAIL: usize = 16;
const KEY: usize = 4;
const NONCE: usize = 24;
const TIME: usize = 8;

/// The keys of [sealed](crate::tier::redis::Namespace::sealed) copies, each with a number that its copies carry. New copies
/// are sealed with the first; copies sealed with any are opened.
///
/// To change keys without losing copies, let all processes accept the new key before one of them seals with it:
///
/// 1. `KeyRing::new(1, old).accepts(2, new)`, rolled out everywhere,
/// 2. `KeyRing::new(2, new).accepts(1, old)`, rolled out everywhere,
/// 3. `KeyRing::new(2, new)`, one ttl later.
///
/// ```
/// use larder::codec::KeyRing;
/// use larder::{Redis, tier::redis::Namespace};
///
/// # fn secret(_: &str) -> [u8; 32] { [7; 32] }
/// let redis = Redis::new("redis://127.0.0.1")?;
/// let keys = KeyRing::new(2, secret("patients-2")).accepts(1, secret("patients-1"));
/// let patients: Namespace<String> = redis.namespace("patient").sealed(keys);
/// # let _ = patients;
/// # Ok::<(), larder::Error>(())
/// ```
///
/// A key is 32 bytes that nobody can guess: drawn at random and kept where secrets are kept, not made of a password. The
/// ring wipes its keys from memory when it is dropped; it cannot wipe what they were made of.
pub struct KeyRing {
    keys: Vec<(u32, XChaCha20Poly1305)>,
}

impl KeyRing {
    /// A ring with one key, which seals and opens.
    #[must_use]
    pub fn new(id: u32, key: [u8; 32]) -> Self {
        Self { keys: vec![(id, XChaCha20Poly1305::new(&key.into()))] }
    }

    /// Also opens what was sealed with `key`. Each key of a ring has a number of its own: with two of one number the cache
    /// does not build.
    #[must_use]
    pub fn accepts(mut self, id: u32, key: [u8; 32]) -> Self {
        self.keys.push((id, XChaCha20Poly1305::new(&key.into())));
        self
    }

    pub(crate) fn has_a_number_twice(&self) -> bool {
        let seen = |at: usize, id: u32| self.keys[..at].iter().any(|(other, _)| *other == id);
        self.keys.iter().enumerate().any(|(at, (id, _))| seen(at, *id))
    }

    /// Seals the end of `bytes`, from `begin` on: [`HEAD`] bytes of room, and the payload. `None`: the operating system
    /// has no random numbers.
    pub(crate) fn seal(
        &self,
        whose: &[u8],
        times: [u64; 3],
        bytes: &mut Vec<u8>,
        begin: usize,
    ) -> Option<()> {
        self.seal_with(XNonce::try_generate().ok()?, whose, times, bytes, begin)
    }

    fn seal_with(
        &self,
        nonce: XNonce,
        whose: &[u8],
        times: [u64; 3],
        bytes: &mut Vec<u8>,
        begin: usize,
    ) -> Option<()> {
        let (id, key) = self.keys.first()?;
        let (before, payload) = bytes.split_at_mut_checked(begin.checked_add(HEAD)?)?;
        Head { key: *id, nonce, times }.write(before.get_mut(begin..)?);
        let tag = key.encrypt_inout_detached(&nonce, &about(whose, before), payload.into()).ok()?;
        bytes.extend_from_slice(&tag);
        Some(())
    }

    /// Opens the end of `bytes`, from `begin` on, in place: the times that were sealed with it, and the payload.
    pub(crate) fn open<'a>(
        &self,
        whose: &[u8],
        bytes: &'a mut [u8],
        begin: usize,
    ) -> Option<([u64; 3], &'a [u8])> {
        let (before, rest) = bytes.split_at_mut_checked(begin.checked_add(HEAD)?)?;
        let (payload, tag) = rest.split_at_mut_checked(rest.len().checked_sub(TAIL)?)?;
        let head = Head::of(before.get(begin..)?)?;
        let (_, key) = self.keys.iter().find(|(id, _)| *id == head.key)?;
        let tag = Tag::try_from(&*tag).ok()?;
        key.decrypt_inout_detached(&head.nonce, &about(whose, before), (&mut *payload).into(), &tag).ok()?;
        Some((head.times, payload))
    }
}

/// What is said before a payload, taken apart.
struct Head {
    key: u32,
    nonce: XNonce,
    times: [u64; 3],
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk::<KEY>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let (times, _) = rest.as_chunks::<TIME>();
        let times = <[[u8; TIME]; 3]>::try_from(times).ok()?.map(u64::from_be_bytes);
        Some(Self { key: u32::from_be_bytes(*key), nonce: (*nonce).into(), times })
    }

    fn write(&self, bytes: &mut [u8]) {
        let times = self.times.map(u64::to_be_bytes);
        let head = self.key.to_be_bytes().into_iter().chain(self.nonce).chain(times.into_iter().flatten());
        bytes.iter_mut().zip(head).for_each(|(place, byte)| *place = byte);
    }
}

/// What the tag covers beside the payload. `whose` is told with its length: no two pairs are told alike.
fn about(whose: &[u8], before: &[u8]) -> Buffer {
    let mut about = Buffer::take();
    about.extend_from_slice(b"larder, sealed, 1");
    about.extend_from_slice(&(whose.len() as u64).to_be_bytes());
    about.extend_from_slice(whose);
    about.extend_from_slice(before);
    about
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.keys.iter().map(|(id, _)| *id).collect();
        f.debug_struct("KeyRing").field("ids", &ids).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOSE: &[u8] = b"post:{b002}:42";
    const TIMES: [u64; 3] = [1, 20, 300];
    const BEFORE: &[u8] = b"envelope";

    fn ring() -> KeyRing {
        KeyRing::new(7, [7; 32])
    }

    fn sealed_by(ring: &KeyRing, nonce: [u8; NONCE]) -> Vec<u8> {
        let mut bytes = [BEFORE, &[0; HEAD], b"a secret"].concat();
        ring.seal_with(nonce.into(), WHOSE, TIMES, &mut bytes, BEFORE.len()).expect("sealed");
        bytes
    }

    fn opened(ring: &KeyRing, whose: &[u8], bytes: &[u8]) -> Option<([u64; 3], Vec<u8>)> {
        let mut bytes = bytes.to_vec();
        ring.open(whose, &mut bytes, BEFORE.len()).map(|(times, payload)| (times, payload.to_vec()))
    }

    /// Golden: these bytes are in people's Redis.
    #[test]
    fn the_bytes_of_a_sealed_payload_do_not_change() {
        let bytes = sealed_by(&ring(), *b"the nonce of 24 bytes...");
        let head = b"envelope\0\0\0\x07the nonce of 24 bytes...\
            \0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x14\0\0\0\0\0\0\x01\x2c";
        assert_eq!(&bytes[..BEFORE.len() + HEAD], head);
        assert_eq!(bytes[BEFORE.len() + HEAD..].escape_ascii().to_string(), GOLDEN);
    }

    const GOLDEN: &str = r"\r\xdd$\x90\x8e{wo\xdc\x99\t\x0e\x05\xbfC\xd67\x9dt\xcb\x12W\x80\x1e";

    #[test]
    fn what_was_sealed_opens() {
        let bytes = sealed_by(&ring(), [1; NONCE]);
        assert_eq!(opened(&ring(), WHOSE, &bytes), Some((TIMES, b"a secret".to_vec())));
    }

    #[test]
    fn nothing_in_it_can_be_changed_or_cut_off() {
        let bytes = sealed_by(&ring(), [1; NONCE]);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(opened(&ring(), WHOSE, &changed), None, "bit {bit} of byte {at}");
            }
            assert_eq!(opened(&ring(), WHOSE, &bytes[..at]), None, "the first {at} bytes");
        }
        assert_eq!(opened(&ring(), WHOSE, &[&bytes[..], b"\0"].concat()), None);
    }

    #[test]
    fn it_is_nobody_elses() {
        let bytes = sealed_by(&ring(), [1; NONCE]);
        for whose in [&b""[..], b"post:{b002}:43", b"post:{b002}:4", b"post:{b002}:42envelope"] {
            assert_eq!(opened(&ring(), whose, &bytes), None);
        }
    }

    #[test]
    fn any_key_of_the_ring_opens_and_the_first_seals() {
        let (old, both) = (ring(), KeyRing::new(8, [8; 32]).accepts(7, [7; 32]));
        assert!(opened(&both, WHOSE, &sealed_by(&old, [1; NONCE])).is_some());
        let new = sealed_by(&both, [1; NONCE]);
        assert!(opened(&both, WHOSE, &new).is_some());
        assert_eq!(opened(&old, WHOSE, &new), None, "it has no key 8");
        assert_eq!(opened(&KeyRing::new(8, [9; 32]), WHOSE, &new), None, "another key of the same number");
    }

    #[test]
    fn no_nonce_comes_twice() {
        let nonce = |_| {
            let mut bytes = [BEFORE, &[0; HEAD]].concat();
            ring().seal(WHOSE, TIMES, &mut bytes, BEFORE.len()).expect("sealed");
            bytes[BEFORE.len() + KEY..BEFORE.len() + KEY + NONCE].to_vec()
        };
        let nonces: std::collections::HashSet<Vec<u8>> = (0..1_000).map(nonce).collect();
        assert_eq!(nonces.len(), 1_000);
    }

    #[test]
    fn a_number_that_comes_twice_is_noticed() {
        assert!(!ring().accepts(8, [8; 32]).accepts(9, [8; 32]).has_a_number_twice());
        assert!(ring().accepts(8, [8; 32]).accepts(7, [9; 32]).has_a_number_twice());
    }

    #[test]
    fn a_ring_shows_no_key() {
        let shown = format!(
            "{0:?} {0:#?}",
            KeyRing::new(1, [0xab; 32]).accepts(2, *b"open sesame, open sesame, open s")
        );
        assert!(!shown.contains("171") && !shown.contains("sesame") && !shown.contains("ab"), "{shown}");
    }
}
