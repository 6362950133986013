//! Many nodes on one thread that share one poll.
#![cfg(target_pointer_width = "64")]

mod util;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::{
    Config, ConnId, DisconnectReason, Group, Handler, MemberId, Net, TimerId, Topology, Turn,
};
use util::{Event, PATIENCE, Recorder};

/// Runs turns of the group until the condition holds.
#[track_caller]
fn run_until<H: Handler>(group: &mut Group<H>, mut condition: impl FnMut(&Group<H>) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition(group) {
        assert!(Instant::now() < end, "the condition did not come about");
        let _ = group.turn(Some(Duration::from_millis(1))).expect("a turn");
    }
}

fn listen<H: Handler>(group: &mut Group<H>, member: MemberId) -> SocketAddr {
    let net = group.net(member).expect("a member");
    net.listen("127.0.0.1:0").expect("a listener")
}

fn dial<H: Handler>(group: &mut Group<H>, from: MemberId, to: SocketAddr) -> ConnId {
    let net = group.net(from).expect("a member");
    net.connect(to).expect("a dial")
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
        max_connections_per_ip: 1_000,
        ..Config::default()
    };
    let members: Vec<MemberId> = (0..nodes)
        .map(|_| group.add(config.clone(), Greeter::default()).expect("room"))
        .collect();
    let addrs: Vec<SocketAddr> = members.iter().map(|id| listen(&mut group, *id)).collect();
    for (from, to) in Topology::Mesh.edges(nodes).expect("a mesh") {
        dial(&mut group, members[from], addrs[to]);
    }
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
    let members: Vec<MemberId> = (0..nodes)
        .map(|_| {
            let added = group.add(Config::default(), Relay::default());
            added.expect("room")
        })
        .collect();
    let addrs: Vec<SocketAddr> = members.iter().map(|id| listen(&mut group, *id)).collect();
    for (from, to) in Topology::Line.edges(nodes).expect("a line") {
        dial(&mut group, members[from], addrs[to]);
    }
    run_until(&mut group, |group| {
        let links = members.iter().map(|id| {
            let relay = group.handler(*id).expect("a member");
            relay.neighbours.len()
        });
        links.sum::<usize>() == 2 * (nodes - 1)
    });
    let first = group.handler(members[0]).expect("a member").neighbours[0];
    let net = group.net(members[0]).expect("a member");
    net.send(first, b"pass it on").expect("room");
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
    assert_eq!(group.members().collect::<Vec<_>>(), [next]);
    assert_eq!((group.len(), group.is_empty()), (1, false));
}

#[test]
fn who_is_removed_hangs_up_and_the_others_go_on() {
    let mut group = Group::new().expect("a group");
    let mut add = || {
        group
            .add(Config::default(), Recorder::default())
            .expect("room")
    };
    let (hub, leaver, stayer) = (add(), add(), add());
    let addr = listen(&mut group, hub);
    dial(&mut group, leaver, addr);
    let kept = dial(&mut group, stayer, addr);
    run_until(&mut group, |group| {
        group.handler(hub).expect("a member").connected().len() == 2
            && group.handler(stayer).expect("a member").connected() == [kept]
    });
    group.remove(leaver).expect("it was there");
    let ended = |group: &Group<Recorder>| {
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
    let members: Vec<MemberId> = (0..20)
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
    let set = |group: &mut Group<Alarm>, member, millis| {
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
fn handlers_of_different_kinds_share_a_group_in_boxes() {
    let mut group: Group<Box<dyn Handler>> = Group::new().expect("a group");
    let a = group
        .add(Config::default(), Box::new(Greeter::default()))
        .expect("room");
    let b = group
        .add(Config::default(), Box::new(Relay::default()))
        .expect("room");
    let addr = listen(&mut group, a);
    let conn = dial(&mut group, b, addr);
    let end = Instant::now() + PATIENCE;
    let heard = |group: &mut Group<Box<dyn Handler>>| {
        let peer = group.net(b).expect("a member").connection(conn);
        peer.is_some_and(|peer| peer.traffic().messages_received == 1)
    };
    while !heard(&mut group) {
        assert!(Instant::now() < end, "the greeting did not come");
        let _ = group.turn(Some(Duration::from_millis(1))).expect("a turn");
    }
}

#[test]
fn a_group_has_stopped_when_its_last_member_has() {
    let mut group = Group::new().expect("a group");
    assert_eq!(group.turn(None).expect("a turn"), Turn::Stopped);
    let mut add = || {
        group
            .add(Config::default(), Greeter::default())
            .expect("room")
    };
    let (a, b) = (add(), add());
    group.net(a).expect("a member").shutdown(Duration::ZERO);
    assert_ne!(
        group.turn(Some(Duration::ZERO)).expect("a turn"),
        Turn::Stopped
    );
    group.net(b).expect("a member").shutdown(Duration::ZERO);
    group.run().expect("it ends");
    assert_eq!(group.timeout(), None);
    // A new member wakes it up.
    let c = group
        .add(Config::default(), Greeter::default())
        .expect("room");
    assert_ne!(
        group.turn(Some(Duration::ZERO)).expect("a turn"),
        Turn::Stopped
    );
    assert!(group.remove(c).is_some());
    assert_eq!(group.turn(None).expect("a turn"), Turn::Stopped);
}

#[test]
fn a_setting_that_cannot_work_adds_nobody() {
    let mut group = Group::new().expect("a group");
    let config = Config {
        max_frame: 0,
        ..Config::default()
    };
    assert!(group.add(config, Greeter::default()).is_err());
    assert!(group.is_empty());
}
