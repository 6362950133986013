//! Members that are connected in a topology.

use super::*;

#[test]
fn listening_members_are_connected() {
    let config = Config {
        allow_duplicates: true,
        ..strict()
    };
    let mut group = Group::new().expect("a group");
    let mut add = || group.add(config.clone(), Greeter::default()).expect("room");
    let members: Vec<_> = (0..5).map(|_| add()).collect();
    let stopped = members[2];
    group
        .net(stopped)
        .expect("a member")
        .shutdown(Duration::ZERO);
    run_until(&mut group, |group| {
        group
            .handle(stopped)
            .expect("a member")
            .post(|_, _| ())
            .is_err()
    });
    let everywhere = group.net(members[4]).expect("a member").listen("0.0.0.0:0");
    let port = everywhere.expect("a listener").addr.port();
    let conns = group.connect_all(Topology::Star, PATIENCE).expect("a star");
    assert_eq!(conns.len(), 3);
    let conns = group.connect_all(Topology::Ring, PATIENCE).expect("a ring");
    let net = group.net(members[3]).expect("a member");
    let addr = net.connection(conns[2]).expect("a connection").info().addr;
    assert_eq!(addr, SocketAddr::from(([127, 0, 0, 1], port)));
    let connected = members
        .iter()
        .map(|id| group.handler(*id).expect("a member").connected);
    assert_eq!(connected.collect::<Vec<_>>(), [5, 3, 0, 3, 3]);
}

#[test]
fn failure_has_its_cause() {
    let mut group = Group::new().expect("a group");
    let error = group
        .connect_all(Topology::Ring, PATIENCE)
        .expect_err("no members");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert_eq!(inner, Some(&TopologyError::TooFewNodes));

    let crowded = Config {
        limits: Limits {
            max_connections_per_address: 1,
            ..Default::default()
        },
        ..strict()
    };
    for _ in 0..3 {
        group
            .add(crowded.clone(), Greeter::default())
            .expect("room");
    }
    let error = group
        .connect_all(Topology::Ring, PATIENCE)
        .expect_err("no room");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::QuotaExceeded | ErrorKind::ConnectionReset
        ),
        "{error}"
    );

    // A member that does not keep the connection.
    let mut group = Group::new().expect("a group");
    let named = |name: &str| Config {
        name: name.into(),
        ..strict()
    };
    group.add(named("alice"), Greeter::default()).expect("room");
    let closer = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.abort(*conn);
        }
    });
    group.add(named("bob"), closer).expect("room");
    let error = group
        .connect_all(Topology::Line, PATIENCE)
        .expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    // The reset may come before the connect has completed. Then the error is that
    // of the system.
    let is_of_system = error.raw_os_error().is_some();
    assert!(
        is_of_system || error.to_string().contains("alice to bob"),
        "{error}"
    );
}

/// How many sockets a test may have: half of what the process may, since others run beside it.
fn sockets_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.and_then(|soft| soft.parse::<usize>().ok())
        .unwrap_or(1024)
        / 2
}

#[test]
fn line_of_a_thousand_relays_a_message() {
    let nodes = 1_000.min(sockets_max() / 3);
    let mut group = Group::new().expect("a group");
    let members: Vec<MemberId<Relay>> = (0..nodes)
        .map(|_| group.add(strict(), Relay::default()).expect("room"))
        .collect();
    let conns = group.connect_all(Topology::Line, PATIENCE).expect("a line");
    let links = members.iter().map(|id| {
        let relay = group.handler(*id).expect("a member");
        relay.neighbours.len()
    });
    assert_eq!(links.sum::<usize>(), 2 * (nodes - 1));
    let sent = group.with(members[0], |relay, net| {
        assert_eq!(relay.neighbours, [conns[0]]);
        net.send(conns[0], b"pass it on")
    });
    sent.expect("a member").expect("room");
    let last = members[nodes - 1];
    run_until(&mut group, |group| {
        group.handler(last).expect("a member").received == 1
    });
}
