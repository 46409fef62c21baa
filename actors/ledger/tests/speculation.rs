//! Random operations in random blocks, speculated, rolled back, committed and reloaded at random, against the naive
//! model; what committed blocks say they changed, added up in a naive store, must be the state.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::model::{Answer, World};
use common::*;
use dtvn_ledger::{BlockEffects, BlockInput, Bounds, KeyEntry, Ledger, LedgerImage, OperationResult};
use dtvn_messages::merkle::Frontier;
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{
    Action, Bundle, Digest, EventId, Genesis, Height, LastBundle, NodeName, Operation, Outcome, Ticket, TicketId,
    TicketState, Timestamp,
};
use proptest::prelude::*;

const EVENTS: [&str; 4] = ["default", "auto", "gala", "nowhere"];
const TICKETS: [&str; 5] = ["A", "B", "TICKET-001", "TICKET-500", "Z"];

/// An operation that has no time yet: block times are known only when a block is made.
#[derive(Debug, Clone)]
struct Draft {
    event: usize,
    ticket: usize,
    key: u8,
    kind: u8,
    text: Option<u8>,
    gate: bool,
    /// `valid_until`, relative to the block's time.
    valid_for: i64,
    /// The window of a new ticket, relative to the block's time.
    window: Option<(u64, u64)>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A block this long after the tip, of bundles of these origins.
    Execute(u64, Vec<(u16, Vec<Draft>)>),
    /// Back by so many blocks, as far as they are speculative.
    RollBack(usize),
    /// Commit so many blocks, as far as there are.
    Commit(usize),
    /// Start again from an image, if nothing is speculative.
    Reload,
}

