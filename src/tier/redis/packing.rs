//! What is done to a value's bytes between its codec and the server: compressed, sealed, and back.

use super::envelope::{Envelope, Form};
use super::keys::Name;
use super::moment::Stamp;
#[cfg(feature = "sealing")]
use crate::codec::buffer::Buffer;
#[cfg(any(feature = "lz4", feature = "zstd"))]
use crate::codec::compression::Compression;
use crate::codec::compression::Method;
#[cfg(feature = "sealing")]
use crate::codec::seal::{self, KeyRing};

/// How one namespace packs.
#[derive(Default)]
pub(super) struct Packing {
    #[cfg(any(feature = "lz4", feature = "zstd"))]
    pub(super) compression: Option<Compression>,
    #[cfg(feature = "sealing")]
    pub(super) keys: Option<KeyRing>,
}

impl Packing {
    /// What is wrong with the settings, if anything.
    pub(super) fn complaint(&self) -> Option<&'static str> {
        #[cfg(feature = "sealing")]
        if self.keys.as_ref().is_some_and(KeyRing::has_a_number_twice) {
            return Some("two keys of a `KeyRing` have the same number");
        }
        #[cfg(all(feature = "sealing", any(feature = "lz4", feature = "zstd")))]
        if self.keys.is_some() && self.compression.is_some_and(|compression| !compression.when_sealed) {
            return Some(
                "`compress` and `sealed` disagree: how well a value compresses tells of what is in it; \
                 `Compression::even_when_sealed` allows it",
            );
        }
        None
    }

    /// Makes room in front of a payload.
    pub(super) fn begin(&self, bytes: &mut Vec<u8>) {
        bytes.resize(bytes.len() + self.head(), 0);
    }

    /// Finishes the envelope in `bytes`, whose payload begins at `begin`, with the room in front of it.
    pub(super) fn finish(
        &self,
        bytes: &mut Vec<u8>,
        begin: usize,
        absent: bool,
        name: &Name,
        stamp: &Stamp,
    ) -> Option<()> {
        let compression = if absent { Method::None } else { self.shrink(bytes, begin + self.head()) };
        let form = Form { absent, compression, sealed: self.is_sealed() };
        let length = bytes.len().checked_sub(begin)? + self.tail();
        Envelope::finish(bytes, form, length)?;
        self.seal(bytes, begin, name, stamp)
    }

    #[cfg(any(feature = "lz4", feature = "zstd"))]
    fn shrink(&self, bytes: &mut Vec<u8>, begin: usize) -> Method {
        self.compression.map_or(Method::None, |compression| compression.shrink(bytes, begin))
    }

    #[cfg(not(any(feature = "lz4", feature = "zstd")))]
    fn shrink(&self, _: &mut Vec<u8>, _: usize) -> Method {
        Method::None
    }
}

#[cfg(feature = "sealing")]
impl Packing {
    fn is_sealed(&self) -> bool {
        self.keys.is_some()
    }

    fn head(&self) -> usize {
        if self.is_sealed() { seal::HEAD } else { 0 }
    }

    fn tail(&self) -> usize {
        if self.is_sealed() { seal::TAIL } else { 0 }
    }

    fn seal(&self, bytes: &mut Vec<u8>, begin: usize, name: &Name, stamp: &Stamp) -> Option<()> {
        match &self.keys {
            Some(keys) => keys.seal(&whose(name, stamp), times(stamp), bytes, begin),
            None => Some(()),
        }
    }

    /// The payload at the end of `body`, opened in place. `None`: it is not what this namespace writes, or not under this
    /// name, or to live longer than its writer meant.
    pub(super) fn open<'a>(
        &self,
        body: &'a mut [u8],
        begin: usize,
        sealed: bool,
        name: &Name,
        stamp: &Stamp,
    ) -> Option<&'a [u8]> {
        match (&self.keys, sealed) {
            (None, false) => body.get(begin..),
            (Some(keys), true) => {
                let (meant, payload) = keys.open(&whose(name, stamp), body, begin)?;
                // The scripts only ever shorten what the writer asked for.
                let within = times(stamp).into_iter().zip(meant).all(|(here, meant)| here <= meant);
                within.then_some(payload)
            }
            _ => None,
        }
    }
}

#[cfg(not(feature = "sealing"))]
impl Packing {
    const fn is_sealed(&self) -> bool {
        false
    }

    const fn head(&self) -> usize {
        0
    }

    const fn tail(&self) -> usize {
        0
    }

    fn seal(&self, _: &mut Vec<u8>, _: usize, _: &Name, _: &Stamp) -> Option<()> {
        Some(())
    }

    pub(super) fn open<'a>(
        &self,
        body: &'a mut [u8],
        begin: usize,
        sealed: bool,
        _: &Name,
        _: &Stamp,
    ) -> Option<&'a [u8]> {
        if sealed { None } else { body.get(begin..) }
    }
}

/// Whose copy it is, beside what its envelope says: under which name it stands, and which number it has there.
#[cfg(feature = "sealing")]
fn whose(name: &Name, stamp: &Stamp) -> Buffer {
    let mut whose = Buffer::take();
    whose.extend_from_slice(&stamp.id.to_be_bytes());
    whose.extend_from_slice(name.redis.as_bytes());
    whose
}

#[cfg(feature = "sealing")]
fn times(stamp: &Stamp) -> [u64; 3] {
    [stamp.as_of, stamp.fresh_until, stamp.expires_at]
}
