//! The harness's side of a handshake, without a socket: the opening is written, the answer read and checked.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use gatecrash::wire::opening::{Opening, accept_for};
use gatecrash::wire::{answer, frame};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer: bench\r\nDate: Sun, 22 Nov 2026 03:00:00 GMT\r\n\r\n";

fn opening(token: &str) -> Vec<u8> {
    Opening::websocket("127.0.0.1:8000", format!("/ws?token={token}"), KEY).to_bytes()
}

fn is_switched(answer: &[u8]) -> bool {
    match answer::read(answer) {
        answer::Read::Head(head, _) => {
            head.status == 101 && head.header("sec-websocket-accept").is_some_and(|it| it == accept_for(KEY.as_bytes()))
        }
        answer::Read::More | answer::Read::NotHttp(_) => false,
    }
}

fn handshake(criterion: &mut Criterion) {
    let token = "A".repeat(200);
    assert!(is_switched(ANSWER), "the bench would measure a failure");
    let mut group = criterion.benchmark_group("handshake");
    group.bench_function("opening", |bencher| bencher.iter(|| opening(black_box(&token))));
    group.bench_function("answer", |bencher| bencher.iter(|| is_switched(black_box(ANSWER))));
    group.bench_function("both", |bencher| {
        bencher.iter(|| (opening(black_box(&token)), is_switched(black_box(ANSWER))));
    });
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    let payload = [b'x'; 64];
    let written = frame::Written::client(frame::TEXT, payload, [1, 2, 3, 4]).to_bytes();
    let mut group = criterion.benchmark_group("frame");
    group.bench_function("write-64", |bencher| {
        bencher.iter(|| frame::Written::client(frame::TEXT, black_box(payload), [1, 2, 3, 4]).to_bytes());
    });
    group.bench_function("read-64", |bencher| bencher.iter(|| frame::read(black_box(&written), 1 << 20)));
    group.finish();
}

criterion_group!(benches, handshake, frames);
criterion_main!(benches);
