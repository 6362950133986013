//! The counters of the node, in the text format of Prometheus.

use std::fmt::{Display, Write};

use peerloop::Net;

/// The text format, line by line.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.metric("counter", &format!("peerloop_{name}_total"), help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.metric("gauge", &format!("peerloop_{name}"), help, value);
    }

    fn metric(&mut self, kind: &str, name: &str, help: &str, value: impl Display) {
        let lines = format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        self.0
            .write_fmt(lines)
            .expect("writing into a string cannot fail");
    }
}

/// Writes counters under the names of their fields, so that no value can get the
/// name of another.
macro_rules! counters {
    ($text:ident, $from:expr, { $($field:ident: $help:literal,)+ }) => {
        let from = $from;
        $($text.counter(stringify!($field), $help, from.$field);)+
    };
}

/// The counters of the node.
pub(crate) fn exposition(net: &Net) -> String {
    let mut text = Exposition::default();
    let metrics = net.metrics();
    let connections = net.connection_count();
    text.gauge("connections", "Connections established now.", connections);
    let connecting = net.connecting_count();
    let help = "Connections that are connecting or handshaking now.";
    text.gauge("connecting", help, connecting);
    text.gauge("queued_bytes", "Bytes queued now.", metrics.queued_bytes);
    let most = metrics.max_queued_bytes;
    text.gauge("max_queued_bytes", "Most bytes ever queued.", most);
    let held = metrics.received_bytes;
    text.gauge("received_bytes", "Bytes held of incomplete messages.", held);
    counters!(text, net.traffic(), {
        messages_sent: "Messages accepted for sending.",
        bytes_sent: "Bytes accepted for sending, framing included.",
        messages_received: "Messages delivered to the handler.",
        bytes_received: "Bytes delivered to the handler, framing included.",
    });
    counters!(text, metrics, {
        accepted: "Connections accepted.",
        refused_by_handler: "Connections refused by the handler.",
        refused_by_total: "Connections refused at the limit of the node.",
        refused_by_address: "Connections refused at the limit of their address.",
        refused_by_prefix: "Connections refused at the limit of their network.",
        refused_by_handshakes: "Connections refused at the limit of handshakes.",
        refused_by_accept_rate: "Connections refused at the rate of accepts.",
        refused_by_handshake_rate: "Connections refused at the rate of handshakes.",
        refused_untrusted: "Connections refused because no trusted proxy opened them.",
        proxy_header_errors: "Connections ended by their PROXY header.",
        handshakes_evicted: "Connections that lost their handshake place to another one.",
        self_connections: "Connections of the node with itself.",
        accept_errors: "Failures to accept.",
        shed_connections: "Connections closed at file-descriptor exhaustion.",
        accept_backoffs: "Pauses of a listener after a failure to accept.",
        connects_started: "Outbound connects started.",
        connects_failed: "Outbound connects that failed.",
        handshakes_failed: "Connections that ended before their handshake had completed.",
        disconnected: "Connections that ended.",
        framing_errors: "Connections ended by a malformed or too long message.",
        session_errors: "Connections ended by their session after its handshake.",
        resets: "Connections that the peer reset.",
        send_queue_overflows: "Connections ended because their queue overflowed.",
    });
    counters!(text, metrics, {
        connect_timeouts: "Outbound connects without an answer in time.",
        handshake_timeouts: "Handshakes that did not complete in time.",
        idle_timeouts: "Connections ended because there was no message.",
        receive_idle_timeouts: "Connections ended because the peer sent nothing.",
        partial_message_timeouts: "Connections ended in the middle of a slow message.",
        write_stall_timeouts: "Connections ended because the peer read nothing.",
        linger_timeouts: "Connections ended by the linger timeout with something left to write.",
        rate_timeouts: "Connections ended below a minimum rate.",
        receive_rate_ends: "Connections ended above a maximum rate.",
        receive_rate_waits: "Reads that waited for a maximum rate.",
        send_rate_waits: "Writes that waited for a maximum rate.",
        memory_limit_ends: "Connections ended at the limit on received bytes.",
        pings_sent: "Pings sent.",
        bytes_lost: "Bytes accepted for sending and lost.",
        sends_refused: "Sends refused because a queue was full.",
        drains: "Queues that had room again.",
        partial_writes: "Writes that the kernel took a part of.",
        turns: "Turns of the loop.",
        read_budget_hits: "Reads continued in the next turn.",
        write_budget_hits: "Writes continued in the next turn.",
        stale_events: "Events for connections that had ended.",
        panics: "Callbacks that panicked.",
        slow_turns: "Turns that took too long.",
        commands: "Commands from other threads.",
        commands_lost: "Messages from other threads that their connection did not take.",
        wakes_sent: "Wakes by other threads.",
        wakes_saved: "Wakes that were not needed.",
    });
    counters!(text, metrics.udp, {
        datagrams_sent: "Datagrams sent.",
        datagrams_received: "Datagrams delivered to the handler.",
        too_long: "Datagrams dropped because they were too long.",
        send_errors: "Datagrams that the system refused.",
    });
    text.0
}
