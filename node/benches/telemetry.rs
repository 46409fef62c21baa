//! What recording costs where it is hot, and what one rendering of `/metrics` costs.
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dtvn::telemetry::{Listener, Sources, Telemetry};
use dtvn_actors::board::{Board, Identity};
use dtvn_actors::instruments::{Decided, GroupCommit, Phase};
use dtvn_messages::{Genesis, KeyPair, NodeName, Timestamp};

fn telemetry() -> Arc<Telemetry> {
    let seed = dtvn_messages::crypto::DEVELOPMENT_SEED;
    let board = Board::new(
        Identity {
            name: NodeName::new("node0").unwrap(),
            public_key: KeyPair::development(seed, "node0").public(),
            may_vote: true,
            genesis: Arc::new(Genesis::development(1, seed, false).unwrap()),
            started_at: Timestamp(0),
        },
        Arc::new(dtvn_messages::Ed25519),
    );
    let tree = Arc::new(OnceLock::new());
    let (network, store, listeners) = Default::default();
    Telemetry::new(Sources { board, tree, network, store, listeners }).unwrap()
}

fn recording(criterion: &mut Criterion) {
    let telemetry = telemetry();
    let instruments = telemetry.instruments();
    let time = Duration::from_micros(1_234);
    let mut group = criterion.benchmark_group("telemetry");
    group.bench_function("phase of a block", |bencher| bencher.iter(|| instruments.phase(Phase::Whole, time)));
    group.bench_function("group commit", |bencher| {
        bencher.iter(|| instruments.log_synced(GroupCommit { time, records: 7, bytes: 12_345 }));
    });
    let decided = Decided { kind: "validate", verdict: "accepted", reason: "none" };
    group.bench_function("operations of one kind in a block", |bencher| {
        bencher.iter(|| instruments.operations_decided(decided, 500));
    });
    group.bench_function("HTTP request", |bencher| {
        bencher.iter(|| {
            let _in_flight = telemetry.requests().begin(Listener::Public);
            let route = Some("/api/v1/tickets/validate".to_owned());
            telemetry.requests().answered(route, "POST", 200, time);
        });
    });
    group.bench_function("rendering", |bencher| bencher.iter(|| telemetry.render().unwrap()));
    group.finish();
}

criterion_group!(benches, recording);
criterion_main!(benches);
