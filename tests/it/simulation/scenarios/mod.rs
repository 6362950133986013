//! Protocols as users write them, in simulated worlds: with faults drawn from
//! the seed, through partitions, crashes and restarts, over plain connections,
//! TLS, Noise and other sessions. Each module is one protocol and its
//! guarantee.

#![allow(unreachable_pub, reason = "modules of a test")]

mod gossip;
mod requests;
mod storm;
mod torrent;
