//! Tests of the validation of settings.

use super::*;
use crate::config::{Keepalive, Ping};
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
    named(
        |c| c.sockets.user_timeout = Some(Duration::ZERO),
        "sockets.user_timeout",
    );
    assert_eq!(
        rejected(|c| c.connection.timeouts.connect = Some(zero)),
        "timeouts.connect"
    );
    named(|c| c.connection.framing = Framing::Fixed(0), "framing");
}

#[test]
fn keepalive_out_of_range_is_named() {
    let with = |change: fn(&mut Keepalive)| {
        let mut keepalive = Keepalive::default();
        change(&mut keepalive);
        move |config: &mut Config| config.sockets.keepalive = Some(keepalive)
    };
    let (short, long) = (Duration::from_millis(999), Duration::from_secs(32_768));
    assert_eq!(short.as_secs(), 0, "the kernel would get zero");
    for (change, field) in [
        (
            (|it| it.idle = Some(Duration::ZERO)) as fn(&mut Keepalive),
            "sockets.keepalive.idle",
        ),
        (
            |it| it.interval = Some(Duration::ZERO),
            "sockets.keepalive.interval",
        ),
        (|it| it.retries = Some(0), "sockets.keepalive.retries"),
        (|it| it.retries = Some(128), "sockets.keepalive.retries"),
    ] {
        assert_eq!(rejected(with(change)), field);
    }
    for time in [short, long] {
        let keepalive = Keepalive {
            idle: Some(time),
            ..Default::default()
        };
        let field = rejected(|c| c.sockets.keepalive = Some(keepalive));
        assert_eq!(field, "sockets.keepalive.idle");
    }
    let system = Keepalive {
        idle: None,
        interval: None,
        retries: None,
    };
    let mut config = Config::default();
    config.sockets.keepalive = Some(system);
    config.validate().unwrap();
}

#[test]
fn user_timeout_is_refused_where_it_is_missing() {
    let mut config = Config::default();
    config.sockets.user_timeout = Some(Duration::from_secs(30));
    let has_it = cfg!(any(target_os = "linux", target_os = "android"));
    assert_eq!(config.validate().is_ok(), has_it);
    // An `int` of milliseconds.
    config.sockets.user_timeout = Some(Duration::from_millis(1 << 31));
    let error = config.validate().expect_err("it is too long");
    assert_eq!(error.field, "sockets.user_timeout");
}

#[test]
fn ping_that_cannot_be_framed_is_named() {
    let with = |framing: Framing, message: &'static [u8]| {
        move |config: &mut Config| {
            config.connection.framing = framing;
            config.connection.ping = Some(Ping {
                message: message.into(),
                ..Ping::default()
            });
        }
    };
    let lines = Framing::Delimited(b'\n');
    for (framing, message) in [
        (Framing::Fixed(4), &b"12345"[..]),
        (lines.clone(), b"a\nb"),
        (Framing::Raw, b""),
    ] {
        assert_eq!(rejected(with(framing, message)), "ping.message");
    }
    let longer = |config: &mut Config| {
        with(Framing::default(), b"12345")(config);
        config.connection.max_message_len = 4;
    };
    assert_eq!(rejected(longer), "ping.message");
    let zero = |config: &mut Config| {
        config.connection.ping = Some(Ping {
            after: Duration::ZERO,
            ..Ping::default()
        });
    };
    assert_eq!(rejected(zero), "ping.after");
    for (framing, message) in [(Framing::Fixed(4), &b"1234"[..]), (lines, b"")] {
        let mut config = Config::default();
        with(framing, message)(&mut config);
        config.validate().unwrap();
    }
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
