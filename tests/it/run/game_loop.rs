//! A loop that draws frames and runs turns without waiting.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use peerloop::{Config, Turn};

use crate::util::raw::settle;
use crate::util::{PATIENCE, Recorder, node};

#[test]
fn zero_timeout_never_waits() {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let mut node = node(Config::default(), Recorder::default());
        node.net().set_timer(Duration::from_secs(3600), 0);
        settle(&mut node);
        for _ in 0..1000 {
            assert_eq!(node.turn(Some(Duration::ZERO)).unwrap(), Turn::Waiting);
        }
        done.send(()).unwrap();
    });
    finished.recv_timeout(PATIENCE).expect("no turn waits");
}
