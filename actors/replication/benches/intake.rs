//! What intake costs per operation: requests of one and of a hundred operations are taken in, cut into a bundle and
//! answered, in blocks where three of four operations are other nodes'. Signing and execution are not counted.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dtvn_ledger::{BlockInput, Ledger};
use dtvn_messages::{
    Action, Bundle, BundleBody, Epoch, Genesis, Height, IdempotencyKey, Now, Operation, Signature, TicketId, Timestamp,
    ValidatorIndex,
};
use dtvn_replication::intake::{Effect, Input, Intake, IntakeLimits, IntakeSettings, RequestId};

const OPERATIONS: usize = 1_000;

fn operation(name: &str) -> Operation {
    Operation {
        valid_until: Timestamp(u64::MAX),
        gate: Some("gate 7".into()),
        device: Some("scanner 12".into()),
        ..Operation::new(
            IdempotencyKey::new(&format!("a key for {name}")).unwrap(),
            Action::Validate { ticket: TicketId::new(name).unwrap(), data: None },
        )
    }
}

struct Round {
    genesis: Genesis,
    intake: Intake,
    now: Now,
}

impl Round {
    fn new() -> Self {
        let genesis = Genesis::development(4, "bench", true).unwrap();
        let mut intake = Intake::new(IntakeSettings {
            epoch: Epoch(0),
            origin: Some(ValidatorIndex(0)),
            start: 1,
            key_retention_ms: genesis.parameters().key_retention_ms,
            limits: IntakeLimits::default(),
        });
        let now = Now { monotonic_us: 0, wall: genesis.file().time.plus_micros(1_000_000) };
        intake.step(now, Input::Quorum(true), &mut Vec::new());
        Self { genesis, intake, now }
    }

    fn submit(&mut self, first: u64, requests: Vec<Vec<Operation>>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (number, operations) in requests.into_iter().enumerate() {
            let request = RequestId(first + number as u64);
            self.intake.step(self.now, Input::Submit { request, operations, wait_ms: 20_000 }, &mut effects);
        }
        effects
    }

    fn bundle(&self, body: BundleBody) -> Arc<Bundle> {
        Bundle::assemble(body, Signature([0; 64]), self.genesis.chain_id())
    }

    /// The block that decides the operations of a bundle, behind `others` of another node.
    fn block(&self, bundle: &Arc<Bundle>, others: usize) -> Input {
        let others = (0..=others).map(|number| operation(&format!("other {number}"))).collect();
        let body = BundleBody { epoch: Epoch(0), origin: ValidatorIndex(1), start: 1, number: 0, operations: others };
        // The ledger asks for the numbers of an origin in order; this bundle is the only one that it sees.
        let own = self.bundle(BundleBody { number: 0, ..bundle.body.clone() });
        let bundles = vec![self.bundle(body), own];
        let (height, set) = (Height(1), self.genesis.validators());
        let mut ledger = Ledger::new(&self.genesis);
        ledger.execute(&BlockInput {
            height,
            timestamp: self.now.wall,
            bundles: &bundles,
            set,
            scheme: &dtvn_messages::Ed25519,
        });
        let effects = Arc::new(ledger.commit(height).remove(0));
        Input::Decided { bundles: vec![Arc::clone(&bundles[0]), Arc::clone(bundle)], effects }
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.intake.step(self.now, input, &mut effects);
        effects
    }

    /// Signs the bundle that was just cut.
    fn sign(&mut self, effects: Vec<Effect>) -> Arc<Bundle> {
        let cut = effects.into_iter().find_map(|effect| match effect {
            Effect::Cut(body) => Some(body),
            _ => None,
        });
        let bundle = self.bundle(cut.expect("a bundle was cut"));
        self.step(Input::Signed(Arc::clone(&bundle)));
        bundle
    }
}

fn requests(per_request: usize) -> Vec<Vec<Operation>> {
    let all: Vec<Operation> = (0..OPERATIONS).map(|number| operation(&format!("ticket {number}"))).collect();
    all.chunks(per_request).map(<[Operation]>::to_vec).collect()
}

/// A round whose first bundle is on its way, so that all the rest gathers for the next; and the block that decides it.
fn begun() -> (Round, Input) {
    let mut round = Round::new();
    let effects = round.submit(0, vec![vec![operation("the first of all")]]);
    let first = round.sign(effects);
    let block = round.block(&first, 0);
    (round, block)
}

fn intake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("intake");
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    for per_request in [1, 100] {
        group.bench_function(format!("take in and cut, {per_request} per request"), |bencher| {
            let routine = |((mut round, first), requests): ((Round, Input), Vec<Vec<Operation>>)| {
                (round.submit(1, requests), round.step(first), round)
            };
            bencher.iter_batched(|| (begun(), requests(per_request)), routine, BatchSize::PerIteration);
        });
        group.bench_function(format!("answer, {per_request} per request"), |bencher| {
            let setup = || {
                let (mut round, first) = begun();
                round.submit(1, requests(per_request));
                let effects = round.step(first);
                let bundle = round.sign(effects);
                let block = round.block(&bundle, 3 * OPERATIONS);
                (round, block)
            };
            // A copy of the block outlives the round, as in a node.
            let routine = |(mut round, block): (Round, Input)| (round.step(block.clone()), round, block);
            bencher.iter_batched(setup, routine, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, intake);
criterion_main!(benches);
