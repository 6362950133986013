//! Throughput and latency, side by side with what two plain blocking threads reach.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

mod support;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::blocking::BlockingPair;
use support::nodes::{Running, Sink, source, transfer};

const SIZES: [usize; 4] = [16, 256, 4096, 32 * 1024];

/// Messages in one measured transfer: about 16 MiB, so that starting and ending weigh little.
fn batch(size: usize) -> u64 {
    (16 * 1024 * 1024 / (size as u64 + 64)).max(256)
}

/// One sender to one receiver, beside the same with two plain blocking threads. Interleaved by size, so that drift of
/// a shared machine hits both alike.
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
            let sink = Running::new(Sink {
                answer_every: messages,
                received: 0,
            })
            .expect("a sink");
            let mut source = source(sink.addr, 1).expect("a source");
            bencher.iter(|| transfer(&mut source, messages, &body, 1).expect("a transfer"));
        });
    }
    group.finish();
}

criterion_group!(benches, stream);
criterion_main!(benches);
