//! The one history: agreement and chain, every operation from a client, every key once, every verdict by the rules, the
//! log's roots, certificates, and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_ledger::{BlockEffects, KeyScope, OperationResult};
use dtvn_messages::merkle::Frontier;
use dtvn_messages::{
    Action, CommittedProof, Digest, Epoch, Genesis, Head, Header, Height, IdempotencyKey, NodeName, Operation, Outcome,
    PublicKey, ReceiptCertificate, Scheme, TicketState, ValidatorSet, Verdict,
};
use dtvn_replication::consensus::Committed;

use super::eras::Eras;
use super::rules::{Tickets, refused, unexplained};
use super::{Invariant, Violation, ensure};

struct Agreed {
    digest: Digest,
    head: Head,
    results: Vec<OperationResult>,
}

/// Where an operation stands in the history.
struct Place<'a> {
    header: &'a Header,
    /// The validator that took it in.
    origin: Option<&'a NodeName>,
}

/// The history, as the first honest node to commit each block says, and what is known beside it.
pub(crate) struct Chain {
    genesis: Arc<Genesis>,
    scheme: Arc<dyn Scheme>,
    eras: Eras,
    blocks: BTreeMap<Height, Agreed>,
    outcomes: Vec<Arc<Outcome>>,
    log: Frontier,
    /// For each key that was used up the index of its outcome.
    keys: BTreeMap<Digest, u64>,
    tickets: Tickets,
    /// What clients asked for.
    asked: BTreeSet<(IdempotencyKey, Digest)>,
    /// Origins that may make operations up.
    liars: BTreeSet<PublicKey>,
}

impl Chain {
    pub(crate) fn new(genesis: Arc<Genesis>, scheme: Arc<dyn Scheme>, liars: BTreeSet<PublicKey>) -> Self {
        Self {
            eras: Eras::new(Arc::clone(&genesis)),
            tickets: Tickets::new(Arc::clone(&genesis)),
            genesis,
            scheme,
            blocks: BTreeMap::new(),
            outcomes: Vec::new(),
            log: Frontier::new(),
            keys: BTreeMap::new(),
            asked: BTreeSet::new(),
            liars,
        }
    }

    /// The epochs.
    pub(crate) const fn eras(&self) -> &Eras {
        &self.eras
    }

    /// An honest node begins an epoch: the one that the history says, with the validators that it says.
    pub(crate) fn began(&self, epoch: Epoch, set: &ValidatorSet) -> Result<(), Violation> {
        let agreed = self.eras.of(epoch).map(|era| era.set.hash());
        ensure(agreed == Some(set.hash()), Invariant::Agreement, || {
            format!("a node begins epoch {epoch} with {set:?}, and the history says {agreed:?}")
        })
    }

    /// An honest node takes a certified state in the place of its own.
    pub(crate) fn installed(&self, height: Height, digest: Digest) -> Result<(), Violation> {
        let agreed = match height {
            Height(0) => Some(self.genesis.hash()),
            _ => self.blocks.get(&height).map(|agreed| agreed.digest),
        };
        ensure(agreed == Some(digest), Invariant::Agreement, || {
            format!("the state after {digest} is installed at height {height}, and {agreed:?} is agreed")
        })
    }

    /// The highest agreed height.
    pub(crate) fn height(&self) -> Height {
        Height(self.blocks.len() as u64)
    }

    /// How many tickets there are in each state.
    pub(crate) fn tickets_by_state(&self) -> Vec<(TicketState, u64)> {
        self.tickets.by_state()
    }

    /// A client asks for an operation.
    pub(crate) fn asked(&mut self, operation: &Operation) {
        self.asked.insert((operation.key.clone(), operation.payload_digest()));
    }

