//! `broadcast` and `broadcast_all`.

use std::io::{IoSlice, Read};
use std::net::TcpStream;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use crate::util::streams::{fill, narrow_config};
use crate::util::{Recorder, frame, listening, raw, run_until};
use peerloop::framing::{Framing, LengthPrefix};
use peerloop::{Body, BroadcastOutcome, Config, ConnId};

/// The counts: queued, full, closed, unsendable.
fn counts(outcome: BroadcastOutcome) -> [usize; 4] {
    let BroadcastOutcome { queued, full, .. } = outcome;
    [queued, full, outcome.closed, outcome.unsendable]
}

fn read_to_end(mut peer: TcpStream) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).expect("a clean end");
        received
    })
}

#[test]
fn outcomes_are_counted_in_every_framing() {
    let (mut node, plain) = listening(narrow_config(), Recorder::default());
    let mut listen_with = |framing| {
        let mut options = node.net().listen_options();
        options.connection_mut().framing = framing;
        let listening = node.net().listen_with("127.0.0.1:0", options);
        listening.unwrap().addr
    };
    let lines = listen_with(Framing::Delimited(b'\n'));
    let fives = listen_with(Framing::Fixed(5));
    let short = listen_with(Framing::LengthDelimited(LengthPrefix::One));
    let peers = [plain, plain, lines, fives, short, plain].map(|it| raw::join(&mut node, it));
    let (gone, gone_peer) = raw::join(&mut node, plain);
    drop(gone_peer);
    raw::until_ended(&mut node, gone);
    let _full_peer = raw::connect_narrow(plain);
    let full = raw::accepted(&mut node);
    fill(&mut node, full, 0, 996);
    // A further turn might find room in the socket.
    while node.net().send(full, b"").is_ok() {}
    let mut conns: Vec<ConnId> = peers.iter().map(|(conn, _)| *conn).collect();
    conns.insert(1, gone);
    conns.insert(3, full);
    let hello = node.net().broadcast(conns.clone(), b"hello");
    assert_eq!(counts(hello), [6, 1, 1, 0]);
    // This body is neither a line nor five bytes long.
    let lines = node.net().broadcast(conns.clone(), b"li\nnes");
    assert_eq!(counts(lines), [4, 1, 1, 2]);
    // The length of this one has more than one byte.
    let long = node.net().broadcast(conns, vec![b'x'; 20_000]);
    assert_eq!(counts(long), [4, 1, 1, 2]);
    let plain = [frame(b"hello"), frame(b"li\nnes"), frame(&[b'x'; 20_000])].concat();
    let lines = [b"hello\n".as_slice(), &[b'x'; 20_000], b"\n"].concat();
    let short = b"\x05hello\x06li\nnes";
    let expected: [&[u8]; 6] = [&plain, &plain, &lines, b"hello", short, &plain];
    let readers = peers.map(|(conn, peer)| {
        node.net().close_write(conn);
        read_to_end(peer)
    });
    run_until([&mut node], |_| readers.iter().all(JoinHandle::is_finished));
    for (reader, expected) in readers.into_iter().zip(expected) {
        assert!(reader.join().unwrap() == expected);
    }
}

#[test]
fn long_body_is_shared_by_several_framings() {
    const LEN: usize = 20_000;
    let (mut node, plain) = listening(Config::default(), Recorder::default());
    let mut options = node.net().listen_options();
    options.connection_mut().framing = Framing::Delimited(b'\n');
    let lines = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
    let peers = [plain, lines, plain].map(|it| raw::join(&mut node, it));
    let conns = peers.each_ref().map(|(conn, _)| *conn);
    let bytes = [b'x'; LEN];
    let parts = [IoSlice::new(&bytes[..7]), IoSlice::new(&bytes[7..])];
    let bodies = [
        Body::from(&bytes),
        Body::parts(&parts),
        bytes.to_vec().into(),
    ];
    for (before, body) in bodies.into_iter().enumerate() {
        let outcome = node.net().broadcast(conns, body);
        assert_eq!(counts(outcome), [3, 0, 0, 0]);
        let charged = node.net().metrics().queued_bytes;
        assert!(charged < (before + 1) * (LEN + LEN / 2), "{charged}");
    }
    let plain = frame(&bytes).repeat(3);
    let lines = [bytes.as_slice(), b"\n"].concat().repeat(3);
    let expected = [&plain, &lines, &plain];
    let readers = peers.map(|(conn, peer)| {
        node.net().close_write(conn);
        read_to_end(peer)
    });
    run_until([&mut node], |_| readers.iter().all(JoinHandle::is_finished));
    for (reader, expected) in readers.into_iter().zip(expected) {
        assert!(reader.join().unwrap() == *expected);
    }
}

/// The first connection decides in which form a long body is copied.
#[test]
fn long_body_that_is_no_line_reaches_the_others() {
    let (mut node, plain) = listening(Config::default(), Recorder::default());
    let mut options = node.net().listen_options();
    options.connection_mut().framing = Framing::Delimited(b'\n');
    let lines = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
    let (line_conn, _line_peer) = raw::join(&mut node, lines);
    let (conn, peer) = raw::join(&mut node, plain);
    let body = [[b'x'; 20_000].as_slice(), b"\n", &[b'y'; 100]].concat();
    let outcome = node.net().broadcast([line_conn, conn], &body);
    assert_eq!(counts(outcome), [1, 0, 0, 1]);
    node.net().close_write(conn);
    let reader = read_to_end(peer);
    run_until([&mut node], |_| reader.is_finished());
    assert!(reader.join().unwrap() == frame(&body));
}

#[test]
fn broadcast_all_skips_one_and_all_that_close() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    let peers = [(); 4].map(|()| raw::join(&mut node, addr));
    let (except, closing) = (peers[1].0, peers[2].0);
    node.net().close(closing);
    let outcome = node.net().broadcast_all(b"one", Some(except));
    assert_eq!(counts(outcome), [2, 0, 0, 0]);
    assert_eq!(node.net().broadcast_all(b"two", None).queued, 3);
    node.net().shutdown(Duration::from_secs(3600));
    raw::settle(&mut node);
    let both = [frame(b"one"), frame(b"two")].concat();
    let expected = [both.clone(), frame(b"two"), Vec::new(), both];
    for ((_, peer), expected) in peers.into_iter().zip(expected) {
        assert_eq!(read_to_end(peer).join().unwrap(), expected);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn shared_body_is_charged_once() {
    use crate::util::sockets::bound;

    const PEERS: usize = 300;
    const MIB: usize = 1 << 20;
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    // Peers that do not read. By default 128 of one address are admitted.
    let connect = |index: usize| {
        let socket = bound([127, 0, 0, 2 + (index / 100) as u8]);
        socket.connect(&addr.into()).expect("a listener");
        socket
    };
    let peers: Vec<_> = (0..PEERS).map(connect).collect();
    run_until([&mut node], |[node]| {
        node.handler().connected().len() == PEERS
    });
    let all = node.handler().connected();
    let body = peerloop::Bytes::from(vec![5; MIB]);
    let outcome = node.net().broadcast(all, body);
    assert_eq!(counts(outcome), [PEERS, 0, 0, 0]);
    let charged = node.net().metrics().queued_bytes;
    assert!((MIB..MIB + 1024 * PEERS).contains(&charged), "{charged}");
    drop(peers);
    run_until([&mut node], |[node]| node.net().metrics().queued_bytes == 0);
}
