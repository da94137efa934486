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

    #[test]
    fn no_bytes_of_a_log_do_harm(bytes in proptest::collection::vec(prop_oneof![Just(0xFE), any::<u8>()], 0..200)) {
        targets::log(&bytes);
    }

    #[test]
    fn a_log_with_a_few_bytes_exchanged_does_no_harm(changes in proptest::collection::vec(any::<u8>(), 3..10)) {
        targets::log(&[&[1], &changes[..]].concat());
    }

    #[test]
    fn no_bytes_of_a_payload_do_harm(head in 0..4_u8, kind in 0..4_u8, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        targets::payload(&[&[head, kind], &bytes[..]].concat());
    }
}