    /// An honest node commits a block.
    pub(crate) fn committed(&mut self, committed: &Committed, effects: &BlockEffects) -> Result<(), Violation> {
        self.check_whole(committed, effects)?;
        let header = &committed.block.header;
        let height = header.height;
        let (epoch, era) = self.eras.at(height);
        ensure(header.epoch == epoch, Invariant::Chain, || {
            format!("block {height} is committed in epoch {}, and the history is in epoch {epoch} there", header.epoch)
        })?;
        if let Some(certificate) = &committed.certificate {
            let proof = CommittedProof { header: header.clone(), certificate: certificate.clone() };
            let chain = self.genesis.chain_id();
            let verified = proof.verify(chain, &era.set, &*self.scheme);
            ensure(verified.is_ok(), Invariant::CertifiedOutcome, || {
                format!("the certificate of {height}: {verified:?}")
            })?;
        }
        if let Some(agreed) = self.blocks.get(&height) {
            ensure(agreed.digest == committed.digest, Invariant::Agreement, || {
                format!("{} and {} are committed at height {height}", agreed.digest, committed.digest)
            })?;
            return ensure(agreed.results == effects.results, Invariant::Agreement, || {
                format!("block {height} has different results at two nodes")
            });
        }
        let parent = match height.0 {
            1 => Some(self.genesis.hash()),
            _ => self.blocks.get(&height.previous()).map(|below| below.digest),
        };
        ensure(parent == Some(header.parent), Invariant::Chain, || {
            format!("block {height} builds on {}, not on {parent:?}", header.parent)
        })?;
        self.extend(committed, effects)?;
        self.eras.grow(height, committed.digest);
        let results = effects.results.clone();
        let head = Head::of(header, committed.digest);
        self.blocks.insert(height, Agreed { digest: committed.digest, head, results });
        Ok(())
    }

    /// A block is the one that its digest names, with the bundles that it names, and each of their operations has a result.
    fn check_whole(&self, committed: &Committed, effects: &BlockEffects) -> Result<(), Violation> {
        let Committed { block, digest, bundles, .. } = committed;
        let (header, executed) = (&block.header, &effects.executed);
        let is_named = header.digest(self.genesis.chain_id()) == *digest
            && block.is_consistent()
            && bundles.iter().map(|bundle| bundle.digest).eq(block.bundles.iter().copied());
        ensure(is_named, Invariant::Chain, || format!("{digest} does not name block {} as it is", header.height))?;
        let operations: usize = bundles.iter().map(|bundle| bundle.body.operations.len()).sum();
        let fits = (effects.height, effects.timestamp) == (header.height, header.timestamp)
            && (executed.log_size, executed.log_root) == (header.log_size, header.log_root)
            && effects.results.len() == operations;
        ensure(fits, Invariant::CertifiedOutcome, || {
            let (results, height) = (effects.results.len(), header.height);
            format!("block {height} has {operations} operations and {results} results, and {executed:?} came of it")
        })
    }

    /// An honest node has a receipt certificate: by a quorum, about what was agreed.
    pub(crate) fn certified(&self, certificate: &ReceiptCertificate) -> Result<(), Violation> {
        let height = certificate.head.height;
        let set = &self.eras.at(height).1.set;
        let verified = certificate.verify(self.genesis.chain_id(), set, &*self.scheme);
        let agreed = self.blocks.get(&height).map(|agreed| agreed.head);
        ensure(verified.is_ok() && agreed == Some(certificate.head), Invariant::CertifiedOutcome, || {
            format!("the receipt certificate of {height}: {verified:?}, {:?}, agreed is {agreed:?}", certificate.head)
        })
    }

    fn extend(&mut self, committed: &Committed, effects: &BlockEffects) -> Result<(), Violation> {
        let header = &committed.block.header;
        let mut results = effects.results.iter();
        let set = Arc::clone(&self.eras.at(header.height).1.set);
        for bundle in &committed.bundles {
            let origin = set.get(bundle.body.origin);
            let may_lie = origin.is_some_and(|origin| self.liars.contains(&origin.public_key));
            let place = Place { header, origin: origin.map(|origin| &origin.name) };
            for (operation, result) in bundle.body.operations.iter().zip(results.by_ref()) {
                let payload = operation.payload_digest();
                let may_lie = may_lie || self.is_recovery(operation);
                ensure(may_lie || self.asked.contains(&(operation.key.clone(), payload)), Invariant::Validity, || {
                    format!("nobody asked for {operation:?}")
                })?;
                self.decided(operation, payload, result, &place)?;
                self.changed(operation, result, header)?;
            }
        }
        let (size, root) = (self.log.size(), self.log.root());
        ensure((size, root) == (header.log_size, header.log_root), Invariant::CertifiedOutcome, || {
            format!("the outcomes up to block {} do not add up to the log root in its header", header.height)
        })
    }

    /// The recovery of a validator comes from no client, but is signed by that validator.
    fn is_recovery(&self, operation: &Operation) -> bool {
        let Action::Recover(recovery) = &operation.action else { return false };
        let era = self.eras.of(recovery.body.epoch);
        era.is_some_and(|era| recovery.verify(self.genesis.chain_id(), &era.set, &*self.scheme))
    }

