//! Random workloads, one for each seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use peerloop::sim::{Faults, World, for_each_seed, seeds};
use peerloop::{Config, ConnId, Handler, Net};

use crate::util::settings::SEEDS;
use crate::util::{crowd, workload};

/// Worlds share nothing, so they run side by side.
const THREADS: usize = 2;

#[test]
fn incomplete_messages_are_idle() {
    for_each_seed(20, workload::drip);
}

#[test]
fn flush_does_not_wait_for_the_visit() {
    for_each_seed(5, workload::flush);
}

#[test]
fn honest_peers_are_served_during_a_siege() {
    for_each_seed(5, workload::besiege);
}

#[test]
fn loop_limit_is_kept_and_room_is_reported() {
    let (mut refused, mut broadcasts) = (0, 0);
    let mut seeds = 0;
    for_each_seed(10, |seed| {
        let (more_refused, more_broadcasts) = crowd::crowd(seed);
        refused += more_refused;
        broadcasts += more_broadcasts;
        seeds += 1;
    });
    println!("{refused} sends were refused, {broadcasts} broadcasts compared");
    // A single seed, chosen to replay it, need not do both.
    assert!(seeds == 1 || (refused > 0 && broadcasts > 0));
}

#[test]
fn promises_hold_in_random_worlds() {
    let seeds = seeds(SEEDS);
    let (next, messages) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            let received = std::panic::catch_unwind(|| workload::run(seed));
            // The others need not go on.
            let received = received.unwrap_or_else(|panic| {
                next.store(seeds.end, Ordering::Relaxed);
                eprintln!("failed with the seed {seed}");
                std::panic::resume_unwind(panic)
            });
            messages.fetch_add(received, Ordering::Relaxed);
        }
    };
    // A world prints the name of its thread in the replay command.
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let thread = thread::Builder::new().name(name.clone());
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let (messages, seeds) = (messages.into_inner(), seeds.end - seeds.start);
    assert!(
        messages > 20 * seeds || seeds == 1,
        "{messages} messages in {seeds} seeds"
    );
}

/// A wake that arrives after the node has stopped does not cause turns.
#[test]
fn stopped_node_takes_no_turns() {
    struct Deaf;
    impl Handler for Deaf {
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    }
    let mut world = World::new(1);
    let node = world.node(Config::default(), Deaf);
    world.run_for(Duration::from_millis(1));
    let mut faults = Faults::calm();
    faults.delayed_wake = 1.0;
    world.faults(faults);
    world.post(node, |_, _| {}).expect("there is room");
    world.with(node, |_, net| net.shutdown(Duration::ZERO));
    world.run_for(Duration::from_secs(1));
    assert!(world.steps() < 20, "{} turns", world.steps());
}
