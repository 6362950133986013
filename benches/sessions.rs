//! Throughput with encryption, compared with two plain blocking threads with the
//! same cryptography.
//!
//! `cargo bench --all-features --bench sessions` measures; with `-- --test` it only
//! shows that everything runs. Compare ratios within one run: shared machines
//! drift.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

mod sealed;
mod support;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerloop::Node;
use sealed::blocking_secured::{SealedPair, accept, connect};
use sealed::secured::Secured;
use sealed::security::Security;
use support::blocking::BlockingPair;
use support::nodes::{Running, Sink, Source, config};

const SIZES: [usize; 3] = [256, 4096, 32 * 1024];

/// Messages in one measured transfer: about 16 MiB.
fn batch(size: usize) -> u64 {
    16 * 1024 * 1024 / (size as u64 + 64)
}

fn securities() -> [(&'static str, Security); 2] {
    [("tls", Security::tls()), ("noise", Security::noise())]
}

/// A source in this thread that is connected to `addr`.
fn source(addr: SocketAddr, security: &Security) -> io::Result<Node<Secured<Source>>> {
    let handler = Secured::new(Source::default(), security.clone());
    let mut node = Node::new(config(), handler)?;
    node.net().connect(addr)?;
    while node.handler().connected.is_empty() {
        let _ = node.turn(None)?;
    }
    Ok(node)
}

/// Has the source send that many messages and waits for the answer.
fn transfer(node: &mut Node<Secured<Source>>, messages: u64, body: &[u8]) -> io::Result<()> {
    let mut source = std::mem::take(&mut node.handler_mut().inner);
    source.begin(node.net(), messages, body);
    node.handler_mut().inner = source;
    while node.handler().inner.answers == 0 {
        let _ = node.turn(None)?;
    }
    Ok(())
}

/// One sender to one receiver.
fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sealed_stream");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    for size in SIZES {
        let (body, messages) = (vec![7; size], batch(size));
        group.throughput(Throughput::Elements(messages));
        group.bench_function(BenchmarkId::new("plain/blocking", size), |bencher| {
            let mut pair = BlockingPair::new(messages).expect("a pair");
            bencher.iter(|| pair.transfer(messages, &body).expect("a transfer"));
        });
        let plain = [("plain", Security::Plain)];
        for (name, security) in plain.into_iter().chain(securities()) {
            if !matches!(security, Security::Plain) {
                let id = BenchmarkId::new(format!("{name}/blocking"), size);
                group.bench_function(id, |bencher| {
                    let mut pair = SealedPair::new(&security, messages).expect("a pair");
                    bencher.iter(|| pair.transfer(messages, &body).expect("a transfer"));
                });
            }
            let id = BenchmarkId::new(format!("{name}/peerloop"), size);
            group.bench_function(id, |bencher| {
                let sink = Secured::new(Sink::answering_every(messages), security.clone());
                let sink = Running::new(sink).expect("a sink");
                let mut source = source(sink.addr, &security).expect("a source");
                bencher.iter(|| transfer(&mut source, messages, &body).expect("a transfer"));
            });
        }
    }
    group.finish();
}

/// One connection after another, each up to the end of its handshake on both sides.
fn handshakes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    for (name, security) in securities() {
        group.bench_function(BenchmarkId::new(name, "blocking"), |bencher| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let addr = listener.local_addr().expect("it is bound");
            let theirs = security.clone();
            // Ends with the first connection that sends nothing.
            let accepting =
                thread::spawn(move || while accept(&theirs, &listener).map(drop).is_ok() {});
            bencher.iter(|| connect(&security, addr).expect("a connection").reset());
            drop(std::net::TcpStream::connect(addr));
            accepting.join().expect("it does not panic");
        });
        group.bench_function(BenchmarkId::new(name, "peerloop"), |bencher| {
            let sink = Secured::new(Sink::answering_every(u64::MAX), security.clone());
            let sink = Running::new(sink).expect("a sink");
            let handler = Secured::new(Sink::answering_every(u64::MAX), security.clone());
            let mut node = Node::new(config(), handler).expect("a node");
            bencher.iter(|| connect_and_abort(&mut node, sink.addr).expect("a connection"));
        });
    }
    group.finish();
}

fn connect_and_abort(node: &mut Node<Secured<Sink>>, addr: SocketAddr) -> io::Result<()> {
    let conn = node.net().connect(addr)?;
    while node.handler().connected.is_empty() {
        let _ = node.turn(None)?;
    }
    node.net().abort(conn);
    while !node.handler().connected.is_empty() {
        let _ = node.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}

criterion_group!(benches, stream, handshakes);
criterion_main!(benches);
