//! Adding, naming and removing members.

use super::*;

#[test]
fn id_of_a_removed_member_is_stale() {
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
fn id_of_another_group_matches_no_member() {
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
fn removed_member_resets_unsent_streams() {
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
fn handlers_are_in_the_order_of_their_ids() {
    let mut group = Group::new().expect("a group");
    let ids: Vec<MemberId<Log>> = (0..4)
        .map(|number| {
            let log = Log(vec![number]);
            group.add(Config::default(), log).expect("room")
        })
        .collect();
    group.remove(ids[1]).expect("a member");
    // Takes the place of the member that was removed, and is not one of these.
    let other = group.add(Config::default(), Log(vec![9])).expect("room");
    let asked = [ids[3], ids[1], ids[0], ids[3]];
    let numbers: Vec<_> = group.handlers(&asked).map(|log| log.0[0]).collect();
    assert_eq!(numbers, [3, 0, 3]);
    assert_eq!(group.handlers(&[other]).count(), 1);
    assert_eq!(group.handlers::<Log>(&[]).count(), 0);
}

#[test]
fn invalid_config_adds_no_member() {
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

#[test]
fn handlers_may_be_of_different_types() {
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
        let received = |greeter: &Greeter| greeter.received;
        (
            group.handler(a).map(received),
            group.handler(b).map(|relay| relay.received),
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
fn handle_reaches_its_own_member_only() {
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
fn ask_of_another_member_is_a_deadlock() {
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
