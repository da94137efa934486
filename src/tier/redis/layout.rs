//! A slot as bytes. Layout 1; the scripts know the same places.
//!
//! | state | bytes |
//! |---|---|
//! | kept | `ld1V` id 16 · as of 13 · fresh until 13 · expires at 13 · envelope |
//! | leased | `ld1L` token 16 · granted 13 · ends 13 · the bytes of the kept copy, or none |
//! | held | `ld1H` contended `0` or `1` · token 16, ends 13 for each hold |
//!
//! Times are decimal milliseconds of the server's clock: `redis-cli` shows them, and Lua reads them without loss. Bytes
//! of any other form are nobody's: a miss for readers, free to be overwritten.

use std::borrow::Cow;

use crate::tier::slot::{Kept, LAST, Millis, Slot, Token};

const TOKEN: usize = 16;
const TIME: usize = 13;
const STATE: usize = 4;

/// The bytes of `slot`.
#[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "production writes slots in scripts only"))]
pub fn encode(slot: &Slot<Cow<'_, [u8]>>) -> Vec<u8> {
    match slot {
        Slot::Kept(kept) => encode_kept(kept),
        Slot::Leased { token, granted, ends, kept } => {
            let mut bytes = b"ld1L".to_vec();
            bytes.extend(token.0.to_be_bytes());
            bytes.extend(digits(*granted));
            bytes.extend(digits(*ends));
            bytes.extend(kept.as_ref().map(encode_kept).unwrap_or_default());
            bytes
        }
        Slot::Held { contended, holds } => {
            let mut bytes = b"ld1H".to_vec();
            bytes.push(if *contended { b'1' } else { b'0' });
            for (token, ends) in holds {
                bytes.extend(token.0.to_be_bytes());
                bytes.extend(digits(*ends));
            }
            bytes
        }
    }
}

fn encode_kept(kept: &Kept<Cow<'_, [u8]>>) -> Vec<u8> {
    let mut bytes = b"ld1V".to_vec();
    bytes.extend(kept.id.0.to_be_bytes());
    for time in [kept.as_of, kept.fresh_until, kept.expires_at] {
        bytes.extend(digits(time));
    }
    bytes.extend(kept.body.iter());
    bytes
}

fn digits(time: Millis) -> Vec<u8> {
    format!("{:013}", time.min(LAST)).into_bytes()
}

/// The slot that `bytes` are, if they are one.
pub fn decode(bytes: &[u8]) -> Option<Slot<Cow<'_, [u8]>>> {
    let (state, rest) = bytes.split_at_checked(STATE)?;
    match state {
        b"ld1V" => decode_kept(rest).map(Slot::Kept),
        b"ld1L" => {
            let (token, rest) = take_token(rest)?;
            let (granted, rest) = take_time(rest)?;
            let (ends, rest) = take_time(rest)?;
            let kept = rest.strip_prefix(b"ld1V").and_then(decode_kept);
            Some(Slot::Leased { token, granted, ends, kept })
        }
        b"ld1H" => {
            let (contended, mut rest) = rest.split_first()?;
            let mut holds = Vec::new();
            while !rest.is_empty() {
                let (token, after) = take_token(rest)?;
                let (ends, after) = take_time(after)?;
                holds.push((token, ends));
                rest = after;
            }
            Some(Slot::Held { contended: *contended == b'1', holds })
        }
        _ => None,
    }
}

/// The copy in `bytes`, whatever state they are in.
pub fn copy(bytes: &[u8]) -> Option<Kept<Cow<'_, [u8]>>> {
    match decode(bytes)? {
        Slot::Kept(kept) => Some(kept),
        Slot::Leased { kept, .. } => kept,
        Slot::Held { .. } => None,
    }
}

fn decode_kept(bytes: &[u8]) -> Option<Kept<Cow<'_, [u8]>>> {
    let (id, rest) = take_token(bytes)?;
    let (as_of, rest) = take_time(rest)?;
    let (fresh_until, rest) = take_time(rest)?;
    let (expires_at, body) = take_time(rest)?;
    Some(Kept { id, as_of, fresh_until, expires_at, body: Cow::Borrowed(body) })
}

fn take_token(bytes: &[u8]) -> Option<(Token, &[u8])> {
    let (token, rest) = bytes.split_at_checked(TOKEN)?;
    Some((Token(u128::from_be_bytes(token.try_into().ok()?)), rest))
}

fn take_time(bytes: &[u8]) -> Option<(Millis, &[u8])> {
    let (time, rest) = bytes.split_at_checked(TIME)?;
    Some((number(time)?, rest))
}

/// The decimal number that up to 19 `digits` are. By hand, since every hit reads three: the way over a string takes ten
/// times as many instructions.
pub fn number(digits: &[u8]) -> Option<Millis> {
    let mut number: Millis = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.wrapping_mul(10).wrapping_add(Millis::from(digit));
    }
    (digits.len() < 20).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Bytes = Slot<Cow<'static, [u8]>>;

    fn kept() -> Kept<Cow<'static, [u8]>> {
        let id = Token(u128::from_be_bytes(*b"0123456789abcdef"));
        Kept { id, as_of: 1, fresh_until: 20, expires_at: LAST, body: Cow::Borrowed(b"body") }
    }

    /// Golden: these bytes are in people's Redis. A change of them is a new layout with a new number.
    #[test]
    fn the_bytes_of_layout_1_do_not_change() {
        let golden: [(Bytes, &[u8]); 4] = [
            (Slot::Kept(kept()), b"ld1V0123456789abcdef000000000000100000000000209999999999999body"),
            (
                Slot::Leased { token: kept().id, granted: 3, ends: 4, kept: None },
                b"ld1L0123456789abcdef00000000000030000000000004",
            ),
            (
                Slot::Leased { token: kept().id, granted: 3, ends: 4, kept: Some(kept()) },
                b"ld1L0123456789abcdef00000000000030000000000004\
                  ld1V0123456789abcdef000000000000100000000000209999999999999body",
            ),
            (
                Slot::Held { contended: true, holds: vec![(kept().id, 7), (Token::NOBODY, 8)] },
                b"ld1H10123456789abcdef0000000000007\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x000000000000008",
            ),
        ];
        for (slot, bytes) in golden {
            assert_eq!(encode(&slot), bytes);
            assert_eq!(decode(bytes), Some(slot));
        }
    }

    #[test]
    fn other_bytes_are_nobodys() {
        for bytes in [&b""[..], b"ld1", b"ld2V", b"ld1V0123", b"ld1L", b"ld1Hx0123", b"{\"json\":1}"] {
            assert!(decode(bytes).is_none() || bytes == b"ld1Hx");
            assert!(copy(bytes).is_none());
        }
        assert!(decode(b"ld1L0123456789abcdef+0000000000030000000000004").is_none());
    }
}
