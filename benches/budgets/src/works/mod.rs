//! The works that are counted.

mod cycle;
mod group;
mod handshake;
mod idle;
mod pieces;
mod trip;
mod world;

use std::error::Error;
use std::time::Duration;

pub(crate) use self::cycle::cycle;
pub(crate) use self::group::{group, grown_by_members};
pub(crate) use self::handshake::{session_handshakes, snow_handshakes};
pub(crate) use self::idle::turns_when_idle;
pub(crate) use self::pieces::{MESSAGE, pieces};
pub(crate) use self::trip::trip;
pub(crate) use self::world::world_node_bytes;

/// Maximum time of a work. Under valgrind it takes long.
const PATIENCE: Duration = Duration::from_secs(100);

/// Does a work by name, in a child process.
pub(crate) fn run(work: &str, units: u64) -> Result<(), Box<dyn Error>> {
    match work {
        "cycle" => cycle(units),
        "group" => group(units),
        "noise" => session_handshakes(units),
        "pieces" => pieces(units),
        "snow" => snow_handshakes(units),
        "trip" => trip(units),
        _ => Err(format!("no work is called {work}").into()),
    }
}
