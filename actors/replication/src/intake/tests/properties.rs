//! What clients are promised, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Move {
    Submit(Vec<(u8, u8)>, u64),
    Withdraw(usize),
    Sign(usize),
    Order(usize, Option<(u8, u8)>),
    Supersede(usize),
    Quorum(bool),
    Syncing(bool),
    PoolFull(bool),
    Epoch,
    Pass(u64),
}

fn a_move() -> impl Strategy<Value = Move> {
    let operation = || (0_u8..12, prop_oneof![9 => Just(0_u8), 1 => Just(1)]);
    prop_oneof![
        8 => (prop::collection::vec(operation(), 1..6), 0_u64..3_000).prop_map(|(keys, wait)| Move::Submit(keys, wait)),
        1 => (0_usize..8).prop_map(Move::Withdraw),
        5 => (0_usize..3).prop_map(Move::Sign),
        5 => (0_usize..3, prop::option::of(operation())).prop_map(|(place, other)| Move::Order(place, other)),
        1 => (0_usize..3).prop_map(Move::Supersede),
        1 => prop::bool::weighted(0.7).prop_map(Move::Quorum),
        1 => prop::bool::weighted(0.2).prop_map(Move::Syncing),
        1 => prop::bool::weighted(0.2).prop_map(Move::PoolFull),
        1 => Just(Move::Epoch),
        3 => (0_u64..1_500).prop_map(Move::Pass),
    ]
}

fn operation_of((key, payload): (u8, u8)) -> Operation {
    keyed(&format!("the key number {key}"), &format!("T{key}.{payload}"))
}

/// A name of an operation: key and payload.
type Name = (String, dtvn_messages::Digest);

fn name(operation: &Operation) -> Name {
    (operation.key.to_string(), operation.payload_digest())
}

/// Clients and network around an intake; it knows what each was told.
struct Bystander {
    world: World,
    /// What each place of each request asked for.
    asked: BTreeMap<(u64, usize), Name>,
    answers: BTreeMap<(u64, usize), Answer>,
    withdrawn: BTreeSet<u64>,
    unsigned: Vec<BundleBody>,
    signed: Vec<Arc<Bundle>>,
    /// Operations in a bundle of this node that is neither decided nor gone; or that were, and wait for the next one.
    bundled: BTreeSet<Name>,
    requests: u64,
    epoch: u64,
    numbers: u64,
    others: u64,
}

impl Bystander {
    fn new() -> Self {
        let world = World::with(|limits| {
            limits.bundle_operations_max = 4;
            limits.bundles_on_way_max = 2;
            limits.operations_max = 14;
            limits.queued_bytes_max = 700;
            limits.waiters_per_operation_max = 3;
            limits.waiters_max = 20;
        });
        Self {
            world,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            unsigned: Vec::new(),
            signed: Vec::new(),
            bundled: BTreeSet::new(),
            requests: 0,
            epoch: 0,
            numbers: 0,
            others: 0,
        }
    }

    fn step(&mut self, input: Input) {
        let effects = self.world.step(input);
        self.watch(effects);
    }

