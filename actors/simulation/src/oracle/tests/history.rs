//! A history that is made by hand: true blocks of four honest validators, which a test changes before the oracle sees
//! them.

use std::collections::BTreeSet;
use std::sync::Arc;

use dtvn_ledger::{BlockEffects, BlockInput, Ledger, OperationResult};
use dtvn_messages::block::bundles_root;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::{
    Action, Block, Bundle, BundleBody, Certificate, Digest, Epoch, Genesis, Head, Header, Height, IdempotencyKey,
    Operation, Outcome, ReceiptCertificate, Signature, Signer, Statement, TicketId, Timestamp, ValidatorIndex, View,
    Vote, VoteKind,
};
use dtvn_replication::consensus::Committed;

use super::super::{Chain, Violation};
use crate::host::key_of;
use crate::scenario::Scenario;
use crate::signature::{FastScheme, FastSigner};

/// The scenario of all these tests: its genesis has a checkpoint at every second height.
pub(super) fn scenario() -> Scenario {
    let mut scenario = Scenario::quiet(1, 4);
    scenario.parameters.checkpoint_interval = 2;
    scenario
}

/// A host signs in its own name.
pub(super) fn sign<T: Statement>(genesis: &Genesis, host: usize, statement: &T) -> Signature {
    FastSigner(key_of(host, 0).public()).sign(&statement.signed_bytes(genesis.chain_id()))
}

/// The first so many hosts, which are the validators of the first epoch in their order, sign a statement.
pub(super) fn signed_by<T: Statement>(genesis: &Genesis, hosts: usize, statement: &T) -> Signatures {
    let signature = |host: usize| (ValidatorIndex(host as u16), sign(genesis, host, statement));
    Signatures((0..hosts).map(signature).collect())
}

/// An operation under a key of its own.
pub(super) fn operation(key: &str, action: Action) -> Operation {
    Operation::new(IdempotencyKey::new(&format!("{key:->16}")).unwrap(), action)
}

pub(super) fn issue(ticket: &str) -> Action {
    Action::Issue {
        ticket: TicketId::new(ticket).unwrap(),
        data: None,
        metadata: Default::default(),
        valid_from: None,
        valid_until: None,
    }
}

pub(super) fn validate(ticket: &str) -> Action {
    Action::Validate { ticket: TicketId::new(ticket).unwrap(), data: None }
}

/// What came of an operation is another outcome.
pub(super) fn alter(result: &mut OperationResult, change: impl FnOnce(&mut Outcome)) {
    let mut outcome = Outcome::clone(result.outcome());
    change(&mut outcome);
    *result = OperationResult::Recorded(Arc::new(outcome));
}

/// A block before the oracle sees it.
pub(super) type Made = (Committed, BlockEffects);

/// A true history, and the oracle that watches it.
pub(super) struct History {
    pub(super) genesis: Arc<Genesis>,
    pub(super) chain: Chain,
    ledger: Ledger,
    parent: Digest,
    /// How many bundles there are in the epoch.
    bundles: (Epoch, u64),
}

impl History {
    pub(super) fn new() -> Self {
        let genesis = Arc::new(scenario().genesis());
        Self {
            chain: Chain::new(Arc::clone(&genesis), Arc::new(FastScheme), BTreeSet::new()),
            ledger: Ledger::new(&genesis),
            parent: genesis.hash(),
            genesis,
            bundles: (Epoch(0), 0),
        }
    }

    /// The agreed time of the next block.
    pub(super) fn next_time(&self) -> Timestamp {
        self.ledger.tip_timestamp().plus_micros(1_000_000)
    }

    /// The next block, with one bundle of node0 for these operations, which clients asked for.
    pub(super) fn make(&mut self, operations: Vec<Operation>) -> Made {
        operations.iter().for_each(|operation| self.chain.asked(operation));
        self.make_unasked(operations)
    }

