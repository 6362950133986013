//! Random workloads in simulated worlds, one for each seed.

#[path = "util/sessions.rs"]
mod sessions;
mod util;
#[path = "util/workload.rs"]
mod workload;

use peerloop::sim::for_each_seed;

#[test]
fn who_sends_no_whole_message_is_idle() {
    for_each_seed(20, workload::drip);
}

#[test]
fn whatever_handlers_do_and_networks_undo_the_promises_hold() {
    let mut messages = 0;
    let mut seeds = 0;
    for_each_seed(300, |seed| {
        messages += workload::run(seed);
        seeds += 1;
    });
    assert!(
        messages > 20 * seeds || seeds == 1,
        "{messages} messages in {seeds} seeds"
    );
}
