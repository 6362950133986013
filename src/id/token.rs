//! The tokens of the poller.
//!
//! ```text
//!   0 .. 1 << 24           connections, by slot
//!   1 << 24 .. 2 << 24     listeners
//!   2 << 24 .. 3 << 24     UDP sockets
//!   3 << 24 .. 4 << 24     sources of the program
//!   u32::MAX               the waker
//! ```

use std::num::NonZeroU64;

/// The position of the lowest bit of a token that encodes the member of a
/// group. Groups exist on 64-bit targets only.
#[cfg(target_pointer_width = "64")]
pub(crate) const MEMBER_SHIFT: u32 = 48;

/// The bits of a token below [`MEMBER_SHIFT`].
#[cfg(target_pointer_width = "64")]
pub(crate) const TOKEN_MASK: usize = (1 << MEMBER_SHIFT) - 1;
#[cfg(not(target_pointer_width = "64"))]
pub(super) const TOKEN_MASK: usize = usize::MAX;

/// Number of bits of an id that encode the slot.
pub(super) const SLOT_BITS: u32 = 24;

/// Maximum number of slots. All tokens of connections are below it, and the
/// tokens of listeners and of the waker are not.
pub(crate) const SLOTS_MAX: u32 = 1 << SLOT_BITS;

/// The first poller token of UDP sockets. The tokens of listeners are below it.
pub(super) const UDP_TOKENS: usize = 2 << SLOT_BITS;

/// The factor that moves a number into the upper half of an id.
pub(super) const HIGH_WORD: NonZeroU64 = NonZeroU64::new(1 << 32).unwrap();

/// The first poller token of the sources of the program.
pub(super) const SOURCE_TOKENS: usize = 3 << SLOT_BITS;

/// Returns the poller token of the `index`-th listener.
pub(crate) fn listener_token(index: usize) -> usize {
    SLOTS_MAX as usize + index
}

/// The poller token of the waker.
pub(crate) const WAKER_TOKEN: usize = u32::MAX as usize;
