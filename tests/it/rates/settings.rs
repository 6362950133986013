//! Invalid settings.

use super::*;

const ZERO: Rate = Rate {
    per_second: 0,
    burst: 1,
};

#[test]
fn zero_rates_are_refused_where_they_are_set() {
    let invalid = RateLimits {
        receive_bytes: Some(ZERO),
        ..RateLimits::default()
    };
    let error = Node::new(limited(invalid), Recorder::default()).err();
    assert!(error.is_some_and(|error| error.to_string().contains("rate.receive_bytes")));
    for (field, change) in [
        ("limits.accepts_per_address", 0),
        ("limits.handshakes_per_address", 1),
        ("limits.rate_per_address.receive_bytes", 2),
    ] {
        let config = config_with(|config| match change {
            0 => config.limits.accepts_per_address = Some(ZERO),
            1 => config.limits.handshakes_per_address = Some(ZERO),
            _ => config.limits.rate_per_address = invalid,
        });
        assert_eq!(config.validate().unwrap_err().field, field);
    }
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    let mut options = node.net().listen_options();
    options.connection_mut().rate = invalid;
    let error = node.net().listen_with("127.0.0.1:0", options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let mut options = node.net().connect_options();
    options.connection_mut().rate = invalid;
    assert!(node.net().connect_with(addr, options).is_err());
}

#[test]
fn invalid_rate_changes_nothing() {
    let limits = RateLimits {
        receive_messages: rate(1, 3),
        ..RateLimits::default()
    };
    let (mut node, conn, mut peer) = wire(limited(limits), Recorder::default());
    let invalid = RateLimits {
        send_bytes: Some(ZERO),
        ..RateLimits::default()
    };
    let error = node.net().set_rate(conn, invalid).unwrap_err();
    assert_eq!(error.field, "rate.send_bytes");
    let current = node.net().connection(conn).map(|it| it.config().rate);
    assert_eq!(current, Some(limits));
    peer.write_all(&frame(b"x").repeat(4)).expect("room");
    let begun = Instant::now();
    deliver(&mut node, conn, 4);
    assert!(begun.elapsed() >= Duration::from_millis(900));
    node.net().abort(conn);
    until_ended(&mut node, conn);
    let is_ok = node.net().set_rate(conn, limits).is_ok();
    assert!(is_ok, "a stale id is a no-op");
    let error = node.net().set_rate(conn, invalid).unwrap_err();
    assert_eq!(error.field, "rate.send_bytes");
}

#[test]
fn extreme_rates_are_no_limit() {
    let limits = largest_rates();
    let config = config_with(|config| {
        config.connection.rate = limits;
        config.limits.rate_per_address = limits;
    });
    let echo = Recorder::echo();
    let (mut from, there, mut to, _) = pair(config, Recorder::default(), echo);
    for _ in 0..1_000 {
        from.net().send(there, &[7; 1_000]).expect("room");
    }
    run_until([&mut from, &mut to], |[from, _]| {
        from.handler().messages(there).len() == 1_000
    });
}
