use super::*;

const MANY: usize = 10_000;

#[test]
fn ten_thousand_half_frames_take_20_megabytes() {
    let count = as_many_as(MANY);
    let alone = Alone::begin();
    let mut attacked = Attacked::new(open_to(count), echo);
    let quiet = heap();
    let mut attackers = Attackers::begin(PROGRAM, attacked.addr, count, "half-frames");
    attacked.until("all are in and have written", |node| {
        attackers.are_ready() && node.net().connection_count() == count + 1
    });
    attacked.honest_goes_on();
    println!("{count} half frames hold {} KiB", (heap() - quiet) / KIB);
    alone.assert_below(20_000_000);

    attackers.give_up();
    let mut node = attacked.end(count as u64);
    assert_eq!(node.net().metrics().accepted, count as u64 + 1);
    alone.assert_below(20_000_000);
}

#[test]
fn silent_peers_are_ended_by_their_timeouts() {
    let count = as_many_as(MANY);
    let alone = Alone::begin();
    let mut attacked = Attacked::new(open_to(count), echo);
    // Not for the honest peer, which a machine under load may delay for that
    // long.
    let net = attacked.node.net();
    let mut impatient = net.listen_options();
    impatient.connection_mut().timeouts = Timeouts {
        idle: Some(Duration::from_secs(2)),
        partial_message: Some(Duration::from_secs(1)),
        ..Timeouts::default()
    };
    let listening = net.listen_with("127.0.0.1:0", impatient);
    let addr = listening.expect("a listener").addr;
    let attackers = Attackers::begin(PROGRAM, addr, count, "silent");
    attacked.until("all had their time", |node| {
        let metrics = node.net().metrics();
        attackers.are_ready() && metrics.disconnected == count as u64
    });
    let metrics = attacked.node.net().metrics();
    // Every second peer has begun a message. If its byte arrived late, it may have been
    // idle for longer.
    assert_eq!(
        metrics.idle_timeouts + metrics.partial_message_timeouts,
        count as u64
    );
    assert!(metrics.idle_timeouts >= count as u64 / 2);
    assert!(metrics.partial_message_timeouts > 0);
    attacked.end(count as u64);
    alone.assert_below(20_000_000);
}

#[test]
fn connects_of_one_address_keep_to_its_limit() {
    const COUNT: u64 = 3000;
    let alone = Alone::begin();
    let mut attacked = Attacked::new(Config::default(), echo);
    let share = Config::default().limits.max_connections_per_address;
    let mut attackers = Attackers::begin(PROGRAM, attacked.addr, COUNT as usize, "crowd");
    attacked.until("all have knocked", |node| {
        assert!(node.net().connection_count() <= share + 1);
        let metrics = node.net().metrics();
        attackers.are_ready() && metrics.accepted + metrics.refused_by_address == COUNT + 1
    });
    assert_eq!(attacked.node.net().connection_count(), share + 1);
    attacked.honest_goes_on();
    attackers.give_up();
    let mut node = attacked.end(COUNT);
    let refused = node.net().metrics().refused_by_address;
    assert_eq!(refused, COUNT - share as u64);
    alone.assert_below(2 * MIB);
}

#[test]
fn connects_of_many_addresses_keep_to_the_limits() {
    const COUNT: u64 = 3000;
    const LIMIT: usize = 400;
    let alone = Alone::begin();
    let config = Config {
        limits: Limits {
            max_connections: LIMIT + 1,
            reserved_outbound: Some(0),
            max_connections_per_prefix: Some(PrefixLimit {
                max: 10,
                ..PrefixLimit::default()
            }),
            ..Default::default()
        },
        ..Config::default()
    };
    let mut attacked = Attacked::new(config, echo);
    let mut attackers = Attackers::begin(PROGRAM, attacked.addr, COUNT as usize, "many-addresses");
    attacked.until("all have knocked", |node| {
        assert!(node.net().connection_count() <= LIMIT + 1);
        let metrics = node.net().metrics();
        let refused = metrics.refused_by_total + metrics.refused_by_prefix;
        attackers.are_ready() && metrics.accepted + refused == COUNT + 1
    });
    assert_eq!(attacked.node.net().connection_count(), LIMIT + 1);
    attacked.honest_goes_on();
    attackers.give_up();
    attacked.end(COUNT);
    alone.assert_below(2 * MIB);
}

#[test]
fn network_of_many_addresses_keeps_to_its_limit() {
    const COUNT: u64 = 1200;
    const NETWORKS: u64 = 60;
    const SHARE: usize = 5;
    let alone = Alone::begin();
    let config = Config {
        limits: Limits {
            max_connections_per_prefix: Some(PrefixLimit {
                max: SHARE,
                ..PrefixLimit::default()
            }),
            ..Default::default()
        },
        ..Config::default()
    };
    let mut attacked = Attacked::new(config, echo);
    let mut attackers = Attackers::begin(PROGRAM, attacked.addr, COUNT as usize, "many-addresses");
    let admitted = NETWORKS * SHARE as u64;
    attacked.until("all have knocked", |node| {
        let metrics = node.net().metrics();
        attackers.are_ready() && metrics.refused_by_prefix == COUNT - admitted
    });
    assert_eq!(attacked.node.net().connection_count() as u64, admitted + 1);
    attackers.give_up();
    attacked.end(COUNT);
    alone.assert_below(2 * MIB);
}
