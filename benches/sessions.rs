//! Throughput with encryption, and handshakes, compared with two blocking
//! threads that use the same cryptography.
//!
//! `cargo bench --all-features --bench sessions` measures. With `-- --test`
//! each benchmark runs once. Compare ratios within one run, because the speed
//! of shared machines changes.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

mod sealed;
mod support;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use peerloop::{Node, RunEnd};
use sealed::blocking::{Sealed, accept, connect};
use sealed::nodes::Secured;
use sealed::security::Security;
use support::messages::Goal;
use support::nodes::{Running, Sink, config};
use support::{Job, PATIENCE, failed};

/// Messages in one measured transfer of about 16 MiB.
fn batch(size: usize) -> u64 {
    16 * 1024 * 1024 / (size as u64 + 64)
}

fn securities() -> [(&'static str, Security); 2] {
    [("tls", Security::tls()), ("noise", Security::noise())]
}

/// Sets up a transfer of messages of one size.
type SetUp = fn(usize, &Security) -> io::Result<Box<dyn Job>>;

/// One connection.
fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sealed_stream");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    let ends: [(_, SetUp); 2] = [
        ("blocking", sealed::blocking::stream),
        ("peerloop", sealed::nodes::stream),
    ];
    for size in [256, 4096, 32 * 1024] {
        let messages = batch(size);
        group.throughput(Throughput::Elements(messages));
        for (name, security) in securities() {
            for (end, set_up) in ends {
                let id = BenchmarkId::new(format!("{name}/{end}"), size);
                group.bench_function(id, |bencher| {
                    let mut job = set_up(size, &security).expect("a connection");
                    bencher.iter(|| job.run(messages).expect("a transfer"));
                });
            }
        }
    }
    group.finish();
}

/// One connection after another, each until both ends have completed the
/// handshake: then the end that accepted resets the connection, and the other
/// end waits for that.
fn handshakes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2));
    for (name, security) in securities() {
        group.bench_function(BenchmarkId::new(name, "blocking"), |bencher| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let addr = listener.local_addr().expect("an address");
            let theirs = security.clone();
            // It ends with the first connection that sends nothing.
            let accepting =
                thread::spawn(
                    move || {
                        while accept(&theirs, &listener).map(Sealed::reset).is_ok() {}
                    },
                );
            bencher.iter(|| {
                let sealed = connect(&security, addr).expect("a connection");
                sealed.wait_for_end();
            });
            drop(TcpStream::connect(addr));
            accepting.join().expect("no panic");
        });
        group.bench_function(BenchmarkId::new(name, "peerloop"), |bencher| {
            let goal = Arc::new(Goal::new(0, 0));
            let handler = || Secured::new(Sink::new(&goal), &security);
            let server = Running::new(handler().resetting()).expect("a server");
            let mut client = Node::new(config(), handler()).expect("a client");
            bencher.iter(|| connect_and_wait(&mut client, server.addr).expect("a connection"));
        });
    }
    group.finish();
}

/// Connects and waits for the reset.
fn connect_and_wait(client: &mut Node<Secured<Sink>>, addr: SocketAddr) -> io::Result<()> {
    let ended = client.handler().ended;
    client.net().connect(addr)?;
    if client.run_until(PATIENCE, |handler, _| handler.ended > ended)? != RunEnd::Done {
        return Err(failed("the connection did not end in time"));
    }
    Ok(())
}

criterion_group!(benches, streams, handshakes);
criterion_main!(benches);
