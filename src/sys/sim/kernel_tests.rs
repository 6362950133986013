//! The simulated kernel, call by call: it does what Linux does, and what its
//! faults add to that.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Faults;
use super::event::SocketId;
use super::internet::Internet;
use super::listen_queue::ListenSettings;
use super::socket::{Buffers, Owner};
use crate::sys::Readiness;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const PORT: u16 = 7000;
const SHORT: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);
const LISTENER: usize = 1_000_000;

/// Two hosts with a program each: one connects, the other listens. The token of
/// a socket is its number.
struct Lab {
    internet: Internet,
    a: usize,
    b: usize,
}

impl Lab {
    fn new(seed: u64) -> Self {
        let mut internet = Internet::new(seed);
        internet.faults = Faults::calm();
        internet.add_host(A);
        internet.add_host(B);
        let (a, b) = (internet.add_poller(A, 0), internet.add_poller(B, 1));
        Self { internet, a, b }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.internet.now() + time;
        while self.internet.advance(until).is_some() {}
    }

    fn listen(&mut self, backlog: u32) -> SocketId {
        let addr = SocketAddr::new(B, PORT);
        let id = self
            .internet
            .listen(B, addr, settings(backlog, false))
            .expect("the port is free");
        self.internet.register_listener(id, self.b, LISTENER);
        id
    }

    fn try_connect(&mut self, remote: SocketAddr, source: Option<u16>) -> io::Result<SocketId> {
        let source = source.map(|port| SocketAddr::new(A, port));
        let owner = Owner::Node(self.a);
        let id = self
            .internet
            .connect(A, remote, source, owner, Buffers::default())?;
        self.internet.register(id, self.a, id as usize)?;
        Ok(id)
    }

    fn connect(&mut self) -> SocketId {
        self.try_connect(SocketAddr::new(B, PORT), None)
            .expect("nothing forbids it")
    }

    fn accept(&mut self, listener: SocketId) -> io::Result<SocketId> {
        let (id, _) = self.internet.accept(listener, self.b)?;
        self.internet.register(id, self.b, id as usize)?;
        Ok(id)
    }

    /// A connection, both of whose ends were reported.
    fn pair(&mut self) -> (SocketId, SocketId) {
        let listener = self.listen(10);
        let a = self.connect();
        self.pass(SHORT);
        let b = self.accept(listener).expect("it waits");
        self.settle();
        (a, b)
    }

    fn settle(&mut self) {
        self.pass(SHORT);
        self.reports(self.a);
        self.reports(self.b);
    }

    fn reports(&mut self, poller: usize) -> Vec<Readiness> {
        let mut reports = Vec::new();
        self.internet.take_ready(poller, &mut reports);
        reports
    }

    fn write(&mut self, id: SocketId, bytes: &[u8]) -> io::Result<usize> {
        self.internet.write(id, &[IoSlice::new(bytes)])
    }

    fn read(&mut self, id: SocketId) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 1 << 20];
        let count = self.internet.read(id, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn error(&mut self, id: SocketId) -> Option<ErrorKind> {
        self.internet.take_error(id).map(|error| error.kind())
    }
}

