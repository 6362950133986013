//! The header of a frame.

/// The header of a frame, ten bytes at most. In two numbers and not in an array, so that it travels in registers: as
/// an array it was written and read back in pieces, which took half of the time of a send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHeader {
    low: u64,
    high: u16,
    len: u8,
}

impl FrameHeader {
    pub(crate) const EMPTY: Self = Self {
        low: 0,
        high: 0,
        len: 0,
    };

    /// The header whose bytes are these, the lowest first.
    #[inline]
    pub(super) fn little_endian(low: u64, high: u16, len: usize) -> Self {
        debug_assert!(len <= 10);
        Self {
            low,
            high,
            len: len as u8,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The header and zeros behind it. Storing all of it and advancing by `len` is cheaper than a copy of variable
    /// length.
    #[inline]
    pub(crate) fn block(&self) -> [u8; Self::BLOCK] {
        let bits = u128::from(self.high) << 64 | u128::from(self.low);
        bits.to_le_bytes()
    }

    pub(crate) const BLOCK: usize = 16;

    /// The header, in `block`.
    pub(crate) fn as_slice<'a>(&self, block: &'a mut [u8; Self::BLOCK]) -> &'a [u8] {
        *block = self.block();
        &block[..self.len()]
    }
}
