//! Keys as bytes, no two alike.

use std::fmt::Write;
use std::sync::Arc;

/// A key that can be written for a tier outside this process.
///
/// Two keys of one type are never written alike: a tier would take them for one. Write each part of the key with a
/// call of its own, always the same number of parts:
///
/// ```
/// use larder::codec::{CacheKey, KeyWriter};
///
/// struct PostOf { tenant: u32, slug: String }
///
/// impl CacheKey for PostOf {
///     fn write(&self, key: &mut KeyWriter) {
///         self.tenant.write(key);
///         self.slug.write(key);
///     }
/// }
///
/// assert_eq!(KeyWriter::text_of(&PostOf { tenant: 7, slug: "a:b".into() }), "7:a%3Ab");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written as a key for a tier outside this process",
    label = "not a `CacheKey`",
    note = "implement `larder::codec::CacheKey` for it: write each of its parts, always the same number"
)]
pub trait CacheKey {
    /// Writes the parts of the key.
    fn write(&self, key: &mut KeyWriter);
}

/// Takes the parts of a key and sets `:` between them; a `:` or `%` inside a part is written `%3A` or `%25`.
#[derive(Debug, Default)]
pub struct KeyWriter {
    text: String,
    parts: usize,
}

impl KeyWriter {
    /// `key`, written.
    #[must_use]
    pub fn text_of<K: CacheKey + ?Sized>(key: &K) -> String {
        Self::append(String::new(), key)
    }

    /// `text` with `key` written behind it.
    pub(crate) fn append<K: CacheKey + ?Sized>(text: String, key: &K) -> String {
        let mut writer = Self { text, parts: 0 };
        key.write(&mut writer);
        writer.text
    }

    /// One part, whatever is in it.
    pub fn part(&mut self, part: &str) {
        self.begin();
        let mut rest = part;
        while let Some(at) = rest.find([':', '%']) {
            self.text.push_str(&rest[..at]);
            self.text.push_str(if rest.as_bytes()[at] == b':' { "%3A" } else { "%25" });
            rest = &rest[at + 1..];
        }
        self.text.push_str(rest);
    }

    /// One part that holds neither `:` nor `%`.
    fn plain(&mut self, part: impl std::fmt::Display) {
        self.begin();
        // Writing to a string does not fail.
        _ = write!(self.text, "{part}");
    }

    fn begin(&mut self) {
        if self.parts > 0 {
            self.text.push(':');
        }
        self.parts += 1;
    }
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

tuple_keys!(A B);
tuple_keys!(A B C);
tuple_keys!(A B C D);

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

    proptest! {
        #[test]
        fn no_two_keys_are_written_alike(
            one in ("[:%a0-9A{}]{0,6}", "[:%a0-9A{}]{0,6}"), other in ("[:%a0-9A{}]{0,6}", "[:%a0-9A{}]{0,6}"),
        ) {
            prop_assert_eq!(one == other, KeyWriter::text_of(&one) == KeyWriter::text_of(&other));
            prop_assert_eq!(one.0 == other.0, KeyWriter::text_of(&one.0) == KeyWriter::text_of(&other.0));
        }
    }
}
