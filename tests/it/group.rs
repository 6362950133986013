//! Many nodes on one thread that share one poll.
#![cfg(target_pointer_width = "64")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder};
use peerloop::config::{ConnectionConfig, Limits, OnPanic};
use peerloop::group::{AnyMemberId, Group, MemberId};
use peerloop::topology::{Topology, TopologyError};
use peerloop::{Config, ConnId, DisconnectReason, Handle, Handler, Net, RunEnd, TimerId, Turn};

/// Runs the group until the condition holds.
#[track_caller]
fn run_until(group: &mut Group, mut condition: impl FnMut(&Group) -> bool) {
    let end = group.run_until(PATIENCE, |group| condition(group));
    assert_eq!(end.expect("a turn"), RunEnd::Done, "it did not come about");
}

fn listen(group: &mut Group, member: impl Into<AnyMemberId>) -> SocketAddr {
    let net = group.net(member).expect("a member");
    net.listen("127.0.0.1:0").expect("a listener").addr
}

fn connect(group: &mut Group, from: impl Into<AnyMemberId>, to: SocketAddr) -> ConnId {
    let net = group.net(from).expect("a member");
    net.connect(to).expect("an attempt")
}

/// A failed assertion in a handler fails the test.
fn strict() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
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

/// Says hello to everybody, and counts who said it.
#[derive(Default)]
struct Greeter {
    connected: usize,
    heard: usize,
}

impl Handler for Greeter {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected += 1;
        net.send(conn, b"hello").expect("a new connection has room");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        assert_eq!(message, b"hello");
        self.heard += 1;
    }
}

/// 200 nodes where descriptors allow it (39,800 ends), fewer where they do not.
#[test]
fn in_a_mesh_everybody_hears_everybody() {
    let fits = |nodes: &usize| nodes * (nodes - 1) + nodes < sockets_max();
    let nodes = (2..=200).rev().find(fits).expect("two nodes fit");
    eprintln!("{nodes} nodes, {} ends", nodes * (nodes - 1));
    let mut group = Group::new().expect("a group");
    let config = Config {
        limits: Limits {
            max_connections_per_address: 1_000,
            ..Default::default()
        },
        ..strict()
    };
    let members: Vec<MemberId<Greeter>> = (0..nodes)
        .map(|_| group.add(config.clone(), Greeter::default()).expect("room"))
        .collect();
    let conns = group.connect_all(Topology::Mesh, PATIENCE);
    assert_eq!(conns.expect("a mesh").len(), nodes * (nodes - 1) / 2);
    run_until(&mut group, |group| {
        members.iter().all(|id| {
            let greeter = group.handler(*id).expect("a member");
            (greeter.connected, greeter.heard) == (nodes - 1, nodes - 1)
        })
    });
    group.shutdown(Duration::ZERO);
    group.run().expect("it ends");
}

/// Passes on whatever comes, to the other neighbour if there is one.
#[derive(Default)]
struct Relay {
    neighbours: Vec<ConnId>,
    heard: usize,
}

impl Handler for Relay {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.neighbours.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.heard += 1;
        let onward = self.neighbours.iter().find(|other| **other != conn);
        if let Some(next) = onward {
            net.send(*next, message).expect("an empty queue has room");
        }
    }
}

#[test]
fn a_message_passes_through_a_line_of_a_thousand() {
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
        group.handler(last).expect("a member").heard == 1
    });
}

#[test]
fn a_name_of_a_member_that_was_removed_reaches_nobody() {
    let mut group = Group::new().expect("a group");
    let gone = group
        .add(Config::default(), Greeter::default())
        .expect("room");
    listen(&mut group, gone);
    assert!(group.remove(gone).is_some());
    let next = group
        .add(Config::default(), Greeter::default())
        .expect("room");
    assert_ne!(gone, next);
    assert!(group.net(gone).is_none() && group.handler(gone).is_none());
    assert!(group.handle(gone).is_none() && group.remove(gone).is_none());
    assert!(group.with(gone, |_, _| ()).is_none());
    assert_eq!(group.members().collect::<Vec<_>>(), [next.into()]);
    assert_eq!((group.len(), group.is_empty()), (1, false));
}

