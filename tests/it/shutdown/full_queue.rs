//! A full command queue of a node that was dropped.

use crate::util::{Recorder, config_with, node};
use peerloop::{ConnId, SendError};

#[test]
fn send_after_drop_is_closed_and_not_full() {
    let config = config_with(|config| config.commands.max_bytes = 10);
    let node = node(config, Recorder::default());
    let handle = node.handle();
    let conn = ConnId::from_bits(1 << 32).expect("a slot and a generation");
    handle.send(conn, "12345678").unwrap();
    assert_eq!(handle.send(conn, "12345678"), Err(SendError::Full));
    drop(node);
    assert_eq!(handle.send(conn, "12345678"), Err(SendError::Closed));
}
