//! Length prefixes of fixed width in either byte order, and varints.

use super::header::FrameHeader;
use crate::error::FramingError;

/// The length prefix of a message, in bytes of the body. It does not count
/// itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LengthPrefix {
    /// One byte, for messages of up to 255 bytes.
    One,
    /// Two bytes, for messages of up to 65,535 bytes.
    Two(ByteOrder),
    /// Three bytes, for messages of up to 16,777,215 bytes.
    Three(ByteOrder),
    /// Four bytes, for messages of up to 4,294,967,295 bytes.
    Four(ByteOrder),
    /// Eight bytes.
    Eight(ByteOrder),
    /// An unsigned LEB128 number of one to ten bytes, as in [Protocol
    /// Buffers](https://protobuf.dev/programming-guides/encoding/#varints).
    /// Each byte has seven bits of the number, lowest bits first. Only the
    /// shortest encoding of a number is accepted.
    Varint,
}

/// The order of the bytes of a number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteOrder {
    /// The most significant byte first (network byte order).
    BigEndian,
    /// The least significant byte first.
    LittleEndian,
}

impl LengthPrefix {
    /// Returns the longest body that this prefix can announce, in bytes.
    pub(crate) fn max_body(self) -> usize {
        let bytes = match self {
            Self::One => 1,
            Self::Two(_) => 2,
            Self::Three(_) => 3,
            Self::Four(_) => 4,
            Self::Eight(_) | Self::Varint => 8,
        };
        usize::try_from(u64::MAX >> (64 - 8 * bytes)).unwrap_or(usize::MAX)
    }

    /// Returns the reader of this prefix.
    #[inline]
    pub(super) fn reader(self) -> LengthReader {
        let (width, order) = match self {
            Self::Varint => return LengthReader::Varint(Varint),
            Self::Four(ByteOrder::BigEndian) => return LengthReader::FourBigEndian(FourBigEndian),
            Self::One => (1, ByteOrder::BigEndian),
            Self::Two(order) => (2, order),
            Self::Three(order) => (3, order),
            Self::Four(order) => (4, order),
            Self::Eight(order) => (8, order),
        };
        LengthReader::FixedWidth(FixedWidth { width, order })
    }

    /// Returns the header of a body. `body` must not exceed
    /// [`LengthPrefix::max_body`].
    pub(crate) fn header(self, body: usize) -> FrameHeader {
        let number = body as u64;
        match self {
            Self::One => FrameHeader::little_endian(number, 0, 1),
            Self::Two(order) => order.header(number, 2),
            Self::Three(order) => order.header(number, 3),
            Self::Four(order) => order.header(number, 4),
            Self::Eight(order) => order.header(number, 8),
            Self::Varint => varint_header(number),
        }
    }
}

impl ByteOrder {
    fn header(self, number: u64, width: usize) -> FrameHeader {
        match self {
            Self::LittleEndian => FrameHeader::little_endian(number, 0, width),
            Self::BigEndian => {
                FrameHeader::little_endian(number.swap_bytes() >> (64 - 8 * width), 0, width)
            }
        }
    }
}

fn varint_header(mut number: u64) -> FrameHeader {
    let mut bits = 0u128;
    let mut width = 0;
    while number > 0x7f {
        bits |= u128::from(number as u8 | 0x80) << (8 * width);
        number >>= 7;
        width += 1;
    }
    bits |= u128::from(number as u8) << (8 * width);
    FrameHeader::little_endian(bits as u64, (bits >> 64) as u16, width + 1)
}

/// Reads the number at the start of a frame.
///
/// This is a trait so that the loop over frames is compiled once for each
/// implementation, without a branch on the kind of prefix.
pub(super) trait ReadLength: Copy {
    /// Returns the lengths of the prefix and of the body, or `None` if the
    /// prefix is incomplete.
    fn read(self, bytes: &[u8]) -> Result<Option<(usize, u64)>, FramingError>;

    /// Returns the minimum length of a prefix, in bytes.
    fn width_min(self) -> usize;
}

/// The reader of a prefix. It is matched once for each batch of bytes.
pub(super) enum LengthReader {
    FourBigEndian(FourBigEndian),
    FixedWidth(FixedWidth),
    Varint(Varint),
}

/// The default prefix. It is a separate type so that it compiles to one load
/// and one byte swap.
#[derive(Clone, Copy)]
pub(super) struct FourBigEndian;

impl ReadLength for FourBigEndian {
    #[inline]
    fn read(self, bytes: &[u8]) -> Result<Option<(usize, u64)>, FramingError> {
        Ok(bytes
            .first_chunk()
            .map(|chunk| (4, u64::from(u32::from_be_bytes(*chunk)))))
    }

    fn width_min(self) -> usize {
        4
    }
}

/// Any other fixed width, from one to eight bytes.
#[derive(Clone, Copy)]
pub(super) struct FixedWidth {
    pub(super) width: usize,
    pub(super) order: ByteOrder,
}

