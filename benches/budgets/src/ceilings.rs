//! The ceilings, in one place. Each is a count that does not depend on the
//! speed of the machine. A count above its ceiling fails.

/// A count and its ceiling.
pub(crate) struct Ceiling {
    pub(crate) name: &'static str,
    pub(crate) count: f64,
    /// The amount above the ceiling that the timing of the kernel may cause.
    pub(crate) slack: f64,
}

/// System calls of both ends of a connection that the accepting end closes, from
/// connect to close: socket, connect, two registrations, accept and the accept
/// that finds no further connection, getsockname of the end that connected,
/// TCP_NODELAY, shutdown, two reads of the end of stream, two closes, and four
/// waits. It buys the rate at which a node accepts peers that come and go.
///
/// A wait more or less depends on which thread runs first.
pub(crate) const CYCLE: Ceiling = Ceiling {
    name: "system calls of a connection, closed by the server",
    count: 17.0,
    slack: 0.5,
};

/// The same for a connection that the connecting end closes: a wait more. Its
/// socket is registered for writing, which reports the connect. On loopback the
/// peer's kernel acknowledges the FIN before the peer sends its own, and Linux
/// reports that change of the state (`tcp_rcv_state_process`, FIN-WAIT-1) as
/// room. Ending the interest would be a call as well.
pub(crate) const CYCLE_CLOSED_BY_CLIENT: Ceiling = Ceiling {
    name: "system calls of a connection, closed by the client",
    count: 18.0,
    slack: 0.5,
};

/// System calls of one hop of a round trip: wait, receive, send. It buys the
/// latency of a request.
pub(crate) const HOP: Ceiling = Ceiling {
    name: "system calls of a hop of a round trip",
    count: 3.0,
    slack: 0.01,
};

/// Clock readings of a turn that delivers one message and answers it: after the
/// poll, after the message, and before the turn ends. It buys the cost of a turn with little
/// work.
pub(crate) const CLOCK: Ceiling = Ceiling {
    name: "clock readings of a turn with one message",
    count: 3.0,
    slack: 0.01,
};

/// Bytes copied in user space for each byte of a message of 128 KiB that arrives
/// in pieces of 1,448 bytes, the payload of an Ethernet segment. Once: a slow
/// sender of a large message costs no more than a fast one.
pub(crate) const COPIES: Ceiling = Ceiling {
    name: "copies of a message of 128 KiB in pieces of 1,448 B",
    count: 1.0,
    slack: 0.05,
};

/// Turns in 40 s of a node with 200 silent connections, whose timeouts share
/// wake-ups. It buys the battery of a phone.
pub(crate) const IDLE_TURNS: Ceiling = Ceiling {
    name: "turns of a node with 200 silent connections in 40 s",
    count: 8.0,
    slack: 0.01,
};

/// Memory that a member of a group touches, in KiB. It buys many nodes in one
/// process.
pub(crate) const MEMBER_KIB: Ceiling = Ceiling {
    name: "memory of an idle member of a group, KiB",
    count: 7.0,
    slack: 0.01,
};

/// Page faults of adding a member to a group and of its first turn, because of
/// the memory above.
pub(crate) const MEMBER_FAULTS: Ceiling = Ceiling {
    name: "page faults of a member of a group",
    count: 2.0,
    slack: 0.01,
};

/// System calls of adding a member to a group and of its first turn, without
/// the calls of the allocator.
pub(crate) const MEMBER_CALLS: Ceiling = Ceiling {
    name: "system calls of a member of a group",
    count: 0.0,
    slack: 0.01,
};

/// Memory that a `Node` touches until its first event, its poller included, in
/// KiB. It buys programs that embed a node and hardly use it.
pub(crate) const NODE_KIB: Ceiling = Ceiling {
    name: "memory of an idle node, KiB",
    count: 16.0,
    slack: 0.01,
};

/// Memory of a node of a simulated world of 10,000 nodes, in KiB. It buys tests
/// with that many nodes.
pub(crate) const WORLD_NODE_KIB: Ceiling = Ceiling {
    name: "memory of one of 10,000 simulated nodes, KiB",
    count: 24.0,
    slack: 0.01,
};

/// Instructions of both ends of a Noise handshake, as a part of what snow needs
/// alone. snow derives the public key of the static key for each handshake. It
/// buys the rate at which a node accepts peers.
pub(crate) const HANDSHAKE: Ceiling = Ceiling {
    name: "instructions of a Noise handshake, parts of snow's",
    count: 0.88,
    slack: 0.01,
};
