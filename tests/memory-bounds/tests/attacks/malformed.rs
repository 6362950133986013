use peerloop::framing::{ByteOrder, Framing, LengthPrefix};

use super::*;

const MAX_MESSAGE_LEN: usize = 64 * KIB;
const ROUNDS: u64 = 40;

/// A listener for each framing that can be malformed.
fn listeners(attacked: &mut Attacked) -> Vec<SocketAddr> {
    let framings = [
        Framing::default(),
        Framing::LengthDelimited(LengthPrefix::Eight(ByteOrder::LittleEndian)),
        Framing::LengthDelimited(LengthPrefix::Varint),
        Framing::Fixed(MAX_MESSAGE_LEN),
        Framing::Delimited(b'\n'),
    ];
    let net = attacked.node.net();
    let listen = |framing| {
        let mut options = net.listen_options();
        options.connection_mut().framing = framing;
        let listening = net.listen_with("127.0.0.1:0", options);
        listening.expect("a listener").addr
    };
    framings.map(listen).into()
}

/// Writes to each of them from many addresses, and closes.
fn write_to_all(
    attacked: &mut Attacked,
    addrs: Vec<SocketAddr>,
    mut next: impl FnMut(&mut Random) -> Vec<u8> + Send + 'static,
) {
    attacked.during(move || {
        let mut random = Random::new(7);
        for round in 0..ROUNDS {
            for addr in &addrs {
                let mut peer = connect_from(loopback(round), *addr);
                // It may be disconnected in the middle of it.
                let _ = peer.write_all(&next(&mut random));
            }
        }
    });
}

fn attack(next: impl FnMut(&mut Random) -> Vec<u8> + Send + 'static) -> Attacked {
    let config = Config {
        connection: ConnectionConfig {
            max_message_len: MAX_MESSAGE_LEN,
            ..Default::default()
        },
        ..Config::default()
    };
    let mut attacked = Attacked::new(config, echo);
    let addrs = listeners(&mut attacked);
    let everybody = ROUNDS * addrs.len() as u64;
    write_to_all(&mut attacked, addrs, next);
    attacked.until("all have come and gone", |node| {
        node.net().metrics().disconnected == everybody
    });
    attacked
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let alone = Alone::begin();
    let mut attacked = attack(|random| {
        let count = random.next_u64() as usize % (128 * KIB);
        random.bytes(count)
    });
    let metrics = attacked.node.net().metrics();
    assert!(metrics.framing_errors > 0);
    attacked.end(5 * ROUNDS);
    alone.assert_below(8 * MIB);
}

#[test]
fn truncated_frames_end_their_connections_only() {
    let alone = Alone::begin();
    let mut attacked = attack(|random| {
        let whole = frame(&[1; 300]);
        let kept = random.next_u64() as usize % whole.len();
        whole[..kept].to_vec()
    });
    attacked.honest_goes_on();
    attacked.end(5 * ROUNDS);
    alone.assert_below(2 * MIB);
}

#[test]
fn oversized_headers_are_refused_without_memory() {
    let alone = Alone::begin();
    let mut attacked = attack(|_| vec![0xff; 10]);
    let metrics = attacked.node.net().metrics();
    // A fixed length and a delimiter announce nothing.
    assert_eq!(metrics.framing_errors, 3 * ROUNDS);
    attacked.end(5 * ROUNDS);
    alone.assert_below(2 * MIB);
}
