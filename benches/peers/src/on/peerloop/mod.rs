//! peerloop in one thread, as a `Group`, and in cycles of connections. Streams
//! and broadcasts are shared with the other benchmarks, in `benches/support`.

pub mod cycles;
pub mod line;
pub mod trips;

use std::io;

use ::peerloop::RunEnd;
use ::peerloop::group::Group;

use crate::support::{PATIENCE, failed};

/// Runs a group until the condition holds.
fn run_until(group: &mut Group, condition: impl FnMut(&mut Group) -> bool) -> io::Result<()> {
    match group.run_until(PATIENCE, condition)? {
        RunEnd::Done => Ok(()),
        end => Err(failed(format!("the group: {end:?}"))),
    }
}