#[test]
fn a_member_that_is_removed_closes_and_the_others_go_on() {
    let mut group = Group::new().expect("a group");
    let mut add = || {
        group
            .add(Config::default(), Recorder::default())
            .expect("room")
    };
    let (hub, leaver, stayer) = (add(), add(), add());
    let addr = listen(&mut group, hub);
    connect(&mut group, leaver, addr);
    let kept = connect(&mut group, stayer, addr);
    run_until(&mut group, |group| {
        group.handler(hub).expect("a member").connected().len() == 2
            && group.handler(stayer).expect("a member").connected() == [kept]
    });
    group.remove(leaver).expect("it was there");
    let ended = |group: &Group| {
        let hub = group.handler(hub).expect("a member");
        hub.count(|event| matches!(event, Event::Disconnect(_, DisconnectReason::PeerClosed)))
    };
    run_until(&mut group, |group| ended(group) == 1);
    group
        .net(stayer)
        .expect("a member")
        .send(kept, b"still here")
        .expect("room");
    run_until(&mut group, |group| {
        let hub = group.handler(hub).expect("a member");
        hub.count(|event| matches!(event, Event::Message(_, text) if text == b"still here")) == 1
    });
}

#[test]
fn another_thread_reaches_each_member_and_no_other() {
    let mut group = Group::new().expect("a group");
    let members: Vec<MemberId<Log>> = (0..20)
        .map(|_| group.add(Config::default(), Log(Vec::new())).expect("room"))
        .collect();
    let handles: Vec<_> = members
        .iter()
        .map(|id| group.handle(*id).expect("a member"))
        .collect();
    let asking = thread::spawn(move || {
        for round in 0..50 {
            for (index, handle) in handles.iter().enumerate() {
                handle
                    .post(move |log: &mut Log, _| log.0.push(index))
                    .expect("room");
                if round == 49 {
                    let count = handle.ask(|log, _| log.0.len()).expect("an answer");
                    assert_eq!(count, 50);
                    handle.shutdown(Duration::ZERO);
                }
            }
        }
    });
    // Sleeps between commands: were a call lost, this would not end.
    group.run().expect("all of them end");
    asking.join().expect("it does not panic");
    for (index, id) in members.iter().enumerate() {
        let log = group.handler(*id).expect("a stopped member is one");
        assert_eq!(log.0, vec![index; 50]);
    }
}

struct Log(Vec<usize>);

