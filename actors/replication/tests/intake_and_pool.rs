//! Intake and pool of one node together: what one drops the other offers again, once, whoever hears of a change first.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::Arc;

use dtvn_ledger::{BlockInput, Ledger};
use dtvn_messages::{
    Action, Bundle, BundlePosition, Digest, Epoch, Genesis, Height, IdempotencyKey, KeyPair, Now, Operation, TicketId,
    Timestamp, ValidatorIndex,
};
use dtvn_replication::intake::{self, Answer, Intake, IntakeLimits, IntakeSettings, RequestId};
use dtvn_replication::pool::{self, Pool, PoolLimits, PoolSettings};

const SEED: &str = "intake and pool";
const OWN: ValidatorIndex = ValidatorIndex(0);

/// What is to be handed to one of the two.
enum Step {
    Intake(intake::Input),
    Pool(pool::Input),
}

/// A node without consensus.
struct Node {
    genesis: Genesis,
    intake: Intake,
    pool: Pool,
    ledger: Ledger,
    answers: Vec<(RequestId, Answer)>,
    /// What is available, in the order of arrival.
    available: Vec<Digest>,
    outrun: Option<u64>,
    steps: usize,
}

impl Node {
    fn new() -> Self {
        let genesis = Genesis::development(4, SEED, true).unwrap();
        let intake = Intake::new(IntakeSettings {
            epoch: Epoch(0),
            origin: Some(OWN),
            start: 1,
            key_retention_ms: genesis.parameters().key_retention_ms,
            limits: IntakeLimits::default(),
        });
        let pool = Pool::new(PoolSettings {
            chain: genesis.chain_id().clone(),
            epoch: Epoch(0),
            validators: Arc::new(genesis.validators().clone()),
            own: Some(OWN),
            seed: 1,
            limits: PoolLimits::default(),
        });
        let ledger = Ledger::new(&genesis);
        let (answers, available) = (Vec::new(), Vec::new());
        let mut node = Self { genesis, intake, pool, ledger, answers, available, outrun: None, steps: 0 };
        node.run([Step::Intake(intake::Input::Quorum(true))]);
        node
    }

    fn now(&self) -> Now {
        Now { monotonic_us: 1, wall: self.genesis.file().time.plus_micros(1_000_000) }
    }

    /// Hands over the steps, and all that follows from each at once, as a node does.
    fn run(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            let mut queue = VecDeque::from([step]);
            while let Some(step) = queue.pop_front() {
                self.steps += 1;
                assert!(self.steps < 1_000, "the two never come to rest");
                match step {
                    Step::Intake(input) => self.step_intake(input, &mut queue),
                    Step::Pool(input) => self.step_pool(input, &mut queue),
                }
            }
        }
    }

    fn step_intake(&mut self, input: intake::Input, queue: &mut VecDeque<Step>) {
        let mut effects = Vec::new();
        self.intake.step(self.now(), input, &mut effects);
        for effect in effects {
            match effect {
                intake::Effect::Cut(body) => {
                    let bundle = Bundle::sign(body, self.genesis.chain_id(), &KeyPair::development(SEED, "node0"));
                    queue.push_back(Step::Intake(intake::Input::Signed(Arc::clone(&bundle))));
                    queue.push_back(Step::Pool(pool::Input::Own(bundle)));
                }
                intake::Effect::Offer(bundle) => queue.push_back(Step::Pool(pool::Input::Own(bundle))),
                intake::Effect::Answer { request, answer, .. } => self.answers.push((request, answer)),
                intake::Effect::Outrun { start } => self.outrun = Some(start),
                intake::Effect::SetTimer { .. } => {}
            }
        }
    }

    fn step_pool(&mut self, input: pool::Input, queue: &mut VecDeque<Step>) {
        let mut effects = Vec::new();
        self.pool.step(self.now(), input, &mut effects);
        for effect in effects {
            match effect {
                pool::Effect::Available(meta) => self.available.push(meta.digest),
                pool::Effect::Superseded { bundle, last } if bundle.body.origin == OWN => {
                    self.available.retain(|digest| *digest != bundle.digest);
                    queue.push_back(Step::Intake(intake::Input::BundleGone { bundle, last }));
                }
                pool::Effect::Full(full) => queue.push_back(Step::Intake(intake::Input::PoolFull(full))),
                _ => {}
            }
        }
    }

    fn submit(&mut self, request: u64, ticket: &str) {
        let operation = Operation::new(
            IdempotencyKey::new(&format!("a key for {ticket:>16}")).unwrap(),
            Action::Validate { ticket: TicketId::new(ticket).unwrap(), data: None },
        );
        let request = RequestId(request);
        self.run([Step::Intake(intake::Input::Submit { request, operations: vec![operation], wait_ms: 20_000 })]);
    }

    /// Orders all that is available, a block for each bundle.
    fn order(&mut self) {
        while !self.available.is_empty() {
            let digest = self.available.remove(0);
            let bundle = Arc::clone(self.pool.bundle(&digest).expect("what is available is held"));
            let height = self.ledger.tip().next();
            let timestamp = Timestamp(self.now().wall.0 + height.0);
            let bundles = vec![bundle];
            self.ledger.execute(&BlockInput {
                height,
                timestamp,
                bundles: &bundles,
                set: self.genesis.validators(),
                scheme: &dtvn_messages::Ed25519,
            });
            let effects = Arc::new(self.ledger.commit(height).remove(0));
            self.run([
                Step::Pool(pool::Input::Ordered { height, digests: vec![digest] }),
                Step::Intake(intake::Input::Decided { bundles, effects }),
            ]);
        }
    }

    fn begin_epoch(&mut self, epoch: u64, intake_first: bool) {
        let epoch = Epoch(epoch);
        let validators = Arc::new(self.genesis.validators().clone());
        let for_intake = Step::Intake(intake::Input::Epoch { epoch, origin: Some(OWN) });
        let for_pool = Step::Pool(pool::Input::Epoch { epoch, validators, own: Some(OWN) });
        self.run(if intake_first { [for_intake, for_pool] } else { [for_pool, for_intake] });
    }

    fn assert_all_accepted(&self, requests: u64) {
        let accepted = self
            .answers
            .iter()
            .filter(|(_, answer)| matches!(answer, Answer::Decided(result) if result.outcome().verdict.is_accepted()));
        assert_eq!(accepted.count() as u64, requests, "{:?}", self.answers);
        assert_eq!(self.answers.len() as u64, requests);
        assert_eq!(self.intake.usage().operations, 0);
        assert_eq!(self.pool.usage().pending_bundles, 0);
    }
}

