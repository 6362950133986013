//! Reports of [`Selector::Poll`]: a direction is reported once until a call has
//! returned `WouldBlock`.

use super::*;
use crate::sys::sim::Selector;

/// Returns both ends of a connection between two hosts whose selectors are
/// poll(2). Both ends were reported writable, and no call has blocked.
fn polled() -> (Lab, SocketId, SocketId) {
    let mut lab = Lab::new(1);
    for host in [A, B] {
        lab.internet.set_selector(host, Selector::Poll);
    }
    let (a, b) = lab.pair();
    (lab, a, b)
}

fn send(lab: &mut Lab, from: SocketId, bytes: &[u8]) {
    assert_eq!(lab.write(from, bytes).ok(), Some(bytes.len()));
    lab.pass(SHORT);
}

#[test]
fn direction_is_reported_once_until_call_blocks() {
    let (mut lab, a, b) = polled();
    send(&mut lab, b, b"abc");
    assert_eq!(bits(&lab.reports(lab.a)), [(true, false, false)]);
    assert_eq!(lab.read(a).ok(), Some(b"abc".to_vec()));
    send(&mut lab, b, b"def");
    assert!(lab.reports(lab.a).is_empty(), "no call has blocked");
    assert_eq!(lab.read(a).ok(), Some(b"def".to_vec()));
    assert_eq!(kind(lab.read(a)), Some(ErrorKind::WouldBlock));
    // Both directions are reported again, and one of them is ready.
    assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
    send(&mut lab, b, b"ghi");
    assert_eq!(bits(&lab.reports(lab.a)), [(true, false, false)]);
}

#[test]
fn only_epoll_has_its_facts() {
    let (lab, _, b) = polled();
    assert!(!lab.internet.is_on_epoll(b));
    let mut lab = Lab::new(1);
    let (_, b) = lab.pair();
    assert!(lab.internet.is_on_epoll(b));
}

#[test]
fn room_after_short_write_is_an_event_with_epoll() {
    for seed in 0..20 {
        let mut lab = Lab::new(seed);
        let (a, _) = lab.pair();
        assert!(lab.internet.is_on_epoll(a));
        lab.internet.watch_room(a);
        let _ = lab.reports(lab.a);
        lab.internet.faults.short_write = 1.0;
        assert!(lab.write(a, &[1; 1000]).is_ok_and(|count| count < 1000));
        lab.pass(SHORT);
        assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
    }
    let (mut lab, a, _) = polled();
    assert!(!lab.internet.is_on_epoll(a));
    lab.internet.faults.short_write = 1.0;
    assert!(lab.write(a, &[1; 1000]).is_ok_and(|count| count < 1000));
    lab.pass(SHORT);
    assert!(lab.reports(lab.a).is_empty(), "no call has blocked");
}

#[test]
fn an_end_is_an_event_besides_that_of_the_data() {
    let (mut lab, a, _) = polled();
    send(&mut lab, a, b"abc");
    assert_eq!(bits(&lab.reports(lab.b)), [(true, false, false)]);
    lab.internet.shutdown_write(a).expect("it is connected");
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.b)), [(false, false, true)]);
    assert!(lab.reports(lab.b).is_empty());
}

#[test]
fn a_reset_is_always_an_event() {
    let (mut lab, a, b) = polled();
    send(&mut lab, a, b"abc");
    assert_eq!(bits(&lab.reports(lab.b)), [(true, false, false)]);
    lab.internet.close(a, true);
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.b)), [(true, true, true)]);
    let error = lab.internet.take_error(b).map(|error| error.kind());
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
}

#[test]
fn room_is_an_event_after_a_write_that_blocked() {
    let (mut lab, a, b) = polled();
    let full = vec![0; 1 << 20];
    while lab.write(a, &full).is_ok() {
        lab.pass(SHORT);
    }
    assert!(lab.reports(lab.a).is_empty());
    while lab.read(b).is_ok() {
        lab.pass(SHORT);
    }
    assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
    assert!(lab.reports(lab.a).is_empty());
}

#[test]
fn listener_is_reported_once_until_accept_blocks() {
    let mut lab = Lab::new(1);
    lab.internet.set_selector(B, Selector::Poll);
    let listener = lab.listen(10);
    lab.connect();
    lab.pass(SHORT);
    assert_eq!(lab.reports(lab.b).len(), 1);
    assert!(lab.accept(listener).is_ok());
    lab.connect();
    lab.pass(SHORT);
    assert!(lab.reports(lab.b).is_empty(), "no accept has blocked");
    assert!(lab.accept(listener).is_ok());
    assert_eq!(kind(lab.accept(listener)), Some(ErrorKind::WouldBlock));
    lab.connect();
    lab.pass(SHORT);
    let tokens: Vec<usize> = lab.reports(lab.b).iter().map(|it| it.token).collect();
    assert!(tokens.contains(&LISTENER), "{tokens:?}");
}