fn settings(backlog: u32, reuse_port: bool) -> ListenSettings {
    ListenSettings {
        backlog,
        reuse_port,
        buffers: Buffers::default(),
    }
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The flags of each report: readable, writable, finished.
fn bits(reports: &[Readiness]) -> Vec<(bool, bool, bool)> {
    let bits = |it: &Readiness| (it.readable, it.writable, it.finished);
    reports.iter().map(bits).collect()
}

#[path = "selector_tests.rs"]
mod poll_selector;

mod readiness {
    use super::*;

    #[test]
    fn several_arrivals_are_one_edge() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        for _ in 0..3 {
            assert_eq!(lab.write(a, b"abc").ok(), Some(3));
            lab.pass(SHORT);
        }
        // Room is no edge unless the program has seen a full buffer.
        assert!(lab.reports(lab.a).is_empty());
        // Both flags, as epoll reports all that holds.
        assert_eq!(bits(&lab.reports(lab.b)), [(true, true, false)]);
        assert!(
            lab.reports(lab.b).is_empty(),
            "nothing was read, nothing arrived"
        );
        assert_eq!(lab.write(a, b"d").ok(), Some(1));
        lab.pass(SHORT);
        assert_eq!(lab.reports(lab.b).len(), 1);
        assert_eq!(lab.read(b).ok(), Some(b"abcabcabcd".to_vec()));
        assert_eq!(kind(lab.read(b)), Some(ErrorKind::WouldBlock));
        assert!(lab.reports(lab.b).is_empty());
    }

    #[test]
    fn directions_are_reported_separately() {
        let mut orders = BTreeSet::new();
        for seed in 0..30 {
            let mut lab = Lab::new(seed);
            let (a, _) = lab.pair();
            lab.internet.faults.split_readiness = 1.0;
            assert_eq!(lab.write(a, b"abc").ok(), Some(3));
            lab.pass(SHORT);
            let mut seen = lab.reports(lab.b);
            lab.internet.faults.split_readiness = 0.0;
            seen.extend(lab.reports(lab.b));
            assert!(seen.iter().any(|it| it.readable), "{seen:?}");
            orders.insert(bits(&seen));
        }
        assert!(orders.len() > 1, "{orders:?}");
        assert!(orders.contains(&vec![(true, false, false), (false, true, false)]));
    }

    #[test]
    fn spurious_reports_name_sockets_and_listeners() {
        let mut tokens = BTreeSet::new();
        for seed in 0..100 {
            let mut lab = Lab::new(seed);
            lab.pair();
            lab.internet.faults.spurious_readiness = 1.0;
            let unused = SocketAddr::from(([10, 9, 9, 9], 1));
            let connect = lab.try_connect(unused, None).expect("nothing forbids it");
            assert!(matches!(lab.internet.connected(connect), Ok(None)));
            for poller in [lab.a, lab.b] {
                let reports = lab.reports(poller);
                assert!(reports.iter().all(|it| !it.finished));
                tokens.extend(reports.iter().map(|it| (poller, it.token)));
            }
            assert!(lab.internet.counts.spurious_readiness > 0);
        }
        // The outbound socket, both ends of the connection, and the listener.
        assert_eq!(tokens.len(), 4, "{tokens:?}");
    }

    #[test]
    fn closed_sockets_are_reported_once_more() {
        let mut lab = Lab::new(1);
        let (_, b) = lab.pair();
        lab.internet.faults.stale_readiness = 1.0;
        lab.internet.close(b, false);
        let listener = lab.internet.listeners_of(lab.b)[0];
        lab.internet.close_listener(listener, false);
        let tokens: Vec<usize> = lab.reports(lab.b).iter().map(|it| it.token).collect();
        assert_eq!(tokens, [b as usize, LISTENER]);
        assert_eq!(lab.internet.counts.stale_readiness, 2);
    }

    /// Five connections with new data. Returns the tokens of the first wait,
    /// and of all later ones.
    fn batches(seed: u64, faults: Faults) -> (Vec<usize>, Vec<usize>) {
        let mut lab = Lab::new(seed);
        let listener = lab.listen(10);
        let connects: Vec<SocketId> = (0..5).map(|_| lab.connect()).collect();
        lab.pass(SHORT);
        let accepted: Vec<SocketId> = (0..5).map_while(|_| lab.accept(listener).ok()).collect();
        assert_eq!(accepted.len(), 5);
        lab.settle();
        for connect in connects {
            assert_eq!(lab.write(connect, b"x").ok(), Some(1));
        }
        lab.pass(SHORT);
        lab.internet.faults = faults;
        let first: Vec<usize> = lab.reports(lab.b).iter().map(|it| it.token).collect();
        let mut rest = Vec::new();
        while lab.internet.has_reports(lab.b) {
            rest.extend(lab.reports(lab.b).iter().map(|it| it.token));
        }
        let mut all: Vec<usize> = first.iter().chain(&rest).copied().collect();
        all.sort_unstable();
        let accepted: Vec<usize> = accepted.iter().map(|id| *id as usize).collect();
        assert_eq!(all, accepted, "each is reported once");
        (first, rest)
    }

    #[test]
    fn the_order_within_a_wait_is_random() {
        let mut faults = Faults::calm();
        assert_eq!(batches(1, faults.clone()), batches(2, faults.clone()));
        faults.shuffled = 1.0;
        let orders: BTreeSet<Vec<usize>> = (0..50)
            .map(|seed| batches(seed, faults.clone()).0)
            .collect();
        assert!(orders.len() > 20, "{} of 120 orders", orders.len());
    }

    #[test]
    fn a_wait_may_return_a_part() {
        let mut faults = Faults::calm();
        faults.small_batches = 1.0;
        let sizes: BTreeSet<usize> = (0..50)
            .map(|seed| batches(seed, faults.clone()).0.len())
            .collect();
        assert_eq!(sizes, [1, 2, 3, 4].into());
    }

    #[test]
    fn a_wait_may_be_interrupted_and_loses_nothing() {
        let mut faults = Faults::calm();
        faults.interrupted = 0.5;
        let firsts: BTreeSet<usize> = (0..20)
            .map(|seed| batches(seed, faults.clone()).0.len())
            .collect();
        assert_eq!(firsts, [0, 5].into());
    }

    #[test]
    fn a_report_may_come_later() {
        let mut lab = Lab::new(1);
        let (a, _) = lab.pair();
        lab.internet.faults.delayed_readiness = 1.0;
        assert_eq!(lab.write(a, b"x").ok(), Some(1));
        lab.pass(SHORT);
        assert!(lab.reports(lab.b).is_empty());
        lab.pass(SHORT);
        assert_eq!(lab.reports(lab.b).len(), 1, "delayed once");
    }

    #[test]
    fn any_turn_but_the_first_may_come_later() {
        let mut lab = Lab::new(1);
        lab.internet.faults.late_turn = 1.0;
        let mut late = BTreeSet::new();
        for turn in 0..20 {
            let due = lab.internet.now() + SECOND;
            lab.internet.want_turn(lab.a, due);
            assert_eq!(lab.internet.advance(due + SECOND), Some(lab.a));
            let by = lab.internet.now() - due;
            assert!(by <= Duration::from_millis(10));
            assert_eq!(by.is_zero(), turn == 0);
            late.insert(by);
        }
        assert!(late.len() > 10);
        assert_eq!(lab.internet.counts.late_turns, 19);
    }

    #[test]
    fn a_third_of_the_buffer_is_room_for_an_edge() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        let sockets = &mut lab.internet.sockets;
        sockets.get_mut(&a).expect("it is there").send_capacity = 3000;
        sockets.get_mut(&b).expect("it is there").receive_capacity = 3000;
        let mut taken = 0;
        while let Ok(count) = lab.write(a, &[1; 1000]) {
            taken += count;
            lab.pass(SHORT);
        }
        assert_eq!(taken, 6000, "both buffers, and not a byte more");
        lab.settle();
        let mut buffer = [0; 100];
        for read in 1..=9 {
            assert_eq!(lab.internet.read(b, &mut buffer).ok(), Some(100));
            lab.pass(SHORT);
            assert!(lab.reports(lab.a).is_empty(), "{} are free", read * 100);
        }
        assert_eq!(lab.internet.read(b, &mut buffer).ok(), Some(100));
        lab.pass(SHORT);
        assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
        // A write without an edge succeeds before.
        assert_eq!(lab.write(a, &[1; 4000]).ok(), Some(1000));
        assert_eq!(lab.internet.read(b, &mut buffer).ok(), Some(100));
        lab.pass(SHORT);
        assert!(lab.reports(lab.a).is_empty());
        assert_eq!(lab.write(a, &[1; 4000]).ok(), Some(100));
    }
}