#[test]
fn operations_are_decided_one_bundle_after_the_other() {
    let mut node = Node::new();
    for request in 0..3 {
        node.submit(request, &format!("T{request}"));
    }
    assert_eq!(node.available.len(), 1, "one bundle is on its way");
    node.order();
    node.assert_all_accepted(3);
    assert_eq!(node.ledger.tip(), Height(2), "the rest gathered in the second");
}

#[test]
fn a_new_epoch_takes_over_what_is_undecided_whoever_hears_of_it_first() {
    for intake_first in [true, false] {
        let mut node = Node::new();
        node.submit(0, "in a bundle");
        node.submit(1, "not in a bundle");
        node.begin_epoch(1, intake_first);
        node.submit(2, "later");
        node.order();
        node.assert_all_accepted(3);
        node.begin_epoch(2, !intake_first);
        node.submit(3, "later still");
        node.order();
        node.assert_all_accepted(4);
    }
}

/// The last ordered bundle of this node.
fn positions(last: BundlePosition) -> pool::Input {
    pool::Input::Positions { epoch: Epoch(0), positions: vec![(OWN, last)] }
}

#[test]
fn a_twin_of_the_same_start_costs_a_number_and_nothing_else() {
    let mut node = Node::new();
    node.submit(0, "A");
    node.submit(1, "B");
    let last = BundlePosition { start: 1, number: 4 };
    node.run([Step::Pool(positions(last))]);
    let bundle = node.pool.bundle(&node.available[0]).unwrap();
    assert_eq!((bundle.body.number, bundle.body.operations.len()), (5, 2));
}

#[test]
fn a_twin_of_a_later_start_stops_this_one_until_it_starts_anew() {
    let mut node = Node::new();
    node.submit(0, "A");
    node.run([Step::Pool(positions(BundlePosition { start: 9, number: 3 }))]);
    assert_eq!(node.outrun, Some(9));
    assert_eq!(node.available, []);
    node.run([Step::Intake(intake::Input::Started { start: 10 })]);
    let bundle = node.pool.bundle(&node.available[0]).unwrap();
    assert_eq!((bundle.body.start, bundle.body.number), (10, 0));
}

#[test]
fn a_pool_that_lost_everything_is_offered_what_is_on_its_way() {
    let mut node = Node::new();
    node.submit(0, "A");
    node.pool = Node::new().pool;
    node.available.clear();
    node.run([Step::Intake(intake::Input::PoolRestarted)]);
    node.order();
    node.assert_all_accepted(1);
}

#[test]
fn an_intake_of_the_next_start_answers_retries_from_the_bundles_of_the_last() {
    let mut node = Node::new();
    node.submit(0, "A");
    let left_behind = Arc::clone(node.pool.bundle(&node.available[0]).unwrap());
    let settings = IntakeSettings {
        epoch: Epoch(0),
        origin: Some(OWN),
        start: 2,
        key_retention_ms: node.genesis.parameters().key_retention_ms,
        limits: IntakeLimits::default(),
    };
    node.intake = Intake::new(settings);
    node.run([Step::Intake(intake::Input::Restored(left_behind)), Step::Intake(intake::Input::Quorum(true))]);
    node.submit(1, "A");
    assert_eq!(node.available.len(), 1, "the retry joins");
    node.order();
    node.assert_all_accepted(1);
}
