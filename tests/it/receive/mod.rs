//! What a node receives, up to the end of the stream.

mod fin;
pub(crate) mod pause;
mod pause_end;
mod reset;
