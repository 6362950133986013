//! The works that are counted.

mod cycle;
mod group;
mod handshake;
mod idle;
mod pieces;
mod trip;
mod world;

use std::any::Any;
use std::error::Error;
use std::time::Duration;

use self::cycle::{Closing, cycle};
use self::group::{group, nodes};
use self::handshake::{session_handshakes, snow_handshakes};
pub(crate) use self::idle::turns_when_idle;
pub(crate) use self::pieces::MESSAGE;
use self::pieces::pieces;
use self::trip::trip;
use self::world::world;

/// Maximum time of a work. Under valgrind it takes long.
const PATIENCE: Duration = Duration::from_secs(100);

/// Does a work by name, in a child process.
pub(crate) fn run(work: &str, units: u64) -> Result<(), Box<dyn Error>> {
    match work {
        "cycle" => cycle(units, Closing::Connecting),
        "cycle closed by the server" => cycle(units, Closing::Accepting),
        "group" => group(units).map(drop),
        "noise" => session_handshakes(units),
        "pieces" => pieces(units),
        "snow" => snow_handshakes(units),
        "trip" => trip(units),
        _ => Err(format!("no work is called {work}").into()),
    }
}

/// Makes nodes by the name of the work, and returns them when they are idle.
pub(crate) fn idle(work: &str, units: u64) -> Result<Box<dyn Any>, Box<dyn Error>> {
    Ok(match work {
        "group" => Box::new(group(units)?),
        "nodes" => Box::new(nodes(units)?),
        "world" => Box::new(world(units)?),
        _ => return Err(format!("no work is called {work}").into()),
    })
}
