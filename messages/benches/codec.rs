//! What the words themselves cost: a vote and a bundle of 500 operations to and from the wire, and a certificate of Q
//! signatures checked one by one (consensus.md section 1: batch verification is for clients only).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dtvn_messages::certificate::Signatures;
use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::wire::{Class, PeerMessage, decode, encode};
use dtvn_messages::*;

const OPERATIONS: u64 = 500;

fn key(number: u16) -> KeyPair {
    KeyPair::development(DEVELOPMENT_SEED, &format!("node{number}"))
}

fn vote(kind: VoteKind) -> Vote {
    Vote { kind, epoch: Epoch(0), view: View(3), height: Height(1_000), digest: Digest([7; 32]) }
}

fn bundle(chain: &ChainId) -> std::sync::Arc<Bundle> {
    let operation = |number: u64| Operation {
        valid_until: Timestamp(number),
        gate: Some("gate 7".into()),
        device: Some("scanner 12".into()),
        ..Operation::new(
            IdempotencyKey::new(&format!("{number:032x}")).unwrap(),
            Action::Validate { ticket: TicketId::new(&format!("TICKET-{number:06}")).unwrap(), data: None },
        )
    };
    let operations = (0..OPERATIONS).map(operation).collect();
    let body = BundleBody { epoch: Epoch(0), origin: ValidatorIndex(0), start: 1, number: 0, operations };
    Bundle::sign(body, chain, &key(0))
}

fn codec(bench: &mut Criterion) {
    let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
    let chain = genesis.chain_id();
    let signed = Signed::new(vote(VoteKind::Prepare), chain, ValidatorIndex(0), &key(0));
    let message = PeerMessage::Vote(signed);
    let frame = encode(&message).unwrap();
    assert_eq!(decode(&frame, Class::Consensus).unwrap(), message);
    bench.bench_function("vote/encode", |bencher| bencher.iter(|| encode(black_box(&message)).unwrap()));
    bench
        .bench_function("vote/decode", |bencher| bencher.iter(|| decode(black_box(&frame), Class::Consensus).unwrap()));

    let bundle = bundle(chain);
    let mut group = bench.benchmark_group("bundle of 500 operations");
    group.throughput(Throughput::Elements(OPERATIONS));
    group.bench_function("assemble", |bencher| {
        bencher.iter(|| Bundle::assemble(black_box(bundle.body.clone()), bundle.signature, chain));
    });
    group.bench_function("from bytes", |bencher| {
        bencher.iter(|| Bundle::from_bytes(black_box(&bundle.bytes), chain).unwrap());
    });
    group.finish();
}

fn certificate(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("certificate/verify");
    for validators in [4_u16, 16] {
        let genesis = Genesis::development(usize::from(validators), DEVELOPMENT_SEED, false).unwrap();
        let (chain, set) = (genesis.chain_id(), genesis.validators());
        let vote = vote(VoteKind::Commit);
        let quorum = u16::try_from(set.quorum()).unwrap();
        let sign =
            |number| (ValidatorIndex(number), Signed::new(vote, chain, ValidatorIndex(number), &key(number)).signature);
        let certificate = Certificate { vote, signatures: Signatures((0..quorum).map(sign).collect()) };
        certificate.verify(chain, set, &Ed25519).unwrap();
        group.throughput(Throughput::Elements(u64::from(quorum)));
        group.bench_function(BenchmarkId::from_parameter(format!("{quorum} of {validators}")), |bencher| {
            bencher.iter(|| black_box(&certificate).verify(chain, set, &Ed25519).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, codec, certificate);
criterion_main!(benches);
