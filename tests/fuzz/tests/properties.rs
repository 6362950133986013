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
    fn sessions_let_nothing_through_that_was_not_said(data in vec(any::<u8>(), 0..300)) {
        fuzz_bodies::session(&data);
    }

    /// Beginnings that leave the wire alone for a while.
    #[test]
    fn sessions_let_everything_through_that_was_said(
        head in vec(any::<u8>(), 8),
        data in vec(prop_oneof![6 => 0_u8..7, 1 => 14_u8..20], 0..100),
    ) {
        fuzz_bodies::session(&[head, data].concat());
    }

    #[test]
    fn commands_are_carried_out_in_order_and_once(data in vec(any::<u8>(), 0..200)) {
        fuzz_bodies::commands(&data);
    }
}
