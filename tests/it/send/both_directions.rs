//! Two nodes that both send without reading first.

use peerloop::Config;

use crate::util::streams::messages;
use crate::util::{Event, Recorder, pair, run_until};

/// Sends this many messages as fast as the peer takes them.
fn source(count: usize) -> Recorder {
    let mut sent = 0;
    Recorder::reacting(move |net, event| {
        if let Event::Connect(conn) | Event::Drain(conn) = event {
            while sent < count && net.is_writable(*conn) {
                let mut body = sent.to_be_bytes().to_vec();
                body.resize(1000, 7);
                net.send(*conn, &body).expect("it is writable");
                sent += 1;
            }
        }
    })
}

#[test]
fn nodes_that_only_send_do_not_block_each_other() {
    let mut config = Config::default();
    config.sockets.send_buffer_bytes = Some(8192);
    config.sockets.receive_buffer_bytes = Some(8192);
    let count = 5000;
    let (mut a, to_b, mut b, to_a) = pair(config, source(count), source(count));
    run_until([&mut a, &mut b], |[a, b]| {
        messages(a) == count && messages(b) == count
    });
    for messages in [a.handler().messages(to_b), b.handler().messages(to_a)] {
        let numbers = messages.iter().map(|body| body[..8].to_vec());
        assert!(numbers.eq((0..count).map(|number| number.to_be_bytes().to_vec())));
    }
    assert!(a.net().metrics().drains > 1 && b.net().metrics().drains > 1);
}
