//! The bodies with random input from proptest. `PROPTEST_CASES` is the number
//! of cases. Default: 256.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample;

proptest! {
    #[test]
    fn framing_of_any_bytes_equals_parser(data in vec(any::<u8>(), 0..400)) {
        fuzz_bodies::framing(&data);
    }

    /// Most lengths are small, so that whole messages arrive.
    #[test]
    fn framing_of_short_messages_equals_parser(
        data in vec(prop_oneof![4 => 0_u8..4, 1 => any::<u8>()], 0..400),
    ) {
        fuzz_bodies::framing(&data);
    }

    #[test]
    fn connection_with_any_calls_keeps_guarantees(data in vec(any::<u8>(), 0..300)) {
        fuzz_bodies::connection(&data);
    }

    #[test]
    fn session_on_hostile_wire_delivers_only_sent(data in vec(any::<u8>(), 0..300)) {
        fuzz_bodies::session(&data);
    }

    /// The first steps make no change to the wire.
    #[test]
    fn session_on_calm_wire_delivers_all_sent(
        head in vec(any::<u8>(), 8),
        data in vec(prop_oneof![6 => 0_u8..7, 1 => 14_u8..20], 0..100),
    ) {
        fuzz_bodies::session(&[head, data].concat());
    }

    #[test]
    fn hello_in_pieces_equals_hello_in_one(data in vec(any::<u8>(), 0..60)) {
        fuzz_bodies::hello(&data);
    }

    #[test]
    fn http_requests_do_not_depend_on_pieces(data in vec(any::<u8>(), 0..200)) {
        fuzz_bodies::http_requests(&data);
    }

    #[test]
    fn proxy_header_of_any_bytes_equals_parser(data in vec(any::<u8>(), 0..400)) {
        fuzz_bodies::proxy_header(&data);
    }

    /// Short pieces of a line and of a header with few bytes.
    #[test]
    fn proxy_header_of_likely_bytes_equals_parser(
        head in vec(0_u8..7, 6),
        data in vec(prop_oneof![proptest::sample::select(&b"0123456789. :\r\n"[..]), 0_u8..40], 0..200),
    ) {
        fuzz_bodies::proxy_header(&[head, data].concat());
    }

    #[test]
    fn kv_of_any_bytes_equals_parser(data in vec(any::<u8>(), 0..100)) {
        fuzz_bodies::kv(&data);
    }

    /// Pieces of commands, so that whole ones occur.
    #[test]
    fn kv_of_likely_pieces_equals_parser(
        first in 0_u8..3,
        pieces in vec(
            sample::select(vec!["*1\r\n", "*2\r\n", "$1\r\n", "$3\r\n", "a", "b\r\n", "\r\n", "\n", " ", "*", "0"]),
            0..40,
        ),
    ) {
        fuzz_bodies::kv(&[&[first][..], pieces.concat().as_bytes()].concat());
    }

    #[test]
    fn commands_run_once_and_in_order(data in vec(any::<u8>(), 0..200)) {
        fuzz_bodies::commands(&data);
    }
}
