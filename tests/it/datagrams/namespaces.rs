//! Multicast and broadcast between two network namespaces with a link.

use std::net::SocketAddrV6;
use std::process::{Child, Stdio};

use peerloop::MulticastInterface;

use super::*;
use crate::util::child::{self, test_path};
use crate::util::netns::{ADDRS, LINK, Namespaces};

/// Set to the end of the link in a child process.
const END: &str = "PEERLOOP_TEST_END";

const PORT: u16 = 7100;

/// Runs the body of a test at both ends of a link, each in a process.
fn at_both_ends(name: &str, test: &str, body: impl FnOnce(usize)) {
    if child::is_child() {
        let end = std::env::var(END).expect("set by the parent");
        return body(end.parse().expect("a number"));
    }
    let Some(namespaces) = Namespaces::new(name) else {
        return;
    };
    let begin = |end: usize| {
        let mut command = namespaces.command(end, &child::command(test, None));
        command.env(END, end.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("a process")
    };
    let outputs = [0, 1].map(begin).map(Child::wait_with_output);
    for output in outputs {
        let printed = output.expect("an end of the process").stdout;
        let printed = String::from_utf8_lossy(&printed);
        assert!(printed.contains("1 passed"), "{printed}");
    }
}

/// Sends its number to all until a datagram of the other end has arrived, and
/// five more have left, so that the other end receives one. None leaves before
/// the address of this end is known to be unique (RFC 4862, 5.4). Returns the
/// address of the other end.
fn find_the_other(mut node: Node<Peer>, udp: UdpId, end: usize, all: SocketAddr) -> SocketAddr {
    let (own, until) = ([end as u8], Instant::now() + PATIENCE);
    let mut enough = None;
    loop {
        let sent = node
            .net()
            .udp_traffic(udp)
            .expect("it is open")
            .datagrams_sent;
        let received = &node.handler().received;
        if let Some((from, _)) = received.iter().find(|(_, body)| *body != own) {
            if sent >= *enough.get_or_insert(sent + 5) {
                return *from;
            }
        }
        assert!(Instant::now() < until, "no datagram has arrived");
        node.net().send_to(udp, &own, all).expect("there is room");
        let next = Instant::now() + Duration::from_millis(50);
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            let _ = turn(&mut node, Some(left));
        }
    }
}

#[test]
fn v6_multicast_crosses_a_link() {
    let test = test_path!(v6_multicast_crosses_a_link);
    at_both_ends("v6m", test, |end| {
        let index = std::fs::read_to_string(format!("/sys/class/net/{LINK}/ifindex"));
        let index: u32 = index.expect("a file").trim().parse().expect("a number");
        let group: Ipv6Addr = "ff02::4d50".parse().unwrap();
        let mut node = Node::new(strict(), Peer::default()).unwrap();
        let options = UdpOptions::default();
        let udp = node.net().bind_udp(("::", PORT), options).unwrap();
        let by_index = MulticastInterface::Index(index);
        let joined = node.net().join_multicast(udp, group.into(), by_index);
        joined.expect("there is such an interface");
        let all = SocketAddrV6::new(group, PORT, 0, index).into();
        // The scope of a link-local address is kept.
        let SocketAddr::V6(from) = find_the_other(node, udp, end, all) else {
            panic!("it is an IPv4 address");
        };
        assert_eq!((from.scope_id(), from.port()), (index, PORT));
    });
}

#[test]
fn v4_multicast_and_broadcast_cross_a_link() {
    let test = test_path!(v4_multicast_and_broadcast_cross_a_link);
    at_both_ends("v4m", test, |end| {
        let [own, other] = [end, 1 - end].map(|end| ADDRS[end].parse::<Ipv4Addr>().unwrap());
        let (group, everyone) = (
            Ipv4Addr::new(239, 255, 70, 77),
            Ipv4Addr::new(10, 77, 0, 255),
        );
        let by_addr = MulticastInterface::Addr(own);
        for (port, to) in [(PORT, group), (PORT + 1, everyone)] {
            let mut node = Node::new(strict(), Peer::default()).unwrap();
            let options = UdpOptions {
                allow_broadcast: true,
                multicast_interface: by_addr,
                ..Default::default()
            };
            let udp = node.net().bind_udp(("0.0.0.0", port), options).unwrap();
            let joined = node.net().join_multicast(udp, group.into(), by_addr);
            joined.expect("there is such an interface");
            let from = find_the_other(node, udp, end, (to, port).into());
            assert_eq!(from, SocketAddr::from((other, port)));
        }
    });
}
