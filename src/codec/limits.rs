//! What bytes from outside may ask of a decoder: bounded nesting, and no more elements than there are bytes.
//!
//! The binary formats tell the length of a collection before its elements, and nothing stops them from telling a lie, nor
//! from nesting until the stack ends. A decoder behind [`read`] believes neither.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// How deep values may nest, every struct, collection, enum and `Some` counted.
const DEPTH: usize = 256;

/// The value that `decoder` reads, which has `bytes` bytes to read from.
pub(super) fn read<'de, V: DeserializeOwned, D: Deserializer<'de>>(
    decoder: D,
    bytes: usize,
) -> Result<V, D::Error> {
    let elements = Cell::new(bytes);
    V::deserialize(Limited { inner: decoder, limits: Limits { depth: DEPTH, elements: &elements } })
}

/// What is left of it at one place of a value.
#[derive(Clone, Copy)]
struct Limits<'a> {
    depth: usize,
    /// Every element takes a byte at least, so that all collections of a value have no more elements than it has bytes.
    elements: &'a Cell<usize>,
}

impl Limits<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth, ..self })
    }

    fn grant<E: Error>(self, elements: usize) -> Result<(), E> {
        let left = self.elements.get().checked_sub(elements);
        self.elements.set(left.ok_or_else(|| E::custom("more elements than bytes"))?);
        Ok(())
    }
}

/// A decoder, or a part of one, under limits.
struct Limited<'a, T> {
    inner: T,
    limits: Limits<'a>,
}

impl<'a, T> Limited<'a, T> {
    fn around<U>(&self, inner: U) -> Limited<'a, U> {
        Limited { inner, limits: self.limits }
    }
}

/// A visitor of what may nest.
struct Guard<'a, V> {
    visitor: V,
    limits: Limits<'a>,
    /// Its elements were told by the bytes, not by the type.
    counted: bool,
}

impl<'a, V> Guard<'a, V> {
    fn new(visitor: V, limits: Limits<'a>, counted: bool) -> Self {
        Self { visitor, limits, counted }
    }

    /// A collection that says how many elements it has is granted them all: room may be made for so many at once. One that
    /// does not is granted one after the other.
    fn collection<A, E: Error>(&self, inner: A, told: Option<usize>) -> Result<Collection<'a, A>, E> {
        if self.counted {
            self.limits.grant(told.unwrap_or(0))?;
        }
        Ok(Collection { inner, limits: self.limits, one_by_one: self.counted && told.is_none() })
    }
}

/// The elements of a collection, or the parts of a struct.
struct Collection<'a, A> {
    inner: A,
    limits: Limits<'a>,
    one_by_one: bool,
}

impl<A> Collection<'_, A> {
    fn count<E: Error>(&self) -> Result<(), E> {
        if self.one_by_one { self.limits.grant(1) } else { Ok(()) }
    }
}

macro_rules! plain {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        })*
    };
}

macro_rules! nested {
    ($($method:ident($($argument:ident: $kind:ty),*) $counted:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* Guard::new(visitor, self.limits.deeper()?, $counted))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
    }

    nested! {
        deserialize_any() true
        deserialize_ignored_any() true
        deserialize_option() false
        deserialize_seq() true
        deserialize_map() true
        deserialize_unit_struct(name: &'static str) false
        deserialize_newtype_struct(name: &'static str) false
        deserialize_tuple(length: usize) false
        deserialize_tuple_struct(name: &'static str, length: usize) false
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) false
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) false
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit_plain {
    ($($method:ident($kind:ty))*) => {
        $(fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit_plain! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64) visit_char(char) visit_str(&str) visit_borrowed_str(&'de str)
        visit_string(String) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Limited { inner, limits: self.limits })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Limited { inner, limits: self.limits })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let told = inner.size_hint();
        let elements = self.collection(inner, told)?;
        self.visitor.visit_seq(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let told = inner.size_hint();
        let elements = self.collection(inner, told)?;
        self.visitor.visit_map(elements)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Limited { inner, limits: self.limits })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Limited { inner, limits: self.limits })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Collection<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.count()?;
        self.inner.next_element_seed(Limited { inner: seed, limits: self.limits })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Collection<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.count()?;
        self.inner.next_key_seed(Limited { inner: seed, limits: self.limits })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Limited { inner: seed, limits: self.limits })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'a, A> {
    type Error = A::Error;
    type Variant = Limited<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let seed = self.around(seed);
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Limited { inner, limits: self.limits }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(length, Guard::new(visitor, self.limits, false))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Guard::new(visitor, self.limits, false))
    }
}