mod calls {
    use super::*;

    #[test]
    fn reads_and_writes_are_short_down_to_a_byte() {
        let (mut reads, mut writes) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..100 {
            let mut lab = Lab::new(seed);
            let (a, b) = lab.pair();
            lab.internet.faults.short_write = 1.0;
            writes.insert(lab.write(a, &[1; 50_000]).expect("there is room"));
            lab.internet.faults = Faults::calm();
            lab.pass(SHORT);
            lab.settle();
            while lab.write(a, &[1; 50_000]).is_ok() {
                lab.pass(SHORT);
            }
            lab.internet.faults.short_read = 1.0;
            reads.insert(lab.read(b).expect("there is something").len());
        }
        for lens in [reads, writes] {
            assert!(lens.contains(&1) && lens.contains(&2), "{lens:?}");
            assert!(
                lens.last() > Some(&10_000) && !lens.contains(&0),
                "{lens:?}"
            );
        }
    }

    #[test]
    fn a_gathered_write_is_cut_inside_any_slice() {
        let mut cuts = BTreeSet::new();
        for seed in 0..200 {
            let mut lab = Lab::new(seed);
            let (a, b) = lab.pair();
            lab.internet.faults.short_write = 1.0;
            let slices = [&b"abc"[..], b"", b"defgh", b"ijkl"].map(IoSlice::new);
            let count = lab.internet.write(a, &slices).expect("there is room");
            cuts.insert(count);
            lab.pass(SHORT);
            let arrived = lab.read(b).expect("something was taken");
            assert_eq!(arrived, b"abcdefghijkl"[..count]);
        }
        assert_eq!(cuts, (1..12).collect());
    }

