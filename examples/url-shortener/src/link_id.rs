//! What a link is called: a number, and the few characters that stand for it in an address.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use larder::sqlx::{Cell, FromCell, ToCell, WrongCell};
use serde::{Deserialize, Serialize};

const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The largest number that the database keeps, 2⁶³ - 1, is `aZl8N0y58M7`.
const LONGEST: usize = 11;

/// Numbers a link. Written in base 62, `0-9a-zA-Z`, without zeros in front, so that each has one way to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct LinkId(pub(crate) u64);

/// The first one of seven characters, 62⁶: all that anybody will meet are as long.
pub(crate) const FIRST: LinkId = LinkId(56_800_235_584);

/// Why a text is no id of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLinkId {
    Empty,
    /// It has more characters than any.
    TooLong,
    /// This character is none of the 62.
    Stranger(char),
    /// Without its zeros it would be another way to write an id.
    ZerosInFront,
    /// The database keeps no such number.
    TooLarge,
}

impl Display for LinkId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut digits = [0; LONGEST];
        let mut at = digits.len();
        let mut rest = self.0;
        loop {
            at -= 1;
            digits[at] = DIGITS[(rest % 62) as usize];
            rest /= 62;
            if rest == 0 {
                break;
            }
        }
        digits[at..].iter().try_for_each(|&digit| write!(f, "{}", char::from(digit)))
    }
}

impl FromStr for LinkId {
    type Err = NoLinkId;

    fn from_str(text: &str) -> Result<Self, NoLinkId> {
        match text.as_bytes() {
            [] => return Err(NoLinkId::Empty),
            [_, ..] if text.chars().count() > LONGEST => return Err(NoLinkId::TooLong),
            [b'0', _, ..] => return Err(NoLinkId::ZerosInFront),
            _ => {}
        }
        let number = text.chars().try_fold(0, |number: u64, digit| {
            let digit = value(digit).ok_or(NoLinkId::Stranger(digit))?;
            number.checked_mul(62).and_then(|number| number.checked_add(digit)).ok_or(NoLinkId::TooLarge)
        })?;
        if i64::try_from(number).is_err() {
            return Err(NoLinkId::TooLarge);
        }
        Ok(Self(number))
    }
}

fn value(digit: char) -> Option<u64> {
    let place = match digit {
        '0'..='9' => digit as u8 - b'0',
        'a'..='z' => digit as u8 - b'a' + 10,
        'A'..='Z' => digit as u8 - b'A' + 36,
        _ => return None,
    };
    Some(u64::from(place))
}

impl Display for NoLinkId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it is longer than {LONGEST} characters"),
            // It may be anything, a line break too.
            Self::Stranger(_) => f.write_str("it has a character that is none of 0-9, a-z, A-Z"),
            Self::ZerosInFront => f.write_str("it begins with a zero"),
            Self::TooLarge => f.write_str("there are no links with such a large number"),
        }
    }
}

impl std::error::Error for NoLinkId {}

larder::cache_key!(LinkId { 0 });

impl ToCell for LinkId {
    fn to_cell(&self) -> Result<Cell, WrongCell> {
        self.0.to_cell()
    }
}

impl FromCell for LinkId {
    fn from_cell(cell: Cell) -> Result<Self, WrongCell> {
        u64::from_cell(cell).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_ever() {
        for (number, text) in [
            (0, "0"),
            (9, "9"),
            (10, "a"),
            (35, "z"),
            (36, "A"),
            (61, "Z"),
            (62, "10"),
            (3_843, "ZZ"),
            (3_844, "100"),
            (FIRST.0 - 1, "ZZZZZZ"),
            (FIRST.0, "1000000"),
            (FIRST.0 + 1_234_567, "1005ban"),
            (i64::MAX as u64, "aZl8N0y58M7"),
        ] {
            assert_eq!(LinkId(number).to_string(), text);
            assert_eq!(text.parse(), Ok(LinkId(number)));
        }
    }

    #[test]
    fn no_two_ids_are_written_alike_and_all_come_back() {
        let mut seen = std::collections::HashSet::new();
        let around = [0, 62, 3_844, 238_328, FIRST.0, u64::from(u32::MAX), i64::MAX as u64 - 5_000];
        let scattered = (0..20_000).map(|_| fastrand::u64(..=i64::MAX as u64));
        let numbers: std::collections::HashSet<_> =
            around.into_iter().flat_map(|start| start..start + 5_000).chain(scattered).collect();
        for &number in &numbers {
            let text = LinkId(number).to_string();
            assert_eq!(text.parse(), Ok(LinkId(number)), "{text}");
            assert!(seen.insert(text));
        }
        assert_eq!(seen.len(), numbers.len());
    }

    #[test]
    fn what_is_no_id_is_refused_with_a_reason() {
        for (text, why) in [
            ("", NoLinkId::Empty),
            ("100000000000", NoLinkId::TooLong),
            ("ab-c", NoLinkId::Stranger('-')),
            ("../etc", NoLinkId::Stranger('.')),
            ("naïve", NoLinkId::Stranger('ï')),
            ("01", NoLinkId::ZerosInFront),
            ("00", NoLinkId::ZerosInFront),
            ("aZl8N0y58M8", NoLinkId::TooLarge),
            ("ZZZZZZZZZZZ", NoLinkId::TooLarge),
        ] {
            assert_eq!(text.parse::<LinkId>(), Err(why), "{text}");
        }
    }
}
