//! A write as the payload of a record. Format 1; all numbers are little-endian.
//!
//! | what | bytes |
//! |---|---|
//! | format | 1: the number 1 |
//! | kind | 1: 1 for a put, 2 for a delete, 3 for a merge |
//! | codec id | 1: what wrote the value |
//! | schema | 4: the version of the value's type |
//! | accepted | 8: when the write was accepted, in milliseconds since 1970 |
//! | length of the key | 4 |
//! | key | as many, JSON |
//! | value | the rest; of a delete there is none |
//!
//! A delete has the codec and the schema that a put had at that time. There is no checksum: the record around it has one.

#![allow(clippy::exhaustive_enums, clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::fmt;

/// What every version of this crate writes so far.
const FORMAT: u8 = 1;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const MERGE: u8 = 3;
/// How many bytes come before the key.
const HEAD: usize = 19;

/// A write in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The id of the codec that writes values.
    pub codec: u8,
    /// The version of the value's type.
    pub schema: u32,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted: u64,
    /// The key.
    pub key: &'a [u8],
    /// The value that is put, or the operand that is merged; none if the key is deleted.
    pub value: Option<&'a [u8]>,
    /// Whether it is merged.
    pub is_merge: bool,
}

/// Keys and values are users' data, and data is not for logs.
impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.is_merge, self.value) {
            (true, _) => "merge",
            (false, Some(_)) => "put",
            (false, None) => "delete",
        };
        write!(f, "Payload({kind}, codec {}, schema {})", self.codec, self.schema)
    }
}

/// Why bytes are no write that this version reads, in words that hold nothing of them but numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPayload {
    /// There are none.
    Empty,
    /// They are of a format with another number.
    Format(u8),
    /// They are neither a put nor a delete nor a merge.
    Kind(u8),
    /// They end before the key does.
    Short,
    /// They are a delete, and have a value.
    ValueOfDelete,
}

impl fmt::Display for NoPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the record is empty"),
            Self::Format(format) => {
                write!(f, "the record is of format {format}, which this version of larder does not know")
            }
            Self::Kind(kind) => {
                write!(f, "the record is of kind {kind}, which is neither a put, a delete nor a merge")
            }
            Self::Short => f.write_str("the record ends before its key does"),
            Self::ValueOfDelete => f.write_str("the record is a delete, and has a value"),
        }
    }
}

impl std::error::Error for NoPayload {}

/// The bytes of `payload`. A key is shorter than 4 GiB: no record is so long.
pub fn encode(payload: &Payload<'_>) -> Vec<u8> {
    let value = payload.value.unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEAD + payload.key.len() + value.len());
    let kind = match (payload.is_merge, payload.value) {
        (true, _) => MERGE,
        (false, Some(_)) => PUT,
        (false, None) => DELETE,
    };
    bytes.extend([FORMAT, kind, payload.codec]);
    bytes.extend(payload.schema.to_le_bytes());
    bytes.extend(payload.accepted.to_le_bytes());
    bytes.extend(u32::try_from(payload.key.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(payload.key);
    bytes.extend(value);
    bytes
}

/// The write that `bytes` are.
///
/// # Errors
///
/// Why they are none.
pub fn decode(bytes: &[u8]) -> Result<Payload<'_>, NoPayload> {
    match bytes.first() {
        None => Err(NoPayload::Empty),
        Some(&FORMAT) => decode_first_format(bytes),
        Some(format) => Err(NoPayload::Format(*format)),
    }
}

fn decode_first_format(bytes: &[u8]) -> Result<Payload<'_>, NoPayload> {
    let ([_, kind, codec], rest) = bytes.split_first_chunk().ok_or(NoPayload::Short)?;
    let (schema, rest) = rest.split_first_chunk().ok_or(NoPayload::Short)?;
    let (accepted, rest) = rest.split_first_chunk().ok_or(NoPayload::Short)?;
    let (length, rest) = rest.split_first_chunk().ok_or(NoPayload::Short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NoPayload::Short)?;
    let (key, value) = rest.split_at_checked(length).ok_or(NoPayload::Short)?;
    let value = match (*kind, value) {
        (PUT | MERGE, value) => Some(value),
        (DELETE, []) => None,
        (DELETE, _) => return Err(NoPayload::ValueOfDelete),
        (kind, _) => return Err(NoPayload::Kind(kind)),
    };
    let (schema, accepted) = (u32::from_le_bytes(*schema), u64::from_le_bytes(*accepted));
    Ok(Payload { codec: *codec, schema, accepted, key, value, is_merge: *kind == MERGE })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PUT_OF_TWO: Payload<'static> = Payload {
        codec: 1,
        schema: 3,
        accepted: 1_700_000_000_123,
        key: b"\"ab\"",
        value: Some(b"{}"),
        is_merge: false,
    };

    /// Golden: these bytes are on people's disks. A change of them is a new format with a new number.
    #[test]
    fn the_bytes_of_a_put_do_not_change() {
        let golden = b"\x01\x01\x01\x03\0\0\0\x7b\x68\xe5\xcf\x8b\x01\0\0\x04\0\0\0\"ab\"{}";
        assert_eq!(encode(&PUT_OF_TWO), golden);
        assert_eq!(decode(golden), Ok(PUT_OF_TWO));
    }

    /// Golden, too.
    #[test]
    fn the_bytes_of_a_merge_do_not_change() {
        let merge = Payload { is_merge: true, ..PUT_OF_TWO };
        let golden = b"\x01\x03\x01\x03\0\0\0\x7b\x68\xe5\xcf\x8b\x01\0\0\x04\0\0\0\"ab\"{}";
        assert_eq!(encode(&merge), golden);
        assert_eq!(decode(golden), Ok(merge));
    }

    /// Golden, too.
    #[test]
    fn the_bytes_of_a_delete_do_not_change() {
        let delete = Payload { value: None, ..PUT_OF_TWO };
        let golden = b"\x01\x02\x01\x03\0\0\0\x7b\x68\xe5\xcf\x8b\x01\0\0\x04\0\0\0\"ab\"";
        assert_eq!(encode(&delete), golden);
        assert_eq!(decode(golden), Ok(delete));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_it_is() {
        let whole = encode(&PUT_OF_TWO);
        let changed = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            decode(&bytes).map(drop)
        };
        assert_eq!(decode(b""), Err(NoPayload::Empty));
        assert_eq!(changed(0, 2), Err(NoPayload::Format(2)));
        assert_eq!(changed(1, 4), Err(NoPayload::Kind(4)));
        assert_eq!(changed(1, DELETE), Err(NoPayload::ValueOfDelete));
        assert_eq!(changed(15, 9), Err(NoPayload::Short));
        assert!((1..HEAD + 4).all(|cut| decode(&whole[..cut]) == Err(NoPayload::Short)));
    }

    #[test]
    fn data_is_not_printed() {
        assert_eq!(format!("{PUT_OF_TWO:?}"), "Payload(put, codec 1, schema 3)");
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            codec: u8, schema: u32, accepted: u64, key: Vec<u8>, value: Option<Vec<u8>>
        ) {
            let payload = Payload { codec, schema, accepted, key: &key, value: value.as_deref(), is_merge: false };
            let bytes = encode(&payload);
            prop_assert_eq!(decode(&bytes), Ok(payload));
        }

        #[test]
        fn any_bytes_can_be_asked_and_what_is_read_is_written_alike(bytes: Vec<u8>, format in 0..3_u8) {
            let bytes = [&[format][..], &bytes].concat();
            if let Ok(payload) = decode(&bytes) {
                prop_assert_eq!(encode(&payload), bytes);
            }
        }
    }
}
