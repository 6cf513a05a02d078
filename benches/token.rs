//! One decision about one token: the reference server's gate beside `jsonwebtoken::decode`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gatecrash_benches::{Library, NOW, gate, samples};

fn decisions(criterion: &mut Criterion) {
    let (gate, library) = (gate(), Library::new());
    let mut group = criterion.benchmark_group("token");
    for sample in samples() {
        let token = sample.token.as_str();
        group.bench_with_input(BenchmarkId::new("gate", sample.name), token, |bencher, token| {
            bencher.iter(|| gate.admit(black_box(token.as_bytes()), NOW));
        });
        group.bench_with_input(BenchmarkId::new("jsonwebtoken", sample.name), token, |bencher, token| {
            bencher.iter(|| library.decode(black_box(token)));
        });
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