    /// What was accepted may end the epoch.
    fn changed(&mut self, operation: &Operation, result: &OperationResult, header: &Header) -> Result<(), Violation> {
        let OperationResult::Recorded(outcome) = result else { return Ok(()) };
        match &operation.action {
            Action::ChangeValidators(change) if outcome.verdict.is_accepted() => {
                self.eras.changes_to(change, header.height, &*self.scheme)
            }
            Action::Recover(recovery) if outcome.verdict.is_accepted() => {
                self.eras.recovers(recovery, (header.height, header.timestamp), &*self.scheme)
            }
            _ => Ok(()),
        }
    }

    fn decided(
        &mut self,
        operation: &Operation,
        payload: Digest,
        result: &OperationResult,
        place: &Place<'_>,
    ) -> Result<(), Violation> {
        let name = KeyScope::of(operation).digest(&operation.key);
        let known = self.keys.get(&name).and_then(|index| self.outcomes.get(*index as usize));
        match result {
            OperationResult::Recorded(outcome) => {
                ensure(known.is_none(), Invariant::ExactlyOnce, || format!("a key takes effect twice: {outcome:?}"))?;
                self.recorded(operation, payload, outcome, place)?;
                // A refused recovery uses up no key: anybody can forge one.
                let is_recovery = matches!(operation.action, Action::Recover(_));
                let refusal = outcome.verdict.refusal();
                if refusal.is_none_or(|reason| reason.is_remembered() && !is_recovery) {
                    self.keys.insert(name, outcome.index);
                }
                Ok(())
            }
            OperationResult::Repeated(first) => {
                let is_first = known == Some(first) && first.payload == payload;
                ensure(is_first, Invariant::ExactlyOnce, || {
                    format!("{first:?} is not the first outcome of {operation:?}")
                })
            }
            OperationResult::KeyReused { first } => {
                let is_other = known == Some(first) && first.payload != payload;
                ensure(is_other, Invariant::ExactlyOnce, || format!("the key of {operation:?} was not used before"))
            }
        }
    }

    /// An outcome is a new leaf of the log: that of this very operation, by the rules.
    fn recorded(
        &mut self,
        operation: &Operation,
        payload: Digest,
        outcome: &Arc<Outcome>,
        Place { header, origin }: &Place<'_>,
    ) -> Result<(), Violation> {
        let fits = outcome.index == self.outcomes.len() as u64
            && (outcome.height, outcome.agreed_time) == (header.height, header.timestamp)
            && *origin == Some(&outcome.origin)
            && (&outcome.key, outcome.payload) == (&operation.key, payload)
            && (&outcome.event, outcome.action) == (&operation.event, operation.action.code())
            && outcome.ticket.as_ref() == operation.action.ticket();
        ensure(fits, Invariant::CertifiedOutcome, || format!("{outcome:?} is not the outcome of {operation:?}"))?;
        self.log.append(outcome.leaf_hash());
        self.outcomes.push(Arc::clone(outcome));
        let expected = self.expected(operation, outcome);
        let is_expected = expected.as_ref().is_none_or(|expected| *expected == unexplained(&outcome.verdict));
        ensure(is_expected, Invariant::Rules, || format!("by the rules it is {expected:?}: {outcome:?}"))
    }

    /// By what verdict an operation whose key is free is decided. Nothing, if that is not known here; and changes of the
    /// validators and recoveries that were accepted are looked at when they take effect.
    fn expected(&mut self, operation: &Operation, outcome: &Outcome) -> Option<Verdict> {
        let now = outcome.agreed_time;
        if let Some(verdict) = self.tickets.apply(operation, now) {
            return Some(verdict);
        }
        let refusal = match &operation.action {
            Action::ChangeValidators(change) => self.eras.refuses_change(change, &*self.scheme),
            Action::Recover(recovery) => self.eras.refuses_recovery(recovery, now, &*self.scheme),
            _ => return None,
        };
        let accepted = Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: 0 };
        (!outcome.verdict.is_accepted()).then(|| refusal.map_or(accepted, refused))
    }

    /// A client is told this by an honest node.
    pub(crate) fn answered(&self, operation: &Operation, result: &OperationResult) -> Result<(), Violation> {
        let told = result.outcome();
        let agreed = self.outcomes.get(told.index as usize);
        ensure(agreed == Some(told), Invariant::CertifiedOutcome, || {
            format!("a client is told {told:?}, the history says {agreed:?}")
        })?;
        let is_same = told.key == operation.key && told.payload == operation.payload_digest();
        let fits = match result {
            OperationResult::Recorded(_) | OperationResult::Repeated(_) => is_same,
            OperationResult::KeyReused { .. } => told.key == operation.key && !is_same,
        };
        ensure(fits, Invariant::CertifiedOutcome, || format!("a client asked for {operation:?} and is told {result:?}"))
    }
}