    #[test]
    fn any_call_may_block_and_an_edge_follows() {
        let mut lab = Lab::new(1);
        let listener = lab.listen(10);
        let a = lab.connect();
        lab.settle();
        lab.internet.faults.would_block = 1.0;
        assert_eq!(kind(lab.accept(listener)), Some(ErrorKind::WouldBlock));
        assert!(lab.reports(lab.b).is_empty());
        lab.pass(SHORT);
        assert_eq!(lab.reports(lab.b)[0].token, LISTENER);
        lab.internet.faults.would_block = 0.0;
        let b = lab.accept(listener).expect("it waits");
        lab.settle();
        lab.internet.faults.would_block = 1.0;
        assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::WouldBlock));
        assert!(lab.reports(lab.a).is_empty());
        lab.pass(SHORT);
        assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
        lab.internet.faults.would_block = 0.0;
        assert_eq!(lab.write(a, b"x").ok(), Some(1));
        lab.settle();
        lab.internet.faults.would_block = 1.0;
        assert_eq!(kind(lab.read(b)), Some(ErrorKind::WouldBlock));
        lab.pass(SHORT);
        assert!(lab.reports(lab.b)[0].readable);
        assert_eq!(lab.internet.counts.would_blocks, 3);
    }

    #[test]
    fn any_call_may_be_interrupted() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        let listener = lab.internet.listeners_of(lab.b)[0];
        lab.internet.faults.interrupted = 1.0;
        assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::Interrupted));
        assert_eq!(kind(lab.read(b)), Some(ErrorKind::Interrupted));
        assert_eq!(kind(lab.accept(listener)), Some(ErrorKind::Interrupted));
        assert_eq!(lab.internet.counts.interrupted, 3);
    }

    #[test]
    fn accepts_and_connects_fail_and_recover() {
        let mut codes = BTreeSet::new();
        for seed in 0..30 {
            let mut lab = Lab::new(seed);
            let listener = lab.listen(10);
            lab.connect();
            lab.settle();
            lab.internet.faults.no_descriptor = 1.0;
            let error = lab.accept(listener).expect_err("nothing is left");
            codes.insert((error.raw_os_error(), error.kind() == ErrorKind::OutOfMemory));
            lab.internet.faults.no_descriptor = f64::MIN_POSITIVE;
            // An attempt to connect checks the same.
            let again = lab.internet.check_shortage(lab.b);
            assert_eq!(kind(again), Some(error.kind()), "it lasts");
            lab.pass(3 * SECOND);
            assert!(lab.accept(listener).is_ok());
        }
        let all = [(None, true), (Some(23), false), (Some(24), false)];
        assert_eq!(codes, all.into());
    }

    #[test]
    fn an_aborted_accept_resets_the_other_end() {
        let mut lab = Lab::new(1);
        let listener = lab.listen(10);
        let a = lab.connect();
        lab.settle();
        lab.internet.faults.aborted_accept = 1.0;
        assert_eq!(
            kind(lab.accept(listener)),
            Some(ErrorKind::ConnectionAborted)
        );
        lab.pass(SHORT);
        assert_eq!(kind(lab.read(a)), Some(ErrorKind::ConnectionReset));
    }

    #[test]
    fn registering_a_socket_may_fail() {
        let mut lab = Lab::new(1);
        lab.internet.faults.failed_registration = 1.0;
        let connected = lab.try_connect(SocketAddr::new(B, PORT), None);
        assert_eq!(kind(connected), Some(ErrorKind::StorageFull));
        assert_eq!(lab.internet.counts.failed_registrations, 1);
    }
}

mod ends {
    use super::*;

