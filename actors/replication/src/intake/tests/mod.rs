//! An intake of validator 0 whose clients, signer, network and clock are the test. What becomes of operations is decided
//! by a real ledger.

mod answers;
mod bounds;
mod bundles;
mod fairness;
mod properties;

use std::sync::Arc;

use dtvn_ledger::{BlockEffects, BlockInput, Bounds, Ledger, OperationResult};
use dtvn_messages::membership::{Recovery, SignedRecovery};
use dtvn_messages::{
    Action, Bundle, BundleBody, BundlePosition, Epoch, EventId, Genesis, IdempotencyKey, KeyPair, NodeName, Nonce, Now,
    Operation, Reason, Signature, TicketId, Timestamp, ValidatorIndex, limits,
};

use super::flights::measure;
use super::{Answer, Effect, Input, Intake, IntakeLimits, IntakeSettings, RequestId};

const SEED: &str = "intake tests";
/// The wall clock when a test begins: a second after the genesis.
const WALL: u64 = 1_767_225_601_000_000;

/// An intake, its clock, and the network that decides.
struct World {
    intake: Intake,
    network: Network,
    now_us: u64,
    timer: Option<(u64, u64)>,
    /// What was cut, in order.
    cut: Vec<BundleBody>,
}

/// A chain of blocks in place of consensus.
struct Network {
    genesis: Genesis,
    ledger: Ledger,
}

impl Network {
    fn new(keys_max: usize) -> Self {
        let genesis = Genesis::development(4, SEED, true).unwrap();
        let bounds = Bounds { keys_max, ..Bounds::default() };
        let ledger = Ledger::with_bounds(&genesis, bounds);
        Self { genesis, ledger }
    }

    fn sign(&self, body: BundleBody) -> Arc<Bundle> {
        let key = KeyPair::development(SEED, &format!("node{}", body.origin));
        Bundle::sign(body, self.genesis.chain_id(), &key)
    }

    /// A bundle of another validator.
    fn bundle_of(&self, origin: u16, number: u64, operations: Vec<Operation>) -> Arc<Bundle> {
        self.sign(BundleBody { epoch: Epoch(0), origin: ValidatorIndex(origin), start: 1, number, operations })
    }

    /// Orders bundles in a block of their own.
    fn order(&mut self, wall: u64, bundles: Vec<Arc<Bundle>>) -> (Arc<BlockEffects>, Input) {
        let timestamp = Timestamp(wall.max(self.ledger.tip_timestamp().0 + 1));
        let height = self.ledger.tip().next();
        let (set, scheme) = (self.genesis.validators(), &dtvn_messages::Ed25519);
        self.ledger.execute(&BlockInput { height, timestamp, bundles: &bundles, set, scheme });
        let effects = Arc::new(self.ledger.commit(height).remove(0));
        (Arc::clone(&effects), Input::Decided { bundles, effects })
    }
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// An intake of start 1 that has a quorum.
    fn with(change: impl FnOnce(&mut IntakeLimits)) -> Self {
        let mut world = Self::closed(change);
        assert_eq!(world.step(Input::Quorum(true)), []);
        world
    }

    fn closed(change: impl FnOnce(&mut IntakeLimits)) -> Self {
        let mut limits = IntakeLimits::default();
        change(&mut limits);
        let intake = Intake::new(IntakeSettings {
            epoch: Epoch(0),
            origin: Some(ValidatorIndex(0)),
            start: 1,
            key_retention_ms: 24 * 3_600 * 1_000,
            limits,
        });
        Self { intake, network: Network::new(1_000_000), now_us: 5_000_000, timer: None, cut: Vec::new() }
    }

    fn wall(&self) -> u64 {
        WALL + self.now_us - 5_000_000
    }

