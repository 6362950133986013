//! Nobody is stuck.

use crate::connection::{ConnEntry, Lifecycle};
use crate::event_loop::InboundInspection;
use crate::id::ConnId;
use crate::net::Net;
use crate::sys::sim::{Internet, View};

/// The node has nothing to do and nothing will wake it for this connection: then there must be nothing to do.
pub(super) fn check_awake(
    conn: ConnId,
    entry: &ConnEntry,
    inbound: &InboundInspection<'_>,
    view: &View,
) -> Result<(), String> {
    if view.is_awaited {
        return Ok(());
    }
    let state = entry.lifecycle();
    let is_closing = matches!(state, Lifecycle::Closing(_));
    let is_read = is_closing || !(entry.paused || inbound.is_held);
    let can_write = view.has_room || view.is_broken;
    let has_output = entry.has_output() && entry.failure().is_none();
    let forgotten = match state {
        Lifecycle::Connecting if view.is_established || view.is_broken => "that it is connected",
        Lifecycle::Handshaking | Lifecycle::Open | Lifecycle::Closing(_) => {
            if is_read && view.readable > 0 {
                "what has arrived"
            } else if state == Lifecycle::Open && !entry.paused && inbound.is_unseen {
                "what was kept"
            } else if is_read && view.is_at_end && !entry.peer_finished {
                "the end of the stream"
            } else if has_output && can_write {
                "what is to be written"
            } else if is_read && view.is_broken {
                "that it is broken"
            } else {
                return Ok(());
            }
        }
        _ => return Ok(()),
    };
    Err(format!(
        "the node is stuck: nothing will remind it of {forgotten}; {conn}, {state:?}, {view:?}"
    ))
}

pub(super) fn check_listeners(net: &Net, internet: &Internet) -> Result<(), String> {
    for (_, listener) in &net.listeners {
        let Some(id) = listener.socket.sim_id() else {
            continue;
        };
        let waiting = internet.waiting(id);
        // Who is held up by handshakes under way is let in when one of them ends.
        let is_held = net.limits.lock().inbound_is_full() && listener.ready;
        let is_reminded = listener.pause.is_some() || is_held || internet.is_listener_awaited(id);
        if waiting > 0 && !is_reminded {
            let addr = listener.addr;
            return Err(format!(
                "the node is stuck: nothing will remind it of {waiting} who wait at {addr}"
            ));
        }
    }
    Ok(())
}
