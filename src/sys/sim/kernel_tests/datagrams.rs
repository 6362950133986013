//! UDP sockets and their readiness.

use super::*;
use crate::config::UdpOptions;
use crate::sys::sim::Selector;

const TOKEN: usize = 77;

impl Lab {
    fn udp(&mut self, poller: usize, port: u16) -> SocketId {
        let addr = SocketAddr::from(([0, 0, 0, 0], port));
        let options = UdpOptions::default();
        let id = self.internet.bind_udp(poller, addr, &options);
        let id = id.expect("the port is free");
        let registered = self.internet.register_udp(id, TOKEN);
        registered.expect("no fault is active");
        id
    }

    /// A socket at A and one at B, which is bound to `PORT`.
    fn udp_pair(&mut self) -> (SocketId, SocketId) {
        let (a, b) = (self.a, self.b);
        (self.udp(a, 5000), self.udp(b, PORT))
    }

    fn datagram(&mut self, from: SocketId) -> io::Result<usize> {
        let to = SocketAddr::new(B, PORT);
        self.internet.send_to(from, b"abc", to)
    }

    fn receive(&mut self, id: SocketId) -> io::Result<usize> {
        let received = self.internet.recv_from(id, &mut [0; 100]);
        received.map(|(len, _)| len)
    }
}

#[test]
fn each_datagram_is_an_edge_with_epoll() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.udp_pair();
    for _ in 0..2 {
        lab.datagram(a).expect("there is room");
        lab.pass(SHORT);
        // Room is not reported unless it is watched.
        assert_eq!(bits(&lab.reports(lab.b)), [(true, false, false)]);
        assert!(lab.reports(lab.b).is_empty());
    }
    assert_eq!(lab.receive(b).ok(), Some(3));
    assert_eq!(lab.receive(b).ok(), Some(3));
    assert_eq!(kind(lab.receive(b)), Some(ErrorKind::WouldBlock));
    assert!(lab.reports(lab.a).is_empty());
}

#[test]
fn poll_reports_datagrams_after_would_block() {
    let mut lab = Lab::new(1);
    lab.internet.set_selector(B, Selector::Poll);
    let (a, b) = lab.udp_pair();
    lab.datagram(a).expect("there is room");
    lab.pass(SHORT);
    assert_eq!(lab.reports(lab.b).len(), 1);
    assert_eq!(lab.receive(b).ok(), Some(3));
    lab.datagram(a).expect("there is room");
    lab.pass(SHORT);
    assert!(lab.reports(lab.b).is_empty(), "no call has blocked");
    assert_eq!(lab.receive(b).ok(), Some(3));
    assert_eq!(kind(lab.receive(b)), Some(ErrorKind::WouldBlock));
    lab.datagram(a).expect("there is room");
    lab.pass(SHORT);
    assert_eq!(lab.reports(lab.b).len(), 1);
}

#[test]
fn denied_calls_are_followed_by_an_edge() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.udp_pair();
    lab.datagram(a).expect("there is room");
    lab.pass(SHORT);
    lab.reports(lab.b);
    lab.internet.faults.would_block = 1.0;
    assert_eq!(kind(lab.receive(b)), Some(ErrorKind::WouldBlock));
    assert_eq!(kind(lab.datagram(a)), Some(ErrorKind::WouldBlock));
    lab.internet.watch_udp(a, true);
    assert!(lab.reports(lab.a).is_empty());
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.a)), [(false, true, false)]);
    assert_eq!(bits(&lab.reports(lab.b)), [(true, false, false)]);
}

#[test]
fn unreachable_port_fails_one_call() {
    let mut lab = Lab::new(1);
    let a = lab.udp(lab.a, 5000);
    lab.internet.faults.port_unreachable = 1.0;
    lab.datagram(a).expect("there is room");
    lab.pass(SHORT);
    assert_eq!(bits(&lab.reports(lab.a)), [(true, true, true)]);
    assert_eq!(kind(lab.receive(a)), Some(ErrorKind::ConnectionReset));
    assert_eq!(kind(lab.receive(a)), Some(ErrorKind::WouldBlock));
    assert_eq!(lab.datagram(a).ok(), Some(3));
}
