//! The harness's rooms: catalogue, plan, forge, oracle, judge and report.

use criterion::{Criterion, criterion_group, criterion_main};
use gatecrash_benches::rooms;

fn every_room(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rooms");
    group.sample_size(20);
    for task in rooms::tasks() {
        group.bench_function(&task.name, |bencher| bencher.iter(|| task.run()));
    }
    group.finish();
}

criterion_group!(benches, every_room);
criterion_main!(benches);
