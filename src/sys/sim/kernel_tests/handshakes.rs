//! Handshakes and backlogs.

use super::*;

fn waiting(lab: &Lab) -> usize {
    lab.internet.waiting(lab.internet.listeners_of(lab.b)[0])
}

fn is_connected(lab: &mut Lab, id: SocketId) -> bool {
    matches!(lab.internet.connected(id), Ok(Some(_)))
}

#[test]
fn a_connect_fails_in_every_way() {
    let mut lab = Lab::new(1);
    let a = lab.connect();
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.a)), [(true, true, true)]);
    let outcome = lab.internet.connected(a);
    assert_eq!(kind(outcome), Some(ErrorKind::ConnectionRefused));

    let mut kinds = BTreeSet::new();
    for seed in 0..20 {
        let mut lab = Lab::new(seed);
        lab.internet.faults.unreachable = 1.0;
        let a = lab.connect();
        lab.pass(SHORT);
        kinds.insert(lab.error(a).map(|kind| kind.to_string()));
    }
    assert_eq!(kinds.len(), 2, "{kinds:?}");

    let unused = SocketAddr::from(([10, 9, 9, 9], 1));
    let a = lab.try_connect(unused, None).expect("nothing forbids it");
    lab.pass(126 * SECOND);
    assert!(matches!(lab.internet.connected(a), Ok(None)));
    lab.pass(2 * SECOND);
    assert_eq!(kind(lab.internet.connected(a)), Some(ErrorKind::TimedOut));
}

#[test]
fn a_cancelled_connect_frees_its_place() {
    let mut lab = Lab::new(1);
    lab.listen(0);
    for _ in 0..3 {
        let a = lab.connect();
        lab.internet.close(a, false);
        lab.pass(SHORT);
    }
    let a = lab.connect();
    lab.pass(SHORT);
    assert!(is_connected(&mut lab, a), "there is a place");
    assert_eq!(waiting(&lab), 1);
}

#[test]
fn a_handshake_needs_both_directions() {
    for cut in [[A, B], [B, A]] {
        let mut lab = Lab::new(1);
        lab.listen(0);
        lab.internet.partition_one_way(&cut[..1], &cut[1..]);
        let a = lab.connect();
        lab.pass(126 * SECOND);
        assert!(!is_connected(&mut lab, a));
        lab.pass(2 * SECOND);
        assert_eq!(lab.error(a), Some(ErrorKind::TimedOut), "{cut:?}");
    }
}

#[test]
fn a_cut_handshake_frees_its_place() {
    let mut lab = Lab::new(1);
    lab.listen(0);
    lab.connect();
    // The SYN has arrived. The answer will not arrive.
    lab.pass(Duration::from_micros(1500));
    lab.internet.partition(&[A], &[B]);
    lab.pass(64 * SECOND);
    lab.internet.heal(&[A], &[B]);
    lab.pass(SECOND);
    let late = lab.connect();
    lab.pass(SHORT);
    assert!(is_connected(&mut lab, late));
    assert_eq!(lab.internet.counts.full_backlogs, 0);
}

#[test]
fn an_overbooked_backlog_connects_one_end() {
    let mut lab = Lab::new(1);
    let listener = lab.listen(0);
    lab.internet.faults.overbooked_backlog = 1.0;
    let connects = [lab.connect(), lab.connect()];
    lab.pass(SHORT);
    assert!(connects.iter().all(|id| is_connected(&mut lab, *id)));
    assert_eq!(waiting(&lab), 1, "the other handshake is incomplete");
    for piece in [b"ab", b"cd"] {
        assert_eq!(lab.write(connects[1], piece).ok(), Some(2));
        lab.pass(SHORT);
    }
    lab.accept(listener).expect("it waits");
    lab.pass(2 * SECOND);
    let b = lab.accept(listener).expect("it waits now");
    assert_eq!(lab.read(b).ok(), Some(b"abcd".to_vec()));
}

#[test]
fn an_overbooked_connection_is_reset_at_last() {
    let mut lab = Lab::new(1);
    lab.listen(0);
    lab.internet.faults.overbooked_backlog = 1.0;
    let connects = [lab.connect(), lab.connect()];
    lab.pass(SHORT);
    assert_eq!(lab.write(connects[1], b"ab").ok(), Some(2));
    lab.pass(70 * SECOND);
    assert_eq!(lab.error(connects[1]), Some(ErrorKind::ConnectionReset));
    assert_eq!(lab.error(connects[0]), None);
    assert_eq!(lab.internet.counts.overbooked_backlogs, 7);
}
