//! Values made smaller.

use std::ops::Deref;

use super::buffer::Buffer;

/// The smallest value that is worth it: for smaller ones compressing takes longer than a whole `GET`.
#[cfg(any(feature = "lz4", feature = "zstd"))]
const ABOVE: usize = 1024;
/// What is saved must be at least one part in so many, or it is not worth the work of every reader.
#[cfg(any(feature = "lz4", feature = "zstd"))]
const WORTH: u32 = 16;
/// A block begins with the length of what it was made of, big-endian.
const LENGTH: usize = 4;

/// Whether and how values are made smaller before they are kept outside this process.
///
/// A value is compressed when it is big enough, and kept so when that made it smaller by a sixteenth at least. Readers see
/// from the copy itself what was done with it: compressing can be switched on, off and over at any time, as long as all
/// versions of a service are built with the feature.
///
/// ```
/// # #[cfg(feature = "lz4")] {
/// use larder::codec::Compression;
/// use larder::{Redis, tier::redis::Namespace};
///
/// let redis = Redis::new("redis://127.0.0.1")?;
/// let pages: Namespace<String> = redis.namespace("page").compress(Compression::lz4().above(4096));
/// # let _ = pages;
/// # }
/// # Ok::<(), larder::Error>(())
/// ```
#[cfg(any(feature = "lz4", feature = "zstd"))]
#[derive(Clone, Copy, Debug)]
pub struct Compression {
    method: Method,
    above: usize,
    #[cfg(feature = "sealing")]
    pub(crate) when_sealed: bool,
}

#[cfg(any(feature = "lz4", feature = "zstd"))]
impl Compression {
    /// LZ4, as blocks: fast.
    #[cfg(feature = "lz4")]
    #[must_use]
    pub fn lz4() -> Self {
        Self::by(Method::Lz4)
    }

    /// Zstandard, level 1: denser, and slower. Keeps its working memory for each thread that uses it.
    #[cfg(feature = "zstd")]
    #[must_use]
    pub fn zstd() -> Self {
        Self::by(Method::Zstd)
    }

    fn by(method: Method) -> Self {
        Self {
            method,
            above: ABOVE,
            #[cfg(feature = "sealing")]
            when_sealed: false,
        }
    }

    /// Leaves values of up to so many bytes as they are. Default: 1,024.
    #[must_use]
    pub fn above(self, bytes: usize) -> Self {
        Self { above: bytes, ..self }
    }

    /// Compresses values that are [sealed](crate::tier::redis::Namespace::sealed) afterwards. Without it, a namespace that
    /// does both does not build: sealing hides what a value is and not how long it is, and how well something compresses
    /// tells of what is in it. Whoever sees the lengths in the server and can choose a part of a value finds out the rest
    /// by guessing, as with the attacks CRIME and BREACH. Safe only where nobody else's words are in a value.
    #[cfg(feature = "sealing")]
    #[must_use]
    pub fn even_when_sealed(self) -> Self {
        Self { when_sealed: true, ..self }
    }

    /// Puts the end of `bytes`, from `begin` on, into fewer; says whether and how.
    pub(crate) fn shrink(&self, bytes: &mut Vec<u8>, begin: usize) -> Method {
        let length = bytes.len().saturating_sub(begin);
        match u32::try_from(length) {
            Ok(told) if length > self.above && self.is_worth_it(bytes, begin, told) => self.method,
            _ => Method::None,
        }
    }

    fn is_worth_it(&self, bytes: &mut Vec<u8>, begin: usize, length: u32) -> bool {
        let most = (length - length.div_ceil(WORTH)) as usize;
        let mut block = Buffer::take();
        block.extend_from_slice(&length.to_be_bytes());
        let worth_it =
            self.method.compress(&bytes[begin..], &mut block, most).is_some() && block.len() <= most;
        if worth_it {
            bytes.truncate(begin);
            bytes.extend_from_slice(&block);
        }
        worth_it
    }
}

/// What was done to the bytes of a value. The numbers are in people's Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    None = 0,
    Lz4 = 1,
    Zstd = 2,
}

/// The bytes of a value: where they were, or made anew.
pub(crate) enum Whole<'a> {
    Found(&'a [u8]),
    Made(Buffer),
}

impl Deref for Whole<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Found(bytes) => bytes,
            Self::Made(bytes) => bytes,
        }
    }
}

