//! The counters of the node, in the text format of Prometheus. They are explained
//! at [`peerloop::metrics::Metrics`] and [`peerloop::metrics::Traffic`].

use std::fmt::Display;

use peerloop::Net;

fn sample(kind: &str, name: &str, value: impl Display) -> String {
    format!("# TYPE peerloop_{name} {kind}\npeerloop_{name} {value}\n")
}

/// Appends samples under the names of their fields, with a prefix and a suffix.
macro_rules! samples {
    ($text:ident, $kind:literal, $prefix:literal, $suffix:literal, $from:expr,
     $($field:ident)+) => {
        let from = $from;
        $($text += &sample($kind, concat!($prefix, stringify!($field), $suffix), from.$field);)+
    };
}

pub(crate) fn exposition(net: &Net) -> String {
    let metrics = net.metrics();
    let mut text = sample("gauge", "connections", net.connection_count());
    text += &sample("gauge", "connecting", net.connecting_count());
    samples! { text, "gauge", "", "", metrics,
    queued_bytes max_queued_bytes received_bytes max_received_bytes }
    samples! { text, "counter", "", "_total", net.traffic(),
    messages_sent bytes_sent messages_received bytes_received }
    samples! { text, "counter", "", "_total", metrics,
    accepted refused_by_handler refused_by_total refused_by_address refused_by_prefix
    refused_by_handshakes refused_by_accept_rate refused_by_handshake_rate refused_untrusted
    proxy_header_errors handshakes_evicted self_connections accept_errors shed_connections
    accept_backoffs connects_started connects_failed handshakes_failed disconnected
    framing_errors session_errors resets send_queue_overflows connect_timeouts
    handshake_timeouts idle_timeouts receive_idle_timeouts partial_message_timeouts
    write_stall_timeouts linger_timeouts rate_timeouts receive_rate_ends receive_rate_waits
    send_rate_waits memory_limit_ends pings_sent bytes_lost sends_refused sends_tracked drains
    partial_writes turns read_budget_hits write_budget_hits stale_events panics slow_turns
    commands commands_lost wakes_sent wakes_saved }
    samples! { text, "counter", "udp_", "_total", metrics.udp,
    datagrams_sent bytes_sent datagrams_received bytes_received too_long sends_refused send_errors
    receive_errors }
    text
}
