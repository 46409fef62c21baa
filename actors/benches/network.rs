//! What a link costs: a round trip of 200 bytes, and 200-byte frames one way. Real libp2p (TCP, Noise, yamux) on
//! loopback; both nodes share this process and its cores. `cargo bench -p dtvn-actors --bench network`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a benchmark")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dtvn_actors::network::Class;
use tokio::runtime::Runtime;

#[path = "../tests/network/harness.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod harness;

use harness::{Node, ONE, ZERO, pair_listening};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn round_trips(first: &mut Node, second: &mut Node, count: u64) -> Duration {
    let frame = Bytes::from(vec![1; 200]);
    let began = Instant::now();
    for _ in 0..count {
        first.handle.send(ONE, Class::Consensus, &frame, None).unwrap();
        let question = second.consensus.receive().await;
        second.handle.send(ZERO, Class::Consensus, &question.bytes, None).unwrap();
        first.consensus.receive().await;
    }
    began.elapsed()
}

async fn one_way(first: &Node, second: Node, count: u64) -> (Node, Duration) {
    let frame = Bytes::from(vec![1; 200]);
    let handle = first.handle.clone();
    let began = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            handle.send_when_room(ONE, Class::Consensus, &frame).await.unwrap();
        }
    });
    let receiving = tokio::spawn(async move {
        let (mut second, mut received, mut frames) = (second, 0, Vec::new());
        while received < count {
            second.consensus.receive_many(&mut frames, 256).await;
            received += frames.drain(..).len() as u64;
        }
        second
    });
    sending.await.unwrap();
    (receiving.await.unwrap(), began.elapsed())
}

fn benches(criterion: &mut Criterion) {
    let runtime = runtime();
    for (name, listen) in [("tcp", harness::TCP), ("quic", harness::QUIC)] {
        let (mut first, second) = runtime.block_on(pair_listening(0, 1, listen));
        let mut second = Some(second);
        let mut group = criterion.benchmark_group(name);
        group.bench_function("round_trip_200_bytes", |bencher| {
            let second = second.as_mut().unwrap();
            bencher.iter_custom(|count| runtime.block_on(round_trips(&mut first, second, count)));
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function("one_way_200_bytes", |bencher| {
            bencher.iter_custom(|count| {
                let (back, duration) = runtime.block_on(one_way(&first, second.take().unwrap(), count));
                second = Some(back);
                duration
            });
        });
        group.finish();
        runtime.block_on(async {
            first.stop().await;
            second.take().unwrap().stop().await;
        });
    }
}

criterion_group!(network, benches);
criterion_main!(network);
