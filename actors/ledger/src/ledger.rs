//! The ledger as a value: execute directly above the tip, commit from below, roll back from above.
//!
//! There is one copy of the state, which is that of the tip. Each speculative block keeps what is needed to undo it: the
//! old values of the tickets that it changed (shared, not copied) and of the other tables. A commit drops that, a roll
//! back applies it in reverse; so the usual way, execute and commit, costs nothing extra.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dtvn_messages::merkle::{self, Frontier};
use dtvn_messages::{
    Action, Bundle, Digest, EventId, Genesis, Height, IdempotencyKey, LastBundle, Layout, NodeName, Operation, Outcome,
    Reason, Ticket, TicketId, Timestamp, ValidatorSet, Verdict, Writer, limits,
};

use crate::effects::{BlockEffects, Executed, LogGrowth, OperationResult};
use crate::keys::{KeyEntry, KeyScope, KeyTable};
use crate::rules::{self, Moment, Refusal};
use crate::seed::seed_tickets;
use crate::tickets::{EventIndex, EventSummary, TicketChange, TicketCounts, TicketTable};

/// A block, as far as the ledger needs it.
#[derive(Debug, Clone, Copy)]
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
}

/// How much the ledger may hold. Part of the rules: on one chain all nodes have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Idempotency keys held.
    pub keys_max: usize,
    /// Bytes of all tickets, counted as at [`limits::LEDGER_TICKETS_BYTES_MAX`].
    pub tickets_bytes_max: u64,
}

impl Default for Bounds {
    /// The limits of the product.
    fn default() -> Self {
        Self { keys_max: limits::LEDGER_KEYS_MAX, tickets_bytes_max: limits::LEDGER_TICKETS_BYTES_MAX }
    }
}

/// The chain up to and including a block.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) height: Height,
    pub(crate) timestamp: Timestamp,
    pub(crate) log: Frontier,
    pub(crate) executed: Executed,
}

impl Point {
    pub(crate) fn new(height: Height, timestamp: Timestamp, log: Frontier) -> Self {
        let executed = Executed { log_size: log.size(), log_root: log.root() };
        Self { height, timestamp, log, executed }
    }
}

/// What a speculative block did, in both directions.
#[derive(Debug, Clone)]
struct Speculation {
    /// The chain after it.
    point: Point,
    results: Vec<OperationResult>,
    leaves: Vec<Digest>,
    tickets: Vec<TicketChange>,
    keys_added: Vec<KeyEntry>,
    keys_expired: Vec<KeyEntry>,
    bundles: Vec<BundleChange>,
}

#[derive(Debug, Clone)]
struct BundleChange {
    origin: NodeName,
    before: Option<LastBundle>,
    after: LastBundle,
}

/// What has been gathered of the block that is being executed.
struct Work {
    moment: Moment,
    log: Frontier,
    results: Vec<OperationResult>,
    leaves: Vec<Digest>,
    tickets: Vec<TicketChange>,
    keys_added: Vec<KeyEntry>,
    scratch: Writer,
}

/// The replicated state: tickets, keys, the log's frontier, and the last bundle of each validator.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(crate) tickets: TicketTable,
    pub(crate) keys: KeyTable,
    pub(crate) last_bundles: BTreeMap<NodeName, LastBundle>,
    pub(crate) committed: Point,
    speculative: VecDeque<Speculation>,
    allow_seed: bool,
}

