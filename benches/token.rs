//! One decision about one token: the reference server's gate, the floor below it and `jsonwebtoken` beside it.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gatecrash_benches::tokens::{Keys, contests, shapeless};

fn decisions(criterion: &mut Criterion) {
    let keys = Keys::generate();
    for contest in contests(&keys).into_iter().chain(shapeless()) {
        let mut group = criterion.benchmark_group(format!("token/{}", contest.name));
        for task in contest.tasks {
            let subject = task.name.rsplit('/').next().unwrap_or_default().to_owned();
            group.bench_function(subject, |bencher| bencher.iter(|| task.run()));
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    // Two hundred of them.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = decisions
}
criterion_main!(benches);
