//! How long a client waits: a handshake until the first message, or until the refusal is told, over a pipe in memory and
//! over the loopback, beside a bare TCP connection with one round trip; and a burst of messages.
//!
//! Over the pipe client and server take turns on one thread; over the loopback the server has a thread of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use gatecrash_benches::pipe::{Asked, PEER, PIPE_BYTES, burst, config, messages, runtime, talk};
use gatecrash_reference_server::{RefusalStyle, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};

/// A server in a thread of its own, which ends with the process.
fn listening(refusal: RefusalStyle) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let server = Server::bind(config(refusal)).await.expect("a free port");
            tell.send(server.local_addr()).expect("somebody asked");
            server.run(std::future::pending()).await;
        });
    });
    told.recv().expect("the server listens")
}

/// A server that answers as many bytes to as many bytes, and knows nothing about them.
fn bare(asked: usize, answered: usize) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            tell.send(listener.local_addr().expect("its port")).expect("somebody asked");
            loop {
                let Ok((mut tcp, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    tcp.set_nodelay(true)?;
                    let mut bytes = vec![0; asked.max(answered)];
                    tcp.read_exact(&mut bytes[..asked]).await?;
                    tcp.write_all(&bytes[..answered]).await
                });
            }
        });
    });
    told.recv().expect("the server listens")
}

/// Reset at its end, so that no port waits for stragglers.
async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    tcp.set_zero_linger()?;
    Ok(tcp)
}

fn over_the_loopback(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loopback");
    let runtime = runtime();
    let [(_, _, admitted), ..] = Asked::all();
    // The size of the 101.
    let (asked, address) = (admitted.opening.len(), bare(admitted.opening.len(), 129));
    group.bench_function("tcp-round-trip", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let mut tcp = dial(address).await.expect("a connection");
            tcp.write_all(&vec![b'x'; asked]).await.expect("a listener");
            tcp.read_exact(&mut [0; 129]).await.expect("an answer");
        });
    });
    for (name, refusal, asked) in Asked::all() {
        let address = listening(refusal);
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let mut tcp = dial(address).await.expect("a connection");
                asked.of(&mut tcp).await.expect(name);
            });
        });
    }
    let sent = messages();
    let address = listening(RefusalStyle::Close);
    let mut tcp = runtime.block_on(async {
        let mut tcp = dial(address).await.expect("a connection");
        admitted.of(&mut tcp).await.expect("the greeting");
        tcp
    });
    group.bench_function("burst-100", |bencher| {
        bencher.iter(|| runtime.block_on(burst(&mut tcp, &sent)).expect("every echo"));
    });
    group.finish();
}

fn over_a_pipe(criterion: &mut Criterion) {
    let mut group: BenchmarkGroup<'_, WallTime> = criterion.benchmark_group("pipe");
    let runtime = runtime();
    for (name, refusal, asked) in Asked::all() {
        let server = runtime.block_on(Server::bind(config(refusal))).expect("a free port");
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let (mut here, there) = duplex(PIPE_BYTES);
                let served = tokio::spawn(server.serve_stream(there, PEER));
                asked.of(&mut here).await.expect(name);
                drop(here);
                served.await.expect("no panic");
            });
        });
    }
    let sent = messages();
    let (_server, mut here) = talk(&runtime);
    group.bench_function("burst-100", |bencher| {
        bencher.iter(|| runtime.block_on(burst(&mut here, &sent)).expect("every echo"));
    });
    group.finish();
}

criterion_group!(benches, over_the_loopback, over_a_pipe);
criterion_main!(benches);