    fn watch(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Cut(body) => {
                    assert_eq!((body.epoch.0, body.start, body.number), (self.epoch, 1, self.numbers), "a gap");
                    self.numbers += 1;
                    assert!(!body.operations.is_empty() && body.operations.len() <= 4);
                    let names: BTreeSet<Name> = body.operations.iter().map(name).collect();
                    assert_eq!(names.len(), body.operations.len(), "an operation is in a bundle twice");
                    self.bundled.extend(names);
                    self.unsigned.push(body);
                }
                Effect::Answer { request, index, answer } => self.hear((request.0, index), answer),
                Effect::Outrun { .. } | Effect::Offer(_) => panic!("nothing asked for {effect:?}"),
                Effect::SetTimer { .. } => {}
            }
        }
        self.check_bounds();
    }

    fn hear(&mut self, place: (u64, usize), answer: Answer) {
        let name = &self.asked[&place];
        assert!(!self.withdrawn.contains(&place.0), "who has gone away is answered");
        match &answer {
            Answer::Refused { reason, .. } if reason.http_status() == 503 => {
                assert!(!self.bundled.contains(name), "{reason} says that it is in no bundle, but it is");
            }
            Answer::Refused { reason, .. } => assert_eq!(*reason, Reason::InProgress),
            Answer::Decided(OperationResult::KeyReused { first }) => assert_eq!(first.key.as_str(), name.0),
            Answer::Decided(result) => {
                assert_eq!((result.outcome().key.to_string(), result.outcome().payload), *name, "another's outcome");
            }
            Answer::Unknown => {}
        }
        assert!(self.answers.insert(place, answer).is_none(), "answered twice");
    }

    fn check_bounds(&self) {
        let usage = self.world.intake.usage();
        let on_way = self.unsigned.iter().chain(self.signed.iter().map(|bundle| &bundle.body));
        let on_way = on_way.filter(|body| body.epoch.0 == self.epoch).count();
        assert_eq!(usage.bundles_on_way, on_way);
        assert!(on_way <= 2 && usage.waiters <= 20);
        let open = self.asked.keys().filter(|place| !self.withdrawn.contains(&place.0));
        let open = open.filter(|place| !self.answers.contains_key(place)).count();
        assert_eq!(usage.waiters, open, "whoever was not answered waits");
    }

    fn perform(&mut self, step: Move) {
        match step {
            Move::Submit(keys, wait_ms) => {
                self.requests += 1;
                let operations: Vec<Operation> = keys.into_iter().map(operation_of).collect();
                for (index, operation) in operations.iter().enumerate() {
                    self.asked.insert((self.requests, index), name(operation));
                }
                self.step(Input::Submit { request: RequestId(self.requests), operations, wait_ms });
            }
            Move::Withdraw(back) => {
                let request = self.requests.saturating_sub(back as u64);
                self.withdrawn.insert(request);
                self.step(Input::Withdraw { request: RequestId(request) });
            }
            Move::Sign(place) if place < self.unsigned.len() => {
                let bundle = self.world.network.sign(self.unsigned.remove(place));
                self.signed.push(Arc::clone(&bundle));
                self.step(Input::Signed(Arc::clone(&bundle)));
                if bundle.body.epoch.0 < self.epoch {
                    self.lose(self.signed.len() - 1, None);
                }
            }
            Move::Order(place, other) => self.order(place, other),
            Move::Supersede(place) if place < self.signed.len() => {
                let last = self.signed[place].position();
                self.lose(place, Some(last));
            }
            Move::Sign(_) | Move::Supersede(_) => {}
            Move::Quorum(quorum) => self.step(Input::Quorum(quorum)),
            Move::Syncing(syncing) => self.step(Input::Syncing(syncing)),
            Move::PoolFull(full) => self.step(Input::PoolFull(full)),
            Move::Epoch => {
                self.epoch += 1;
                self.numbers = 0;
                self.step(Input::Epoch { epoch: Epoch(self.epoch), origin: Some(ValidatorIndex(0)) });
                while let Some(place) = self.signed.iter().position(|bundle| bundle.body.epoch.0 < self.epoch) {
                    self.lose(place, None);
                }
            }
            Move::Pass(time_ms) => {
                let effects = self.world.pass_ms(time_ms);
                self.watch(effects);
            }
        }
    }

    fn lose(&mut self, place: usize, last: Option<BundlePosition>) {
        let bundle = self.signed.remove(place);
        self.step(gone(&bundle, last));
    }

    /// A block with an own bundle, if there is one, behind one of another node. The ledger only takes bundles in the
    /// order of their numbers, which is the pool's concern: it is shown the operations under numbers of its own.
    fn order(&mut self, place: usize, other: Option<(u8, u8)>) {
        let mut real = Vec::new();
        if let Some(other) = other {
            let operation = self.world.dated(&operation_of(other));
            real.push(self.world.network.bundle_of(1, 0, vec![operation]));
        }
        if place < self.signed.len() {
            real.push(self.signed.remove(place));
        }
        let mut shown = Vec::new();
        for bundle in &real {
            shown.push(self.world.network.bundle_of(3, self.others, bundle.body.operations.clone()));
            self.others += 1;
        }
        let wall = self.world.wall();
        let (effects, _) = self.world.network.order(wall, shown);
        let results = effects.results.iter();
        for (operation, result) in real.iter().flat_map(|bundle| &bundle.body.operations).zip(results) {
            let is_used_up = result.outcome().verdict.refusal().is_none_or(|reason| reason.is_remembered());
            if is_used_up {
                self.bundled.remove(&name(operation));
            }
        }
        self.step(Input::Decided { bundles: real, effects });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nobody is told that an operation is in no bundle while it is in one, each place gets one answer, and it is its
    /// own; numbers have no gaps; bounds hold. In the end, when the network orders again, nobody is left waiting.
    #[test]
    fn promises_hold(moves in prop::collection::vec(a_move(), 1..120)) {
        let mut bystander = Bystander::new();
        for step in moves {
            bystander.perform(step);
        }
        bystander.step(Input::PoolFull(false));
        bystander.step(Input::Syncing(false));
        bystander.step(Input::Quorum(true));
        for _ in 0..40 {
            bystander.perform(Move::Sign(0));
            bystander.perform(Move::Order(0, None));
        }
        let usage = bystander.world.intake.usage();
        prop_assert_eq!(usage, super::super::IntakeUsage::default(), "something never ends");
        let kept = bystander.asked.keys().filter(|place| !bystander.withdrawn.contains(&place.0));
        for place in kept {
            prop_assert!(bystander.answers.contains_key(place), "{place:?} never got an answer");
        }
    }
}
