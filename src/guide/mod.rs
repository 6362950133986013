//! Guides: one page for each subject, with programs that can be copied.
//!
//! Each guide begins with what its reader has at its end. The blocks of code of
//! one guide can be copied one after the other into one file.
//!
//! | guide | at its end you have |
//! |---|---|
//! | [getting started](getting_started) | two nodes that exchange messages, from an empty folder |
//! | [messages and framing](messages) | the framing that your protocol needs, a limit on message length, a `Framer`, and a protocol upgrade |
//! | [backpressure] | a sender that stops and goes on with its receiver, in bounded memory |
//! | [endings and timeouts](endings) | for each end of a connection: the queued bytes, the callbacks at both ends, the timeouts, and how dead peers are found |
//! | [TLS and Noise](sessions/index.html) | encrypted connections, the identity of each peer, and one connection with each |
//! | [threads, shards and groups](threads) | a node that other threads use, one on all cores, and many nodes on one thread |
//! | [embedding in another loop](embedding) | a node inside a game loop, a poll loop or calloop, and a pipe or socket inside the loop of a node |
//! | [running on the open internet](open_internet) | the settings of a home node, a server and a test network, rate limits, a ban list, and nodes behind a proxy |
//! | [datagrams] | a node that finds others by multicast, and the bounds of a UDP socket |
//! | [simulation](simulation/index.html) | a test of your protocol under partitions and crashes, and a failing seed replayed |
//! | [recipes] | short programs: requests, reconnecting, a rate limit, hole punching and more |
//! | [scaling] | the costs that grow from 10 to 10,000 connections, and the settings for them |
//!
//! TLS and Noise need the features `tls` and `noise`, the simulation needs `sim`.

pub mod backpressure {
    #![doc = include_str!("backpressure.md")]
}
pub mod datagrams {
    #![doc = include_str!("datagrams.md")]
}
pub mod embedding {
    #![doc = include_str!("embedding.md")]
}
pub mod endings {
    #![doc = include_str!("endings.md")]
}
pub mod getting_started {
    #![doc = include_str!("getting_started.md")]
}
pub mod messages {
    #![doc = include_str!("messages.md")]
}
pub mod open_internet {
    #![doc = include_str!("open_internet.md")]
}
pub mod recipes {
    #![doc = include_str!("recipes/intro.md")]
    #![doc = include_str!("recipes/typed_messages.md")]
    #![doc = include_str!("recipes/request_and_answer.md")]
    #![doc = include_str!("recipes/rate_limit.md")]
    #![doc = include_str!("recipes/reconnect.md")]
    #![doc = include_str!("recipes/two_nodes.md")]
    #![doc = include_str!("recipes/udp_beside_tcp.md")]
    #![doc = include_str!("recipes/hole_punching.md")]
    #![doc = include_str!("recipes/blocking_client.md")]
    #![doc = include_str!("recipes/game_loop.md")]
    #![doc = include_str!("recipes/inherited_listener.md")]
    #![doc = include_str!("recipes/prometheus.md")]
    #![doc = include_str!("recipes/testing.md")]
}
pub mod scaling {
    #![doc = include_str!("scaling.md")]
}
#[cfg(all(feature = "noise", feature = "tls"))]
pub mod sessions {
    #![doc = include_str!("sessions.md")]
}
#[cfg(feature = "sim")]
pub mod simulation {
    #![doc = include_str!("simulation.md")]
}
pub mod threads {
    #![doc = include_str!("threads.md")]
}
