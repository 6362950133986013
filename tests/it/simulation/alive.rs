//! Peers that are silent or gone: `Timeouts::receive_idle` and `Ping`, to the
//! millisecond.

use peerloop::config::Ping;
use peerloop::error::TimeoutKind;

use super::*;
use crate::util::secured::Secured;
use crate::util::sessions::Manner;
use crate::util::workload;

const RECEIVE_IDLE: Duration = Duration::from_secs(5);

const AFTER: Duration = Duration::from_secs(2);

const GONE: DisconnectReason = DisconnectReason::Timeout(TimeoutKind::ReceiveIdle);

/// The default framing, and the ping below.
const PING: &[u8] = b"\0\0\0\x04ping";

/// Records times, and sends at an interval if there is one.
#[derive(Default)]
struct Node {
    secured: Option<Secured>,
    sends_every: Option<Duration>,
    conn: Option<ConnId>,
    opened: Option<Instant>,
    received: Vec<Vec<u8>>,
    drains: usize,
    ended: Option<(Duration, DisconnectReason)>,
}

impl Handler for Node {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<peerloop::Transport, Box<dyn std::error::Error + Send + Sync>> {
        let secured = self.secured.unwrap_or(Secured::No);
        Ok(secured.transport(info.direction, Manner::Agrees))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        (self.conn, self.opened) = (Some(conn), Some(net.now()));
        if let Some(every) = self.sends_every {
            net.set_interval(every, 0);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.received.push(message.to_vec());
    }

    fn on_drain(&mut self, _: &mut Net, _: ConnId) {
        self.drains += 1;
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let conn = self.conn.expect("it is connected");
        let _ = net.send(conn, b"sent");
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        let opened = self.opened.expect("it was open");
        self.ended = Some((net.now() - opened, reason));
    }
}

/// No other timeout, and no minimum rate.
fn config(change: impl FnOnce(&mut ConnectionConfig)) -> Config {
    let mut config = with_timeouts(|timeouts| {
        (timeouts.idle, timeouts.partial_message) = (None, None);
        (timeouts.write_stall, timeouts.linger) = (None, None);
        timeouts.receive_idle = Some(RECEIVE_IDLE);
    });
    config.connection.min_rate.receive_bytes_per_second = None;
    change(&mut config.connection);
    config
}

fn pings(connection: &mut ConnectionConfig) {
    connection.ping = Some(Ping {
        after: AFTER,
        message: b"ping"[..].into(),
    });
}

/// Pings, and does not care about the peer.
fn only_pings(connection: &mut ConnectionConfig) {
    connection.timeouts.receive_idle = None;
    pings(connection);
}

/// A node with a peer that is a byte stream, connected.
struct Pair {
    world: World,
    node: NodeId<Node>,
    wire: Wire,
    /// The time of `on_connect`.
    opened: Duration,
}

impl Pair {
    fn new(config: Config, handler: Node) -> Self {
        let mut world = calm(1);
        let node = world.node(config, handler);
        world.with(node, |_, net| listen(net));
        let addr = world.addr(node);
        let wire = world.wire(addr).expect("a port is free");
        let is_open = |world: &mut World| world.handler(node).opened.is_some();
        world.run_until(SECOND, is_open).expect("it connects");
        Self {
            opened: world.now(),
            world,
            node,
            wire,
        }
    }

    /// Runs until this time after `on_connect`.
    fn run_to(&mut self, time: Duration) {
        let until = self.opened + time;
        self.world.run_for(until - self.world.now());
    }

    /// The peer sends so that the bytes arrive at this time.
    fn arrive_at(&mut self, time: Duration, bytes: &[u8]) {
        self.run_to(time - LATENCY);
        let written = self.world.write_wire(self.wire, bytes);
        assert_eq!(written.expect("there is room"), bytes.len());
        self.run_to(time);
    }

    fn ended(&self) -> Option<(Duration, DisconnectReason)> {
        self.world.handler(self.node).ended
    }

    fn net(&mut self, call: impl FnOnce(&mut Net, ConnId)) {
        self.world.with(self.node, |it, net| {
            call(net, it.conn.expect("it is connected"))
        });
    }