    #[test]
    fn a_fin_is_reported_with_data_or_after_it() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        assert_eq!(lab.write(a, b"x").ok(), Some(1));
        lab.internet.shutdown_write(a).expect("it is established");
        lab.pass(SHORT);
        assert_eq!(bits(&lab.reports(lab.b)), [(true, true, true)]);
        assert_eq!(lab.internet.counts.fin_with_data, 1);
        assert_eq!(lab.read(b).ok(), Some(b"x".to_vec()));
        assert_eq!(lab.read(b).ok(), Some(vec![]));

        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        assert_eq!(lab.write(a, b"x").ok(), Some(1));
        lab.pass(SHORT);
        assert_eq!(bits(&lab.reports(lab.b)), [(true, true, false)]);
        assert_eq!(lab.read(b).ok(), Some(b"x".to_vec()));
        lab.internet.shutdown_write(a).expect("it is established");
        lab.pass(SHORT);
        assert_eq!(bits(&lab.reports(lab.b)), [(true, true, true)]);
        // The other direction goes on.
        assert_eq!(lab.write(b, b"y").ok(), Some(1));
        lab.pass(SHORT);
        assert_eq!(lab.read(a).ok(), Some(b"y".to_vec()));
    }

    #[test]
    fn a_reset_strikes_at_any_byte() {
        let mut lens = BTreeSet::new();
        for seed in 0..200 {
            let mut lab = Lab::new(seed);
            let (a, b) = lab.pair();
            lab.internet.faults.reset = 1.0;
            assert_eq!(lab.write(a, b"abcdef").ok(), Some(6));
            assert_eq!(lab.internet.other_end(a), Some((b, Some(6))));
            lab.pass(SHORT);
            assert_eq!(lab.internet.other_end(a), Some((b, None)));
            // An error shows in every direction.
            assert_eq!(bits(&lab.reports(lab.b)), [(true, true, true)]);
            let len = lab.internet.sockets[&b].received.len();
            lens.insert(len);
            if len > 0 {
                assert_eq!(lab.read(b).ok().as_deref(), Some(&b"abcdef"[..len]));
            }
            assert_eq!(kind(lab.read(b)), Some(ErrorKind::ConnectionReset));
            assert_eq!(lab.read(b).ok(), Some(vec![]), "the error is reported once");
            assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::ConnectionReset));
            assert_eq!(kind(lab.write(a, b"x")), Some(ErrorKind::BrokenPipe));
        }
        assert_eq!(lens, (0..=6).collect());
    }

    #[test]
    fn a_reset_keeps_unread_data_by_default() {
        for (discards, expected) in [
            (0.0, Ok(b"abc".to_vec())),
            (1.0, Err(ErrorKind::ConnectionReset)),
        ] {
            let mut lab = Lab::new(1);
            let (a, b) = lab.pair();
            lab.internet.faults.reset_discards = discards;
            assert_eq!(lab.write(a, b"abc").ok(), Some(3));
            lab.pass(SHORT);
            lab.internet.close(a, true);
            lab.pass(SHORT);
            assert_eq!(lab.read(b).map_err(|error| error.kind()), expected);
        }
    }

    #[test]
    fn a_discarding_reset_discards_the_fin() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        lab.internet.faults.reset_discards = 1.0;
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        lab.internet.shutdown_write(a).expect("it is established");
        lab.pass(SHORT);
        lab.internet.close(a, true);
        lab.pass(SHORT);
        assert_eq!(kind(lab.read(b)), Some(ErrorKind::ConnectionReset));
    }

    #[test]
    fn after_a_fin_only_so_error_reports_a_reset() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        lab.internet.shutdown_write(a).expect("it is established");
        lab.pass(SHORT);
        lab.internet.close(a, true);
        lab.pass(SHORT);
        assert_eq!(lab.read(b).ok(), Some(vec![]));
        assert_eq!(lab.error(b), Some(ErrorKind::BrokenPipe));
        assert_eq!(lab.error(b), None);
    }

    #[test]
    fn closed_sockets_answer_with_a_reset() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        lab.pass(SHORT);
        lab.internet.close(b, false);
        lab.pass(SHORT);
        assert_eq!(kind(lab.read(a)), Some(ErrorKind::ConnectionReset));

        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        lab.internet.close(b, false);
        lab.pass(SHORT);
        assert_eq!(lab.read(a).ok(), Some(vec![]));
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        lab.pass(SHORT);
        assert_eq!(lab.error(a), Some(ErrorKind::BrokenPipe));
        let counts = lab.internet.counts;
        assert_eq!((counts.data_after_close, counts.closed_unread), (1, 0));
    }

    #[test]
    fn unacknowledged_data_times_out() {
        let mut lab = Lab::new(1);
        let (a, _) = lab.pair();
        lab.internet.partition(&[A], &[B]);
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        lab.pass(900 * SECOND);
        assert_eq!(lab.error(a), None);
        lab.pass(60 * SECOND);
        assert_eq!(lab.error(a), Some(ErrorKind::TimedOut));
    }

    #[test]
    fn data_whose_acknowledgement_is_lost_times_out() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        lab.internet.partition_one_way(&[B], &[A]);
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        lab.pass(SHORT);
        assert_eq!(lab.read(b).ok(), Some(b"abc".to_vec()));
        assert_eq!(lab.write(b, b"def").ok(), Some(3));
        lab.pass(900 * SECOND);
        assert_eq!(kind(lab.read(a)), Some(ErrorKind::WouldBlock));
        lab.pass(60 * SECOND);
        assert_eq!(lab.error(a), Some(ErrorKind::TimedOut));
    }

    #[test]
    fn a_cut_in_one_direction_heals() {
        let mut lab = Lab::new(1);
        let (a, b) = lab.pair();
        lab.internet.partition_one_way(&[B], &[A]);
        assert_eq!(lab.write(a, b"abc").ok(), Some(3));
        assert_eq!(lab.write(b, b"def").ok(), Some(3));
        lab.pass(SECOND);
        // Named the other way round.
        lab.internet.heal(&[A], &[B]);
        lab.pass(SECOND);
        assert_eq!(lab.read(a).ok(), Some(b"def".to_vec()));
        assert_eq!(lab.read(b).ok(), Some(b"abc".to_vec()));
        lab.pass(1000 * SECOND);
        assert_eq!((lab.error(a), lab.error(b)), (None, None));
    }
}

