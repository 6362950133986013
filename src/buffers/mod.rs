//! Memory between the sockets and the framing, in both directions.

mod block_pool;
mod datagram_ring;
mod partial_frame;
mod read_buffer;
mod send_account;
mod send_queue;
mod shared_bodies;

pub(crate) use block_pool::BlockPool;
pub(crate) use datagram_ring::DatagramRing;
pub(crate) use partial_frame::PartialFrame;
pub(crate) use read_buffer::ReadBuffer;
pub(crate) use send_account::SendAccount;
pub(crate) use send_queue::{
    CHAIN_MIN, EMPTY_QUEUE, Growth, SLICES_MAX, SendQueue, TRACKED_OVERHEAD,
};
pub(crate) use shared_bodies::{BodyKey, SharedBodies};
