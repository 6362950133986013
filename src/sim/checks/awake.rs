//! Nobody is stuck.

use crate::id::ConnId;
use crate::net::Net;
use crate::network::sim::{Internet, View};
use crate::peer::{Peer, State};
use crate::turn::InboundView;

/// The node has nothing to do and nothing will wake it for this connection: then there must be nothing to do.
pub(super) fn check_awake(
    conn: ConnId,
    peer: &Peer,
    inbound: &InboundView<'_>,
    view: &View,
) -> Result<(), String> {
    if view.is_awaited {
        return Ok(());
    }
    let state = peer.inner_state();
    let is_closing = matches!(state, State::Closing(_));
    let is_read = is_closing || !(peer.paused || inbound.is_held);
    let can_write = view.has_room || view.is_broken;
    let has_output = peer.has_output() && peer.failure().is_none();
    let forgotten = match state {
        State::Connecting if view.is_established || view.is_broken => "that it is connected",
        State::Handshaking | State::Open | State::Closing(_) => {
            if is_read && view.readable > 0 {
                "what has arrived"
            } else if state == State::Open && !peer.paused && inbound.is_unseen {
                "what was kept"
            } else if is_read && view.is_at_end && !peer.peer_finished {
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
    for (_, listening) in &net.listeners {
        let Some(id) = listening.socket.sim_id() else {
            continue;
        };
        let waiting = internet.waiting(id);
        // Who is held up by handshakes under way is let in when one of them ends.
        let is_held = net.limits.lock().inbound_is_full() && listening.ready;
        let is_reminded = listening.pause.is_some() || is_held || internet.is_listener_awaited(id);
        if waiting > 0 && !is_reminded {
            let addr = listening.addr;
            return Err(format!(
                "the node is stuck: nothing will remind it of {waiting} who wait at {addr}"
            ));
        }
    }
    Ok(())
}
