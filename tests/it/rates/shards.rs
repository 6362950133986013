//! Rates of a node with several shards.

use super::*;
use peerloop::shards::{Placement, ShardOptions, Shards, ShardsHandle};

fn start(config: Config) -> (Shards<Recorder>, ShardsHandle<Recorder>, [TcpStream; 2]) {
    let options = ShardOptions {
        shards: 2,
        placement: Placement::RoundRobin,
    };
    let shards = Shards::start(config, options, |_, _| Recorder::default()).expect("shards");
    let addr = shards.listen("127.0.0.1:0").expect("a listener").addr;
    let handle = shards.handle();
    let peers = [connect(addr), connect(addr)];
    eventually(|| counts(&handle) == [1, 1]);
    (shards, handle, peers)
}

fn counts(handle: &ShardsHandle<Recorder>) -> Vec<usize> {
    let count = |_: &mut Recorder, net: &mut Net| net.connection_count();
    handle.ask_all(count).expect("the shards run")
}

fn delivered(handle: &ShardsHandle<Recorder>) -> usize {
    let count = |recorder: &mut Recorder, _: &mut Net| {
        recorder.count(|event| matches!(event, Event::Message(..)))
    };
    handle.ask_all(count).expect("the shards run").iter().sum()
}

fn stop(shards: Shards<Recorder>) {
    shards.shutdown(Duration::ZERO);
    shards.join().expect("no shard panicked");
}

#[test]
fn shards_share_the_rate_of_an_address() {
    let config = config_with(|config| {
        config.limits.rate_per_address.receive_messages = rate(200, 20);
    });
    let (shards, handle, mut peers) = start(config);
    let begun = Instant::now();
    for peer in &mut peers {
        peer.write_all(&frame(b"x").repeat(60)).expect("room");
    }
    eventually(|| delivered(&handle) == 120);
    // Both shards may use the burst, and pay for it later.
    assert!(begun.elapsed() >= Duration::from_millis(400));
    stop(shards);
}

#[test]
fn rate_is_set_from_another_shard() {
    let (shards, handle, mut peers) = start(Config::default());
    let conns = |_: &mut Recorder, net: &mut Net| -> Vec<ConnId> {
        net.connections().map(|it| it.id()).collect()
    };
    let conns: Vec<ConnId> = handle.ask_all(conns).expect("they run").concat();
    let first = handle.shards().next().expect("a shard");
    let limits = RateLimits {
        receive_messages: rate(100, 1),
        ..RateLimits::default()
    };
    let set = move |_: &mut Recorder, net: &mut Net| {
        for conn in conns {
            net.set_rate(conn, limits).expect("valid");
        }
    };
    handle.ask(first, set).expect("it runs");
    // The command for the other shard has run when a later one has.
    assert_eq!(counts(&handle), [1, 1]);
    let begun = Instant::now();
    for peer in &mut peers {
        peer.write_all(&frame(b"x").repeat(51)).expect("room");
    }
    eventually(|| delivered(&handle) == 102);
    assert!(begun.elapsed() >= Duration::from_millis(500));
    stop(shards);
}