impl Method {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Lz4, Self::Zstd];

    /// Appends the compressed `bytes` to `block`; `None` when that cannot be done, or may have become more than `most`.
    #[cfg(any(feature = "lz4", feature = "zstd"))]
    fn compress(self, bytes: &[u8], block: &mut Vec<u8>, most: usize) -> Option<()> {
        _ = most;
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => lz4::compress(bytes, block),
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::compress(bytes, block, most),
            _ => None,
        }
    }

    /// The bytes that `block` was made of, if they are no more than `most`; nothing is made room for before that is known.
    pub(crate) fn expand(self, block: &[u8], most: usize) -> Option<Whole<'_>> {
        if self == Self::None {
            return (block.len() <= most).then_some(Whole::Found(block));
        }
        let (length, block) = block.split_first_chunk::<LENGTH>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        // It was kept because it had become smaller.
        if length > most || block.len() >= length {
            return None;
        }
        let mut bytes = Buffer::take();
        self.decompress(block, &mut bytes, length)?;
        (bytes.len() == length).then_some(Whole::Made(bytes))
    }

    /// Fills `bytes` with what `block` was made of, `length` bytes at the most.
    fn decompress(self, block: &[u8], bytes: &mut Vec<u8>, length: usize) -> Option<()> {
        _ = (block, length, &bytes);
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => lz4::decompress(block, bytes, length),
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::decompress(block, bytes, length),
            // Written by a build with more features.
            _ => None,
        }
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use std::cell::RefCell;

    use lz4_flex::block::{
        CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
    };

    thread_local! {
        static TABLE: RefCell<CompressTable> = RefCell::new(CompressTable::large());
    }

    /// The most that a byte of a block can stand for.
    const DENSEST: usize = 255;

    pub(super) fn compress(bytes: &[u8], block: &mut Vec<u8>) -> Option<()> {
        let begin = block.len();
        block.resize(begin + get_maximum_output_size(bytes.len()), 0);
        let length = TABLE.with(|table| {
            compress_into_with_table(bytes, &mut block[begin..], &mut *table.try_borrow_mut().ok()?).ok()
        });
        block.truncate(begin + length?);
        Some(())
    }

    pub(super) fn decompress(block: &[u8], bytes: &mut Vec<u8>, length: usize) -> Option<()> {
        if length / DENSEST > block.len() {
            return None;
        }
        bytes.resize(length, 0);
        let found = decompress_into(block, bytes).ok()?;
        bytes.truncate(found);
        Some(())
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use std::cell::RefCell;

    use ::zstd::bulk::{Compressor, Decompressor};

    const LEVEL: i32 = 1;

    // Made anew for every value, they would take several times as long as the work itself.
    thread_local! {
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }

    pub(super) fn compress(bytes: &[u8], block: &mut Vec<u8>, most: usize) -> Option<()> {
        let begin = block.len();
        block.resize(begin.max(most), 0);
        let length = COMPRESSOR.with(|kept| {
            let mut kept = kept.try_borrow_mut().ok()?;
            let compressor = existing(&mut kept, || Compressor::new(LEVEL).ok())?;
            compressor.compress_to_buffer(bytes, &mut block[begin..]).ok()
        });
        block.truncate(begin + length?);
        Some(())
    }

    pub(super) fn decompress(block: &[u8], bytes: &mut Vec<u8>, length: usize) -> Option<()> {
        // Into a slice, so that no more comes out than was told.
        bytes.resize(length, 0);
        let found = DECOMPRESSOR.with(|kept| {
            let mut kept = kept.try_borrow_mut().ok()?;
            let decompressor = existing(&mut kept, || Decompressor::new().ok())?;
            decompressor.decompress_to_buffer(block, &mut bytes[..]).ok()
        });
        bytes.truncate(found?);
        Some(())
    }

    fn existing<T>(kept: &mut Option<T>, make: impl FnOnce() -> Option<T>) -> Option<&mut T> {
        if kept.is_none() {
            *kept = make();
        }
        kept.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 1 << 20;

    #[cfg(any(feature = "lz4", feature = "zstd"))]
    fn all() -> Vec<Compression> {
        vec![
            #[cfg(feature = "lz4")]
            Compression::lz4(),
            #[cfg(feature = "zstd")]
            Compression::zstd(),
        ]
    }

    fn claiming(length: usize, block: &[u8]) -> Vec<u8> {
        [&u32::try_from(length).expect("short").to_be_bytes()[..], block].concat()
    }

    fn expanded(method: Method, block: &[u8]) -> Option<Vec<u8>> {
        method.expand(block, MOST).map(|bytes| bytes.to_vec())
    }

    #[cfg(any(feature = "lz4", feature = "zstd"))]
    #[test]
    fn what_was_shrunk_expands_to_what_it_was() {
        for compression in all() {
            let text = format!("head{}", "some words, over and over. ".repeat(200)).into_bytes();
            let mut bytes = text.clone();
            let method = compression.shrink(&mut bytes, 4);
            assert_eq!(method, compression.method);
            assert!(bytes.len() < text.len() / 10 && bytes.starts_with(b"head"));
            assert_eq!(expanded(method, &bytes[4..]).as_deref(), Some(&text[4..]));
        }
    }

    #[cfg(any(feature = "lz4", feature = "zstd"))]
    #[test]
    fn what_gains_too_little_or_is_too_small_stays_as_it_is() {
        let mut dice = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = (0..10_000).map(|_| dice.u8(..)).collect();
        let hardly = [&noise[..], &[0; 500]].concat();
        let enough = [&noise[..], &[0; 1_000]].concat();
        for compression in all() {
            let left_alone = |compression: Compression, bytes: &[u8]| {
                let mut after = bytes.to_vec();
                let method = compression.shrink(&mut after, 0);
                assert_eq!(method == Method::None, after == bytes);
                after == bytes
            };
            assert!(left_alone(compression, &noise));
            assert!(left_alone(compression, &hardly));
            assert!(!left_alone(compression, &enough));
            assert!(left_alone(compression, &[0; ABOVE]));
            assert!(!left_alone(compression, &[0; ABOVE + 1]));
            assert!(!left_alone(compression.above(10), &[0; 100]));
        }
    }

    /// Golden: blocks of these methods are in people's Redis.
    #[test]
    fn the_bytes_of_a_block_are_still_read() {
        let text = "larder ".repeat(100);
        let golden: [(Method, bool, &[u8]); 2] =
            [(Method::Lz4, cfg!(feature = "lz4"), LZ4), (Method::Zstd, cfg!(feature = "zstd"), ZSTD)];
        for (method, is_built, bytes) in golden {
            let read = expanded(method, bytes);
            assert_eq!(read.as_deref(), is_built.then_some(text.as_bytes()), "{method:?}");
        }
    }

    const LZ4: &[u8] = b"\x00\x00\x02\xbc\x7flarder \x07\x00\xff\xff\x9e`arder ";
    const ZSTD: &[u8] = b"\x00\x00\x02\xbc(\xb5/\xfd`\xbc\x01u\x00\x008larder \x01\x00\xb2T\x15#";

    #[test]
    fn a_block_that_claims_too_much_is_refused_before_room_is_made() {
        for method in [Method::Lz4, Method::Zstd] {
            for claim in [MOST + 1, u32::MAX as usize] {
                let block = claiming(claim, &[0; 100]);
                let took = allocation_counter::measure(|| assert!(method.expand(&block, MOST).is_none()));
                assert_eq!(took.bytes_total, 0, "{method:?} {claim}");
            }
        }
    }

    /// What a small block makes of itself stops where its claim ends, and nothing else is a value.
    #[cfg(any(feature = "lz4", feature = "zstd"))]
    #[test]
    fn a_bomb_is_refused() {
        for compression in all() {
            let mut bomb = vec![0; 16 << 20];
            let method = compression.shrink(&mut bomb, 0);
            assert!(bomb.len() < 100_000, "{method:?}: a bomb of {} bytes", bomb.len());
            assert_eq!(expanded(method, &bomb), None, "it says how big it is");
            for claim in [1, 1_000, bomb.len(), 1 << 19, MOST] {
                let bomb = claiming(claim, &bomb[LENGTH..]);
                let took = allocation_counter::measure(|| assert!(method.expand(&bomb, MOST).is_none()));
                assert!(took.bytes_max < MOST as u64 + 300_000, "{method:?}: {} bytes", took.bytes_max);
            }
        }
    }

    #[test]
    fn a_block_cut_off_or_empty_is_none() {
        for method in [Method::Lz4, Method::Zstd] {
            for block in [&b""[..], b"\0", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\x01", &[0, 0, 4, 0, 1, 2, 3]] {
                assert_eq!(expanded(method, block), None, "{method:?} {block:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_block_makes_it_panic(block in proptest::collection::vec(any::<u8>(), 0..200), length in 0_usize..400) {
            for method in Method::ALL {
                _ = expanded(method, &claiming(length, &block));
            }
        }
    }
}