mod handshakes {
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
        // The SYN has arrived. The answer will not.
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
}

mod ports {
    use super::*;

    fn over(lab: &mut Lab, first: SocketId, second: SocketId) {
        for id in [first, second] {
            lab.internet.close(id, false);
            lab.pass(SHORT);
        }
        assert!(lab.internet.sockets.is_empty());
    }

    #[test]
    fn the_first_to_close_keeps_its_port() {
        let remote = SocketAddr::new(B, PORT);
        let mut lab = Lab::new(1);
        let listener = lab.listen(10);
        for a_ends_first in [true, false] {
            let a = lab
                .try_connect(remote, Some(5000))
                .expect("the port is free");
            lab.pass(SHORT);
            let b = lab.accept(listener).expect("it waits");
            if a_ends_first {
                over(&mut lab, a, b);
                let again = lab.try_connect(remote, Some(5000));
                assert_eq!(kind(again), Some(ErrorKind::AddrInUse));
                let addr = SocketAddr::new(A, 5000);
                let listens = lab.internet.listen(A, addr, settings(1, false));
                assert_eq!(kind(listens), Some(ErrorKind::AddrInUse));
                lab.pass(60 * SECOND);
            } else {
                over(&mut lab, b, a);
            }
        }
        // A listener gets its port back at once (SO_REUSEADDR).
        lab.internet.close_listener(listener, false);
        lab.listen(10);
    }

    #[test]
    fn taken_ports_and_foreign_addresses_fail() {
        let mut lab = Lab::new(1);
        let remote = SocketAddr::new(B, PORT);
        lab.listen(10);
        let mut listen = |ip: IpAddr, shares: bool| {
            let addr = SocketAddr::new(ip, PORT);
            kind(lab.internet.listen(B, addr, settings(1, shares)))
        };
        assert_eq!(listen(B, false), Some(ErrorKind::AddrInUse));
        assert_eq!(listen(B, true), Some(ErrorKind::AddrInUse));
        assert_eq!(listen(A, false), Some(ErrorKind::AddrNotAvailable));
        lab.try_connect(remote, Some(5000))
            .expect("the port is free");
        let taken = lab.try_connect(remote, Some(5000));
        assert_eq!(kind(taken), Some(ErrorKind::AddrInUse));
        let (owner, foreign) = (Owner::Node(lab.a), SocketAddr::new(B, 0));
        let buffers = Buffers::default();
        let connected = lab
            .internet
            .connect(A, remote, Some(foreign), owner, buffers);
        assert_eq!(kind(connected), Some(ErrorKind::AddrNotAvailable));
        let sixth: SocketAddr = "[2001:db8::1]:1".parse().expect("an address");
        assert_eq!(
            kind(lab.try_connect(sixth, None)),
            Some(ErrorKind::NetworkUnreachable)
        );
    }
}