impl Handler for Log {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

#[test]
fn timers_of_all_members_are_kept_and_an_early_one_does_not_wait_for_a_late_one() {
    struct Alarm(Vec<u64>);
    impl Handler for Alarm {
        fn on_timer(&mut self, _: &mut Net, _: TimerId, key: u64) {
            self.0.push(key);
        }
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    }
    let mut group = Group::new().expect("a group");
    let mut add = || {
        group
            .add(Config::default(), Alarm(Vec::new()))
            .expect("room")
    };
    let (late, early) = (add(), add());
    let set = |group: &mut Group, member: MemberId<Alarm>, millis| {
        let net = group.net(member).expect("a member");
        net.set_timer(Duration::from_millis(millis), millis);
    };
    set(&mut group, late, 3_600_000);
    set(&mut group, early, 40);
    set(&mut group, early, 20);
    run_until(&mut group, |group| {
        group.handler(early).expect("a member").0 == [20, 40]
    });
    assert!(group.handler(late).expect("a member").0.is_empty());
    assert!(
        group
            .timeout()
            .is_some_and(|left| left > Duration::from_secs(3000))
    );
}

#[test]
fn handlers_of_different_types_share_a_group() {
    let mut group = Group::new().expect("a group");
    let a = group.add(strict(), Greeter::default()).expect("room");
    let b = group.add(strict(), Relay::default()).expect("room");
    let boxed: Box<dyn Handler + Send> = Box::new(Greeter::default());
    let c = group.add(strict(), boxed).expect("room");
    let addr = listen(&mut group, a);
    let conns = [
        connect(&mut group, b, addr),
        connect(&mut group, AnyMemberId::from(c), addr),
    ];
    run_until(&mut group, |group| {
        let heard = |greeter: &Greeter| greeter.heard;
        (
            group.handler(a).map(heard),
            group.handler(b).map(|relay| relay.heard),
        ) == (Some(1), Some(1))
    });
    let net = group.net(c).expect("a member");
    let received = net
        .connection(conns[1])
        .map(|it| it.traffic().messages_received);
    assert_eq!(received, Some(1));
    let relay = group.remove(b).expect("a member");
    assert_eq!(relay.neighbours, [conns[0]]);
}

#[test]
fn the_id_of_a_member_of_another_group_with_another_handler_reaches_no_member() {
    let (mut group, mut other) = (
        Group::new().expect("a group"),
        Group::new().expect("a group"),
    );
    let here = group.add(strict(), Greeter::default()).expect("room");
    let there = other.add(strict(), Relay::default()).expect("room");
    assert_eq!(AnyMemberId::from(here), AnyMemberId::from(there));
    assert!(group.handler(there).is_none() && group.handler_mut(there).is_none());
    assert!(group.with(there, |_, _| ()).is_none() && group.handle(there).is_none());
    assert!(group.remove(there).is_none());
    assert_eq!(group.len(), 1);
}

#[test]
fn a_group_says_once_that_its_last_member_has_stopped() {
    let mut group = Group::new().expect("a group");
    let mut add = || group.add(strict(), Greeter::default()).expect("room");
    let (a, b) = (add(), add());
    group.net(a).expect("a member").shutdown(Duration::ZERO);
    let turn = group.turn(Some(Duration::ZERO));
    assert_ne!(turn.expect("a turn"), Turn::Stopped);
    group.net(b).expect("a member").shutdown(Duration::ZERO);
    let mut turns = (0..10).map(|_| group.turn(Some(Duration::ZERO)).expect("a turn"));
    assert!(turns.any(|turn| turn == Turn::Stopped));
    assert!(turns.next().is_some_and(|turn| turn == Turn::Waiting));
    assert_eq!(group.timeout(), None);
    // A new member wakes it up.
    let c = group.add(strict(), Greeter::default()).expect("room");
    let turn = group.turn(Some(Duration::ZERO));
    assert_ne!(turn.expect("a turn"), Turn::Stopped);
    assert!(group.remove(c).is_some());
    assert_eq!(group.turn(None).expect("a turn"), Turn::Stopped);
    group.run().expect("there is nothing to wait for");
}

#[test]
fn a_group_without_running_members_waits_and_does_not_spin() {
    let timeout = Duration::from_millis(30);
    let mut group = Group::new().expect("a group");
    for round in 0..2 {
        let begun = Instant::now();
        let turn = group.turn(Some(timeout)).expect("a turn");
        assert_eq!((turn, begun.elapsed() >= timeout), (Turn::Waiting, true));
        let endless = group.turn(None).expect_err("a wait without an end");
        assert_eq!(endless.kind(), ErrorKind::BrokenPipe);
        let end = group.run_until(PATIENCE, |_| false);
        assert_eq!(end.expect("no wait"), RunEnd::Stopped);
        assert_eq!(
            group.run_until(PATIENCE, |_| true).expect("no wait"),
            RunEnd::Done
        );
        if round == 0 {
            let member = group.add(strict(), Greeter::default()).expect("room");
            group
                .net(member)
                .expect("a member")
                .shutdown(Duration::ZERO);
            group.run().expect("it ends");
        }
    }
}

#[test]
fn a_condition_is_waited_for_within_its_bound() {
    let mut group = Group::new().expect("a group");
    let member = group.add(strict(), Log(Vec::new())).expect("room");
    let handle = group.handle(member).expect("a member");
    let bound = Duration::from_millis(20);
    let begun = Instant::now();
    let end = group.run_until(bound, |_| false).expect("a turn");
    assert_eq!((end, begun.elapsed() >= bound), (RunEnd::TimedOut, true));
    assert_eq!(group.run_for(bound).expect("a turn"), RunEnd::TimedOut);
    let asking = thread::spawn(move || handle.post(|log, _| log.0.push(1)));
    run_until(&mut group, |group| {
        group.handler(member).expect("a member").0 == [1]
    });
    asking.join().expect("it does not panic").expect("room");
}

/// Asks another member in its first turn.
struct Curious {
    other: Option<Handle<Log>>,
    answer: mpsc::Sender<Vec<Option<ErrorKind>>>,
}

impl Handler for Curious {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_turn(&mut self, net: &mut Net) {
        let Some(other) = self.other.take() else {
            return;
        };
        other.post(|log, _| log.0.push(7)).expect("room");
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let conn = net.connect(addr).expect("an attempt");
        let kinds = vec![
            other.ask(|_, _| ()).err(),
            other.connect(addr).err(),
            other
                .connect_wait("localhost:1", PATIENCE)
                .err()
                .map(Into::into),
            other.send_wait(conn, "hello", PATIENCE).err(),
        ];
        let kinds = kinds
            .into_iter()
            .map(|error| error.map(|error| error.kind()));
        self.answer.send(kinds.collect()).expect("the test waits");
    }
}

#[test]
fn asking_a_fellow_member_does_not_hang() {
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || {
        let mut group = Group::new().expect("a group");
        let log = group.add(strict(), Log(Vec::new())).expect("room");
        let other = group.handle(log);
        let curious = group
            .add(strict(), Curious { other, answer })
            .expect("room");
        run_until(&mut group, |group| {
            group.handler(log).expect("a member").0 == [7]
        });
        let handle = group.handle(log).expect("a member");
        // Between turns no answer could come either.
        let asked = group.with(curious, move |_, _| handle.ask(|_, _| ()));
        let error = asked.expect("a member").expect_err("a deadlock");
        assert_eq!(error.kind(), ErrorKind::Deadlock);
    })
    .join()
    .expect("it does not hang");
    let kinds = answered.recv_timeout(PATIENCE).expect("it was asked");
    assert_eq!(kinds, [Some(ErrorKind::Deadlock); 4]);
}

