//! The boundaries of TLS records (RFC 8446, section 5.1).

/// Size of type, version and length, in bytes.
const HEADER_LEN: usize = 5;

/// Bound of the length of a record, in bytes: 16 KiB and the 2 KiB that a
/// cipher may add in TLS 1.2 (RFC 5246, section 6.2.3).
const BODY_MAX: u16 = 16 * 1024 + 2048;

const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;

/// Returns the number of bytes at the start of `bytes` that are complete
/// records.
///
/// If a header is invalid, all bytes count as complete, so that rustls refuses
/// them at once.
pub(super) fn whole(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(&[kind, major, _, high, low]) = rest.first_chunk::<HEADER_LEN>() {
        let len = u16::from_be_bytes([high, low]);
        let is_header = (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&kind)
            && major == 3
            && len < BODY_MAX
            && (len > 0 || kind == APPLICATION_DATA);
        if !is_header {
            return bytes.len();
        }
        match rest.get(HEADER_LEN + usize::from(len)..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    bytes.len() - rest.len()
}

/// Returns whether `bytes` are complete records of application data. With TLS
/// 1.3 every encrypted record has that type.
pub(super) fn are_application_data(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(&[kind, _, _, high, low]) = rest.first_chunk::<HEADER_LEN>() {
        let len = usize::from(u16::from_be_bytes([high, low]));
        match rest.get(HEADER_LEN + len..) {
            Some(next) if kind == APPLICATION_DATA => rest = next,
            _ => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

    #[test]
    fn a_record_is_whole_with_its_last_byte() {
        let two = [ALERT, ALERT].concat();
        for len in 0..=two.len() {
            assert_eq!(whole(&two[..len]), len / 7 * 7);
        }
    }

    #[test]
    fn invalid_header_is_complete_at_once() {
        for header in [
            *b"GET /",
            [19, 3, 3, 0, 1],
            [25, 3, 3, 0, 1],
            [23, 2, 3, 0, 1],
            [23, 3, 3, 72, 0],
            [22, 3, 3, 0, 0],
        ] {
            let bytes = [&ALERT[..], &header].concat();
            assert_eq!(whole(&bytes), bytes.len(), "{header:?}");
        }
    }

    #[test]
    fn other_records_are_no_application_data() {
        let data = [23, 3, 3, 0, 2, 1, 0];
        assert!(are_application_data(&[]));
        assert!(are_application_data(&[data, data].concat()));
        assert!(!are_application_data(&[data, ALERT].concat()));
        assert!(!are_application_data(&[ALERT, data].concat()));
        assert!(!are_application_data(&data[..6]));
    }

    #[test]
    fn the_longest_and_the_shortest_are_waited_for() {
        assert_eq!(whole(&[23, 3, 3, 71, 255]), 0);
        assert_eq!(whole(&[23, 3, 3, 0, 0]), 5);
    }
}
