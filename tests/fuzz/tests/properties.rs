//! The bodies, fed at random by proptest. `PROPTEST_CASES` says how often (256 unless set).

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn framing_finds_what_the_slow_parser_finds(data in vec(any::<u8>(), 0..400)) {
        fuzz_bodies::framing(&data);
    }

    /// Lengths that are mostly small, so that whole messages come about.
    #[test]
    fn framing_finds_what_the_slow_parser_finds_in_short_messages(
        data in vec(prop_oneof![4 => 0_u8..4, 1 => any::<u8>()], 0..400),
    ) {
        fuzz_bodies::framing(&data);
    }

    #[test]
    fn a_connection_keeps_its_promises_whatever_is_called(data in vec(any::<u8>(), 0..300)) {
        fuzz_bodies::connection(&data);
    }

    #[test]
    fn commands_are_carried_out_in_order_and_once(data in vec(any::<u8>(), 0..200)) {
        fuzz_bodies::commands(&data);
    }
}
