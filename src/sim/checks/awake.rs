//! Check that no node waits for an event that will not come.

use crate::connection::{ConnEntry, Lifecycle, TrafficFlow};
use crate::event_loop::InboundInspection;
use crate::id::ConnId;
use crate::net::Net;
use crate::sys::sim::{Internet, SocketInspection};

/// Checks a connection of a node without work: there is nothing to do for the
/// connection, or an event will wake the node for it.
pub(super) fn check_awake(
    conn: ConnId,
    entry: &ConnEntry,
    inbound: &InboundInspection<'_>,
    view: &SocketInspection,
) -> Result<(), String> {
    if view.is_awaited {
        return Ok(());
    }
    let state = entry.lifecycle();
    let is_closing = matches!(state, Lifecycle::Closing(_));
    let is_held = entry.paused || entry.awaits_tokens(TrafficFlow::Receive);
    let is_read = is_closing || !(is_held || inbound.is_held);
    let can_write = view.has_room || view.is_broken;
    // The write for which it waits finds that the connection is broken.
    let waits_to_write = entry.awaits_tokens(TrafficFlow::Send);
    let has_output = entry.has_output() && entry.write_failure().is_none() && !waits_to_write;
    let forgotten = match state {
        Lifecycle::Connecting if view.is_established || view.is_broken => {
            "the established connection"
        }
        Lifecycle::Handshaking | Lifecycle::Open | Lifecycle::Closing(_) => {
            if is_read && view.readable > 0 {
                "bytes that have arrived"
            } else if state == Lifecycle::Open && !is_held && inbound.is_unseen {
                "a message that was kept"
            } else if is_read && view.is_at_end && !entry.read_closed {
                "the end of the stream"
            } else if has_output && can_write {
                "queued bytes"
            } else if is_read && view.is_broken && !waits_to_write {
                "the broken connection"
            } else {
                return Ok(());
            }
        }
        _ => return Ok(()),
    };
    Err(format!(
        "no event will wake the node for {forgotten}; {conn}, {state:?}, {view:?}"
    ))
}

pub(super) fn check_headers(net: &Net, internet: &Internet) -> Result<(), String> {
    for (conn, socket, is_scheduled) in net.headers.sockets() {
        let Some(view) = internet.inspect(socket) else {
            continue;
        };
        let has_news = view.readable > 0 || view.is_at_end || view.is_broken;
        if has_news && !view.is_awaited && !is_scheduled {
            return Err(format!(
                "no event will wake the node for the PROXY header of {conn}; {view:?}"
            ));
        }
    }
    Ok(())
}

pub(super) fn check_listeners(net: &Net, internet: &Internet) -> Result<(), String> {
    for (_, listener) in &net.listeners {
        let Some(id) = listener.socket.sim_id() else {
            continue;
        };
        let waiting = internet.waiting(id);
        let is_awaited = listener.pause.is_some() || internet.is_listener_awaited(id);
        if waiting > 0 && !is_awaited {
            let addr = listener.listening.addr;
            return Err(format!(
                "no event will wake the node for {waiting} connections in the backlog of {addr}"
            ));
        }
    }
    Ok(())
}
