//! Calling the handler. Its code runs here, except for a batch of messages.

use crate::config::OnPanic;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::net::Net;
use crate::panics::contain;

/// Runs a callback and contains its panic if `OnPanic` says so. Returns `None`
/// if it panicked.
pub(super) fn call_handler<H: Handler, R>(
    net: &mut Net,
    handler: &mut H,
    callback: &'static str,
    conn: Option<ConnId>,
    call: impl FnOnce(&mut H, &mut Net) -> R,
) -> Option<R> {
    let result = match net.config.on_panic {
        OnPanic::Unwind => Some(call(handler, net)),
        // The state of the handler may be inconsistent after a panic; the docs
        // of `OnPanic` say so. The state of the loop is not, because only calls
        // of `Net` change it, and each of them has returned or has not started.
        OnPanic::Contain => contain(|| call(handler, net)),
    };
    net.clock.is_stale = true;
    if result.is_none() {
        net.handle_panic(callback, conn);
    }
    result
}
