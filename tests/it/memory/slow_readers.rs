//! Queues that do not become empty.

use std::io::Read;
use std::net::TcpStream;

use super::growth;
use crate::util::child::{self, test_path};
use crate::util::raw::{accepted, connect_narrow};
use crate::util::{Recorder, TestNode, config_with, listening, run_until};
use peerloop::ConnId;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[test]
fn slow_readers_cost_little_more_than_is_queued() {
    let test = test_path!(slow_readers_cost_little_more_than_is_queued);
    child::alone(test, measure);
}

/// Sends something to these peers, of which each reads all but a small part.
fn read_most(node: &mut TestNode, peers: &mut [(ConnId, TcpStream)]) {
    for (conn, peer) in &mut *peers {
        peer.set_nonblocking(true).unwrap();
        for _ in 0..250 {
            node.net().send(*conn, &[7; 1000]).unwrap();
        }
    }
    let mut buffer = [0; 8 * KIB];
    run_until([node], |[node]| {
        let mut are_done = true;
        for (conn, peer) in &mut *peers {
            let conn = node.net().connection(*conn).expect("it is open");
            if conn.queued_bytes() > 20_000 {
                are_done = false;
                // The socket may be empty until the next turn.
                let _ = peer.read(&mut buffer);
            }
        }
        are_done
    });
}

fn measure() {
    let config = config_with(|config| {
        config.sockets.send_buffer_bytes = Some(8 * KIB);
        config.connection.send_queue.high_bytes = 256 * KIB;
        config.connection.send_queue.max_bytes = MIB;
        // Memory is short with a quarter of it.
        config.limits.loop_send_bytes = 8 * MIB;
    });
    let (mut node, addr) = listening(config, Recorder::default());
    let join = |_| {
        let peer = connect_narrow(addr);
        (accepted(&mut node), peer)
    };
    let mut peers: Vec<(ConnId, TcpStream)> = (0..100).map(join).collect();
    // A few at a time, because the process may keep memory that it has used once.
    let [_, used] = growth(|| {
        for some in peers.chunks_mut(5) {
            read_most(&mut node, some);
        }
    });
    let queued = node.net().metrics().queued_bytes;
    assert!(used < 4 * queued + 8 * MIB, "{used} for {queued} bytes");
}
