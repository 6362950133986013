//! Memory between the sockets and the framing, in both directions.

mod block_pool;
mod partial_frame;
mod read_buffer;
mod send_queue;

pub(crate) use block_pool::BlockPool;
pub(crate) use partial_frame::PartialFrame;
pub(crate) use read_buffer::ReadBuffer;
pub(crate) use send_queue::{CHAIN_MIN, SLICES_MAX, SendQueue, overhead_max};
