//! What is around a value: whose it is and how to read it. A copy that does not fit is a miss, never an error.
//!
//! | bytes | |
//! |---|---|
//! | 4 | schema number, big-endian |
//! | 1 | codec |
//! | 1 | form: bit 0 the knowledge that the store has none, bits 1 and 2 compression, bit 3 sealed |
//! | 2 | length of the key, big-endian |
//! | 4 | length of the payload, big-endian |
//! | … | the key as its namespace writes it, whole also where the name in Redis is a hash of it |
//! | … | the payload; what it begins with when it is compressed or sealed, `codec/compression.rs` and `codec/seal.rs` say |

use crate::codec::compression::Method;

/// An envelope taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) schema: u32,
    pub(super) codec: u8,
    pub(super) form: Form,
    pub(super) key: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// What the payload is. Compressed first, sealed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) absent: bool,
    pub(super) compression: Method,
    pub(super) sealed: bool,
}

impl Form {
    fn byte(self) -> u8 {
        u8::from(self.absent) | (self.compression as u8) << 1 | u8::from(self.sealed) << 3
    }

    fn of(byte: u8) -> Option<Self> {
        let compression = Method::ALL.into_iter().find(|method| *method as u8 == byte >> 1 & 3)?;
        let form = Self { absent: byte & 1 != 0, compression, sealed: byte & 8 != 0 };
        (form.byte() == byte).then_some(form)
    }
}

const HEAD: usize = 12;
/// Where in the head it stands what the payload is, and how long.
const FORM: usize = 5;
const LENGTH: usize = 8;

impl<'a> Envelope<'a> {
    /// Appends all that comes before the payload to nothing; says where the payload begins. `None`: the key is too long
    /// to be told.
    pub(super) fn begin(bytes: &mut Vec<u8>, schema: u32, codec: u8, key: &[u8]) -> Option<usize> {
        let key_length = u16::try_from(key.len()).ok()?;
        bytes.clear();
        bytes.extend_from_slice(&schema.to_be_bytes());
        bytes.extend_from_slice(&[codec, 0]);
        bytes.extend_from_slice(&key_length.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(key);
        Some(bytes.len())
    }

    /// Says what the payload is and how long it will be. `None`: it is too long to be told.
    pub(super) fn finish(bytes: &mut [u8], form: Form, length: usize) -> Option<()> {
        let length = u32::try_from(length).ok()?;
        *bytes.get_mut(FORM)? = form.byte();
        bytes.get_mut(LENGTH..HEAD)?.copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    /// The envelope that `bytes` are, if they are a whole one.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [s0, s1, s2, s3, codec, form, k0, k1, p0, p1, p2, p3] = *head;
        let (key, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes([k0, k1])))?;
        let whole = u32::try_from(payload.len()) == Ok(u32::from_be_bytes([p0, p1, p2, p3]));
        let schema = u32::from_be_bytes([s0, s1, s2, s3]);
        whole.then_some(Self { schema, codec, form: Form::of(form)?, key, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Form = Form { absent: false, compression: Method::None, sealed: false };

    fn written(form: Form, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Envelope::begin(&mut bytes, 0x0102_0304, 1, b"7:x").expect("a short key");
        bytes.extend_from_slice(payload);
        Envelope::finish(&mut bytes, form, payload.len()).expect("a short payload");
        bytes
    }

    /// Golden: these bytes are in people's Redis.
    #[test]
    fn the_bytes_of_the_envelope_do_not_change() {
        let absent = Form { absent: true, ..PLAIN };
        assert_eq!(written(PLAIN, b"[1]"), b"\x01\x02\x03\x04\x01\x00\x00\x03\x00\x00\x00\x037:x[1]");
        assert_eq!(written(absent, b""), b"\x01\x02\x03\x04\x01\x01\x00\x03\x00\x00\x00\x007:x");
        let form = |form: Form| written(form, b"")[FORM];
        assert_eq!(form(Form { compression: Method::Lz4, ..PLAIN }), 0b0010);
        assert_eq!(form(Form { compression: Method::Zstd, ..PLAIN }), 0b0100);
        assert_eq!(form(Form { sealed: true, ..PLAIN }), 0b1000);
        assert_eq!(form(Form { sealed: true, compression: Method::Zstd, absent: true }), 0b1101);
    }

    #[test]
    fn what_was_written_can_be_opened() {
        for byte in (0..16).filter(|byte| byte >> 1 & 3 != 3) {
            let form = Form::of(byte).expect("one of the forms");
            let bytes = written(form, b"[1]");
            let whole = Envelope { schema: 0x0102_0304, codec: 1, form, key: b"7:x", payload: b"[1]" };
            assert_eq!(Envelope::open(&bytes), Some(whole));
        }
    }

    #[test]
    fn an_unknown_form_is_none() {
        for byte in (16..=u8::MAX).chain([6, 7, 14, 15]) {
            assert_eq!(Form::of(byte), None, "{byte}");
        }
    }

    #[test]
    fn a_part_of_an_envelope_is_none() {
        let bytes = written(PLAIN, b"[1]");
        for length in 0..bytes.len() {
            assert_eq!(Envelope::open(&bytes[..length]), None);
        }
        assert_eq!(Envelope::open(&[&bytes[..], b"!"].concat()), None, "nor is one with something behind it");
    }

    #[test]
    fn a_key_that_is_too_long_is_not_written() {
        assert_eq!(Envelope::begin(&mut Vec::new(), 1, 1, &vec![b'k'; 1 << 16]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            _ = Envelope::open(&bytes);
        }
    }
}
