//! Calling the handler: the one place where its code runs, but for the messages of a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::config::Panics;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::net::Net;

/// Runs a callback, contains its panic if that is wanted, and measures it if that is wanted. `None` if it panicked.
pub(super) fn call_handler<H: Handler, R>(
    net: &mut Net,
    handler: &mut H,
    callback: &'static str,
    conn: Option<ConnId>,
    call: impl FnOnce(&mut H, &mut Net) -> R,
) -> Option<R> {
    let begun = net
        .config
        .slow_callback
        .map(|limit| (limit, net.registrar.now()));
    let result = match net.config.panics {
        Panics::Unwind => Some(call(handler, net)),
        // The handler's own state may be torn; that is the bargain that `Panics` describes. The loop's is not: it
        // is only changed by calls of `Net`, which have returned or not begun.
        Panics::Contain => catch_unwind(AssertUnwindSafe(|| call(handler, net))).ok(),
    };
    if let Some((limit, begun)) = begun {
        let took = net.registrar.now().saturating_duration_since(begun);
        if took > limit {
            net.metrics.slow_callbacks += 1;
            log::warn!(target: "peerloop", "{}: {callback} took {took:?}", net.config.name);
        }
    }
    if result.is_none() {
        net.panicked(callback, conn);
    }
    result
}
