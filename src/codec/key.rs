//! Keys as bytes, no two alike.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Write;
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8, NonZeroU16,
    NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize,
};
use std::sync::Arc;

use crate::tenant::{Tenant, TenantKey};

/// A key that can be written for a tier outside this process.
///
/// Numbers, texts, bytes and tuples of them are. For a type of your own that has fields
/// [`cache_key!`](crate::cache_key) writes each of them:
///
/// ```
/// use larder::codec::KeyWriter;
///
/// struct PostOf { blog: u32, slug: String }
/// larder::cache_key!(PostOf { blog, slug });
///
/// assert_eq!(KeyWriter::text_of(&PostOf { blog: 7, slug: "a:b".into() }), "7:a%3Ab");
/// ```
///
/// By hand: two keys of one type are never written alike, since a tier would take them for one. Write each part of the
/// key with a call of its own, always the same number of parts.
///
/// ```
/// use larder::codec::{CacheKey, KeyWriter};
///
/// enum Page { Home, Post(u64) }
///
/// impl CacheKey for Page {
///     fn write(&self, key: &mut KeyWriter) {
///         let (kind, id) = match self {
///             Page::Home => ("home", 0),
///             Page::Post(id) => ("post", *id),
///         };
///         (kind, id).write(key);
///     }
/// }
///
/// assert_eq!(KeyWriter::text_of(&Page::Post(42)), "post:42");
/// assert_eq!(KeyWriter::text_of(&Page::Home), "home:0");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written as a key for a tier outside this process",
    label = "not a `CacheKey`",
    note = "for a type with fields: `larder::cache_key!({Self} {{ … }})`, naming all of them",
    note = "for others implement `larder::codec::CacheKey`: write each part, always the same number"
)]
pub trait CacheKey {
    /// Writes the parts of the key.
    fn write(&self, key: &mut KeyWriter);

    /// Writes a tenant of such keys without a key of it. False: keys of this type have no tenant.
    #[doc(hidden)]
    fn write_tenant(_tenant: &dyn Any, _key: &mut KeyWriter) -> bool
    where
        Self: Sized,
    {
        false
    }
}

/// Writes a type of your own as a [`CacheKey`](crate::codec::CacheKey): each field a part.
///
/// ```
/// use larder::codec::KeyWriter;
///
/// struct PostId(u64); // one field without a name
/// larder::cache_key!(PostId);
///
/// struct Revision(PostId, u32); // several
/// larder::cache_key!(Revision { 0, 1 });
///
/// struct PostOf { blog: u32, slug: String }
/// larder::cache_key!(PostOf { blog, slug });
///
/// assert_eq!(KeyWriter::text_of(&PostId(42)), "42");
/// assert_eq!(KeyWriter::text_of(&Revision(PostId(42), 3)), "42:3");
/// assert_eq!(KeyWriter::text_of(&PostOf { blog: 7, slug: "a:b".into() }), "7:a%3Ab");
/// ```
///
/// A field that is left out does not compile: keys that differ in nothing else would be one.
///
/// ```compile_fail
/// struct PostOf { blog: u32, slug: String }
/// larder::cache_key!(PostOf { slug });
/// ```
#[macro_export]
macro_rules! cache_key {
    ($key:ident) => {
        impl $crate::codec::CacheKey for $key {
            fn write(&self, key: &mut $crate::codec::KeyWriter) {
                let Self { 0: part } = self;
                $crate::codec::CacheKey::write(part, key);
            }
        }
    };
    ($key:ident { $($field:tt),+ $(,)? }) => {
        impl $crate::codec::CacheKey for $key {
            fn write(&self, key: &mut $crate::codec::KeyWriter) {
                let Self { $($field: _),+ } = self;
                $($crate::codec::CacheKey::write(&self.$field, key);)+
            }
        }
    };
}

/// Takes the parts of a key and sets `:` between them. Inside a part `:`, `%`, spaces, line ends and whatever else is
/// not seen are written as `%` and two digits for each byte.
#[derive(Debug)]
pub struct KeyWriter {
    text: String,
    parts: usize,
    /// Where in `text` the tenant ends, if the key begins with one.
    tenant_ends: Option<usize>,
}

impl KeyWriter {
    /// `key`, written.
    #[must_use]
    pub fn text_of<K: CacheKey + ?Sized>(key: &K) -> String {
        Self::append(String::new(), key).0
    }

    /// The part of the text of a `K` that is its tenant.
    pub(crate) fn text_of_tenant<K: CacheKey>(tenant: &dyn Any) -> Option<String> {
        let mut writer = Self::behind(String::new());
        K::write_tenant(tenant, &mut writer).then_some(writer.text)
    }

    /// `text` with `key` written behind it, and where in it the key's tenant ends.
    pub(crate) fn append<K: CacheKey + ?Sized>(text: String, key: &K) -> (String, Option<usize>) {
        let mut writer = Self::behind(text);
        key.write(&mut writer);
        (writer.text, writer.tenant_ends)
    }