impl Ledger {
    /// The state at height 0: no tickets, an empty log, the genesis's time.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self::with_bounds(genesis, Bounds::default())
    }

    /// As [`Ledger::new`], with bounds other than the product's: for tests and simulations of a full ledger.
    #[must_use]
    pub fn with_bounds(genesis: &Genesis, bounds: Bounds) -> Self {
        let retention_micros = genesis.parameters().key_retention_ms.saturating_mul(1_000);
        Self {
            tickets: TicketTable::new(&genesis.file().events, bounds.tickets_bytes_max),
            keys: KeyTable::new(retention_micros, bounds.keys_max),
            last_bundles: BTreeMap::new(),
            committed: Point::new(Height(0), genesis.file().time, Frontier::new()),
            speculative: VecDeque::new(),
            allow_seed: genesis.file().allow_seed,
        }
    }

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
        let log = tip.log.clone();
        let operations = block.bundles.iter().map(|bundle| bundle.body.operations.len()).sum();
        let keys_expired = self.keys.expire(block.timestamp);
        let mut work = Work {
            // The origin is set for each bundle.
            moment: Moment { now: block.timestamp, height: block.height, origin: origin_name(block.set, None) },
            log,
            results: Vec::with_capacity(operations),
            leaves: Vec::with_capacity(operations),
            tickets: Vec::with_capacity(operations),
            keys_added: Vec::with_capacity(operations),
            scratch: Writer::with_capacity(512),
        };
        let mut bundles = Vec::with_capacity(block.bundles.len());
        for bundle in block.bundles {
            work.moment.origin = origin_name(block.set, Some(bundle));
            bundles.push(self.note_bundle(&work.moment.origin, bundle));
            for operation in &bundle.body.operations {
                self.apply(operation, &mut work);
            }
        }
        let Work { log, results, leaves, tickets, keys_added, .. } = work;
        let point = Point::new(block.height, block.timestamp, log);
        let executed = point.executed;
        self.speculative.push_back(Speculation { point, results, leaves, tickets, keys_added, keys_expired, bundles });
        executed
    }

    /// Undoes all speculative blocks above `to`.
    ///
    /// # Panics
    /// If that would undo a committed block, or `to` is above the tip.
    pub fn roll_back(&mut self, to: Height) {
        assert!(to >= self.committed(), "a committed block is final: {} of {to}", self.committed());
        assert!(to <= self.tip(), "there is nothing to go back from: the tip {} is below {to}", self.tip());
        while let Some(block) = self.speculative.pop_back_if(|block| block.point.height > to) {
            for change in block.tickets.into_iter().rev() {
                self.tickets.roll_back(change);
            }
            self.keys.roll_back(block.keys_added.len(), &block.keys_expired);
            for BundleChange { origin, before, .. } in block.bundles.into_iter().rev() {
                match before {
                    Some(before) => self.last_bundles.insert(origin, before),
                    None => self.last_bundles.remove(&origin),
                };
            }
        }
    }

    /// Commits all speculative blocks up to and including `height`, lowest first, and says what each changed. Nothing
    /// if that height is committed already.
    ///
    /// # Panics
    /// If `height` is above the tip.
    pub fn commit(&mut self, height: Height) -> Vec<BlockEffects> {
        assert!(height <= self.tip(), "height {height} was not executed: the tip is {}", self.tip());
        let mut effects = Vec::new();
        while let Some(block) = self.speculative.pop_front_if(|block| block.point.height <= height) {
            self.committed = block.point.clone();
            effects.push(block.into_effects());
        }
        effects
    }

    /// The highest executed block, committed or speculative.
    #[must_use]
    pub fn tip(&self) -> Height {
        self.tip_point().height
    }

    /// The agreed time of the tip.
    #[must_use]
    pub fn tip_timestamp(&self) -> Timestamp {
        self.tip_point().timestamp
    }

    /// The highest committed block.
    #[must_use]
    pub fn committed(&self) -> Height {
        self.committed.height
    }

    /// The log after the block at `height`, if that is the committed tip or speculative.
    #[must_use]
    pub fn root_at(&self, height: Height) -> Option<Executed> {
        if height == self.committed.height {
            return Some(self.committed.executed);
        }
        let above = usize::try_from(height.0.checked_sub(self.committed.height.0 + 1)?).ok()?;
        self.speculative.get(above).map(|block| block.point.executed)
    }

    /// A ticket as it is at the tip, so possibly by blocks that are not committed: never for a client's eyes.
    #[must_use]
    pub fn ticket(&self, event: &EventId, id: &TicketId) -> Option<&Arc<Ticket>> {
        self.tickets.get(self.tickets.event(event)?, id)
    }

    /// The outcome of the operation that used up a key, as at the tip; it is final if its height is committed. None if
    /// the key is free.
    #[must_use]
    pub fn first_outcome(&self, scope: &KeyScope, key: &IdempotencyKey) -> Option<&Arc<Outcome>> {
        self.keys.get(&scope.digest(key))
    }

    /// The events, ascending by name, and how their tickets stand at the tip.
    pub fn events(&self) -> impl ExactSizeIterator<Item = EventSummary> {
        self.tickets.summaries()
    }

    /// How many tickets of an event are in each state at the tip; none if there is no such event.
    #[must_use]
    pub fn counts(&self, event: &EventId) -> Option<TicketCounts> {
        Some(self.tickets.counts(self.tickets.event(event)?))
    }

    /// How many tickets there are at the tip.
    #[must_use]
    pub fn tickets_len(&self) -> u64 {
        self.tickets.len()
    }

    /// How many idempotency keys are held at the tip.
    #[must_use]
    pub fn keys_len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no new key would be taken at the tip: a node then refuses operations as `overloaded` before it takes them
    /// in.
    #[must_use]
    pub fn keys_full(&self) -> bool {
        self.keys.is_full()
    }

    /// The last bundle of a validator that was ordered, as at the tip.
    #[must_use]
    pub fn last_bundle(&self, origin: &NodeName) -> Option<LastBundle> {
        self.last_bundles.get(origin).copied()
    }

    pub(crate) fn tip_point(&self) -> &Point {
        self.speculative.back().map_or(&self.committed, |block| &block.point)
    }

    fn note_bundle(&mut self, origin: &NodeName, bundle: &Bundle) -> BundleChange {
        let before = self.last_bundle(origin);
        let after = bundle.body.as_last();
        assert!(bundle.body.may_follow(before), "{origin}'s bundle {after:?} does not follow {before:?}");
        self.last_bundles.insert(origin.clone(), after);
        BundleChange { origin: origin.clone(), before, after }
    }

    fn apply(&mut self, operation: &Operation, work: &mut Work) {
        let event = self.tickets.event(&operation.event);
        // The ledger's own name of the event, not the operation's: kept for long, and the same text thousands of times.
        let name = event.map_or(&operation.event, |event| &self.tickets.policy(event).id).clone();
        let scope = KeyScope::Event(name.clone());
        let digest = scope.digest(&operation.key);
        let payload = operation.payload_digest();
        if let Some(first) = self.keys.get(&digest) {
            let first = Arc::clone(first);
            let repeated = first.payload == payload;
            work.results.push(if repeated {
                OperationResult::Repeated(first)
            } else {
                OperationResult::KeyReused { first }
            });
            return;
        }
        let (ticket, verdict) = if !self.keys.allows(operation.valid_until, work.moment.now) {
            (None, refused(Reason::OperationExpired))
        } else if self.keys.is_full() {
            (None, refused(Reason::LedgerFull))
        } else {
            self.decide(event, operation, work)
        };
        let outcome = Arc::new(Outcome {
            index: work.log.size(),
            height: work.moment.height,
            agreed_time: work.moment.now,
            origin: work.moment.origin.clone(),
            key: operation.key.clone(),
            payload,
            event: name,
            action: operation.action.code(),
            ticket: ticket.or_else(|| operation.action.ticket().cloned()),
            verdict,
        });
        work.append(&outcome);
        if outcome.verdict.refusal().is_none_or(Reason::is_remembered) {
            assert!(operation.valid_until <= self.keys.held_until(work.moment.now), "a key must outlive its operation");
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
        work: &mut Work,
    ) -> (Option<TicketId>, Verdict) {
        let Some(event) = event else {
            return (None, refused(Reason::UnknownEvent));
        };
        let Some(id) = operation.action.ticket() else {
            return (None, self.seed(event, operation, work));
        };
        let policy = self.tickets.policy(event).clone();
        let moment = &work.moment;
        match self.tickets.change(event, id, |ticket| rules::decide(ticket, id, operation, &policy, moment)) {
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
    fn seed(&mut self, event: EventIndex, operation: &Operation, work: &mut Work) -> Verdict {
        debug_assert_eq!(operation.action, Action::Seed, "every other action is about a ticket");
        if !self.allow_seed {
            return refused(Reason::NotPermitted);
        }
        let name = self.tickets.policy(event).id.clone();
        if name != EventId::default_event() {
            return refused(Reason::WrongEvent);
        }
        let missing = seed_tickets().iter().filter(|seed| self.tickets.get(event, &seed.id).is_none());
        let new =
            |seed: &crate::SeedTicket| rules::new_ticket(&name, &seed.id, Arc::clone(&seed.metadata), &work.moment);
        let tickets: Vec<Ticket> = missing.map(new).collect();
        if !self.tickets.has_room(tickets.iter().map(crate::tickets::weight).sum()) {
            return refused(Reason::LedgerFull);
        }
        let count = tickets.len() as u64;
        for ticket in tickets {
            let id = ticket.id.clone();
            match self.tickets.change(event, &id, |_| Ok(ticket)) {
                Ok(change) => work.tickets.push(change),
                Err((_, refusal)) => panic!("there was room for all seed tickets: {:?}", refusal.reason),
            }
        }
        Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: count }
    }
}

/// The name of a bundle's origin; without a bundle, of the first validator.
fn origin_name(set: &ValidatorSet, bundle: Option<&Arc<Bundle>>) -> NodeName {
    let index = bundle.map_or_else(Default::default, |bundle| bundle.body.origin);
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
        self.leaves.push(leaf);
    }
}

impl Speculation {
    fn into_effects(self) -> BlockEffects {
        let Point { height, timestamp, log, executed } = self.point;
        let mut tickets = BTreeMap::new();
        for TicketChange { event, after, .. } in self.tickets {
            tickets.insert((event, after.id.clone()), after);
        }
        let mut last_bundles = BTreeMap::new();
        for BundleChange { origin, after, .. } in self.bundles {
            last_bundles.insert(origin, after);
        }
        let first_index = log.size() - self.leaves.len() as u64;
        BlockEffects {
            height,
            timestamp,
            results: self.results,
            tickets: tickets.into_values().collect(),
            keys_added: self.keys_added,
            keys_expired: self.keys_expired,
            log: LogGrowth { first_index, leaves: self.leaves, frontier: log },
            last_bundles: last_bundles.into_iter().collect(),
            executed,
        }
    }
}
