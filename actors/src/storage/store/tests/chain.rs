//! A chain of one validator whose blocks a real ledger executes: what a store is fed with in tests and benches.

use std::sync::Arc;

use dtvn_ledger::{BlockInput, Ledger};
use dtvn_messages::block::bundles_root;
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{
    Action, Block, Bundle, BundleBody, Certificate, Digest, Epoch, EventId, Genesis, Header, Height, IdempotencyKey,
    KeyPair, NodeName, Operation, RulesVersion, Signed, TicketId, Timestamp, ValidatorIndex, View, Vote, VoteKind,
    certificate::Signatures,
};

use super::{AppliedBlock, LocalView, StoreIdentity};

/// What the store of this chain's only node gets to see.
pub struct Chain {
    pub genesis: Genesis,
    pub ledger: Ledger,
    key: KeyPair,
    parent: Digest,
    bundles: u64,
    keys: u64,
    time: Timestamp,
}

impl Chain {
    pub fn new() -> Self {
        Self::seeded("a store's chain")
    }

    /// A chain of its own for each seed text.
    pub fn seeded(seed: &str) -> Self {
        let genesis = Genesis::development(1, seed, true).unwrap();
        let key = KeyPair::development(seed, "node0");
        let (parent, time) = (genesis.hash(), genesis.file().time);
        Self { ledger: Ledger::new(&genesis), genesis, key, parent, bundles: 0, keys: 0, time }
    }

    pub fn identity(&self) -> StoreIdentity {
        StoreIdentity::new(&self.genesis, NodeName::new("node0").unwrap(), self.key.public())
    }

    /// Lets agreed time pass.
    pub fn pass_hours(&mut self, hours: u64) {
        self.time = self.time.plus_micros(hours * 3_600 * 1_000_000);
    }

    /// An operation with a key of its own.
    pub fn operation(&mut self, action: Action) -> Operation {
        self.keys += 1;
        // As good as random, like the keys of clients.
        let [high, low] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f].map(|by: u64| self.keys.wrapping_mul(by));
        let key = IdempotencyKey::new(&format!("{high:016x}{low:016x}"));
        Operation {
            key: key.unwrap(),
            valid_until: self.time.plus_micros(3_600 * 1_000_000),
            event: EventId::default_event(),
            gate: Some(Box::from("north")),
            device: None,
            scanned_at: None,
            seen: None,
            action,
        }
    }

    pub fn issue(&mut self, ticket: &str) -> Operation {
        let metadata: Metadata = [("section", "Floor"), ("seat", "A12"), ("price", "85.00")]
            .into_iter()
            .map(|(name, value)| (Box::from(name), Box::from(value)))
            .collect();
        let ticket = id(ticket);
        self.operation(Action::Issue { ticket, data: None, metadata, valid_from: None, valid_until: None })
    }

    pub fn validate(&mut self, ticket: &str) -> Operation {
        self.operation(Action::Validate { ticket: id(ticket), data: None })
    }

    pub fn consume(&mut self, ticket: &str) -> Operation {
        self.operation(Action::Consume { ticket: id(ticket), data: None })
    }

    pub fn dispute(&mut self, ticket: &str) -> Operation {
        self.operation(Action::Dispute { ticket: id(ticket), reason: Some(Box::from("seen twice")) })
    }

    pub fn seed(&mut self) -> Operation {
        self.operation(Action::Seed)
    }

    /// The next block, with the operations in bundles of at most 250, executed and committed.
    pub fn block(&mut self, operations: Vec<Operation>) -> AppliedBlock {
        let height = self.ledger.committed().next();
        self.time = self.time.plus_micros(1_000);
        let bundles: Vec<Arc<Bundle>> = operations.chunks(250).map(|chunk| self.bundle(chunk.to_vec())).collect();
        let set = self.genesis.validators().clone();
        let input =
            BlockInput { height, timestamp: self.time, bundles: &bundles, set: &set, scheme: &dtvn_messages::Ed25519 };
        let executed = self.ledger.execute(&input);
        let names: Vec<Digest> = bundles.iter().map(|bundle| bundle.digest).collect();
        let header = Header {
            epoch: Epoch(0),
            rules_version: RulesVersion(1),
            height,
            parent: self.parent,
            proposer: ValidatorIndex(0),
            proposed_in_view: View(0),
            timestamp: self.time,
            bundles_root: bundles_root(&names),
            log_size: executed.log_size,
            log_root: executed.log_root,
        };
        self.parent = header.digest(self.genesis.chain_id());
        let certificate = Some(self.certificate(height));
        let mut effects = self.ledger.commit(height);
        let local = LocalView {
            view: View(0),
            proposed_at: Some(self.time),
            prepared_at: Some(self.time.plus_micros(300)),
            committed_at: Some(self.time.plus_micros(700)),
            prepared_by: vec![ValidatorIndex(0)],
            committed_by: vec![ValidatorIndex(0)],
        };
        let block = Arc::new(Block { header, bundles: names });
        AppliedBlock { block, certificate, local, bundles, effects: Arc::new(effects.remove(0)) }
    }

    fn bundle(&mut self, operations: Vec<Operation>) -> Arc<Bundle> {
        let (epoch, origin) = (Epoch(0), ValidatorIndex(0));
        let body = BundleBody { epoch, origin, start: 1, number: self.bundles, operations };
        self.bundles += 1;
        Bundle::sign(body, self.genesis.chain_id(), &self.key)
    }

    fn certificate(&self, height: Height) -> Certificate {
        let vote = Vote { kind: VoteKind::Commit, epoch: Epoch(0), view: View(0), height, digest: self.parent };
        let signed = Signed::new(vote, self.genesis.chain_id(), ValidatorIndex(0), &self.key);
        Certificate { vote, signatures: Signatures(vec![(signed.signer, signed.signature)]) }
    }
}

/// A ticket's name.
pub fn id(ticket: &str) -> TicketId {
    TicketId::new(ticket).unwrap()
}
