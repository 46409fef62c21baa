//! Operators: they change the validators, as people do (consensus.md section 10). A quorum of the present set signs, and
//! somebody hands the change in, at one node after the other, until there is an outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::{NewSet, ValidatorsChange};
use dtvn_messages::{
    Action, Epoch, EventId, IdempotencyKey, Operation, Reason, Statement, Timestamp, Validator, ValidatorSet,
};
use dtvn_replication::intake::{Answer, RequestId};
use dtvn_replication::node::Input;

use crate::faults::Act;
use crate::oracle::Violation;
use crate::world::{Event, World};

/// Requests of operators have numbers from here on.
const FIRST_REQUEST: u64 = 1 << 41;
/// How long an operator waits for an outcome before another node is asked.
const WAIT_MS: u64 = 1_500;

/// A change that somebody wants.
struct Proposal {
    operation: Operation,
    /// The epoch whose set it replaces.
    epoch: Epoch,
    set: ValidatorSet,
    /// It could take effect when it was asked for: enough signed it, and no other change of that epoch was agreed.
    could_win: bool,
    answer: Option<Answer>,
}

/// What operators want, and what became of it.
#[derive(Default)]
pub(crate) struct Operators {
    proposals: Vec<Proposal>,
    /// For each request that is under way its proposal.
    requests: BTreeMap<u64, usize>,
    next_request: u64,
}

impl Operators {
    /// Whether all that they asked for is decided.
    pub(crate) fn are_content(&self) -> bool {
        self.proposals.iter().all(|proposal| proposal.answer.is_some())
    }

    /// The sets that may still come into force.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &ValidatorSet> {
        self.proposals.iter().filter(|proposal| proposal.answer.is_none()).map(|proposal| &proposal.set)
    }

    /// What became of a proposal.
    pub(crate) fn answer(&self, proposal: usize) -> Option<&Answer> {
        self.proposals.get(proposal)?.answer.as_ref()
    }
}

/// The operation that changes the validators.
fn operation(number: usize, change: ValidatorsChange) -> Operation {
    let text = format!("operators' change {number:>6}");
    let key = IdempotencyKey::new(&text).unwrap_or_else(|error| unreachable!("{text} is a key: {error}"));
    let action = Action::ChangeValidators(Box::new(change));
    let (event, valid_until) = (EventId::default_event(), Timestamp(0));
    Operation { key, valid_until, event, gate: None, device: None, scanned_at: None, seen: None, action }
}

impl World {
    /// Operators want this set after the one of an epoch that is known, and hand it in first at a host; all that are
    /// needed sign it, or one less. The number of the proposal.
    pub(crate) fn propose_set(
        &mut self,
        epoch: Epoch,
        validators: Vec<Validator>,
        first: usize,
        is_signed: bool,
    ) -> Option<usize> {
        let set = ValidatorSet::new(validators).ok()?;
        let era = self.chain.eras().of(epoch)?;
        let (present, could_win) = (Arc::clone(&era.set), is_signed && era.next.is_none());
        let body = NewSet { epoch, replaces: present.hash(), set: set.hash() };
        let bytes = body.signed_bytes(self.genesis.chain_id());
        // People sign it with the keys, whatever the nodes do: no more of them than are needed.
        let (mut signatures, mut power) = (Vec::new(), 0);
        let start = self.randoms.faults.below(present.len() as u64) as usize;
        for (index, validator) in present.iter().skip(start).chain(present.iter().take(start)) {
            let signer = (0..self.hosts.len()).find(|host| self.hosts[*host].keys.contains(&validator.public_key));
            if let Some(signer) = signer.filter(|_| power < present.quorum()) {
                let signer = self.signer_with(signer, &validator.public_key);
                signatures.push((index, signer.sign(&bytes)));
                power += u64::from(validator.power);
            }
        }
        if !is_signed {
            signatures.pop();
        }
        signatures.sort_unstable_by_key(|(index, _)| *index);
        let (replaces, signatures) = (body.replaces, Signatures(signatures));
        let number = self.operators.proposals.len();
        let operation = operation(number, ValidatorsChange { epoch, replaces, set: set.clone(), signatures });
        self.chain.asked(&operation);
        self.operators.proposals.push(Proposal { operation, epoch, set, could_win, answer: None });
        self.schedule(0, Event::Act(Act::HandIn(number, first)));
        Some(number)
    }

    /// A change is handed in at a host, and later at another, until there is an outcome.
    pub(crate) fn hand_in(&mut self, number: usize, host: usize) -> Result<(), Violation> {
        let Some(proposal) = self.operators.proposals.get(number).filter(|proposal| proposal.answer.is_none()) else {
            return Ok(());
        };
        let operations = vec![proposal.operation.clone()];
        let next = self.randoms.faults.below(self.hosts.len() as u64) as usize;
        let again_us = self.randoms.faults.between(WAIT_MS * 500, WAIT_MS * 1_200);
        self.schedule(again_us, Event::Act(Act::HandIn(number, next)));
        if self.hosts[host].paused_until_us > self.now_us {
            return Ok(());
        }
        let operators = &mut self.operators;
        let request = FIRST_REQUEST + operators.next_request;
        operators.next_request += 1;
        operators.requests.insert(request, number);
        self.input(host, Input::Submit { request: RequestId(request), operations, wait_ms: WAIT_MS })
    }

    /// An honest node answers an operator. Says whether the request was one's.
    pub(crate) fn operator_answered(&mut self, request: RequestId, answer: &Answer) -> Result<bool, Violation> {
        let Some(number) = self.operators.requests.remove(&request.0) else { return Ok(false) };
        let proposal = &mut self.operators.proposals[number];
        if let Answer::Decided(result) = answer {
            self.chain.answered(&proposal.operation, result)?;
            if proposal.answer.replace(answer.clone()).is_none() {
                let refusal = result.outcome().verdict.refusal();
                let has_winner = self.chain.eras().of(proposal.epoch).is_some_and(|era| era.next.is_some());
                let has_lost = refusal == Some(Reason::StaleEpoch) && proposal.could_win && has_winner;
                self.coverage.lost_changes += u64::from(has_lost);
                self.coverage.unsigned_changes += u64::from(refusal == Some(Reason::NotSignedByValidators));
            }
        }
        Ok(true)
    }
}
