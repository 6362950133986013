//! Ports and addresses in use.

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
    // A listener can reuse its port at once (SO_REUSEADDR).
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
