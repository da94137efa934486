//! The targets of the fuzzer (`fuzz/`), fed a little: so that they run under every `cargo test`, on a stable Rust.

#[path = "../fuzz/targets.rs"]
mod targets;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_of_a_slot_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        targets::envelope(&bytes);
    }

    #[test]
    fn no_bytes_of_a_value_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        targets::codecs(&bytes);
    }

    #[test]
    fn no_parts_of_a_key_do_harm(bytes in proptest::collection::vec(prop_oneof![Just(0), b'%'..b'<', any::<u8>()], 0..60)) {
        targets::keys(&bytes);
    }
}
