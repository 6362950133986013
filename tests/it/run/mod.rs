//! Turns, `run_until`, `spawn`, and loops inside other loops.

mod budgets;
mod config;
#[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
mod descriptor;
mod dropped;
#[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
mod edge_triggered;
mod every_call;
mod fairness;
mod game_loop;
mod one_time;
mod random;
mod thread;
mod turns;
mod until;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use peerloop::Config;
use peerloop::config::OnPanic;

fn strict() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

/// Returns whether the peer finds its stream reset.
fn is_reset(peer: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    match peer.read_to_end(&mut bytes) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}
