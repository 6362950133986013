//! Tests of the validation of settings.

use super::*;
use crate::framing::Framing;

fn rejected(change: impl FnOnce(&mut Config)) -> &'static str {
    let mut config = Config::default();
    change(&mut config);
    config.validate().expect_err("the setting is invalid").field
}

#[test]
fn default_config_is_valid() {
    Config::default().validate().unwrap();
}

#[test]
fn a_zero_is_named() {
    let zero = Duration::ZERO;
    let named = |change: fn(&mut Config), field| assert_eq!(rejected(change), field);
    named(|c| c.limits.max_connections = 0, "limits.max_connections");
    named(|c| c.connection.max_message_len = 0, "max_message_len");
    named(
        |c| {
            let queue = &mut c.connection.send_queue;
            (queue.low_bytes, queue.high_bytes) = (0, 0);
        },
        "send_queue.high_bytes",
    );
    named(|c| c.read_buffer_bytes = 0, "read_buffer_bytes");
    named(|c| c.budget.read_bytes = 0, "budget.read_bytes");
    named(|c| c.budget.write_bytes = 0, "budget.write_bytes");
    named(|c| c.budget.accepts = 0, "budget.accepts");
    named(|c| c.budget.commands = 0, "budget.commands");
    named(|c| c.commands.max_commands = 0, "commands.max_commands");
    assert_eq!(rejected(|c| c.accept_backoff = zero), "accept_backoff");
    assert_eq!(
        rejected(|c| c.sockets.keepalive = Some(zero)),
        "sockets.keepalive"
    );
    assert_eq!(
        rejected(|c| c.connection.timeouts.connect = Some(zero)),
        "timeouts.connect"
    );
    named(|c| c.connection.framing = Framing::Fixed(0), "framing");
}

#[test]
fn limit_out_of_order_is_named() {
    assert_eq!(
        rejected(|c| {
            let queue = &mut c.connection.send_queue;
            queue.low_bytes = queue.high_bytes + 1;
        }),
        "send_queue.low_bytes"
    );
    assert_eq!(
        rejected(|c| {
            let queue = &mut c.connection.send_queue;
            queue.max_bytes = queue.high_bytes - 1;
        }),
        "send_queue.max_bytes"
    );
    assert_eq!(
        rejected(|c| c.limits.loop_send_bytes = c.connection.send_queue.max_bytes - 1),
        "limits.loop_send_bytes"
    );
    assert_eq!(
        rejected(|c| {
            c.connection.framing = Framing::Fixed(c.connection.max_message_len + 1);
        }),
        "framing"
    );
}
