//! Peers of a node with several shards.

use super::*;
use crate::util::sessions::untimed;
use crate::util::{eventually, raw};
use peerloop::DisconnectReason;
use peerloop::shards::{Placement, ShardOptions, Shards};

#[test]
fn connection_of_another_shard_is_ended() {
    let peers = Peers::new(hello(5));
    let options = ShardOptions {
        shards: 2,
        placement: Placement::RoundRobin,
    };
    let shards = Shards::start(untimed(), options, |_, _| member(&peers)).expect("shards");
    let addr = shards.listen("127.0.0.1:0").expect("a listener").addr;
    let handle = shards.handle();
    let mut kept = Vec::new();
    let mut streams = Vec::new();
    for number in 1..=5 {
        let hello = RawHello {
            number,
            ..RawHello::new(4)
        };
        let mut stream = raw::connect(addr);
        stream.write_all(&hello.answered(0)).expect("room");
        streams.push(stream);
        // Each one is of the shard that does not have the one before.
        eventually(|| {
            let conn = peers.find(&[4; 32]);
            conn.is_some_and(|conn| !kept.contains(&conn))
        });
        kept.extend(peers.find(&[4; 32]));
        let counts = || {
            handle
                .ask_all(|_, net| net.connection_count())
                .expect("shards")
        };
        eventually(|| counts().iter().sum::<usize>() == 1);
    }
    assert!(kept.windows(2).all(|two| two[0].shard() != two[1].shard()));
    let reason = DisconnectReason::Application("another connection with this node is kept");
    for conn in &kept[..4] {
        let conn = *conn;
        let ended = handle.ask(conn.shard(), move |it, _| it.ended(conn));
        assert_eq!(ended.expect("a shard"), Some(reason));
    }
    assert_eq!(peers.len(), 1);
    drop(streams);
    eventually(|| peers.is_empty());
    shards.shutdown(std::time::Duration::ZERO);
    shards.join().expect("no panic");
}
