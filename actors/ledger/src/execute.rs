//! Executing a block: each operation in its order, each with its outcome as a leaf of the log (consensus.md section 2).

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::merkle::{self, Frontier};
use dtvn_messages::{
    Action, Bundle, Digest, EventId, Height, Layout, NodeName, Operation, Outcome, Reason, Scheme, Ticket, TicketId,
    Timestamp, ValidatorSet, Verdict, Writer,
};

use crate::effects::{Executed, OperationResult};
use crate::keys::{KeyEntry, KeyScope};
use crate::ledger::{BundleChange, Ledger, Point, Speculation};
use crate::rules::{self, Moment, Refusal};
use crate::seed::{SeedTicket, seed_tickets};
use crate::tickets::{EventIndex, TicketChange, weight};

/// A block, as far as the ledger needs it.
#[derive(Clone, Copy)]
pub struct BlockInput<'a> {
    /// Its height.
    pub height: Height,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// Its bundles in their order. Each origin is in `set`, and each bundle may follow the one before of its origin
    /// ([`dtvn_messages::BundleBody::may_follow`]).
    pub bundles: &'a [Arc<Bundle>],
    /// The validator set of its epoch.
    pub set: &'a ValidatorSet,
    /// How signatures are checked that count only by the state at their place: those of validators on changes of the set.
    pub scheme: &'a dyn Scheme,
}

/// What has been gathered of the block that is being executed.
struct Work {
    log: Frontier,
    accepted: u64,
    results: Vec<OperationResult>,
    leaves: Vec<Digest>,
    tickets: Vec<TicketChange>,
    keys_added: Vec<KeyEntry>,
    scratch: Writer,
}

impl Ledger {
    /// Executes a block directly above the tip, speculatively. Bundles must have been checked: the same block gives the
    /// same log on every replica.
    ///
    /// # Panics
    /// If the block is not directly above the tip, is not later than it, or has a bundle of a stranger or out of order:
    /// the replica checks all that before it asks.
    pub fn execute(&mut self, block: &BlockInput<'_>) -> Executed {
        let tip = self.tip_point();
        assert_eq!(block.height, tip.height.next(), "a block must be directly above the tip");
        assert!(block.timestamp > tip.timestamp, "agreed time must rise: {} after {}", block.timestamp, tip.timestamp);
        let (log, accepted) = (tip.log.clone(), tip.accepted);
        let operations = block.bundles.iter().map(|bundle| bundle.body.operations.len()).sum();
        let keys_expired = self.keys.expire(block.timestamp);
        let membership_before = Arc::clone(&self.membership);
        self.begin_epoch_if_due(block.height);
        let mut work = Work {
            log,
            accepted,
            results: Vec::with_capacity(operations),
            leaves: Vec::with_capacity(operations),
            tickets: Vec::with_capacity(operations),
            keys_added: Vec::with_capacity(operations),
            scratch: Writer::with_capacity(512),
        };
        let mut bundles = Vec::with_capacity(block.bundles.len());
        for bundle in block.bundles {
            let origin = origin_name(block.set, bundle);
            bundles.push(self.note_bundle(&origin, bundle));
            let moment = Moment { now: block.timestamp, height: block.height, origin };
            for operation in &bundle.body.operations {
                self.apply(operation, &moment, block.scheme, &mut work);
            }
        }
        let Work { log, accepted, results, leaves, tickets, keys_added, .. } = work;
        let point = Point::new(block.height, block.timestamp, (log, accepted), &self.membership);
        let executed = point.executed;
        let is_changed = !Arc::ptr_eq(&membership_before, &self.membership);
        let membership = is_changed.then(|| (membership_before, Arc::clone(&self.membership)));
        self.speculative.push_back(Speculation {
            point,
            results,
            leaves,
            tickets,
            keys_added,
            keys_expired,
            bundles,
            membership,
        });
        executed
    }

    fn note_bundle(&mut self, origin: &NodeName, bundle: &Bundle) -> BundleChange {
        let before = self.last_bundle(origin);
        let after = bundle.body.as_last();
        assert!(bundle.body.may_follow(before), "{origin}'s bundle {after:?} does not follow {before:?}");
        self.last_bundles.insert(origin.clone(), after);
        BundleChange { origin: origin.clone(), before, after }
    }

