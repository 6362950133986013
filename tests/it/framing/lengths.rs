//! Messages of every length, compared with the read buffer.

use peerloop::Config;

use crate::util::framings::{
    BUFFER, assert_arrived, body, config_with, encode_all, framings_for, read_in_pieces,
    until_received,
};
use crate::util::raw::{feed, pour, wire};
use crate::util::{Random, Recorder};

#[test]
fn message_byte_by_byte_is_delivered_once() {
    for framing in framings_for(5000) {
        let bodies = [body(&framing, 5000, 1)];
        let stream = encode_all(&framing, &bodies);
        let (mut node, conn, mut peer) = wire(config_with(&framing), Recorder::default());
        let (last, others) = stream.split_last().unwrap();
        for byte in others {
            feed(&mut node, &mut peer, &[*byte]);
        }
        assert!(node.handler().messages(conn).is_empty(), "{framing:?}");
        feed(&mut node, &mut peer, &[*last]);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn message_longer_than_buffer_arrives_whole() {
    const LONG: usize = 3 * 1024 * 1024 + 17;
    for read_buffer in [BUFFER, Config::default().read_buffer_bytes] {
        for framing in framings_for(LONG) {
            let bodies = [LONG, 5, 0, LONG, LONG - 1].map(|len| body(&framing, len, len));
            let stream = encode_all(&framing, &bodies);
            let mut config = config_with(&framing);
            config.read_buffer_bytes = read_buffer;
            let (mut node, conn, mut peer) = wire(config, Recorder::default());
            pour(&mut node, &mut peer, &stream);
            until_received(&mut node, stream.len());
            let arrived = node.handler().messages(conn);
            assert_arrived(&framing, &arrived, &bodies, read_buffer);
        }
    }
}

#[test]
fn message_near_buffer_length_arrives_whole() {
    let mut random = Random::new(1);
    for framing in framings_for(BUFFER) {
        let mut wire = wire(config_with(&framing), Recorder::default());
        for around in [BUFFER / 2, BUFFER, 2 * BUFFER] {
            for len in around - 14..around + 6 {
                let bodies = [len, 3, len, 0].map(|len| body(&framing, len, len));
                let stream = encode_all(&framing, &bodies);
                let (before, after) = stream.split_at(1 + random.below(stream.len() - 1));
                read_in_pieces(&mut wire, &framing, &[&stream], &bodies);
                read_in_pieces(&mut wire, &framing, &[before, after], &bodies);
            }
        }
    }
}