    fn behind(text: String) -> Self {
        Self { text, parts: 0, tenant_ends: None }
    }

    /// One part, whatever is in it.
    pub fn part(&mut self, part: &str) {
        self.begin();
        let mut plain = 0;
        for (at, odd) in part.char_indices().filter(|(_, letter)| is_odd(*letter)) {
            self.text.push_str(&part[plain..at]);
            plain = at + odd.len_utf8();
            for byte in &part.as_bytes()[at..plain] {
                // Writing to a string does not fail.
                _ = write!(self.text, "%{byte:02X}");
            }
        }
        self.text.push_str(&part[plain..]);
    }

    /// One part, two digits for each byte.
    fn bytes(&mut self, bytes: &[u8]) {
        self.begin();
        bytes.iter().for_each(|byte| _ = write!(self.text, "{byte:02x}"));
    }

    fn tenant<T: CacheKey>(&mut self, tenant: &Tenant<T>) {
        let is_first = self.parts == 0;
        tenant.id().write(self);
        if is_first {
            self.tenant_ends = Some(self.text.len());
        }
    }

    /// One part in which nothing is odd.
    fn plain(&mut self, part: impl std::fmt::Display) {
        self.begin();
        _ = write!(self.text, "{part}");
    }

    fn begin(&mut self) {
        if self.parts > 0 {
            self.text.push(':');
        }
        self.parts += 1;
    }
}

/// Whether a letter could be mistaken: it means something between parts, is not seen, or changes how others are seen.
///
/// A list of our own. Those of Unicode grow with the compiler, and names must not change.
const fn is_odd(letter: char) -> bool {
    matches!(
        letter,
        ':' | '%'
            | '\0'..=' '
            | '\u{7f}'..='\u{a0}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{1680}'
            | '\u{180e}'
            | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{205f}'..='\u{206f}'
            | '\u{3000}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

macro_rules! plain_keys {
    ($($kind:ty),*) => {
        $(impl CacheKey for $kind {
            fn write(&self, key: &mut KeyWriter) {
                key.plain(self);
            }
        })*
    };
}

plain_keys!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool);
plain_keys!(NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize);
plain_keys!(NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize);

impl CacheKey for str {
    fn write(&self, key: &mut KeyWriter) {
        key.part(self);
    }
}

impl CacheKey for String {
    fn write(&self, key: &mut KeyWriter) {
        key.part(self);
    }
}

impl CacheKey for Cow<'_, str> {
    fn write(&self, key: &mut KeyWriter) {
        key.part(self);
    }
}

impl CacheKey for [u8] {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self);
    }
}

impl CacheKey for Vec<u8> {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self);
    }
}

impl<const N: usize> CacheKey for [u8; N] {
    fn write(&self, key: &mut KeyWriter) {
        key.bytes(self);
    }
}

/// The tenant first, so that what is the tenant's can be told from its beginning.
impl<T: CacheKey + 'static, K: CacheKey> CacheKey for TenantKey<T, K> {
    fn write(&self, key: &mut KeyWriter) {
        key.tenant(self.tenant());
        self.key().write(key);
    }

    fn write_tenant(tenant: &dyn Any, key: &mut KeyWriter) -> bool {
        tenant.downcast_ref().is_some_and(|tenant: &Tenant<T>| {
            key.tenant(tenant);
            true
        })
    }
}

impl CacheKey for char {
    fn write(&self, key: &mut KeyWriter) {
        key.part(self.encode_utf8(&mut [0; 4]));
    }
}

macro_rules! keys_behind_pointers {
    ($($pointer:ty),*) => {
        $(impl<T: CacheKey + ?Sized> CacheKey for $pointer {
            fn write(&self, key: &mut KeyWriter) {
                (**self).write(key);
            }
        })*
    };
}

keys_behind_pointers!(&T, Arc<T>, Box<T>);

macro_rules! tuple_keys {
    ($($part:ident)*) => {
        impl<$($part: CacheKey),*> CacheKey for ($($part,)*) {
            #[allow(non_snake_case, reason = "the parts are named as their types")]
            fn write(&self, key: &mut KeyWriter) {
                let ($($part,)*) = self;
                $($part.write(key);)*
            }
        }
    };
}

