//! A block of four bundles at one replica: proposed, prepared and committed. The votes are made beforehand, and
//! signing, disk and execution cost nothing here: what is measured is the core.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench ends at the first thing that is wrong")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dtvn_messages::{Height, VoteKind};
use dtvn_pbft::{BundleMeta, Effect, Input, Message, Own, Replica, Say};

use common::build::{numbered, validator};
use common::under::{Under, small};
use common::{genesis, sign};

/// How many validators there are.
const COUNT: u16 = 4;

/// A follower that holds four bundles, and all inputs that lead it to the commit of their block.
fn prepared() -> (Replica, Under, Vec<Input>) {
    let genesis = Arc::new(genesis(usize::from(COUNT), small));
    let mut under = Under::new(&genesis, Some(3));
    let bundles: Vec<BundleMeta> = (0..COUNT).map(|origin| numbered(origin, 0)).collect();
    under.hold(&bundles);
    let block = under.block(0, None, &bundles);
    let mut inputs = vec![Input::Message { from: validator(0), message: under.pre_prepare(0, &block) }];
    let (log_size, log_root) = (block.header.log_size, block.header.log_root);
    let succession = under.steady();
    inputs.push(Input::Executed { id: 1, log_size, log_root, succession });
    for kind in [VoteKind::Prepare, VoteKind::Commit] {
        let vote = under.vote(kind, 0, &block);
        inputs.push(Input::Own(Own::Vote(sign(&genesis, validator(3), vote))));
        for signer in 0..COUNT - 1 {
            inputs.push(Input::Message { from: validator(signer), message: Message::Vote(under.signed(signer, vote)) });
        }
    }
    let mut fresh = Under::new(&genesis, Some(3));
    fresh.hold(&bundles);
    (fresh.replica, under, inputs)
}

fn step(bench: &mut Criterion) {
    let (mut replica, under, inputs) = prepared();
    let mut effects = Vec::new();
    for input in inputs {
        replica.step(under.now, input, &mut effects);
    }
    assert_eq!(replica.committed(), Height(1), "the inputs lead to a commit");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Say { say: Say::Vote(_), .. })));

    let mut group = bench.benchmark_group("step");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a block of four bundles, to its commit, at one of four", |bencher| {
        bencher.iter_batched(
            prepared,
            |(mut replica, under, inputs)| {
                let mut effects = Vec::with_capacity(32);
                for input in inputs {
                    replica.step(under.now, black_box(input), &mut effects);
                }
                (replica, effects)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