impl ReadLength for FixedWidth {
    #[inline]
    fn read(self, bytes: &[u8]) -> Result<Option<(usize, u64)>, FramingError> {
        let Some(prefix) = bytes.get(..self.width) else {
            return Ok(None);
        };
        let step = |number, byte: &u8| number << 8 | u64::from(*byte);
        let number = match self.order {
            ByteOrder::BigEndian => prefix.iter().fold(0, step),
            ByteOrder::LittleEndian => prefix.iter().rev().fold(0, step),
        };
        Ok(Some((self.width, number)))
    }

    fn width_min(self) -> usize {
        self.width
    }
}

/// LEB128 of up to ten bytes, in the shortest form.
#[derive(Clone, Copy)]
pub(super) struct Varint;

impl ReadLength for Varint {
    #[inline]
    fn read(self, bytes: &[u8]) -> Result<Option<(usize, u64)>, FramingError> {
        let mut number = 0u64;
        for (index, &byte) in bytes.iter().take(10).enumerate() {
            // Nine bytes have 63 bits, so the tenth byte has a single bit.
            if index == 9 && byte > 1 {
                return Err(FramingError::Malformed("a varint with more than 64 bits"));
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(FramingError::Malformed("a varint that is not minimal"));
                }
                return Ok(Some((index + 1, number)));
            }
        }
        Ok(None)
    }

    fn width_min(self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [ByteOrder; 2] = [ByteOrder::BigEndian, ByteOrder::LittleEndian];

    fn wire(prefix: LengthPrefix, body: usize) -> Vec<u8> {
        prefix.header(body).as_slice(&mut [0; 16]).to_vec()
    }

    #[test]
    fn prefixes_are_written_as_documented() {
        use ByteOrder::{BigEndian, LittleEndian};
        assert_eq!(wire(LengthPrefix::One, 0xab), [0xab]);
        assert_eq!(wire(LengthPrefix::Two(BigEndian), 0x1234), [0x12, 0x34]);
        assert_eq!(wire(LengthPrefix::Two(LittleEndian), 0x1234), [0x34, 0x12]);
        assert_eq!(
            wire(LengthPrefix::Three(BigEndian), 0x12_3456),
            [0x12, 0x34, 0x56]
        );
        assert_eq!(wire(LengthPrefix::Four(BigEndian), 258), [0, 0, 1, 2]);
        assert_eq!(wire(LengthPrefix::Four(LittleEndian), 258), [2, 1, 0, 0]);
        assert_eq!(
            wire(LengthPrefix::Eight(BigEndian), 258),
            [0, 0, 0, 0, 0, 0, 1, 2]
        );
        assert_eq!(wire(LengthPrefix::Varint, 0), [0]);
        assert_eq!(wire(LengthPrefix::Varint, 127), [0x7f]);
        assert_eq!(wire(LengthPrefix::Varint, 128), [0x80, 1]);
        assert_eq!(wire(LengthPrefix::Varint, 300), [0xac, 2]);
        assert_eq!(wire(LengthPrefix::Varint, u64::MAX as usize).len(), 10);
    }

    #[test]
    fn every_width_reads_back_what_it_wrote() {
        for width in [1, 2, 3, 4, 8] {
            for order in ORDERS {
                for number in [0u64, 1, 127, 128, 255, 256, 65_535, 1 << 23, u64::MAX] {
                    let number = number & (u64::MAX >> (64 - 8 * width));
                    let header = order.header(number, width);
                    let reader = FixedWidth { width, order };
                    let block = &mut [0; 16];
                    let bytes = header.as_slice(block);
                    assert_eq!(reader.read(bytes), Ok(Some((width, number))));
                    for cut in 0..width {
                        assert_eq!(reader.read(&bytes[..cut]), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn every_varint_reads_back_what_it_wrote() {
        for shift in 0..64 {
            for number in [1u64 << shift, (1 << shift) - 1, u64::MAX >> (63 - shift)] {
                let header = varint_header(number);
                let block = &mut [0; 16];
                let bytes = header.as_slice(block);
                assert_eq!(Varint.read(bytes), Ok(Some((bytes.len(), number))));
                for cut in 0..bytes.len() {
                    assert_eq!(Varint.read(&bytes[..cut]), Ok(None));
                }
            }
        }
    }

    #[test]
    fn overlong_and_padded_varints_are_malformed() {
        let overlong = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(matches!(
            Varint.read(&overlong),
            Err(FramingError::Malformed(_))
        ));
        let endless = [0x80; 10];
        assert!(matches!(
            Varint.read(&endless),
            Err(FramingError::Malformed(_))
        ));
        for padded in [&[0x80, 0][..], &[0xff, 0][..], &[0x81, 0x80, 0][..]] {
            assert!(matches!(
                Varint.read(padded),
                Err(FramingError::Malformed(_))
            ));
        }
    }

    #[test]
    fn fast_path_reads_like_general_path() {
        let general = FixedWidth {
            width: 4,
            order: ByteOrder::BigEndian,
        };
        let bytes = [0, 1, 2, 3, 4, 5];
        for cut in 0..bytes.len() {
            assert_eq!(
                FourBigEndian.read(&bytes[..cut]),
                general.read(&bytes[..cut])
            );
        }
    }
}
