//! Peers that use other libraries, for the tests in `tests/`.
#![forbid(unsafe_code)]

pub mod looping;
pub mod pea;
pub mod plan;

use std::time::Duration;

/// How long anything may take before a test fails. Far more than needed: these machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The result of a future, or a failed test when that takes too long.
#[track_caller]
pub fn soon<F: Future>(what: &'static str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        tokio::time::timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("waited too long for {what}, at {caller}"))
    }
}

/// Waits until a condition holds, or fails the test.
#[track_caller]
pub fn until(what: &'static str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(what, async move {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}
