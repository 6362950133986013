//! Calling the handler. Only this function runs the handler's code.

use crate::config::OnPanic;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::net::Net;
use crate::panics::contain;

/// Runs a callback. Contains its panic if `OnPanic` is `Contain`. Returns
/// `None` if the callback panicked.
pub(super) fn call_handler<H: Handler, R>(
    net: &mut Net,
    handler: &mut H,
    callback: &'static str,
    conn: Option<ConnId>,
    call: impl FnOnce(&mut H, &mut Net) -> R,
) -> Option<R> {
    let result = match net.config.on_panic {
        OnPanic::Unwind => Some(call(handler, net)),
        // The state of the handler may be inconsistent after a panic, as
        // documented at `OnPanic`. The state of the loop is consistent, because
        // only calls of `Net` change it, and each of them has returned or has
        // not started.
        OnPanic::Contain => contain(|| call(handler, net)),
    };
    net.clock.is_stale = true;
    if result.is_none() {
        net.handle_panic(callback, conn);
    }
    result
}
