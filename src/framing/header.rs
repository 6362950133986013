//! The header of a frame.

/// The header of a frame, of at most ten bytes.
///
/// It has two numbers instead of an array, so that it is passed in registers.
/// An array would be written to memory and read back in parts.
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

    /// Returns the header with these bytes, lowest byte first.
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

    /// Returns the header, padded with zeros. Storing the whole block and
    /// advancing by `len` is cheaper than a copy of variable length.
    #[inline]
    pub(crate) fn block(&self) -> [u8; Self::BLOCK] {
        let bits = u128::from(self.high) << 64 | u128::from(self.low);
        bits.to_le_bytes()
    }

    pub(crate) const BLOCK: usize = 16;

    /// Stores the header in `block` and returns it.
    pub(crate) fn as_slice<'a>(&self, block: &'a mut [u8; Self::BLOCK]) -> &'a [u8] {
        *block = self.block();
        &block[..self.len()]
    }
}
