//! Check of UDP sockets.

use crate::net::Net;
use crate::sys::sim::Internet;

/// Checks that each received datagram was delivered. In a node without work,
/// checks as well that an event will wake it for what is left to do, and that
/// no `on_udp_drain` is owed.
pub(super) fn check_datagrams(net: &Net, internet: &Internet, is_busy: bool) -> Result<(), String> {
    for udp in net.udp.ids() {
        let Some(entry) = net.udp.get(udp) else {
            continue;
        };
        let view = entry
            .socket
            .sim_id()
            .and_then(|id| internet.inspect_udp(id));
        let Some(view) = view else {
            continue;
        };
        if view.undelivered > 0 {
            return Err(format!("{udp:?} has not delivered what it received"));
        }
        let is_empty = entry.ring.is_empty();
        let forgotten = if is_busy || view.is_awaited {
            continue;
        } else if view.readable > 0 {
            "datagrams that have arrived"
        } else if !is_empty && view.has_room {
            "queued datagrams"
        } else if entry.refused.is_some() && is_empty {
            "an on_udp_drain"
        } else {
            continue;
        };
        return Err(format!(
            "no event will wake the node for {forgotten}; {udp:?}, {view:?}"
        ));
    }
    Ok(())
}