fn drafts() -> impl Strategy<Value = Draft> {
    let retention = i64::try_from(RETENTION).unwrap();
    let kind = prop_oneof![3 => Just(0u8), 4 => Just(1), 3 => Just(2), 2 => Just(3), 1 => Just(4)];
    let valid_for = prop_oneof![
        8 => Just(retention / 2),
        1 => Just(-1),
        1 => Just(0),
        1 => Just(retention),
        1 => Just(retention + 1)
    ];
    let window = proptest::option::weighted(0.3, (0..3u64, 0..RETENTION));
    let event = prop_oneof![6 => Just(0usize), 3 => Just(1), 2 => Just(2), 1 => Just(3)];
    let text = proptest::option::weighted(0.3, 0..40u8);
    (event, 0..TICKETS.len(), 0..30u8, kind, text, any::<bool>(), valid_for, window).prop_map(
        |(event, ticket, key, kind, text, gate, valid_for, window)| Draft {
            event,
            ticket,
            key,
            kind,
            text,
            gate,
            valid_for,
            window,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![5 => 1..100u64, 1 => Just(RETENTION / 2), 1 => Just(RETENTION), 1 => Just(RETENTION + 1)];
    let bundle = (0..3u16, proptest::collection::vec(drafts(), 1..6));
    let block = (time, proptest::collection::vec(bundle, 0..4));
    let step = prop_oneof![
        6 => block.prop_map(|(time, bundles)| Step::Execute(time, bundles)),
        2 => (1..4usize).prop_map(Step::RollBack),
        3 => (1..4usize).prop_map(Step::Commit),
        1 => Just(Step::Reload),
    ];
    proptest::collection::vec(step, 1..40)
}

fn bounds() -> impl Strategy<Value = Bounds> {
    prop_oneof![
        2 => Just(Bounds::default()),
        1 => (1..12usize, 1..6usize, 1..6u64).prop_map(|(keys_max, keys_expired_max, tickets)| Bounds {
            keys_max,
            keys_expired_max,
            tickets_bytes_max: tickets * 1_024 + 60,
        }),
    ]
}

fn finished(draft: &Draft, time: u64) -> Operation {
    let ticket = ticket_id(TICKETS[draft.ticket]);
    let text: Option<Box<str>> = draft.text.map(|length| "x".repeat(usize::from(length)).into());
    let action = match draft.kind {
        0 => Action::Issue {
            ticket,
            data: text,
            metadata: Metadata::from([("row".into(), "7".into())]),
            valid_from: draft.window.map(|(from, _)| Timestamp(time + from)),
            valid_until: draft.window.map(|(from, long)| Timestamp(time + from + long)),
        },
        1 => Action::Validate { ticket, data: text },
        2 => Action::Consume { ticket, data: text },
        3 => Action::Dispute { ticket, reason: text },
        _ => Action::Seed,
    };
    Operation {
        key: key(&format!("k{}", draft.key)),
        valid_until: Timestamp(time.checked_add_signed(draft.valid_for).unwrap()),
        event: event(EVENTS[draft.event]),
        gate: draft.gate.then(|| "G".into()),
        device: None,
        scanned_at: None,
        seen: None,
        action,
    }
}

/// What a store that follows the effects holds.
#[derive(Default)]
struct Store {
    tickets: BTreeMap<(EventId, TicketId), Arc<Ticket>>,
    keys: BTreeMap<Digest, KeyEntry>,
    outcomes: Vec<Arc<Outcome>>,
    last_bundles: BTreeMap<NodeName, LastBundle>,
    log: Frontier,
}

impl Store {
    fn apply(&mut self, effects: &BlockEffects) {
        for ticket in &effects.tickets {
            self.tickets.insert((ticket.event.clone(), ticket.id.clone()), Arc::clone(ticket));
        }
        for entry in &effects.keys_expired {
            assert_eq!(self.keys.remove(&entry.digest()).as_ref(), Some(entry), "only what was there expires");
        }
        for entry in &effects.keys_added {
            assert!(self.keys.insert(entry.digest(), entry.clone()).is_none());
        }
        assert_eq!(effects.log.first_index, self.log.size());
        for leaf in &effects.log.leaves {
            self.log.append(*leaf);
        }
        assert_eq!(effects.log.frontier, self.log);
        assert_eq!(effects.executed.log_root, self.log.root());
        for result in &effects.results {
            if let OperationResult::Recorded(outcome) = result {
                assert_eq!(outcome.index, self.outcomes.len() as u64);
                self.outcomes.push(Arc::clone(outcome));
            }
        }
        self.last_bundles.extend(effects.last_bundles.iter().cloned());
    }

    fn image(&self, height: Height, timestamp: Timestamp) -> LedgerImage {
        LedgerImage {
            height,
            timestamp,
            tickets: self.tickets.values().cloned().collect(),
            // In the order of their names: a load must not depend on it.
            keys: self.keys.values().cloned().collect(),
            log: self.log.clone(),
            accepted: self.outcomes.iter().filter(|outcome| outcome.verdict.is_accepted()).count() as u64,
            last_bundles: self.last_bundles.iter().map(|(name, last)| (name.clone(), *last)).collect(),
            membership: None,
        }
    }
}

/// Compares everything that the ledger shows with the model.
fn compare(ledger: &Ledger, world: &World) {
    let image = ledger.image();
    assert_eq!((image.height, image.timestamp), (Height(world.height), Timestamp(world.time)));
    assert_eq!((ledger.tip(), ledger.tip_timestamp()), (Height(world.height), Timestamp(world.time)));
    let mut tickets = world.tickets.clone();
    tickets.sort_by(|left, right| (&left.event, &left.id).cmp(&(&right.event, &right.id)));
    let shown: Vec<Ticket> = image.tickets.iter().map(|ticket| (**ticket).clone()).collect();
    assert_eq!(shown, tickets);
    let held: Vec<&Outcome> = world.held.iter().map(|index| &world.outcomes[*index]).collect();
    assert_eq!(image.keys.iter().map(|entry| &*entry.outcome).collect::<Vec<_>>(), held);
    assert_eq!(ledger.keys_len(), held.len());
    assert_eq!(image.log.size(), world.outcomes.len() as u64);
    assert_eq!(image.log.root(), world.root());
    assert_eq!(ledger.root_at(ledger.tip()).unwrap().log_root, world.root());
    let last: Vec<_> = image.last_bundles.iter().map(|(name, last)| (name.clone(), last.position)).collect();
    assert_eq!(last, world.last.clone().into_iter().collect::<Vec<_>>());
    for summary in ledger.events() {
        for state in TicketState::ALL {
            let count = tickets.iter().filter(|ticket| ticket.event == summary.id && ticket.state == state).count();
            assert_eq!(summary.tickets.get(state), count as u64, "{} {state}", summary.id);
        }
        assert_eq!(ledger.counts(&summary.id), Some(summary.tickets));
    }
    assert_eq!(ledger.tickets_len(), tickets.len() as u64);
}

fn compare_results(results: &[OperationResult], answers: &[Answer]) {
    let plain = |result: &OperationResult| match result {
        OperationResult::Recorded(outcome) => Answer::New((**outcome).clone()),
        OperationResult::Repeated(first) => Answer::Again((**first).clone()),
        OperationResult::KeyReused { first } => Answer::OtherPayload((**first).clone()),
    };
    assert_eq!(results.iter().map(plain).collect::<Vec<_>>(), answers);
}

/// A ledger, the model's worlds from the committed block to the tip, and the store of what is committed.
struct Trial {
    genesis: Genesis,
    bounds: Bounds,
    ledger: Ledger,
    worlds: Vec<World>,
    store: Store,
}

impl Trial {
    fn new(bounds: Bounds) -> Self {
        let genesis = genesis();
        let ledger = Ledger::with_bounds(&genesis, bounds);
        Self { genesis, bounds, ledger, worlds: vec![World::new()], store: Store::default() }
    }

    fn tip(&self) -> &World {
        self.worlds.last().unwrap()
    }

    fn bundles(&self, time: u64, drafts: &[(u16, Vec<Draft>)]) -> Vec<Arc<Bundle>> {
        let mut numbers: BTreeMap<u16, u64> = BTreeMap::new();
        let mut bundles = Vec::new();
        for (origin, drafts) in drafts {
            let name = &self.genesis.validators().get(dtvn_messages::ValidatorIndex(*origin)).unwrap().name;
            let next = self.tip().last.get(name).map_or(0, |last| last.number + 1);
            let number = numbers.entry(*origin).or_insert(next);
            let operations = drafts.iter().map(|draft| finished(draft, time)).collect();
            bundles.push(bundle_at(&self.genesis, *origin, *number, operations));
            *number += 1;
        }
        bundles
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Execute(after, drafts) => {
                let time = self.tip().time + after;
                let bundles = self.bundles(time, drafts);
                let world = self.tip().after(time, &bundles, self.bounds);
                let height = Height(world.height);
                let input = BlockInput {
                    height,
                    timestamp: Timestamp(time),
                    bundles: &bundles,
                    set: self.genesis.validators(),
                    scheme: &dtvn_messages::Ed25519,
                };
                let executed = self.ledger.execute(&input);
                assert_eq!(executed.log_root, world.root());
                assert_eq!(executed.log_size, world.outcomes.len() as u64);
                self.worlds.push(world);
            }
            Step::RollBack(blocks) => {
                let back = (*blocks).min(self.worlds.len() - 1);
                self.worlds.truncate(self.worlds.len() - back);
                self.ledger.roll_back(Height(self.tip().height));
            }
            Step::Commit(blocks) => self.commit((*blocks).min(self.worlds.len() - 1)),
            Step::Reload => {
                if self.worlds.len() == 1 {
                    let image = self.store.image(self.ledger.committed(), self.ledger.tip_timestamp());
                    self.ledger = Ledger::load_with_bounds(&self.genesis, image, self.bounds).unwrap();
                }
            }
        }
        compare(&self.ledger, self.tip());
        for world in &self.worlds {
            assert_eq!(self.ledger.root_at(Height(world.height)).unwrap().log_root, world.root());
        }
        assert_eq!(self.ledger.root_at(Height(self.tip().height + 1)), None);
        assert_eq!(self.ledger.committed(), Height(self.worlds[0].height));
    }

    fn commit(&mut self, blocks: usize) {
        let to = &self.worlds[blocks];
        let all = self.ledger.commit(Height(to.height));
        assert_eq!(all.len(), blocks);
        for (effects, world) in all.iter().zip(&self.worlds[1..]) {
            assert_eq!((effects.height, effects.timestamp), (Height(world.height), Timestamp(world.time)));
            compare_results(&effects.results, &world.answers);
            self.store.apply(effects);
        }
        self.worlds.drain(..blocks);
        let base = &self.worlds[0];
        let stored = self.store.image(Height(base.height), Timestamp(base.time));
        let loaded = Ledger::load_with_bounds(&self.genesis, stored, self.bounds).unwrap();
        compare(&loaded, base);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_the_naive_model(bounds in bounds(), steps in steps()) {
        let mut trial = Trial::new(bounds);
        for step in &steps {
            trial.take(step);
        }
    }

    /// A replica that executed other blocks first, and rolled them back, has the same roots as one that did not.
    #[test]
    fn no_root_depends_on_what_was_speculated_before(bounds in bounds(), steps in steps()) {
        let mut wanderer = Trial::new(bounds);
        let mut straight = Ledger::with_bounds(&wanderer.genesis, bounds);
        let mut chain: Vec<(u64, Vec<Arc<Bundle>>)> = Vec::new();
        for step in &steps {
            if let Step::Execute(after, drafts) = step {
                let time = wanderer.tip().time + after;
                chain.push((time, wanderer.bundles(time, drafts)));
            }
            wanderer.take(step);
            chain.truncate(usize::try_from(wanderer.tip().height).unwrap());
        }
        for (position, (time, bundles)) in chain.iter().enumerate() {
            let height = Height(position as u64 + 1);
            let set = wanderer.genesis.validators();
            straight.execute(&BlockInput { height, timestamp: Timestamp(*time), bundles, set, scheme: &dtvn_messages::Ed25519 });
            straight.commit(height);
        }
        prop_assert_eq!(straight.image(), wanderer.ledger.image());
    }
}