    /// Returns the bytes that have reached the peer at this time, and not
    /// before.
    fn read_at(&mut self, time: Duration) -> Vec<u8> {
        let mut read = Vec::new();
        self.run_to(time + LATENCY - US);
        self.world
            .read_wire(self.wire, &mut read)
            .expect("it is well");
        assert_eq!(read, b"", "before {time:?}");
        self.run_to(time + LATENCY);
        self.world
            .read_wire(self.wire, &mut read)
            .expect("it is well");
        read
    }
}

#[test]
fn silent_peer_ends_whatever_is_sent() {
    for sends_every in [None, Some(100 * MS)] {
        let handler = Node {
            sends_every,
            ..Node::default()
        };
        let mut pair = Pair::new(config(|_| {}), handler);
        pair.run_to(RECEIVE_IDLE - US);
        assert_eq!(pair.ended(), None);
        pair.run_to(RECEIVE_IDLE);
        assert_eq!(pair.ended(), Some((RECEIVE_IDLE, GONE)));
        pair.world.with(pair.node, |_, net| {
            let metrics = net.metrics();
            assert_eq!(
                (metrics.receive_idle_timeouts, metrics.idle_timeouts),
                (1, 0)
            );
        });
    }
}

#[test]
fn any_byte_shows_that_the_peer_is_alive() {
    let mut pair = Pair::new(config(|_| {}), Node::default());
    // The bytes of one message that is never complete.
    let mut last = Duration::ZERO;
    for byte in [0, 0, 3, 232, b'x', b'y'] {
        last += RECEIVE_IDLE - MS;
        pair.arrive_at(last, &[byte]);
        assert_eq!(pair.ended(), None);
    }
    pair.run_to(last + RECEIVE_IDLE);
    assert_eq!(pair.ended(), Some((last + RECEIVE_IDLE, GONE)));
}

#[test]
fn pause_does_not_count_as_silence() {
    let mut pair = Pair::new(config(|_| {}), Node::default());
    pair.run_to(4 * SECOND);
    pair.net(|net, conn| net.pause(conn));
    pair.run_to(MINUTE);
    assert_eq!(pair.ended(), None);
    pair.net(|net, conn| net.resume(conn));
    pair.run_to(MINUTE + RECEIVE_IDLE);
    assert_eq!(pair.ended(), Some((MINUTE + RECEIVE_IDLE, GONE)));
}

#[test]
fn peer_that_closed_its_side_is_not_silent() {
    let half_open = |connection: &mut ConnectionConfig| connection.allow_half_open = true;
    let mut pair = Pair::new(config(half_open), Node::default());
    pair.world.shutdown_wire(pair.wire).expect("it is open");
    pair.run_to(MINUTE);
    assert_eq!(pair.ended(), None);
}

#[test]
fn silence_counts_after_close_write() {
    let mut pair = Pair::new(config(|_| {}), Node::default());
    pair.net(|net, conn| net.close_write(conn));
    pair.run_to(MINUTE);
    assert_eq!(pair.ended(), Some((RECEIVE_IDLE, GONE)));
}

#[test]
fn ping_follows_the_last_byte_sent() {
    let mut pair = Pair::new(config(only_pings), Node::default());
    assert_eq!(pair.read_at(AFTER), PING);
    // Bytes from the peer do not matter.
    pair.arrive_at(AFTER + SECOND, b"\0\0\0\0");
    assert_eq!(pair.read_at(2 * AFTER), PING);
    let sent = 2 * AFTER + SECOND;
    pair.run_to(sent);
    pair.net(|net, conn| net.send(conn, b"sent").expect("there is room"));
    assert_eq!(pair.read_at(sent), b"\0\0\0\x04sent");
    assert_eq!(pair.read_at(sent + AFTER), PING);
    // A pause does not stop it.
    pair.net(|net, conn| net.pause(conn));
    assert_eq!(pair.read_at(sent + 2 * AFTER), PING);
    pair.net(|net, conn| {
        let sent = net.connection(conn).map(|it| it.traffic().messages_sent);
        assert_eq!((sent, net.metrics().pings_sent), (Some(5), 4));
    });
}

#[test]
fn ping_is_not_sent_after_close_write() {
    let mut pair = Pair::new(config(only_pings), Node::default());
    pair.net(|net, conn| net.close_write(conn));
    let before = pair.world.steps();
    pair.run_to(MINUTE);
    // One sends FIN, one finds that there is nothing to send.
    assert!(pair.world.steps() - before <= 2);
    let mut read = Vec::new();
    assert!(
        pair.world
            .read_wire(pair.wire, &mut read)
            .expect("it is well")
    );
    assert_eq!((read.as_slice(), pair.ended()), (&b""[..], None));
}

#[test]
fn ping_does_not_join_a_queue() {
    let mut config = config(only_pings);
    config.sockets.send_buffer_bytes = Some(4096);
    let mut pair = Pair::new(config, Node::default());
    pair.net(|net, conn| net.send(conn, &[7; 200_000]).expect("there is room"));
    let queued = |net: &mut Net, conn| net.connection(conn).map(|it| it.queued_bytes());
    pair.run_to(SECOND);
    let mut before = None;
    pair.net(|net, conn| before = queued(net, conn));
    assert!(before > Some(0));
    pair.run_to(MINUTE);
    pair.net(|net, conn| {
        assert_eq!(queued(net, conn), before);
        assert_eq!(net.metrics().pings_sent, 0);
    });
    // It follows the last byte that the peer has made room for.
    let mut read = Vec::new();
    while read.len() < 200_004 {
        pair.world.run_for(MS);
        pair.world
            .read_wire(pair.wire, &mut read)
            .expect("it is well");
    }
    read.clear();
    pair.world.run_for(AFTER + 10 * MS);
    pair.world
        .read_wire(pair.wire, &mut read)
        .expect("it is well");
    assert_eq!(read, PING);
    assert_eq!(pair.world.handler(pair.node).drains, 0);
}

#[test]
fn ping_without_room_in_the_loop_is_skipped() {
    const LEN: usize = 1_000_000;
    let mut config = config(only_pings);
    config.connection.max_message_len = LEN;
    config.connection.send_queue.max_bytes = LEN;
    config.connection.send_queue.high_bytes = LEN;
    config.limits.loop_send_bytes = LEN * 7 / 2;
    config.sockets.send_buffer_bytes = Some(4096);
    config.connection.ping = Some(Ping {
        after: AFTER,
        message: vec![1; LEN].into(),
    });
    let mut pair = Pair::new(config, Node::default());
    let addr = pair.world.addr(pair.node);
    // Their peers read nothing, so the account has no room for the ping.
    for _ in 0..2 {
        pair.world.wire(addr).expect("a port is free");
        pair.world.run_for(10 * MS);
        pair.net(|net, other| net.send(other, &[7; LEN]).expect("there is room"));
    }
    pair.run_to(MINUTE);
    pair.world.with(pair.node, |it, net| {
        let metrics = net.metrics();
        assert!(metrics.queued_bytes > LEN);
        assert_eq!((metrics.pings_sent, metrics.sends_refused), (0, 0));
        assert_eq!(it.drains, 0);
    });
}

/// Two nodes that ping, with a session, connected.
fn pinging(secured: Secured) -> (World, [NodeId<Node>; 2]) {
    let mut world = calm(1);
    let nodes = [0; 2].map(|_| {
        let handler = Node {
            secured: Some(secured),
            ..Node::default()
        };
        world.node(config(pings), handler)
    });
    world.with(nodes[0], |_, net| listen(net));
    let addr = world.addr(nodes[0]);
    world
        .with(nodes[1], |_, net| net.connect(addr))
        .expect("no limit is reached");
    let are_open = |world: &mut World| nodes.iter().all(|it| world.handler(*it).opened.is_some());
    world.run_until(SECOND, are_open).expect("they connect");
    (world, nodes)
}

#[test]
fn pinging_nodes_stay_until_they_are_cut_off() {
    for secured in Secured::ALL {
        let (mut world, nodes) = pinging(*secured);
        world.run_for(10 * MINUTE);
        for node in nodes {
            let it = world.handler(node);
            assert_eq!(it.ended, None, "{secured:?}");
            assert!(it.received.len() >= 299, "{}", it.received.len());
            assert!(it.received.iter().all(|message| message == b"ping"));
        }
        world.partition(nodes[0], nodes[1]);
        let cut = world.now();
        world.run_for(MINUTE);
        for node in nodes {
            let (after, reason) = world.handler(node).ended.expect("its peer is gone");
            let opened = world.handler(node).opened.expect("it was open");
            let ended = world.with(node, |_, net| net.now());
            let since_cut = after + (world.now() - cut) - (ended - opened);
            assert_eq!(reason, GONE);
            // The last ping arrived at most `AFTER` before the cut.
            assert!(since_cut <= RECEIVE_IDLE, "{secured:?}: {since_cut:?}");
            assert!(since_cut >= RECEIVE_IDLE - AFTER - LATENCY, "{since_cut:?}");
        }
    }
}

#[test]
fn pings_take_few_turns() {
    let (mut world, nodes) = pinging(Secured::No);
    let before = world.steps();
    world.run_for(100 * AFTER);
    // One to send, one to receive, at each end. The deadline of a check in
    // between is late by the latency, once.
    let turns = world.steps() - before;
    assert!(turns <= 100 * 2 * 2 + 2 * 40 + 4, "{turns} turns");
    for node in nodes {
        assert_eq!(world.handler(node).ended, None);
    }
}

#[test]
fn drawn_times_hold_for_pings_and_silence() {
    for_each_seed(SEEDS, workload::alive);
}