    /// The effects of an input, without the timers that it sets.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.intake.step(Now { monotonic_us: self.now_us, wall: Timestamp(self.wall()) }, input, &mut effects);
        effects.retain(|effect| match effect {
            Effect::SetTimer { generation, after_ms } => {
                self.timer = Some((*generation, self.now_us + after_ms * 1_000));
                false
            }
            Effect::Cut(body) => {
                self.cut.push(body.clone());
                true
            }
            _ => true,
        });
        effects
    }

    fn submit(&mut self, request: u64, operations: Vec<Operation>) -> Vec<Effect> {
        self.step(Input::Submit { request: RequestId(request), operations, wait_ms: 20_000 })
    }

    /// Lets time pass, and the timer fire when it is due.
    fn pass_ms(&mut self, time_ms: u64) -> Vec<Effect> {
        let end_us = self.now_us + time_ms * 1_000;
        let mut effects = Vec::new();
        while let Some((generation, at_us)) = self.timer.filter(|(_, at_us)| *at_us <= end_us) {
            self.timer = None;
            self.now_us = self.now_us.max(at_us);
            effects.extend(self.step(Input::Timer { generation }));
        }
        self.now_us = end_us;
        effects
    }

    /// The last bundle that was cut, signed; the intake knows.
    fn sign_last(&mut self) -> Arc<Bundle> {
        let bundle = self.network.sign(self.cut.last().expect("a bundle was cut").clone());
        assert_eq!(self.step(Input::Signed(Arc::clone(&bundle))), []);
        bundle
    }

    /// Orders bundles: what the ledger made of them, and what the intake does.
    fn order(&mut self, bundles: &[&Arc<Bundle>]) -> (Vec<OperationResult>, Vec<Effect>) {
        let bundles = bundles.iter().map(|bundle| Arc::clone(bundle)).collect();
        let (block, input) = self.network.order(self.wall(), bundles);
        (block.results.clone(), self.step(input))
    }

    /// An operation as the intake puts it into a bundle at this time.
    fn dated(&self, operation: &Operation) -> Operation {
        Operation { valid_until: Timestamp(self.wall() + 60_000_000), ..operation.clone() }
    }

    /// The bundle with these operations and this number.
    fn cut(&self, number: u64, operations: &[&Operation]) -> Effect {
        let operations = operations.iter().map(|operation| self.dated(operation)).collect();
        Effect::Cut(BundleBody { epoch: Epoch(0), origin: ValidatorIndex(0), start: 1, number, operations })
    }
}

/// Validates a ticket, which issues it first.
fn validate(ticket: &str) -> Operation {
    keyed(&format!("the one key of {ticket}"), ticket)
}

fn keyed(key: &str, ticket: &str) -> Operation {
    Operation::new(
        IdempotencyKey::new(key).unwrap(),
        Action::Validate { ticket: TicketId::new(ticket).unwrap(), data: None },
    )
}

fn answer(request: u64, index: usize, answer: Answer) -> Effect {
    Effect::Answer { request: RequestId(request), index, answer }
}

fn decided(request: u64, index: usize, result: &OperationResult) -> Effect {
    answer(request, index, Answer::Decided(result.clone()))
}

fn refused(request: u64, index: usize, reason: Reason) -> Effect {
    answer(request, index, Answer::Refused { reason, detail: None })
}

fn unknown(request: u64, index: usize) -> Effect {
    answer(request, index, Answer::Unknown)
}

/// The reasons of refusals among effects, where the words do not matter.
fn reasons(effects: &[Effect]) -> Vec<(u64, usize, Reason)> {
    let refusals = effects.iter().filter_map(|effect| match effect {
        Effect::Answer { request, index, answer: Answer::Refused { reason, .. } } => Some((request.0, *index, *reason)),
        _ => None,
    });
    refusals.collect()
}

fn position(start: u64, number: u64) -> BundlePosition {
    BundlePosition { start, number }
}

fn gone(bundle: &Arc<Bundle>, last: Option<BundlePosition>) -> Input {
    Input::BundleGone { bundle: Arc::clone(bundle), last }
}

#[test]
fn one_encoding_gives_payload_and_length() {
    let mut operation = validate("A");
    operation.gate = Some("north".into());
    assert_eq!(measure(&operation), (operation.payload_digest(), dtvn_messages::Layout::to_bytes(&operation).len()));
}
