//! What the ledger's tests share: a network of three validators, operations in a few words, and a chain that feeds
//! blocks to a ledger.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod model;
pub mod tree;

use std::sync::Arc;

use dtvn_ledger::{BlockEffects, BlockInput, Bounds, Executed, KeyScope, Ledger, OperationResult};
use dtvn_messages::genesis::{ConsensusParameters, EventPolicy, GenesisFile, GenesisValidator, RULES_VERSION};
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{
    Action, Bundle, BundleBody, ChainId, Ed25519, Epoch, EventId, Genesis, Height, IdempotencyKey, KeyPair, NodeName,
    Operation, Outcome, Reason, Signature, Ticket, TicketId, Timestamp, ValidatorIndex, Verdict,
};

/// The time of the genesis.
pub const START: u64 = 1_767_225_600_000_000;
/// The retention of keys, the least that a genesis allows.
pub const RETENTION: u64 = 1_000_000;

/// Three validators; the events `default`, `auto` (with `auto_issue`) and `gala`.
pub fn genesis() -> Genesis {
    genesis_with(true)
}

pub fn genesis_with(allow_seed: bool) -> Genesis {
    let validator = |name: &str| GenesisValidator {
        name: NodeName::new(name).unwrap(),
        public_key: KeyPair::development("ledger tests", name).public(),
        power: 1,
        addresses: Vec::new(),
    };
    Genesis::new(GenesisFile {
        chain_id: ChainId::new("ledger-tests").unwrap(),
        time: Timestamp(START),
        rules_version: RULES_VERSION,
        validators: ["west", "north", "east"].map(validator).to_vec(),
        consensus: ConsensusParameters { key_retention_ms: RETENTION / 1_000, ..ConsensusParameters::default() },
        events: vec![
            EventPolicy { id: event("gala"), auto_issue: false },
            EventPolicy { id: event("auto"), auto_issue: true },
        ],
        allow_seed,
        continues: None,
    })
    .unwrap()
}

pub fn event(name: &str) -> EventId {
    EventId::new(name).unwrap()
}

pub fn ticket_id(name: &str) -> TicketId {
    TicketId::new(name).unwrap()
}

pub fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::new(&format!("{name:->16}")).unwrap()
}

pub fn scope(name: &str) -> KeyScope {
    KeyScope::Event(event(name))
}

/// An operation on event `default` without gate or device that is valid until `at + RETENTION`.
pub fn operation(name: &str, at: u64, action: Action) -> Operation {
    Operation { valid_until: Timestamp(at + RETENTION), ..Operation::new(key(name), action) }
}

pub fn issue(ticket: &str) -> Action {
    let ticket = ticket_id(ticket);
    Action::Issue { ticket, data: None, metadata: Metadata::new(), valid_from: None, valid_until: None }
}

pub fn issue_within(ticket: &str, valid_from: Option<u64>, valid_until: Option<u64>) -> Action {
    let (valid_from, valid_until) = (valid_from.map(Timestamp), valid_until.map(Timestamp));
    Action::Issue { ticket: ticket_id(ticket), data: None, metadata: Metadata::new(), valid_from, valid_until }
}

pub fn validate(ticket: &str) -> Action {
    Action::Validate { ticket: ticket_id(ticket), data: None }
}

pub fn consume(ticket: &str) -> Action {
    Action::Consume { ticket: ticket_id(ticket), data: None }
}

pub fn dispute(ticket: &str) -> Action {
    Action::Dispute { ticket: ticket_id(ticket), reason: None }
}

/// A ledger and what is needed to make the next block for it.
pub struct Chain {
    pub genesis: Genesis,
    pub ledger: Ledger,
    numbers: [u64; 3],
    keys: u64,
}

impl Chain {
    pub fn new() -> Self {
        Self::of(genesis(), Bounds::default())
    }

    pub fn of(genesis: Genesis, bounds: Bounds) -> Self {
        let ledger = Ledger::with_bounds(&genesis, bounds);
        Self::at(genesis, ledger)
    }

    /// A chain that goes on with this ledger; no bundles of it were in blocks yet.
    pub fn at(genesis: Genesis, ledger: Ledger) -> Self {
        Self { genesis, ledger, numbers: [0; 3], keys: 0 }
    }

    /// A bundle of the validator `origin`, the next of its numbers.
    pub fn bundle(&mut self, origin: u16, operations: Vec<Operation>) -> Arc<Bundle> {
        let number = self.numbers[usize::from(origin)];
        self.numbers[usize::from(origin)] += 1;
        bundle_at(&self.genesis, origin, number, operations)
    }

    /// Executes a block with these bundles at `time`, speculatively.
    pub fn execute(&mut self, time: u64, bundles: &[Arc<Bundle>]) -> Executed {
        let (height, timestamp) = (self.ledger.tip().next(), Timestamp(time));
        self.ledger.execute(&BlockInput {
            height,
            timestamp,
            bundles,
            set: self.genesis.validators(),
            scheme: &Ed25519,
        })
    }

    /// Executes and commits a block with one bundle for each list of operations.
    pub fn block(&mut self, time: u64, bundles: Vec<(u16, Vec<Operation>)>) -> BlockEffects {
        let bundles: Vec<_> = bundles.into_iter().map(|(origin, list)| self.bundle(origin, list)).collect();
        self.execute(time, &bundles);
        let mut effects = self.ledger.commit(self.ledger.tip());
        assert_eq!(effects.len(), 1);
        effects.remove(0)
    }

    /// Executes and commits a block with one operation taken in by validator 0.
    pub fn one(&mut self, time: u64, operation: Operation) -> OperationResult {
        let mut effects = self.block(time, vec![(0, vec![operation])]);
        assert_eq!(effects.results.len(), 1);
        effects.results.remove(0)
    }

    /// As [`Chain::one`], with a new key, on event `default`; gives the verdict.
    pub fn act(&mut self, time: u64, action: Action) -> Verdict {
        self.keys += 1;
        let operation = operation(&format!("act-{}", self.keys), time, action);
        recorded(&self.one(time, operation)).verdict.clone()
    }

    pub fn ticket(&self, id: &str) -> Option<Ticket> {
        self.ledger.ticket(&EventId::default_event(), &ticket_id(id)).map(|ticket| (**ticket).clone())
    }

    /// The same chain continued by a ledger that was loaded from an image of this one.
    pub fn reload(&mut self, bounds: Bounds) {
        assert_eq!(self.ledger.tip(), self.ledger.committed());
        self.ledger = Ledger::load_with_bounds(&self.genesis, self.ledger.image(), bounds).unwrap();
    }
}

pub fn bundle_at(genesis: &Genesis, origin: u16, number: u64, operations: Vec<Operation>) -> Arc<Bundle> {
    let body = BundleBody { epoch: Epoch(0), origin: ValidatorIndex(origin), start: 1, number, operations };
    Bundle::assemble(body, Signature([0; 64]), genesis.chain_id())
}

pub fn recorded(result: &OperationResult) -> &Arc<Outcome> {
    match result {
        OperationResult::Recorded(outcome) => outcome,
        other => panic!("a new outcome was expected, not {other:?}"),
    }
}

/// The reason of a refusal.
pub fn reason(result: &OperationResult) -> Reason {
    recorded(result).verdict.refusal().expect("a refusal")
}

pub fn is_accepted(result: &OperationResult) -> bool {
    recorded(result).verdict.is_accepted()
}

pub fn height(effects: &BlockEffects) -> Height {
    effects.height
}

pub fn assert_repeats(result: &OperationResult, first: &OperationResult) {
    assert_eq!(*result, OperationResult::Repeated(Arc::clone(recorded(first))));
}
