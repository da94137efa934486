//! What a write hands to whoever reads after it, in whichever process.
//!
//! A receipt names one moment, at which the write was surely in its store: on the clock of the cache that wrote, and on
//! the clocks of the servers that all processes can read. What was asked for after that moment is not older than the
//! write, whichever way it came here. So whether copies could be dropped makes no difference to what a receipt says.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::time::Timestamp;

/// How many servers a receipt names at the most; any one of them will do.
const MOST: usize = 8;
/// What of a server's life is in the folded number of a copy.
const LIFE: u32 = u32::MAX >> 1;
/// How a receipt begins: the version of what follows.
const VERSION: &str = "r1";
/// No receipt is longer than this.
const LONGEST: usize = 320;

/// The proof of a write, for reads elsewhere: one that is given it answers with nothing older.
///
/// Made by [`Written::receipt`](crate::Written::receipt) and [`LayeredCache::receipt`](crate::LayeredCache::receipt), used by
/// [`ReadOptions::covering`](crate::ReadOptions::covering). As a string it is short, of the characters `a-z 0-9 - @`, and has
/// neither keys nor values in it: it can go into a cookie, a header, or a message to another service.
///
/// Whoever can make one up can have a key loaded by each read; sign it where it passes through hands that are not yours.
///
/// ```
/// use larder::Receipt;
///
/// let nothing_known = Receipt::default();
/// assert_eq!(nothing_known.to_string().parse::<Receipt>()?, nothing_known);
/// assert!("r1-or-something-else".parse::<Receipt>().is_err());
/// # Ok::<(), larder::ParseReceiptError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Receipt(Option<Arc<Told>>);

/// What a receipt tells.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Told {
    origin: u64,
    number: u64,
    at: Timestamp,
    copy: Option<u64>,
    waits: bool,
    readings: Vec<Reading>,
}

/// A moment on the clock of a server, as late as it can have been.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "not part of the public interface")]
pub struct Reading {
    /// Which life of which server.
    pub life: u32,
    /// Milliseconds on its clock.
    pub millis: u64,
}

/// What a cache knows of one of its writes.
pub(crate) struct Facts {
    /// Which cache it is, unlike any other in any process.
    pub(crate) origin: u64,
    /// Which of its receipts it is.
    pub(crate) number: u64,
    /// When the write was surely done, on the cache's clock.
    pub(crate) at: Timestamp,
    /// The number of the copy that it left in a shared tier, folded.
    pub(crate) copy: Option<u64>,
    /// Whether it waits where only this cache can read it.
    pub(crate) waits: bool,
    /// The same moment on the clocks of servers.
    pub(crate) readings: Vec<Reading>,
}

impl Receipt {
    /// Of a write of which nothing is known but that it was done before.
    pub(crate) const UNKNOWN: Self = Self(None);

    pub(crate) fn new(facts: Facts) -> Self {
        let Facts { origin, number, at, copy, waits, mut readings } = facts;
        readings.truncate(MOST);
        Self(Some(Arc::new(Told { origin, number, at, copy, waits, readings })))
    }

    /// When the write was done, on the clock of the cache called `origin`, if it was made there.
    pub(crate) fn moment_at(&self, origin: u64) -> Option<Timestamp> {
        self.0.as_ref().filter(|told| told.origin == origin).map(|told| told.at)
    }

    /// Whether the write may wait where no other cache can read it.
    pub(crate) fn waits_elsewhere(&self, origin: u64) -> bool {
        self.0.as_ref().is_some_and(|told| told.waits && told.origin != origin)
    }

    /// Whether it can be told from all others.
    pub(crate) fn is_one_of_a_kind(&self) -> bool {
        self.0.is_some()
    }

    /// The moment on the clocks of servers.
    pub(crate) fn readings(&self) -> &[Reading] {
        self.0.as_ref().map_or(&[], |told| &told.readings)
    }

    /// Whether the copy that a shared tier knows by this folded number is the one that the write left. A tier adds the life of
    /// its server to the number, in the upper half, or nothing.
    pub(crate) fn is_of_copy(&self, number: u64) -> bool {
        let Some((told, copy)) = self.0.as_ref().and_then(|told| Some((told, told.copy?))) else {
            return false;
        };
        let life = number ^ copy;
        life == 0 || told.readings.iter().any(|reading| life == u64::from(reading.life & LIFE) << 32)
    }
}

/// `r1`, and where something is known: the cache, which of its receipts, its time, the copy, whether it waits, and the times
/// of the servers.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERSION)?;
        let Some(told) = &self.0 else { return Ok(()) };
        write!(f, "-{:x}-{:x}-{:x}-", told.origin, told.number, told.at.as_nanos())?;
        if let Some(copy) = told.copy {
            write!(f, "{copy:x}")?;
        }
        f.write_str(if told.waits { "-w" } else { "-" })?;
        told.readings.iter().try_for_each(|Reading { life, millis }| write!(f, "-{life:x}@{millis:x}"))
    }
}

/// It is not the string of a receipt, or not of one that this version of larder can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseReceiptError;

impl fmt::Display for ParseReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not the string of a receipt that this version of larder can read")
    }
}

impl std::error::Error for ParseReceiptError {}

impl FromStr for Receipt {
    type Err = ParseReceiptError;

