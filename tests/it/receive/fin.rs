//! Streams that end with FIN: everything before it is delivered.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use peerloop::framing::{Framing, LengthPrefix};
use peerloop::{Config, ConnId, DisconnectReason};

use crate::util::framings::{
    Netstring, assert_arrived, bodies_in, body, config_with, encode_all, header,
};
use crate::util::raw::{connect, join, pour, until_ended, wire};
use crate::util::streams::{assert_callbacks, ends};
use crate::util::{Recorder, TestNode, listening, node, run_until};

/// Ends the stream with FIN directly after what was written.
fn finish(peer: TcpStream, by_closing: bool) -> Option<TcpStream> {
    if by_closing {
        return None;
    }
    peer.shutdown(Shutdown::Write).unwrap();
    Some(peer)
}

#[test]
fn messages_before_fin_are_all_delivered() {
    let small = config_with(&Framing::default());
    let small_totals = [
        4, 18, 4095, 4096, 4097, 4100, 8191, 8192, 8193, 12_288, 14_336, 40_000,
    ];
    let default = Config::default();
    let size = default.read_buffer_bytes;
    let totals = [size - 1, size, size + 1, 2 * size, 3 * size + 5];
    for (config, totals) in [(small, &small_totals[..]), (default, &totals[..])] {
        let (mut node, addr) = listening(config, Recorder::default());
        for round in 0..10 * totals.len() {
            let (total, by_closing) = (totals[round / 10], round % 2 == 0);
            let bodies = bodies_in(total);
            let stream = encode_all(&Framing::default(), &bodies);
            assert_eq!(stream.len(), total);
            let (conn, mut peer) = join(&mut node, addr);
            let write = move || {
                peer.write_all(&stream).unwrap();
                finish(peer, by_closing)
            };
            // A long stream is read while it is written. Of a short one, the last
            // bytes and FIN arrive in one event.
            let is_long = total > 40_000;
            let _peer = if is_long {
                let writer = thread::spawn(write);
                until_ended(&mut node, conn);
                writer.join().unwrap()
            } else {
                let peer = write();
                until_ended(&mut node, conn);
                peer
            };
            assert_callbacks(&node, conn, &bodies, DisconnectReason::PeerClosed);
            node.handler_mut().events.clear();
        }
    }
}

#[test]
fn fin_within_any_read_budget_loses_nothing() {
    let bodies = bodies_in(10_000);
    let stream = encode_all(&Framing::default(), &bodies);
    for read_budget in [1, 13, 100, 2500, 4095, 4096, 4097, 5000, 9999, 10_000] {
        let mut config = config_with(&Framing::default());
        config.budget.read_bytes = read_budget;
        let (mut node, conn, mut peer) = wire(config, Recorder::default());
        peer.write_all(&stream).unwrap();
        drop(peer);
        until_ended(&mut node, conn);
        assert_callbacks(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
}

#[test]
fn fin_before_accept_loses_nothing() {
    let (mut node, addr) = listening(config_with(&Framing::default()), Recorder::default());
    let bodies = bodies_in(4096);
    let stream = encode_all(&Framing::default(), &bodies);
    for _ in 0..100 {
        connect(addr).write_all(&stream).unwrap();
    }
    run_until([&mut node], |[node]| ends(node) == 100);
    let conns = node.handler().connected();
    assert_eq!(conns.len(), 100);
    for conn in conns {
        assert_callbacks(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
}

/// Returns a node that has begun to connect to a raw peer, and that peer.
pub(crate) fn connecting() -> (TestNode, ConnId, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = node(config_with(&Framing::default()), Recorder::default());
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    assert!(node.handler().connected().is_empty());
    let (peer, _) = listener.accept().unwrap();
    (node, conn, peer)
}

#[test]
fn fin_with_outbound_connect_loses_nothing() {
    for total in [4, 4096, 14_336] {
        let bodies = bodies_in(total);
        let (mut node, conn, mut peer) = connecting();
        peer.write_all(&encode_all(&Framing::default(), &bodies))
            .unwrap();
        drop(peer);
        until_ended(&mut node, conn);
        assert_callbacks(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
}

#[test]
fn fin_within_a_message_reports_its_length() {
    let four = Framing::default;
    let varint = || Framing::LengthDelimited(LengthPrefix::Varint);
    let long = || [header(LengthPrefix::Varint, 1 << 20), vec![1; 100_000]].concat();
    let cases: [(Framing, Vec<u8>, Option<usize>); 13] = [
        (four(), vec![0, 0, 1], Some(3)),
        (four(), b"\0\0\0\x05ab".to_vec(), Some(6)),
        (four(), b"\0\0\0\x05abcd".to_vec(), Some(8)),
        (
            four(),
            [&[0, 0x20, 0, 0][..], &[9; 50_000]].concat(),
            Some(50_004),
        ),
        (varint(), vec![0x80], Some(1)),
        (varint(), long(), Some(100_003)),
        (Framing::Fixed(10), b"1234567".to_vec(), Some(7)),
        (Framing::Fixed(9000), vec![7; 8999], Some(8999)),
        (Framing::Delimited(b'\n'), b"abc".to_vec(), Some(3)),
        (Framing::Delimited(b'\n'), vec![b'a'; 9000], Some(9000)),
        (Framing::custom(|| Netstring), b"12:ab".to_vec(), Some(5)),
        (Framing::Raw, b"abc".to_vec(), None),
        (four(), Vec::new(), None),
    ];
    for (framing, bytes, truncated) in cases {
        println!("{framing:?}, {} bytes", bytes.len());
        let whole = body(&framing, 4, 0);
        for before in [Vec::new(), vec![whole]] {
            let stream = [encode_all(&framing, &before), bytes.clone()].concat();
            let (mut node, conn, mut peer) = wire(config_with(&framing), Recorder::default());
            pour(&mut node, &mut peer, &stream);
            drop(peer);
            let reason = match truncated {
                Some(bytes) => DisconnectReason::Truncated { bytes },
                None => DisconnectReason::PeerClosed,
            };
            assert_eq!(until_ended(&mut node, conn), reason);
            let sent = match framing {
                Framing::Raw => vec![stream],
                _ => before,
            };
            assert_arrived(&framing, &node.handler().messages(conn), &sent, "");
        }
    }
}
