//! Shards behind a proxy.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{connect, service, trusting};
use crate::util::proxy_header::binary;
use crate::util::{Recorder, config_with, eventually};
use peerloop::Config;
use peerloop::shards::{Placement, ShardOptions, Shards};

const SHARDS: usize = 4;

fn behind(config: Config, placement: Placement) -> (Shards<Recorder>, SocketAddr) {
    let options = ShardOptions {
        shards: SHARDS,
        placement,
    };
    let shards = Shards::start(config, options, |_, _| Recorder::default()).expect("shards");
    let mut options = shards.listen_options();
    options.proxy_protocol = trusting("127.0.0.1");
    let listening = shards.listen_with("127.0.0.1:0", options);
    (shards, listening.expect("a listener").addr)
}

fn client(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, host], port))
}

#[test]
fn shards_share_limit_of_true_addresses() {
    let config = config_with(|config| config.limits.max_connections_per_address = 3);
    let (shards, here) = behind(config, Placement::RoundRobin);
    let handle = shards.handle();
    let peers: Vec<TcpStream> = (1..=10)
        .map(|port| connect(here, &binary(client(9, port), service(), 0)))
        .collect();
    eventually(|| handle.metrics().unwrap().refused_by_address == 7);
    let counts = handle.ask_all(|_, net| net.connection_count()).unwrap();
    assert_eq!(counts.iter().sum::<usize>(), 3);
    drop(peers);
    shards.shutdown(Duration::ZERO);
    shards.join().unwrap();
}

#[test]
fn failed_headers_leave_no_load_behind() {
    let (shards, here) = behind(Config::default(), Placement::FewestConnections);
    let handle = shards.handle();
    for _ in 0..10 {
        let cut = connect(here, b"PROXY");
        cut.shutdown(Shutdown::Write).unwrap();
    }
    eventually(|| handle.metrics().unwrap().proxy_header_errors == 10);
    let mut peers = Vec::new();
    for host in 1..=SHARDS as u8 {
        peers.push(connect(here, &binary(client(host, 1), service(), 0)));
        eventually(|| handle.metrics().unwrap().accepted == u64::from(host));
    }
    let counts = handle.ask_all(|_, net| net.connection_count()).unwrap();
    assert_eq!(counts, [1; SHARDS]);
    shards.shutdown(Duration::ZERO);
    shards.join().unwrap();
}