    fn from_str(written: &str) -> Result<Self, ParseReceiptError> {
        let receipt = parse(written).ok_or(ParseReceiptError)?;
        // There is one way to write each: what is compared as a string is compared as a receipt.
        if receipt.to_string() == written { Ok(receipt) } else { Err(ParseReceiptError) }
    }
}

fn parse(written: &str) -> Option<Receipt> {
    if written.len() > LONGEST {
        return None;
    }
    let mut parts = written.split('-');
    if parts.next()? != VERSION {
        return None;
    }
    let Some(origin) = parts.next() else { return Some(Receipt::UNKNOWN) };
    let (origin, number) = (hex(origin)?, hex(parts.next()?)?);
    let at = Timestamp::from_nanos(hex(parts.next()?)?);
    let copy = match parts.next()? {
        "" => None,
        copy => Some(hex(copy)?),
    };
    let waits = parts.next()? == "w";
    let readings: Vec<Reading> = parts.map(reading).collect::<Option<_>>()?;
    if readings.len() > MOST {
        return None;
    }
    Some(Receipt::new(Facts { origin, number, at, copy, waits, readings }))
}

fn reading(written: &str) -> Option<Reading> {
    let (life, millis) = written.split_once('@')?;
    Some(Reading { life: u32::from_str_radix(life, 16).ok()?, millis: hex(millis)? })
}

fn hex(written: &str) -> Option<u64> {
    u64::from_str_radix(written, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_receipt() -> impl Strategy<Value = Receipt> {
        let readings = proptest::collection::vec((any::<u32>(), any::<u64>()), 0..=MOST);
        let told = (any::<[u64; 3]>(), any::<Option<u64>>(), any::<bool>(), readings);
        told.prop_map(|([origin, number, at], copy, waits, readings)| {
            let readings = readings.into_iter().map(|(life, millis)| Reading { life, millis }).collect();
            Receipt::new(Facts { origin, number, at: Timestamp::from_nanos(at), copy, waits, readings })
        })
    }

    #[test]
    fn its_string_is_what_it_always_was() {
        let readings = vec![Reading { life: 0xdead_beef, millis: 1_700_000_000_000 }];
        let at = Timestamp::from_nanos(0xa0);
        let receipt =
            Receipt::new(Facts { origin: 0x1f, number: 2, at, copy: Some(7), waits: false, readings });
        assert_eq!(receipt.to_string(), "r1-1f-2-a0-7--deadbeef@18bcfe56800");
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
        assert_eq!(Receipt::UNKNOWN.to_string(), "r1");
    }

    #[test]
    fn what_is_no_receipt_is_an_error() {
        let hostile = [
            "",
            "r",
            "r0",
            "r2",
            "r1-",
            "r1--",
            "r1-1",
            "r1-1-2",
            "r1-1-2-3",
            "r1-1-2-3-4",
            "r1-1-2-3--x",
            "r1-1-2-3--W",
            "r1-01-2-3--",
            "r1-1-A-3--",
            "r1-1-+2-3--",
            "r1-1-2-3-4--",
            "r1-1-2-3-4--1@",
            "r1-1-2-3-4--@1",
            "r1-1-2-3-4--1@2@3",
            "r1-1-2-3-4--100000000@1",
            "r1-10000000000000000-2-3--",
            " r1",
            "r1 ",
            "r1-1-2-3-4--\0@1",
            "r1-é-2-3--",
        ];
        for written in hostile {
            assert_eq!(written.parse::<Receipt>(), Err(ParseReceiptError), "{written:?}");
        }
        let many = format!("r1-1-2-3--{}", "-1@1".repeat(MOST + 1));
        assert_eq!(many.parse::<Receipt>(), Err(ParseReceiptError), "more servers than it can have");
        assert_eq!("r1-".repeat(1_000_000).parse::<Receipt>(), Err(ParseReceiptError));
    }

    #[test]
    fn the_copy_of_the_write_is_known_in_each_life_that_it_names() {
        let readings = vec![Reading { life: 0x8000_0005, millis: 1 }];
        let facts =
            Facts { origin: 1, number: 1, at: Timestamp::ZERO, copy: Some(7), waits: false, readings };
        let receipt = Receipt::new(facts);
        let known = [7, 7 ^ (5 << 32), 7 ^ (6 << 32), 8].map(|number| receipt.is_of_copy(number));
        assert_eq!(known, [true, true, false, false]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(receipt in any_receipt()) {
            let written = receipt.to_string();
            prop_assert!(written.len() <= LONGEST, "{} is {} long", written, written.len());
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-@".contains(&byte)));
            prop_assert_eq!(written.parse::<Receipt>(), Ok(receipt));
        }

        #[test]
        fn nothing_makes_it_panic(written in ".{0,400}") {
            if let Ok(receipt) = written.parse::<Receipt>() {
                prop_assert_eq!(receipt.to_string(), written);
            }
        }

        #[test]
        fn a_letter_that_was_changed_is_another_receipt_or_none(
            receipt in any_receipt(),
            at in any::<prop::sample::Index>(),
            letter in "[ -~]",
        ) {
            let mut written = receipt.to_string();
            let at = at.index(written.len());
            written.replace_range(at..=at, &letter);
            if let Ok(other) = written.parse::<Receipt>() {
                prop_assert_eq!(other == receipt, written == receipt.to_string());
            }
        }
    }
}
