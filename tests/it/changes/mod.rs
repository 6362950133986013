//! Settings that change while a connection exists.

mod framing;
mod max_message_len;
mod moments;
mod timeouts;

use peerloop::ConnId;
use peerloop::config::ConfigError;

use crate::util::raw::until_ended;
use crate::util::{Recorder, TestNode, listening};

/// Returns the name of the invalid field.
#[track_caller]
fn field(result: Result<(), ConfigError>) -> &'static str {
    result.expect_err("it is invalid").field
}

/// Returns a node and the id of a connection of it that has ended.
fn with_stale_id() -> (TestNode, ConnId) {
    let (mut node, addr) = listening(Default::default(), Recorder::default());
    let (conn, _peer) = crate::util::raw::join(&mut node, addr);
    node.net().abort(conn);
    until_ended(&mut node, conn);
    (node, conn)
}
