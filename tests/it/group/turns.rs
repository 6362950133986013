//! Turns of a group, its timers and its end.

use super::*;

#[test]
fn early_timer_fires_before_a_late_one() {
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
fn stopped_is_returned_once() {
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
fn turn_without_running_members_waits() {
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
fn run_until_keeps_its_bound() {
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
