//! A seed gives the same run, and a failure prints its seed.

use std::process::{Command, Output};

use super::*;

/// A run in which much happens; its trace.
fn busy(seed: u64) -> (String, u64) {
    let mut world = World::new(seed);
    world.faults(Faults::hostile());
    world.keep_trace();
    let (server, client) = pair(&mut world);
    let addr = world.addr(server);
    for _ in 0..5 {
        if let Ok(conn) = world.with(client, |_, net| net.connect(addr)) {
            world.run_for(Duration::from_secs(2));
            let _ = world.with(client, |_, net| net.send(conn, &[7; 5000]));
            world.run_for(Duration::from_secs(2));
            world.with(client, |_, net| net.abort(conn));
        }
    }
    (world.trace().to_string(), world.trace().hash())
}

#[test]
fn same_seed_gives_the_same_trace() {
    let (first, second, other) = (busy(5), busy(5), busy(6));
    assert!(
        first.0.lines().count() > 50,
        "much has happened:\n{}",
        first.0
    );
    assert_eq!(first, second);
    assert_ne!(first.1, other.1);
    assert_ne!(first.0, other.0);
}

#[test]
fn expired_run_until_describes_the_world() {
    let mut world = calm(3);
    pair(&mut world);
    let error = world
        .run_until(MINUTE, |_| false)
        .expect_err("nothing happens");
    let text = error.to_string();
    assert!(
        text.contains("seed 3") && text.contains("n1 (10.0.0.2): 0 connections"),
        "{text}"
    );
    assert_eq!(world.now(), MINUTE + Duration::from_millis(1));
}

/// Set for the process in which [`fails_in_a_child`] fails.
const CHILD: &str = "PEERLOOP_TEST_FAILS";
const CHILD_TEST: &str = "simulation::seeds::fails_in_a_child";

/// Fails with seed 3, in a world with another seed.
#[test]
fn fails_in_a_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for_each_seed(5, |seed| {
        let mut world = calm(seed + 100);
        let server = world.node(Config::default(), Plain::server());
        world.always(move |world| match world.handler(server).timers[..] {
            [3] => Err("timer 3 has fired".to_owned()),
            _ => Ok(()),
        });
        world.addr(server);
        world.with(server, |_, net| net.set_timer(MINUTE, seed));
        world.run_for(2 * MINUTE);
    });
}

fn run(seed: Option<&str>) -> Output {
    let mut test = Command::new(std::env::current_exe().expect("this test"));
    test.env(CHILD, "1")
        .env_remove("PEERLOOP_SEED")
        .env_remove("PEERLOOP_SEEDS");
    test.envs(seed.map(|seed| ("PEERLOOP_SEED", seed)));
    test.args([CHILD_TEST, "--exact", "--nocapture"]);
    test.output().expect("it runs")
}

#[test]
fn failure_prints_its_replay_command() {
    let failed = run(None);
    assert!(!failed.status.success());
    let printed = String::from_utf8(failed.stderr).expect("text");
    let violation = "an invariant is violated, with the seed 103, at 60s: timer 3 has fired";
    assert!(printed.contains(violation), "{printed}");
    // The world and `for_each_seed` print it, both with the seed of the test.
    let commands: Vec<&str> = printed
        .lines()
        .filter_map(|line| Some(line.split_once("o replay: ")?.1))
        .collect();
    let expected =
        format!("PEERLOOP_SEED=3 cargo test -p peerloop --all-features {CHILD_TEST} -- --exact");
    assert_eq!(commands, [&expected; 2]);
    let again = run(Some("3"));
    let printed = String::from_utf8(again.stderr).expect("text");
    assert!(printed.contains("timer 3 has fired"), "{printed}");
    assert!(!again.status.success());
    assert!(run(Some("4")).status.success(), "only seed 3 fails");
}
