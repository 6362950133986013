//! The distance between the source and the destination of a copy.

/// The size of a page. Shorter copies are not slow.
pub(super) const PAGE: usize = 4096;

/// Bound of the length of a header before the copied bytes, in bytes.
const HEADER_MAX: usize = 8;

/// Number of bytes by which one of the addresses is to be moved if the copy is
/// slow.
pub(super) const COPY_GAP: usize = 64;

/// Returns whether a copy of many bytes between these addresses, or from the
/// first one to a few bytes after the second one, is slow.
///
/// On AMD Zen 3 and Zen 4 `rep movsb` is several times slower if the
/// destination begins 1 to 31 bytes after the source, modulo 4,096.
pub(super) fn is_slow_copy(from: usize, to: usize) -> bool {
    let distance = to.wrapping_sub(from) % PAGE;
    !(32..=PAGE - HEADER_MAX).contains(&distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_makes_a_slow_copy_fast() {
        for from in [0, 16, 5000] {
            for distance in (0..PAGE).filter(|distance| is_slow_copy(from, from + distance)) {
                assert!(!is_slow_copy(from, from + distance + COPY_GAP));
                assert!(!is_slow_copy(from + COPY_GAP, from + distance));
            }
            for header in 0..HEADER_MAX {
                assert!(is_slow_copy(from + header, from + 1));
                assert!(is_slow_copy(from, from + 31 - header));
            }
        }
    }
}