#[cfg(all(test, feature = "msgpack", feature = "postcard"))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use crate::codec::{Codec, Json, MessagePack, Postcard};

    /// Everything that serde knows.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Nothing,
        Some(Option<Box<Self>>),
        Number(u64, i32, bool),
        Wide(i64),
        Text { text: String, initial: char },
        Bytes(Vec<u8>),
        Many(Vec<Self>),
        Named(BTreeMap<String, Self>),
        Pair(Box<(Self, Self)>),
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Nothing),
            Just(Tree::Some(None)),
            any::<(u64, i32, bool)>().prop_map(|(a, b, c)| Tree::Number(a, b, c)),
            any::<i64>().prop_map(Tree::Wide),
            any::<(String, char)>().prop_map(|(text, initial)| Tree::Text { text, initial }),
            any::<Vec<u8>>().prop_map(Tree::Bytes),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                inner.clone().prop_map(|tree| Tree::Some(Some(Box::new(tree)))),
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Tree::Many),
                proptest::collection::btree_map(any::<String>(), inner.clone(), 0..4).prop_map(Tree::Named),
                (inner.clone(), inner).prop_map(|pair| Tree::Pair(Box::new(pair))),
            ]
        })
    }

    fn written<V>(codec: &impl Codec<V>, value: &V) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec.encode(value, &mut bytes).expect("it can be written");
        bytes
    }

    fn assert_round_trip<V: PartialEq + std::fmt::Debug>(codec: &impl Codec<V>, value: &V) {
        let bytes = written(codec, value);
        assert_eq!(&codec.decode(&bytes).expect("it can be read"), value);
        assert!(codec.decode(&[&bytes[..], b"\0"].concat()).is_err(), "nothing may be behind it");
        assert!(codec.decode(&bytes[..bytes.len() - 1]).is_err(), "nothing may be missing");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_else(tree in trees()) {
            assert_round_trip(&Json, &tree);
            assert_round_trip(&MessagePack, &tree);
            assert_round_trip(&Postcard, &tree);
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            _ = Codec::<Tree>::decode(&Json, &bytes);
            _ = Codec::<Tree>::decode(&MessagePack, &bytes);
            _ = Codec::<Tree>::decode(&Postcard, &bytes);
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Chain(Vec<Self>);

    #[derive(Debug, Serialize, Deserialize)]
    enum Enums {
        End,
        More(Box<Self>),
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct List {
        next: Option<Box<Self>>,
    }

    fn refuses<V>(codec: &impl Codec<V>, bytes: &[u8]) {
        assert!(codec.decode(bytes).is_err());
    }

    /// Without a limit these end the process: the stack is too small for them.
    #[test]
    fn what_nests_without_end_is_refused() {
        const TIMES: usize = 200_000;
        refuses::<Chain>(&MessagePack, &[0x91; TIMES]);
        refuses::<Chain>(&Postcard, &[1; TIMES]);
        refuses::<Enums>(&MessagePack, &b"\x81\xa4More".repeat(TIMES));
        refuses::<Enums>(&Postcard, &[1; TIMES]);
        refuses::<List>(&MessagePack, &b"\x81\xa4next".repeat(TIMES));
        refuses::<List>(&Postcard, &[1; TIMES]);
        refuses::<Chain>(&Json, &[b'['; TIMES]);
        refuses::<serde_json::Value>(&MessagePack, &[0x91; TIMES]);
        refuses::<Vec<u8>>(&MessagePack, &[&[0x92, 1][..], &[0x91; TIMES]].concat());
    }

    #[test]
    fn a_hundred_levels_are_not_too_many() {
        let list = (0..100).fold(List { next: None }, |list, _| List { next: Some(Box::new(list)) });
        let length =
            |list: &List| std::iter::successors(list.next.as_ref(), |list| list.next.as_ref()).count();
        let codecs: [&dyn Codec<List>; 3] = [&Json, &MessagePack, &Postcard];
        for codec in codecs {
            let mut bytes = Vec::new();
            codec.encode(&list, &mut bytes).expect("it can be written");
            assert_eq!(length(&codec.decode(&bytes).expect("it can be read")), 100);
        }
    }

    /// A length is believed as far as there are bytes for it.
    #[test]
    fn a_collection_that_claims_too_much_makes_no_room() {
        let claims: Vec<u8> = [0xdd, 0xff, 0xff, 0xff, 0xff].repeat(100);
        let varints: Vec<u8> = [0xff, 0xff, 0xff, 0xff, 0x0f].repeat(100);
        let took = allocation_counter::measure(|| {
            refuses::<Chain>(&MessagePack, &claims);
            refuses::<Chain>(&Postcard, &varints);
            refuses::<BTreeMap<u64, Chain>>(&Postcard, &varints);
            refuses::<serde_json::Value>(&MessagePack, &claims);
            refuses::<String>(&MessagePack, &[0xdb, 0xff, 0xff, 0xff, 0xff, b'a']);
            refuses::<String>(&Postcard, &varints);
        });
        assert!(took.bytes_max < 100_000, "{} bytes", took.bytes_max);
    }

    /// Elements that take no bytes would go on for ever.
    #[test]
    fn nothing_repeated_without_end_is_refused() {
        refuses::<Vec<()>>(&Postcard, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        refuses::<Vec<Vec<()>>>(&Postcard, &[&[100][..], &[200, 1].repeat(100)].concat());
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        id: u64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        title: String,
        id: u64,
    }

    /// In a rolling update the two versions read each other's copies.
    #[test]
    fn message_pack_is_tolerant_of_added_fields() {
        let (old, new) = (Old { id: 7 }, New { title: "Hello".to_owned(), id: 7 });
        let read: New = MessagePack.decode(&written(&MessagePack, &old)).expect("the field has a default");
        assert_eq!(read, New { title: String::new(), id: 7 });
        let read: Old = MessagePack.decode(&written(&MessagePack, &new)).expect("the field is passed over");
        assert_eq!(read, old);
    }

    /// Golden: these bytes are in people's Redis.
    #[test]
    fn the_bytes_of_the_formats_do_not_change() {
        let new = New { title: "Hi".to_owned(), id: 300 };
        assert_eq!(written(&Json, &new), b"{\"title\":\"Hi\",\"id\":300}");
        assert_eq!(written(&MessagePack, &new), b"\x82\xa5title\xa2Hi\xa2id\xcd\x01\x2c");
        assert_eq!(written(&Postcard, &new), b"\x02Hi\xac\x02");
        assert_eq!(
            [Codec::<Old>::id(&Json), Codec::<Old>::id(&MessagePack), Codec::<Old>::id(&Postcard)],
            [1, 2, 3]
        );
    }
}
