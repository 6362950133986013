//! Pauses at random times lose no message.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::util::raw::wire;
use crate::util::settings::for_each_seed;
use crate::util::{PATIENCE, Random, Recorder, config_with, frame};

#[test]
fn random_pauses_lose_no_message() {
    for_each_seed(5, |seed| {
        let mut random = Random::new(seed);
        let config = config_with(|config| config.budget.read_bytes = 1 + random.below(1000));
        let (mut node, conn, mut peer) = wire(config, Recorder::default());
        let bodies: Vec<Vec<u8>> = (0..1000)
            .map(|number: u32| {
                let mut body = number.to_be_bytes().to_vec();
                body.resize(4 + random.below(200), number as u8);
                body
            })
            .collect();
        let mut wire: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        let end = Instant::now() + PATIENCE;
        while node.handler().messages(conn).len() < bodies.len() {
            let count = wire.len().min(random.below(2000));
            let piece: Vec<u8> = wire.drain(..count).collect();
            peer.write_all(&piece).unwrap();
            match random.below(3) {
                0 => node.net().pause(conn),
                _ => node.net().resume(conn),
            }
            let before = node.handler().events.len();
            let paused = random.below(2) == 0;
            if paused {
                node.net().pause(conn);
            }
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            let after = node.handler().events.len();
            assert!(!paused || before == after, "a message during a pause");
            assert!(Instant::now() < end, "{after} callbacks");
        }
        assert!(node.handler().messages(conn).iter().eq(bodies.iter()));
    });
}