    /// As [`Self::make`], and nobody asked.
    pub(super) fn make_unasked(&mut self, mut operations: Vec<Operation>) -> Made {
        let timestamp = self.next_time();
        for operation in operations.iter_mut().filter(|operation| operation.valid_until == Timestamp(0)) {
            operation.valid_until = timestamp.plus_micros(1_000_000);
        }
        let (epoch, set) = (self.epoch(), Arc::clone(&self.chain.eras().latest().1.set));
        let mut bundles = Vec::new();
        if !operations.is_empty() {
            let number = if self.bundles.0 == epoch { self.bundles.1 } else { 0 };
            self.bundles = (epoch, number + 1);
            let body = BundleBody { epoch, origin: ValidatorIndex(0), start: 1, number, operations };
            let signature = sign(&self.genesis, 0, &body);
            bundles.push(Bundle::assemble(body, signature, self.genesis.chain_id()));
        }
        let height = self.ledger.tip().next();
        let executed =
            self.ledger.execute(&BlockInput { height, timestamp, bundles: &bundles, set: &set, scheme: &FastScheme });
        let digests: Vec<Digest> = bundles.iter().map(|bundle| bundle.digest).collect();
        let header = Header {
            epoch,
            rules_version: self.genesis.file().rules_version,
            height,
            parent: self.parent,
            proposer: ValidatorIndex(0),
            proposed_in_view: View(0),
            timestamp,
            bundles_root: bundles_root(&digests),
            log_size: executed.log_size,
            log_root: executed.log_root,
        };
        let block = Arc::new(Block { header, bundles: digests });
        let mut committed = Committed { block, digest: self.parent, certificate: None, bundles };
        self.seal(&mut committed, 3);
        self.parent = committed.digest;
        (committed, self.ledger.commit(height).remove(0))
    }

    /// Names a block anew, and has so many validators commit it.
    pub(super) fn seal(&self, committed: &mut Committed, signers: usize) {
        let header = &committed.block.header;
        committed.digest = header.digest(self.genesis.chain_id());
        let (epoch, height, digest) = (header.epoch, header.height, committed.digest);
        let vote = Vote { kind: VoteKind::Commit, epoch, view: View(0), height, digest };
        let signatures = signed_by(&self.genesis, signers, &vote);
        committed.certificate = Some(Certificate { vote, signatures });
    }

    /// The block has another header, under which it is sealed anew.
    pub(super) fn with_header(&self, committed: &mut Committed, change: impl FnOnce(&mut Header)) {
        let mut block = Block::clone(&committed.block);
        change(&mut block.header);
        committed.block = Arc::new(block);
        self.seal(committed, 3);
    }

    /// An honest node commits it.
    pub(super) fn commit(&mut self, (committed, effects): &Made) -> Result<(), Violation> {
        self.chain.committed(committed, effects)
    }

    /// The next block with these operations is committed as it is; what came of them.
    pub(super) fn grow(&mut self, operations: Vec<Operation>) -> Vec<OperationResult> {
        let made = self.make(operations);
        self.commit(&made).unwrap();
        made.1.results
    }

    /// The next block with these operations is committed after a change of what came of it.
    pub(super) fn grow_altered(
        &mut self,
        operations: Vec<Operation>,
        change: impl FnOnce(&mut BlockEffects),
    ) -> Result<(), Violation> {
        let mut made = self.make(operations);
        change(&mut made.1);
        self.commit(&made)
    }

    /// The receipt certificate of a block by so many validators.
    pub(super) fn receipt(&self, committed: &Committed, signers: usize) -> ReceiptCertificate {
        let head = Head::of(&committed.block.header, committed.digest);
        ReceiptCertificate { head, signatures: signed_by(&self.genesis, signers, &head) }
    }

    /// The epoch of the next block.
    pub(super) fn epoch(&self) -> Epoch {
        self.chain.eras().latest().0
    }

    /// The highest height that is agreed.
    pub(super) fn height(&self) -> Height {
        self.chain.height()
    }
}
