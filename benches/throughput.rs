//! Throughput and latency, compared with two plain blocking threads.
//!
//! `cargo bench` measures; `cargo bench -- --test` only shows that everything runs.
//! A name selects some, as in `cargo bench --bench throughput -- stream`. Compare
//! ratios within one run: shared machines drift.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerloop::{Node, TimerId};
use support::blocking::BlockingPair;
use support::nodes::{
    Clock, Echo, Running, Sink, broadcast, config, ping, pinger, source, transfer,
};

const SIZES: [usize; 4] = [16, 256, 4096, 32 * 1024];

/// Messages in one measured transfer: about 16 MiB, so that starting and ending weigh little.
fn batch(size: usize) -> u64 {
    (16 * 1024 * 1024 / (size as u64 + 64)).max(256)
}

/// One sender to one receiver, and the same with two plain blocking threads, the
/// limit to compare with.
fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3));
    for size in SIZES {
        let (body, messages) = (vec![7; size], batch(size));
        group.throughput(Throughput::Elements(messages));
        group.bench_function(BenchmarkId::new("blocking", size), |bencher| {
            let mut pair = BlockingPair::new(messages).expect("a pair");
            bencher.iter(|| pair.transfer(messages, &body).expect("a transfer"));
        });
        group.bench_function(BenchmarkId::new("peerloop", size), |bencher| {
            let sink = Running::new(Sink::answering_every(messages)).expect("a sink");
            let mut source = source(sink.addr, 1).expect("a source");
            bencher.iter(|| transfer(&mut source, messages, &body).expect("a transfer"));
        });
    }
    group.finish();
}

/// Many senders of 32 KiB messages to one receiver. The senders are the connections
/// of one node, because with two cores as many threads would measure the
/// scheduler.
fn fan_in(criterion: &mut Criterion) {
    const SIZE: usize = 32 * 1024;
    let mut group = criterion.benchmark_group("fan_in");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3));
    let (body, messages) = (vec![7; SIZE], 2 * batch(SIZE));
    group.throughput(Throughput::Bytes(messages * SIZE as u64));
    for senders in [1, 10, 50, 100] {
        group.bench_function(BenchmarkId::from_parameter(senders), |bencher| {
            let sink = Running::new(Sink::answering_every(messages)).expect("a sink");
            let mut source = source(sink.addr, senders).expect("a source");
            bencher.iter(|| transfer(&mut source, messages, &body).expect("a transfer"));
        });
    }
    group.finish();
}

/// Round trips of 64 bytes between two threads: one at a time, 64 at a time, and
/// beside 1,000 idle connections.
fn echo(criterion: &mut Criterion) {
    const TRIPS: u64 = 1024;
    let mut group = criterion.benchmark_group("echo");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .throughput(Throughput::Elements(TRIPS));
    for idle in [0, 1000] {
        for outstanding in [1, 64] {
            let id = BenchmarkId::new(format!("{outstanding}_outstanding"), format!("{idle}_idle"));
            group.bench_function(id, |bencher| {
                let server = Running::new(Echo).expect("a server");
                let connect = |_| TcpStream::connect(server.addr).expect("an idle connection");
                let _idle: Vec<TcpStream> = (0..idle).map(connect).collect();
                let mut client = pinger(server.addr).expect("a client");
                bencher.iter(|| ping(&mut client, TRIPS, outstanding).expect("round trips"));
            });
        }
    }
    group.finish();
}

/// One message to 100 peers, copied (256 bytes) and shared (32 KiB).
fn broadcasts(criterion: &mut Criterion) {
    const PEERS: usize = 100;
    let mut group = criterion.benchmark_group("broadcast");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3));
    for (size, messages) in [(256, 256), (32 * 1024, 16)] {
        let body = vec![7; size];
        let deliveries = messages * PEERS as u64;
        group.throughput(Throughput::Elements(deliveries));
        group.bench_function(BenchmarkId::new("100_peers", size), |bencher| {
            let sink = Running::new(Sink::answering_every(deliveries)).expect("a sink");
            let mut source = source(sink.addr, PEERS).expect("a source");
            bencher.iter(|| broadcast(&mut source, messages, &body).expect("a broadcast"));
        });
    }
    group.finish();
}

/// Setting and cancelling one timer beside many, and firing many at once.
fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(1));
    for others in [0, 1000, 100_000] {
        group.bench_function(BenchmarkId::new("set_and_cancel", others), |bencher| {
            let mut node = Node::new(config(), Clock::default()).expect("a node");
            let net = node.net();
            for key in 0..others {
                let _: TimerId = net.set_timer(Duration::from_secs(3600 + key % 600), key);
            }
            let mut seconds = 0;
            bencher.iter(|| {
                seconds = (seconds + 7) % 7200;
                let timer = net.set_timer(Duration::from_secs(seconds), 0);
                net.cancel_timer(timer)
            });
        });
    }
    const FIRED: usize = 1000;
    group.throughput(Throughput::Elements(FIRED as u64));
    group.bench_function(BenchmarkId::new("set_and_fire", FIRED), |bencher| {
        let mut node = Node::new(config(), Clock::default()).expect("a node");
        bencher.iter(|| {
            node.handler_mut().fired = 0;
            let net = node.net();
            for key in 0..FIRED as u64 {
                let _: TimerId = net.set_timer(Duration::ZERO, key);
            }
            while node.handler().fired < FIRED {
                let _ = node.turn(None).expect("a turn");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, stream, fan_in, echo, broadcasts, timers);
criterion_main!(benches);