tuple_keys!(A);
tuple_keys!(A B);
tuple_keys!(A B C);
tuple_keys!(A B C D);
tuple_keys!(A B C D E);
tuple_keys!(A B C D E F);
tuple_keys!(A B C D E F G);
tuple_keys!(A B C D E F G H);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Golden: these texts are in people's Redis.
    #[test]
    fn keys_are_written_as_they_have_always_been() {
        assert_eq!(KeyWriter::text_of(&42_u64), "42");
        assert_eq!(KeyWriter::text_of(&-1_i8), "-1");
        assert_eq!(KeyWriter::text_of("plain"), "plain");
        assert_eq!(KeyWriter::text_of(""), "");
        assert_eq!(KeyWriter::text_of("a:b%{c}"), "a%3Ab%25{c}");
        assert_eq!(KeyWriter::text_of(&(7_u32, "a:b")), "7:a%3Ab");
        assert_eq!(KeyWriter::text_of(&("", "")), ":");
        assert_eq!(KeyWriter::text_of(&((1_u8, 2_u8), Arc::<str>::from("x"), true)), "1:2:x:true");
    }

    /// Golden: these texts are in people's Redis.
    #[test]
    fn what_is_not_seen_is_written_in_digits() {
        for (text, written) in [
            ("a b", "a%20b"),
            ("a\r\nb\0", "a%0D%0Ab%00"),
            ("\x1b[31m\x7f", "%1B[31m%7F"),
            ("\u{202e}\u{feff}", "%E2%80%AE%EF%BB%BF"),
            ("über/日本?é_-#*[x]\\^~", "über/日本?é_-#*[x]\\^~"),
        ] {
            assert_eq!(KeyWriter::text_of(text), written);
        }
    }

    /// Golden: these texts are in people's Redis.
    #[test]
    fn bytes_are_written_in_digits_and_numbers_that_are_not_zero_as_numbers() {
        assert_eq!(KeyWriter::text_of(&[0_u8, 255, 16]), "00ff10");
        assert_eq!(KeyWriter::text_of(&(vec![1_u8], b"\xab".as_slice())), "01:ab");
        assert_eq!(NonZeroU64::new(42).map(|id| KeyWriter::text_of(&id)).as_deref(), Some("42"));
        assert_eq!(KeyWriter::text_of(&Cow::Borrowed("a:b")), "a%3Ab");
        assert_eq!(KeyWriter::text_of(&(1_u8, 2_u8, 3_u8, 4_u8, 5_u8, 6_u8, 7_u8, "8")), "1:2:3:4:5:6:7:8");
    }

    #[test]
    fn a_tenant_comes_first_and_is_written_the_same_without_a_key() {
        let key = Tenant::of(("eu", 7_u32)).key("a:b");
        assert_eq!(KeyWriter::append("post:".to_owned(), &key), ("post:eu:7:a%3Ab".to_owned(), Some(9)));
        let tenant = KeyWriter::text_of_tenant::<TenantKey<(&str, u32), &str>>(key.tenant());
        assert_eq!(tenant.as_deref(), Some("eu:7"));
    }

    #[test]
    fn only_a_tenant_at_the_beginning_is_told_apart() {
        let inner = Tenant::of(1_u8).key(2_u8);
        assert_eq!(KeyWriter::append(String::new(), &(0_u8, inner)).1, None);
        assert_eq!(
            KeyWriter::append(String::new(), &Tenant::of(0_u8).key(inner)),
            ("0:1:2".to_owned(), Some(1))
        );
        assert_eq!(KeyWriter::append(String::new(), &Tenant::of(inner).key(3_u8)).1, Some(3));
        assert_eq!(KeyWriter::text_of_tenant::<u8>(&Tenant::of(1_u8)), None);
    }

    /// Any letter, most often one that could be mistaken for something else.
    fn letter() -> impl Strategy<Value = char> {
        let odd: Vec<char> = ":%{}#*20A3AaF \r\n\0\u{7f}\u{85}\u{a0}\u{2028}".chars().collect();
        prop_oneof![4 => proptest::sample::select(odd), 1 => any::<char>()]
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(letter(), 0..6).prop_map(String::from_iter)
    }

    type Nested = ((String, Vec<u8>), (String, (String, u8)));

    fn nested() -> impl Strategy<Value = Nested> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..3);
        ((text(), bytes()), (text(), (text(), any::<u8>())))
    }

    proptest! {
        #[test]
        fn no_two_texts_are_written_alike(one in text(), other in text()) {
            prop_assert_eq!(one == other, KeyWriter::text_of(&one) == KeyWriter::text_of(&other));
        }

        #[test]
        fn no_two_tuples_are_written_alike(one in nested(), other in nested()) {
            prop_assert_eq!(one == other, KeyWriter::text_of(&one) == KeyWriter::text_of(&other));
        }

        /// A letter moved over the border between two parts makes another key.
        #[test]
        fn parts_are_not_mistaken_for_their_neighbours(left in text(), letter in letter(), right in text()) {
            let here = (format!("{left}{letter}"), right.clone());
            let there = (left, format!("{letter}{right}"));
            prop_assert_ne!(KeyWriter::text_of(&here), KeyWriter::text_of(&there));
        }

        #[test]
        fn what_is_written_can_be_seen(text in text()) {
            let written = KeyWriter::text_of(&text);
            let is_inert = |letter: char| !letter.is_control() && !letter.is_whitespace() && letter != ':';
            prop_assert!(written.chars().all(is_inert), "{:?}", written);
        }
    }
}
