//! The ceilings, in one place. Each is a count that does not depend on the
//! speed of the machine. A count above its ceiling fails.

/// A ceiling, and the number of units above it that the kernel's timing may
/// cause.
#[derive(Clone, Copy)]
pub(crate) struct Ceiling {
    pub(crate) count: f64,
    pub(crate) slack: f64,
}

const fn exactly(count: f64) -> Ceiling {
    Ceiling { count, slack: 0.01 }
}

/// System calls of both ends of a connection, from connect to close: socket,
/// connect, two registrations, accept and the accept that finds no further
/// connection, getsockname of the end that connected, TCP_NODELAY, shutdown, two
/// reads of the end of stream, two closes, and four waits. It buys the rate at
/// which a node accepts peers that come and go.
///
/// A wait more or less depends on which thread runs first.
pub(crate) const CYCLE: Ceiling = Ceiling {
    count: 17.0,
    slack: 0.5,
};

/// System calls of one hop of a round trip: wait, receive, send. It buys the
/// latency of a request.
pub(crate) const HOP: Ceiling = exactly(3.0);

/// Clock readings of a turn that delivers one message and answers it: after the
/// poll, after the message, and before the turn ends. It buys the cost of a turn with little
/// work.
pub(crate) const CLOCK: Ceiling = exactly(3.0);

/// Bytes copied in user space for each byte of a message of 128 KiB that arrives
/// in pieces of 1,448 bytes, the payload of an Ethernet segment. Once: a slow
/// sender of a large message costs no more than a fast one.
pub(crate) const COPIES: Ceiling = Ceiling {
    count: 1.0,
    slack: 0.05,
};

/// Turns in 40 s of a node with 200 silent connections, whose timeouts share
/// wake-ups. It buys the battery of a phone.
pub(crate) const IDLE_TURNS: Ceiling = exactly(8.0);

/// Memory that a member of a group touches, in KiB. It buys many nodes in one process.
pub(crate) const MEMBER_KIB: Ceiling = exactly(16.0);

/// Page faults of adding a member to a group and of its first turn: those of
/// the memory above.
pub(crate) const MEMBER_FAULTS: Ceiling = exactly(4.0);

/// System calls of adding a member to a group and of its first turn, except
/// those of the allocator.
pub(crate) const MEMBER_CALLS: Ceiling = exactly(1.0);

/// Memory of a node of a simulated world of 10,000 nodes, in KiB: the world fits
/// into 1 GiB.
pub(crate) const WORLD_NODE_KIB: Ceiling = exactly(104.0);

/// Instructions of both ends of a Noise handshake, compared with those of snow
/// alone, which derives the public key of the static key for each handshake. It
/// buys the rate at which a node accepts peers.
pub(crate) const HANDSHAKE: Ceiling = Ceiling {
    count: 0.88,
    slack: 0.01,
};
