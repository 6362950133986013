//! Throughput and latency, compared with two blocking threads.
//!
//! `cargo bench` measures. `cargo bench -- --test` runs each benchmark once. A
//! name selects some of them, as in `cargo bench --bench throughput -- stream`.
//! Compare ratios within one run, because the speed of shared machines changes.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

mod support;

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use peerloop::{ConnId, Handler, Net, Node, TimerId};
use support::nodes::{Echo, Pinger, Running, broadcast, config, sends, stream};
use support::{Job, PATIENCE, blocking};

const KIB_32: usize = 32 * 1024;

/// Messages in one measured transfer of about 16 MiB, so that its beginning and
/// end take little of the time.
fn batch(size: usize) -> u64 {
    (16 * 1024 * 1024 / (size as u64 + 64)).max(256)
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3));
    group
}

/// Measures a job that does `amount` of its work in each iteration.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    amount: u64,
    job: impl Fn() -> io::Result<Box<dyn Job>>,
) {
    group.bench_function(id, |bencher| {
        let mut job = job().expect("the connections");
        bencher.iter(|| job.run(amount).expect("a transfer"));
    });
}

/// One connection, and the same with two blocking threads.
fn streams(criterion: &mut Criterion) {
    let mut group = group(criterion, "stream");
    for size in [16, 256, 4096, KIB_32] {
        let messages = batch(size);
        group.throughput(Throughput::Elements(messages));
        let id = BenchmarkId::new("blocking", size);
        measure(&mut group, id, messages, || blocking::stream(size));
        let id = BenchmarkId::new("peerloop", size);
        measure(&mut group, id, messages, || stream(size, 1));
    }
    group.finish();
}

/// Many connections between two nodes, with messages of 32 KiB. One node has
/// all senders, because with a thread for each the scheduler would be measured.
fn fan_in(criterion: &mut Criterion) {
    let mut group = group(criterion, "fan_in");
    for senders in [1, 10, 50, 100] {
        let each = 2 * batch(KIB_32) / senders as u64;
        group.throughput(Throughput::Bytes((KIB_32 * senders) as u64 * each));
        let id = BenchmarkId::from_parameter(senders);
        measure(&mut group, id, each, || stream(KIB_32, senders));
    }
    group.finish();
}

/// Round trips of 64 bytes between two threads: one at a time and 64 at a time,
/// alone and beside 1,000 idle connections.
fn echo(criterion: &mut Criterion) {
    const TRIPS: u64 = 1024;
    let mut group = group(criterion, "echo");
    group.throughput(Throughput::Elements(TRIPS));
    for idle in [0, 1000] {
        for outstanding in [1, 64] {
            let id = BenchmarkId::new(format!("{outstanding}_outstanding"), format!("{idle}_idle"));
            group.bench_function(id, |bencher| {
                let server = Running::new(Echo).expect("a server");
                let connect = |_| TcpStream::connect(server.addr).expect("an idle connection");
                let _idle: Vec<TcpStream> = (0..idle).map(connect).collect();
                let pinger = Pinger::new(64, outstanding);
                let mut client = Node::new(config(), pinger).expect("a client");
                client.net().connect(server.addr).expect("a connect");
                run_until(&mut client, Pinger::is_connected);
                bencher.iter(|| {
                    client.with(|pinger, net| pinger.begin(net, TRIPS));
                    run_until(&mut client, |pinger| pinger.trips.is_over());
                    client.handler().trips.check().expect("the answers");
                });
            });
        }
    }
    group.finish();
}

/// Runs a node until its handler meets the condition.
fn run_until<H: Handler>(node: &mut Node<H>, condition: impl Fn(&H) -> bool) {
    let end = node.run_until(PATIENCE, |handler, _| condition(handler));
    assert_eq!(end.expect("turns"), peerloop::RunEnd::Done);
}

/// One message to 100 connections: copied (256 bytes) and shared (32 KiB). The
/// same with a send for each connection.
fn broadcasts(criterion: &mut Criterion) {
    const CONNECTIONS: usize = 100;
    let mut group = group(criterion, "broadcast");
    for (size, messages) in [(256, 256), (KIB_32, 16)] {
        group.throughput(Throughput::Elements(messages * CONNECTIONS as u64));
        let id = BenchmarkId::new("100_connections", size);
        measure(&mut group, id, messages, || broadcast(size, CONNECTIONS));
        let id = BenchmarkId::new("100_sends", size);
        measure(&mut group, id, messages, || sends(size, CONNECTIONS));
    }
    group.finish();
}

/// Counts its timers.
#[derive(Default)]
struct Clock {
    fired: usize,
}

impl Handler for Clock {
    fn on_timer(&mut self, _: &mut Net, _: TimerId, _: u64) {
        self.fired += 1;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// One timer that is set and cancelled beside many others, and many timers that
/// fire at once.
fn timers(criterion: &mut Criterion) {
    let mut group = group(criterion, "timers");
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
            run_until(&mut node, |clock| clock.fired == FIRED);
        });
    });
    group.finish();
}

criterion_group!(benches, streams, fan_in, echo, broadcasts, timers);
criterion_main!(benches);
