//! Honest clients beside silent ones, in the simulator.

#[path = "util/occupied.rs"]
mod scenario;
#[path = "util/sessions.rs"]
mod sessions;
mod util;

use peerloop::sim::for_each_seed;

#[test]
fn an_honest_client_gets_in_beside_silent_ones_that_come_again() {
    for_each_seed(30, scenario::run);
}
