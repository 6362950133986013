use super::*;

const READERS: u64 = 100;
const QUEUE: usize = 64 * KIB;
/// The memory of a queue beside its bytes, because memory is not short: it is
/// one full block of 288 KiB, and the rest of a block of which the first part
/// was sent.
const SLACK: usize = (288 + 64) * KIB;

/// Answers a message to all connections, as a chat does, with some KiB beside it.
fn broadcast(net: &mut peerloop::Net, _: peerloop::ConnId, message: &[u8]) {
    let body = [message, &[9; 8 * KIB]].concat();
    let _ = net.broadcast_all(body, None);
}

#[test]
fn slow_readers_take_their_queues_and_are_ended() {
    let alone = Alone::begin();
    let config = Config {
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                high_bytes: QUEUE,
                low_bytes: QUEUE / 4,
                max_bytes: QUEUE,
                ..Default::default()
            },
            timeouts: Timeouts {
                write_stall: Some(Duration::from_secs(2)),
                ..Timeouts::default()
            },
            ..Default::default()
        },
        sockets: SocketConfig {
            send_buffer_bytes: Some(16 * KIB),
            ..Default::default()
        },
        ..Config::default()
    };
    let mut attacked = Attacked::new(config, broadcast);
    let readers: Vec<TcpStream> = (0..READERS)
        .map(|number| connect_from(loopback(number), attacked.addr))
        .collect();
    attacked.until("the slow ones have been given up", |node| {
        node.net().metrics().write_stall_timeouts == READERS
    });
    let metrics = attacked.node.net().metrics();
    assert!(metrics.sends_refused > 0, "no queue was full");
    assert!(metrics.max_queued_bytes <= (READERS as usize + 1) * (QUEUE + SLACK));
    attacked.end(READERS);
    alone.assert_below((READERS as usize + 1) * (QUEUE + SLACK) + 2 * MIB);
    drop(readers);
}
