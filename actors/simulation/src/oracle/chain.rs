//! The one history: agreement and chain, every operation from a client, every key once, every ticket's transitions, the
//! log's roots, certificates, and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_ledger::{BlockEffects, KeyScope, OperationResult};
use dtvn_messages::merkle::Frontier;
use dtvn_messages::{
    Action, CommittedProof, Digest, Epoch, EventId, Genesis, Head, Height, IdempotencyKey, Operation, Outcome,
    PublicKey, Reason, ReceiptCertificate, Scheme, TicketId, TicketState, ValidatorSet, Verdict,
};
use dtvn_replication::consensus::Committed;

use super::eras::Eras;
use super::{Invariant, Violation, ensure};

struct Agreed {
    digest: Digest,
    head: Head,
    results: Vec<OperationResult>,
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
    tickets: BTreeMap<(EventId, TicketId), TicketState>,
    /// What clients asked for.
    asked: BTreeSet<(IdempotencyKey, Digest)>,
    /// Origins that may make operations up.
    liars: BTreeSet<PublicKey>,
}

impl Chain {
    pub(crate) fn new(genesis: Arc<Genesis>, scheme: Arc<dyn Scheme>, liars: BTreeSet<PublicKey>) -> Self {
        Self {
            eras: Eras::new(Arc::clone(&genesis)),
            genesis,
            scheme,
            blocks: BTreeMap::new(),
            outcomes: Vec::new(),
            log: Frontier::new(),
            keys: BTreeMap::new(),
            tickets: BTreeMap::new(),
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
        let count = |state| self.tickets.values().filter(|known| **known == state).count() as u64;
        TicketState::ALL.into_iter().map(|state| (state, count(state))).collect()
    }

    /// A client asks for an operation.
    pub(crate) fn asked(&mut self, operation: &Operation) {
        self.asked.insert((operation.key.clone(), operation.payload_digest()));
    }

    /// An honest node commits a block.
    pub(crate) fn committed(&mut self, committed: &Committed, effects: &BlockEffects) -> Result<(), Violation> {
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
        let height = effects.height;
        let mut results = effects.results.iter();
        let set = Arc::clone(&self.eras.at(height).1.set);
        for bundle in &committed.bundles {
            let may_lie = set.key(bundle.body.origin).is_some_and(|origin| self.liars.contains(&origin));
            for (operation, result) in bundle.body.operations.iter().zip(results.by_ref()) {
                let payload = operation.payload_digest();
                let may_lie = may_lie || self.is_recovery(operation);
                ensure(may_lie || self.asked.contains(&(operation.key.clone(), payload)), Invariant::Validity, || {
                    format!("nobody asked for {operation:?}")
                })?;
                self.decided(operation, payload, result)?;
                self.changed(operation, result, height)?;
            }
        }
        let header = &committed.block.header;
        let (size, root) = (self.log.size(), self.log.root());
        ensure((size, root) == (header.log_size, header.log_root), Invariant::CertifiedOutcome, || {
            format!("the outcomes up to block {height} do not add up to the log root in its header")
        })
    }

    /// The recovery of a validator comes from no client, but is signed by that validator.
    fn is_recovery(&self, operation: &Operation) -> bool {
        let Action::Recover(recovery) = &operation.action else { return false };
        let era = self.eras.of(recovery.body.epoch);
        era.is_some_and(|era| recovery.verify(self.genesis.chain_id(), &era.set, &*self.scheme))
    }

    /// What was accepted may end the epoch.
    fn changed(&mut self, operation: &Operation, result: &OperationResult, height: Height) -> Result<(), Violation> {
        let OperationResult::Recorded(outcome) = result else { return Ok(()) };
        match &operation.action {
            Action::ChangeValidators(change) if outcome.verdict.is_accepted() => {
                self.eras.changes_to(change, height, &*self.scheme)
            }
            Action::Recover(_) if outcome.verdict.is_accepted() => {
                self.eras.recovers(height);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn decided(&mut self, operation: &Operation, payload: Digest, result: &OperationResult) -> Result<(), Violation> {
        let name = KeyScope::of(operation).digest(&operation.key);
        let known = self.keys.get(&name).and_then(|index| self.outcomes.get(*index as usize));
        match result {
            OperationResult::Recorded(outcome) => {
                ensure(known.is_none(), Invariant::ExactlyOnce, || format!("a key takes effect twice: {outcome:?}"))?;
                let fits = outcome.index == self.outcomes.len() as u64
                    && (&outcome.key, outcome.payload) == (&operation.key, payload);
                ensure(fits, Invariant::CertifiedOutcome, || {
                    format!("{outcome:?} is not the outcome of {operation:?}")
                })?;
                self.log.append(outcome.leaf_hash());
                if outcome.verdict.refusal().is_none_or(Reason::is_remembered) {
                    self.keys.insert(name, outcome.index);
                }
                self.outcomes.push(Arc::clone(outcome));
                self.moved(outcome)
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

    /// `(none) -> ISSUED -> VALIDATED -> CONSUMED or DISPUTED`, and where the event has `auto_issue` from none to
    /// VALIDATED at once.
    fn moved(&mut self, outcome: &Outcome) -> Result<(), Violation> {
        let Verdict::Accepted { state: Some(state), .. } = outcome.verdict else { return Ok(()) };
        let Some(ticket) = outcome.ticket.clone() else { return Ok(()) };
        let before = self.tickets.insert((outcome.event.clone(), ticket), state);
        let mut events = self.genesis.file().events.iter();
        let auto_issue = events.any(|event| event.id == outcome.event && event.auto_issue);
        let is_legal = match (before, state) {
            (None, TicketState::Issued)
            | (Some(TicketState::Issued), TicketState::Validated)
            | (Some(TicketState::Validated), TicketState::Consumed | TicketState::Disputed) => true,
            (None, TicketState::Validated) => auto_issue,
            _ => false,
        };
        ensure(is_legal, Invariant::ExactlyOnce, || format!("a ticket went from {before:?} to {state:?}: {outcome:?}"))
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
