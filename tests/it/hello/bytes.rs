//! The bytes of the handshake.

use std::io::Write;

use super::*;
use crate::util::session_peer::{StreamEnd, read_len, read_to_end};
use crate::util::sessions::untimed;
use crate::util::{frame, raw};

#[test]
fn hello_and_answer_are_as_documented() {
    let (mut node, addr) = listening(untimed(), greeter(hello(5)));
    let mut peer = raw::connect(addr);
    let expected = RawHello::new(5).bytes();
    assert_eq!(expected.len(), 65 + 5);
    assert_eq!(read_len(&mut node, &mut peer, expected.len()).0, expected);
    // No answer comes before the hello of the peer is complete.
    let theirs = RawHello::new(7);
    let (last, first) = theirs
        .bytes()
        .split_last()
        .map(|(a, b)| (*a, b.to_vec()))
        .expect("bytes");
    raw::feed(&mut node, &mut peer, &first);
    assert!(read_len(&mut node, &mut peer, 0).0.is_empty());
    raw::feed(&mut node, &mut peer, &[last]);
    assert_eq!(read_len(&mut node, &mut peer, 1).0, [0]);
    assert_eq!(node.handler().connected(), []);
    // The bytes after the answer belong to the messages.
    let rest = [vec![0], frame(b"message")].concat();
    peer.write_all(&rest).expect("room");
    run_until([&mut node], |[node]| node.handler().events.len() == 3);
    let conn = node.handler().connected()[0];
    assert_eq!(node.handler().messages(conn), [b"message"]);
    let view = node.net().connection(conn).expect("it is open");
    let theirs = view
        .identity()
        .and_then(|identity| identity.hello.as_deref());
    let theirs = theirs.expect("a hello");
    assert_eq!(
        (theirs.version, theirs.node_id, theirs.nonce),
        (3, [7; 32], 1007)
    );
    assert_eq!(theirs.blob, [7; 7]);
    node.net().send(conn, b"answer").expect("room");
    let (bytes, _) = read_len(&mut node, &mut peer, 10);
    assert_eq!(bytes, frame(b"answer"));
}

#[test]
fn dripped_hello_is_accepted() {
    let (mut node, addr) = listening(untimed(), greeter(hello(5)));
    let mut peer = raw::connect(addr);
    let bytes = [RawHello::new(7).answered(0), frame(b"message")].concat();
    for byte in &bytes {
        raw::feed(&mut node, &mut peer, &[*byte]);
    }
    run_until([&mut node], |[node]| node.handler().events.len() == 3);
    let conn = node.handler().connected()[0];
    assert_eq!(node.handler().messages(conn), [b"message"]);
}

#[test]
fn end_after_each_byte_fails_one_handshake() {
    let (mut node, addr) = listening(untimed(), greeter(hello(5)));
    let bytes = RawHello::new(7).answered(0);
    for len in 0..bytes.len() {
        let mut peer = raw::connect(addr);
        peer.write_all(&bytes[..len]).expect("room");
        peer.shutdown(std::net::Shutdown::Write)
            .expect("it is open");
        let (_, end) = read_to_end(&mut node, &mut peer);
        assert!(len > 0 || end == StreamEnd::Fin);
        run_until([&mut node], |[node]| node.handler().events.len() == 2 + len);
    }
    assert_eq!(node.handler().connected(), []);
    let mut peer = raw::connect(addr);
    accepted(&mut node, &mut peer, &RawHello::new(7));
}
