//! Limitations of contestants: notes to the columns and to single figures.

use crate::on::Contestant;

/// A thread that blocks has one connection.
pub const ONE_CONNECTION: &str =
    "A thread that blocks serves one connection; many need a thread each.";

pub const STACKS: &str = "Memory of a thread is its stack, which is not on the heap.";

pub const NODE_THREADS: &str =
    "Each node starts threads, so that two nodes do not fit into one thread.";

pub const NO_CLOSE_NOTIFICATION: &str =
    "The end that removes a connection does not wait for the other end to close.";

pub const REPEATED_SENDS: &str =
    "There is no event for room in a queue: a refused send is repeated until it is taken.";

pub const MANY_NODES: &str =
    "Connections are identified by the address of the peer: each needs a node at the other end.";

pub const FRAMED: &str = "The contestant is a library for messages; its framing is left on.";

pub const SAME: &str = "The same as in the fan-in above.";

/// Returns what a contestant does not do in any row.
pub fn general(contestant: Contestant) -> Option<&'static str> {
    Some(match contestant {
        Contestant::Peerloop => return None,
        Contestant::Pea2pea => {
            "pea2pea: no bound in bytes on queues or on the memory of all connections; \
             queues are bounded in messages."
        }
        Contestant::MessageIo => {
            "message-io: no backpressure, no limits, no timeouts, no TCP_NODELAY. `send` repeats \
             write(2) until the socket has taken the message, and blocks its thread meanwhile."
        }
        Contestant::Tokio => {
            "tokio `Framed`: no limits on connections or on the memory of all of them, no \
             timeouts, no connections by id: the program adds them."
        }
        Contestant::Limit => {
            "Limit: two blocking threads without a library: no limits, no timeouts, no queue, one \
             connection a thread."
        }
    })
}
