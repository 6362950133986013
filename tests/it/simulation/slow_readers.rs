//! Peers that read slowly: `MinRate::send_bytes_per_second`.

use peerloop::error::TimeoutKind;

use super::*;

const RATE: usize = 64 * 1024;

const AFTER: Duration = Duration::from_secs(5);

const BODY: usize = 4 << 20;

/// Sends one message in `on_connect`, and records the end of the connection.
#[derive(Default)]
struct Sender {
    begun: Option<Instant>,
    ended: Option<(Instant, DisconnectReason)>,
}

impl Handler for Sender {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.begun = Some(net.now());
        net.send(conn, &[7; BODY]).expect("there is room");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended = Some((net.now(), reason));
    }
}

/// A message of 4 MiB to a peer that reads this many bytes per second.
struct Outcome {
    /// The time from the send to the end of the connection, and the reason.
    ended: Option<(Duration, DisconnectReason)>,
    /// Number of bytes that the kernel of the sender took.
    sent: u64,
    /// Number of bytes that the peer read.
    received: usize,
    rate_timeouts: u64,
}

fn send_to_reader(bytes_per_second: usize) -> Outcome {
    let mut world = calm(1);
    let mut config = with_timeouts(|timeouts| timeouts.write_stall = None);
    config.connection.min_rate.send_bytes_per_second = Some(RATE as u32);
    config.connection.min_rate.after = AFTER;
    let server = world.node(config, Sender::default());
    let addr = world.addr(server);
    let peer = world.wire(addr).expect("a wire");
    let mut received = Vec::new();
    for _ in 0..=BODY / RATE {
        world.run_for(SECOND);
        // After the end of the connection it fails.
        let _ = world.read_wire_up_to(peer, bytes_per_second, &mut received);
    }
    let (sent, rate_timeouts) = world.with(server, |_, net| {
        let metrics = net.metrics();
        let sent = net.traffic().bytes_sent - metrics.bytes_lost;
        (sent, metrics.rate_timeouts)
    });
    let handler = world.handler(server);
    let begun = handler.begun.expect("it is connected");
    Outcome {
        ended: handler.ended.map(|(at, reason)| (at - begun, reason)),
        sent,
        received: received.len(),
        rate_timeouts,
    }
}

#[test]
fn peer_that_reads_nothing_ends_after_the_time() {
    let outcome = send_to_reader(0);
    let reason = DisconnectReason::Timeout(TimeoutKind::SendRate);
    assert_eq!(outcome.ended, Some((AFTER, reason)));
    assert_eq!(outcome.rate_timeouts, 1);
}

#[test]
fn peer_below_minimum_rate_ends() {
    let outcome = send_to_reader(RATE / 2);
    let reason = DisconnectReason::Timeout(TimeoutKind::SendRate);
    // The end comes when the bytes so far have taken longer than at the rate.
    let micros = outcome.sent * 1_000_000 / RATE as u64;
    let time = Duration::from_micros(micros);
    assert!(time > AFTER, "{time:?}");
    assert_eq!(outcome.ended, Some((time, reason)));
    assert!(outcome.received < BODY);
}

#[test]
fn peer_at_minimum_rate_gets_everything() {
    let outcome = send_to_reader(RATE);
    assert_eq!(outcome.ended, None);
    assert_eq!(outcome.received, BODY + 4);
}