#[test]
fn connect_all_reaches_members_where_they_listen() {
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
fn connect_all_says_why_it_cannot() {
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
    group.add(strict(), Greeter::default()).expect("room");
    let closer = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.abort(*conn);
        }
    });
    group.add(strict(), closer).expect("room");
    let error = group
        .connect_all(Topology::Line, PATIENCE)
        .expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[test]
fn a_member_that_is_removed_resets_the_streams_that_it_cuts() {
    let mut group = Group::new().expect("a group");
    let mut add = || group.add(strict(), Recorder::default()).expect("room");
    let (cut, idle, other) = (add(), add(), add());
    let conns = group.connect_all(Topology::Mesh, PATIENCE).expect("a mesh");
    // In the order of the edges: cut and idle, cut and other, idle and other.
    let net = group.net(cut).expect("a member");
    net.send(conns[1], b"never sent").expect("room");
    group.remove(cut).expect("a member");
    group.remove(idle).expect("a member");
    let reasons = |group: &Group| {
        let other = group.handler(other).expect("a member");
        let conns = other.connected();
        conns
            .into_iter()
            .filter_map(|conn| other.ended(conn))
            .collect::<Vec<_>>()
    };
    run_until(&mut group, |group| reasons(group).len() == 2);
    let reasons = reasons(&group);
    assert!(reasons.contains(&DisconnectReason::Reset), "{reasons:?}");
    assert!(
        reasons.contains(&DisconnectReason::PeerClosed),
        "{reasons:?}"
    );
}

#[test]
fn a_setting_that_cannot_work_adds_nobody() {
    let mut group = Group::new().expect("a group");
    let config = Config {
        connection: ConnectionConfig {
            max_message_len: 0,
            ..Default::default()
        },
        ..Config::default()
    };
    assert!(group.add(config, Greeter::default()).is_err());
    assert!(group.is_empty());
}
