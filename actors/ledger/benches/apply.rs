//! What a block costs: `apply` executes and commits blocks of 500 operations (each scans a ticket in and out, among
//! 100,000), `log_root` appends and hashes alone, `load` brings 100,000 tickets and as many keys back.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dtvn_ledger::{BlockEffects, BlockInput, Ledger};
use dtvn_messages::merkle::{Frontier, leaf_hash};
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{
    Action, Bundle, BundleBody, Epoch, Genesis, IdempotencyKey, Operation, Signature, TicketId, Timestamp,
    ValidatorIndex,
};

const TICKETS: u64 = 100_000;
const BLOCK_OPERATIONS: u64 = 500;

struct Maker {
    genesis: Genesis,
    number: u64,
    time: u64,
}

impl Maker {
    fn new() -> Self {
        let genesis = Genesis::development(4, "bench", false).unwrap();
        let time = genesis.file().time.0;
        Self { genesis, number: 0, time }
    }

    /// The next bundle: an operation for each action.
    fn bundle(&mut self, actions: impl Iterator<Item = Action>) -> Arc<Bundle> {
        let number = self.number;
        self.number += 1;
        self.time += 1_000;
        let operation = |(position, action)| Operation {
            valid_until: Timestamp(self.time + 60_000_000),
            gate: Some("gate 7".into()),
            device: Some("scanner 12".into()),
            ..Operation::new(IdempotencyKey::new(&format!("{number:016x}-{position:016x}")).unwrap(), action)
        };
        let operations = actions.enumerate().map(operation).collect();
        let body = BundleBody { epoch: Epoch(0), origin: ValidatorIndex(0), start: 1, number, operations };
        Bundle::assemble(body, Signature([0; 64]), self.genesis.chain_id())
    }

    /// A ledger with all tickets issued.
    fn issued(&mut self) -> Ledger {
        let mut ledger = Ledger::new(&self.genesis);
        for first in (0..TICKETS).step_by(1_000) {
            let bundle = self.bundle((first..first + 1_000).map(issue));
            execute_and_commit(&self.genesis, &mut ledger, &bundle);
        }
        ledger
    }
}

fn execute_and_commit(genesis: &Genesis, ledger: &mut Ledger, bundle: &Arc<Bundle>) -> Vec<BlockEffects> {
    let (height, timestamp) = (ledger.tip().next(), Timestamp(ledger.tip_timestamp().0 + 1_000));
    let bundles = std::slice::from_ref(bundle);
    ledger.execute(&BlockInput {
        height,
        timestamp,
        bundles,
        set: genesis.validators(),
        scheme: &dtvn_messages::Ed25519,
    });
    ledger.commit(height)
}

fn ticket(number: u64) -> TicketId {
    // Scattered over the whole range, as the holders of tickets arrive.
    TicketId::new(&format!("TICKET-{:06}", number * 7_919 % TICKETS)).unwrap()
}

fn issue(number: u64) -> Action {
    let metadata = Metadata::from([("seat".into(), "A1".into()), ("price".into(), "40.00".into())]);
    Action::Issue { ticket: ticket(number), data: None, metadata, valid_from: None, valid_until: None }
}

fn scans(first: u64) -> impl Iterator<Item = Action> {
    (first..first + BLOCK_OPERATIONS / 2).flat_map(|number| {
        let ticket = ticket(number);
        [Action::Validate { ticket: ticket.clone(), data: None }, Action::Consume { ticket, data: None }]
    })
}

fn apply(criterion: &mut Criterion) {
    let mut maker = Maker::new();
    let genesis = maker.genesis.clone();
    let mut ledger = maker.issued();
    let mut next = 0;
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(BLOCK_OPERATIONS));
    // The keys of former rounds stay, as they do in a node: the table grows far beyond the tickets.
    group.bench_function("500 validate and consume", |bencher| {
        bencher.iter_batched(
            || {
                if next + BLOCK_OPERATIONS / 2 > TICKETS {
                    next = 0;
                }
                next += BLOCK_OPERATIONS / 2;
                maker.bundle(scans(next - BLOCK_OPERATIONS / 2))
            },
            |bundle| {
                let effects = execute_and_commit(&genesis, &mut ledger, &bundle);
                (bundle, effects)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn log_root(criterion: &mut Criterion) {
    let leaves: Vec<Vec<u8>> =
        (0..BLOCK_OPERATIONS).map(|number| vec![u8::try_from(number % 251).unwrap(); 200]).collect();
    let mut group = criterion.benchmark_group("log_root");
    group.throughput(Throughput::Elements(BLOCK_OPERATIONS));
    group.bench_function("500 outcomes of 200 bytes", |bencher| {
        let mut log = Frontier::new();
        bencher.iter(|| {
            for leaf in &leaves {
                log.append(leaf_hash(leaf));
            }
            log.root()
        });
    });
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let mut maker = Maker::new();
    let image = maker.issued().image();
    let genesis = maker.genesis;
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    group.throughput(Throughput::Elements(TICKETS));
    group.bench_function("100,000 tickets and keys", |bencher| {
        bencher.iter_batched(|| image.clone(), |image| Ledger::load(&genesis, image).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

/// What a checkpoint costs, beside the way of a block: the map of 100,000 tickets and their keys, after 256 blocks of 500.
fn state_map(criterion: &mut Criterion) {
    let mut maker = Maker::new();
    let genesis = maker.genesis.clone();
    let mut ledger = maker.issued();
    let image = ledger.image();
    let map = image.state_map(&genesis);
    let blocks: Vec<Arc<BlockEffects>> = (0..256)
        .map(|block| {
            let bundle = maker.bundle(scans(block * BLOCK_OPERATIONS / 2 % TICKETS));
            Arc::new(execute_and_commit(&genesis, &mut ledger, &bundle).remove(0))
        })
        .collect();
    let mut group = criterion.benchmark_group("state_map");
    group.sample_size(10);
    group.bench_function("256 blocks of 500 operations", |bencher| {
        bencher.iter_batched(
            || map.clone(),
            |mut map| {
                map.apply(&blocks);
                (map.root(), map)
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("100,000 tickets and keys, at a start", |bencher| {
        bencher.iter(|| image.state_map(&genesis).root());
    });
    group.finish();
}

criterion_group!(benches, apply, log_root, load, state_map);
criterion_main!(benches);
