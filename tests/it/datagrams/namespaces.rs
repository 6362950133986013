//! IPv6 multicast and IPv4 broadcast between two network namespaces, which a
//! veth pair connects. Needs root and `ip` of iproute2.

use std::net::SocketAddrV6;
use std::process::{Child, Command, Stdio};

use peerloop::MulticastInterface;

use super::*;
use crate::util::child::{self, test_path};

/// The name of the interface in a child process.
const INTERFACE: &str = "PEERLOOP_TEST_INTERFACE";

const PORT: u16 = 7100;

/// Two namespaces with names of this process. They are removed in the end.
struct Namespaces([String; 2]);

impl Namespaces {
    /// Returns `None` if this process may not make them.
    fn new() -> Option<Self> {
        let name = |end| format!("pl{}{end}", std::process::id());
        let (a, b) = (name("a"), name("b"));
        let made = Self([a.clone(), b.clone()]);
        let links = [
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("link add {a} netns {a} type veth peer name {b} netns {b}"),
        ];
        if !links.iter().all(|args| ip(args)) {
            return None;
        }
        for (index, name) in made.0.iter().enumerate() {
            // Without the detection of duplicates the address is usable at once.
            let sysctl = format!("net.ipv6.conf.{name}.accept_dad=0");
            in_namespace(name, &["sysctl", "-q", "-w", &sysctl]);
            let host = index + 1;
            ip(&format!(
                "-n {name} addr add 10.77.0.{host}/24 brd + dev {name}"
            ));
            assert!(ip(&format!("-n {name} link set {name} up")));
        }
        Some(made)
    }

    /// Runs a test of this program in both, at once.
    fn run(&self, test: &str) {
        let children = self.0.each_ref().map(|name| {
            let inner = child::command(test, None);
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]);
            command.arg(inner.get_program()).args(inner.get_args());
            let set = inner
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?)));
            command.envs(set).env(INTERFACE, name);
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            command.spawn().expect("a process")
        });
        let outputs = children.map(Child::wait_with_output);
        for output in outputs {
            let printed = String::from_utf8_lossy(&output.expect("an end").stdout).into_owned();
            assert!(printed.contains("1 passed"), "{printed}");
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.0.iter().for_each(|name| {
            ip(&format!("netns del {name}"));
        });
    }
}

fn ip(args: &str) -> bool {
    succeeds(Command::new("ip").args(args.split(' ')))
}

fn in_namespace(name: &str, command: &[&str]) -> bool {
    succeeds(
        Command::new("ip")
            .args(["netns", "exec", name])
            .args(command),
    )
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a body in both namespaces, each in a process.
fn in_both(test: &str, body: impl FnOnce(&str)) {
    if child::is_child() {
        return body(&std::env::var(INTERFACE).expect("set by the parent"));
    }
    match Namespaces::new() {
        Some(namespaces) => namespaces.run(test),
        None => println!("skipped: network namespaces need root and `ip`"),
    }
}

/// Sends a datagram to all until one from the other end has arrived, and then
/// until that end has had the time to receive one too.
fn find_the_other(mut node: Node<Peer>, udp: UdpId, own: &str, all: SocketAddr) -> SocketAddr {
    let end = Instant::now() + PATIENCE;
    let mut left = 5;
    loop {
        let found = node
            .handler()
            .received
            .iter()
            .find(|(_, name)| name != own.as_bytes());
        let found = found.map(|(from, _)| *from);
        if let Some(from) = found {
            left -= 1;
            if left == 0 {
                return from;
            }
        }
        assert!(Instant::now() < end, "no datagram has arrived");
        let _ = node.net().send_to(udp, own.as_bytes(), all);
        let _ = turn(&mut node, Some(Duration::from_millis(1)));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn v6_multicast_crosses_a_link() {
    in_both(test_path!(v6_multicast_crosses_a_link), |interface| {
        let index = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"));
        let index: u32 = index.expect("a file").trim().parse().expect("a number");
        let group: Ipv6Addr = "ff02::4d50".parse().unwrap();
        let mut node = Node::new(strict(), Peer::default()).unwrap();
        let udp = node
            .net()
            .bind_udp(("::", PORT), UdpOptions::default())
            .unwrap();
        let by_index = MulticastInterface::Index(index);
        node.net()
            .join_multicast(udp, group.into(), by_index)
            .unwrap();
        let all = SocketAddrV6::new(group, PORT, 0, index).into();
        let from = find_the_other(node, udp, interface, all);
        // The scope of a link-local address is kept.
        let SocketAddr::V6(from) = from else {
            panic!("{from} is an IPv4 address");
        };
        assert_eq!((from.scope_id(), from.port()), (index, PORT));
    });
}

#[test]
fn v4_multicast_and_broadcast_cross_a_link() {
    let test = test_path!(v4_multicast_and_broadcast_cross_a_link);
    in_both(test, |interface| {
        let own = if interface.ends_with('a') { 1 } else { 2 };
        let group = Ipv4Addr::new(239, 255, 70, 77);
        let by_addr = MulticastInterface::Addr(Ipv4Addr::new(10, 77, 0, own));
        let everyone = Ipv4Addr::new(10, 77, 0, 255);
        for (port, to) in [(PORT, group), (PORT + 1, everyone)] {
            let mut node = Node::new(strict(), Peer::default()).unwrap();
            let options = UdpOptions {
                allow_broadcast: true,
                multicast_interface: by_addr,
                ..Default::default()
            };
            let udp = node.net().bind_udp(("0.0.0.0", port), options).unwrap();
            node.net()
                .join_multicast(udp, group.into(), by_addr)
                .unwrap();
            let from = find_the_other(node, udp, interface, (to, port).into());
            let other = Ipv4Addr::new(10, 77, 0, 3 - own);
            assert_eq!(from, SocketAddr::from((other, port)));
        }
    });
}
