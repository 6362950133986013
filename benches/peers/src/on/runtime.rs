//! The runtimes that the asynchronous contestants live in.

use std::io;

use tokio::runtime::{Builder, Runtime};

use super::Threads;

/// A runtime on this thread, or one with two workers, as many as the cores of the
/// machine that this is meant for.
pub fn runtime(threads: Threads) -> io::Result<Runtime> {
    match threads {
        Threads::One => Builder::new_current_thread().enable_all().build(),
        Threads::Two => Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build(),
    }
}
