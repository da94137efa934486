//! What is around a value: whose it is and how to read it. A copy that does not fit is a miss, never an error.
//!
//! | bytes | |
//! |---|---|
//! | 4 | schema number, big-endian |
//! | 1 | codec |
//! | 1 | `0` a value, `1` the knowledge that the store has none |
//! | 2 | length of the key, big-endian |
//! | 4 | length of the payload, big-endian |
//! | … | the key as its namespace writes it, whole also where the name in Redis is a hash of it |
//! | … | the payload |

/// An envelope taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) schema: u32,
    pub(super) codec: u8,
    pub(super) absent: bool,
    pub(super) key: &'a [u8],
    pub(super) payload: &'a [u8],
}

const HEAD: usize = 12;

impl<'a> Envelope<'a> {
    /// The bytes, with a payload that `write` appends. `None`: the key or the payload is too long to be told.
    pub(super) fn seal<E>(
        schema: u32,
        codec: u8,
        key: &[u8],
        write: Option<impl FnOnce(&mut Vec<u8>) -> Result<(), E>>,
    ) -> Result<Option<Vec<u8>>, E> {
        let Ok(key_length) = u16::try_from(key.len()) else { return Ok(None) };
        let mut bytes = Vec::with_capacity(HEAD + key.len() + 128);
        bytes.extend(schema.to_be_bytes());
        bytes.extend([codec, u8::from(write.is_none())]);
        bytes.extend(key_length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(key);
        let begin = bytes.len();
        if let Some(write) = write {
            write(&mut bytes)?;
        }
        let Ok(length) = u32::try_from(bytes.len() - begin) else { return Ok(None) };
        bytes[HEAD - 4..HEAD].copy_from_slice(&length.to_be_bytes());
        Ok(Some(bytes))
    }

    /// The envelope that `bytes` are, if they are a whole one.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [s0, s1, s2, s3, codec, absent, k0, k1, p0, p1, p2, p3] = *head;
        let (key, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes([k0, k1])))?;
        let length = u32::from_be_bytes([p0, p1, p2, p3]);
        let whole = u32::try_from(payload.len()) == Ok(length) && absent <= 1;
        let schema = u32::from_be_bytes([s0, s1, s2, s3]);
        whole.then_some(Self { schema, codec, absent: absent == 1, key, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn sealed(payload: Option<&[u8]>) -> Vec<u8> {
        let write = payload.map(|payload| {
            move |bytes: &mut Vec<u8>| {
                bytes.extend(payload);
                Ok::<_, Infallible>(())
            }
        });
        Envelope::seal(0x0102_0304, 1, b"7:x", write).expect("infallible").expect("short enough")
    }

    /// Golden: these bytes are in people's Redis.
    #[test]
    fn the_bytes_of_the_envelope_do_not_change() {
        assert_eq!(sealed(Some(b"[1]")), b"\x01\x02\x03\x04\x01\x00\x00\x03\x00\x00\x00\x037:x[1]");
        assert_eq!(sealed(None), b"\x01\x02\x03\x04\x01\x01\x00\x03\x00\x00\x00\x007:x");
    }

    #[test]
    fn what_was_sealed_can_be_opened() {
        let bytes = sealed(Some(b"[1]"));
        let envelope = Envelope::open(&bytes).expect("whole");
        let whole = Envelope { schema: 0x0102_0304, codec: 1, absent: false, key: b"7:x", payload: b"[1]" };
        assert_eq!(envelope, whole);
        assert!(Envelope::open(&sealed(None)).is_some_and(|envelope| envelope.absent));
    }

    #[test]
    fn a_part_of_an_envelope_is_none() {
        let bytes = sealed(Some(b"[1]"));
        for length in 0..bytes.len() {
            assert_eq!(Envelope::open(&bytes[..length]), None);
        }
        assert_eq!(Envelope::open(&[&bytes[..], b"!"].concat()), None, "nor is one with something behind it");
    }

    #[test]
    fn a_key_that_is_too_long_is_not_sealed() {
        let key = vec![b'k'; 1 << 16];
        let sealed = Envelope::seal(1, 1, &key, None::<fn(&mut Vec<u8>) -> Result<(), Infallible>>);
        assert_eq!(sealed, Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            _ = Envelope::open(&bytes);
        }
    }
}
