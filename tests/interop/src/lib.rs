//! Nodes of peerloop and of pea2pea, for the tests in `tests/`.
#![forbid(unsafe_code)]

pub mod node;
pub mod noise;
pub mod pea;
pub mod plan;
pub mod programs;

use std::time::Duration;

/// Maximum time to wait for anything. It is long because CI machines are slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the output of a future. Panics if it takes too long.
#[track_caller]
pub fn in_time<F: Future>(what: &'static str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        tokio::time::timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("waited too long for {what}, at {caller}"))
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &'static str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    in_time(what, async move {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}