    fn apply(&mut self, operation: &Operation, moment: &Moment, scheme: &dyn Scheme, work: &mut Work) {
        let event = self.tickets.event(&operation.event);
        // The ledger's own name of the event, not the operation's: kept for long, and the same text thousands of times.
        let name = event.map_or(&operation.event, |event| &self.tickets.policy(event).id).clone();
        let recovery = KeyScope::of_recovery(&operation.action);
        let is_recovery = recovery.is_some();
        let scope = recovery.unwrap_or_else(|| KeyScope::Event(name.clone()));
        let digest = scope.digest(&operation.key);
        let payload = operation.payload_digest();
        if let Some(first) = self.keys.get(&digest).filter(|_| !planted(Canary::KeyTableIgnored)) {
            let first = Arc::clone(first);
            let repeated = first.payload == payload;
            work.results.push(if repeated {
                OperationResult::Repeated(first)
            } else {
                OperationResult::KeyReused { first }
            });
            return;
        }
        let is_of_membership = matches!(operation.action, Action::ChangeValidators(_) | Action::Recover(_));
        let is_full = self.keys.is_full_for(&moment.origin, self.membership.set.len());
        let (ticket, verdict) = if !self.keys.allows(operation.valid_until, moment.now) {
            (None, refused(Reason::OperationExpired))
        } else if is_full && !is_of_membership {
            (None, refused(Reason::LedgerFull))
        } else if is_of_membership {
            let decided = self.decide_membership(&operation.action, moment, scheme);
            let accepted = Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: 0 };
            (None, decided.map_or_else(refused, |()| accepted))
        } else {
            self.decide(event, operation, moment, work)
        };
        let outcome = Arc::new(Outcome {
            index: work.log.size(),
            height: moment.height,
            agreed_time: moment.now,
            origin: moment.origin.clone(),
            key: operation.key.clone(),
            payload,
            event: name,
            action: operation.action.code(),
            ticket: ticket.or_else(|| operation.action.ticket().cloned()),
            verdict,
        });
        work.append(&outcome);
        let is_used_up = match outcome.verdict.refusal() {
            None => true,
            Some(reason) => reason.is_remembered() && !is_full && !is_recovery,
        };
        if is_used_up {
            assert!(operation.valid_until <= self.keys.held_until(moment.now), "a key must outlive its operation");
            let entry = KeyEntry { scope, outcome: Arc::clone(&outcome) };
            self.keys.insert(digest, entry.clone());
            work.keys_added.push(entry);
        }
        work.results.push(OperationResult::Recorded(outcome));
    }

    /// What becomes of an operation whose key is free, and the ledger's own name of its ticket.
    fn decide(
        &mut self,
        event: Option<EventIndex>,
        operation: &Operation,
        moment: &Moment,
        work: &mut Work,
    ) -> (Option<TicketId>, Verdict) {
        let Some(event) = event else {
            return (None, refused(Reason::UnknownEvent));
        };
        let Some(id) = operation.action.ticket() else {
            return (None, self.seed(event, operation, moment, work));
        };
        let policy = self.tickets.policy(event).clone();
        match self.tickets.change(event, id, self.membership.set.len(), |ticket| {
            rules::decide(ticket, id, operation, &policy, moment)
        }) {
            Ok(change) => {
                let after = &change.after;
                let verdict = Verdict::Accepted {
                    version_before: change.before.as_ref().map_or(0, |before| before.version),
                    version_after: after.version,
                    state: Some(after.state),
                    tickets: 1,
                };
                let id = after.id.clone();
                work.tickets.push(change);
                (Some(id), verdict)
            }
            Err((ticket, Refusal { reason, first })) => {
                let (version, state) = ticket.as_ref().map_or((0, None), |ticket| (ticket.version, Some(ticket.state)));
                (ticket.map(|ticket| ticket.id.clone()), Verdict::Refused { reason, version, state, first })
            }
        }
    }

    /// Issues the seed tickets that do not exist yet: all of them, or none if there is no room.
    fn seed(&mut self, event: EventIndex, operation: &Operation, moment: &Moment, work: &mut Work) -> Verdict {
        debug_assert_eq!(operation.action, Action::Seed, "every other action is about a ticket");
        if !self.allow_seed {
            return refused(Reason::NotPermitted);
        }
        let name = self.tickets.policy(event).id.clone();
        if name != EventId::default_event() {
            return refused(Reason::WrongEvent);
        }
        let missing = seed_tickets().iter().filter(|seed| self.tickets.get(event, &seed.id).is_none());
        let new = |seed: &SeedTicket| rules::new_ticket(&name, &seed.id, Arc::clone(&seed.metadata), moment);
        let tickets: Vec<Ticket> = missing.map(new).collect();
        let validators = self.membership.set.len();
        if !self.tickets.has_room(tickets.iter().map(weight).sum(), &moment.origin, validators) {
            return refused(Reason::LedgerFull);
        }
        let count = tickets.len() as u64;
        for ticket in tickets {
            let id = ticket.id.clone();
            match self.tickets.change(event, &id, validators, |_| Ok(ticket)) {
                Ok(change) => work.tickets.push(change),
                Err((_, refusal)) => panic!("there was room for all seed tickets: {:?}", refusal.reason),
            }
        }
        Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: count }
    }
}

fn origin_name(set: &ValidatorSet, bundle: &Bundle) -> NodeName {
    let index = bundle.body.origin;
    match set.get(index) {
        Some(validator) => validator.name.clone(),
        None => panic!("a bundle of validator {index}, who is not in the set, must not get into a block"),
    }
}

/// A refusal that no ticket explains.
fn refused(reason: Reason) -> Verdict {
    Verdict::Refused { reason, version: 0, state: None, first: None }
}

impl Work {
    /// Appends an outcome to the log.
    fn append(&mut self, outcome: &Outcome) {
        self.scratch.clear();
        outcome.write(&mut self.scratch);
        let leaf = merkle::leaf_hash(self.scratch.as_bytes());
        self.log.append(leaf);
        self.accepted += u64::from(outcome.verdict.is_accepted());
        self.leaves.push(leaf);
    }
}
