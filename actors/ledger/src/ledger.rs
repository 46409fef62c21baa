//! The ledger as a value: execute directly above the tip, commit from below, roll back from above.
//!
//! There is one copy of the state, which is that of the tip. Each speculative block keeps what is needed to undo it: the
//! old values of the tickets that it changed (shared, not copied) and of the other tables. A commit drops that, a roll
//! back applies it in reverse; so the usual way, execute and commit, costs nothing extra.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::merkle::Frontier;
use dtvn_messages::{
    ChainId, Digest, EventId, Genesis, Height, IdempotencyKey, LastBundle, Membership, NodeName, Outcome, Ticket,
    TicketId, Timestamp, limits,
};

use crate::effects::{BlockEffects, Executed, LogGrowth, OperationResult};
use crate::keys::{KeyEntry, KeyScope, KeyTable};
use crate::tickets::{EventSummary, TicketChange, TicketCounts, TicketTable};

/// How much the ledger may hold. Part of the rules: on one chain all nodes have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Idempotency keys held.
    pub keys_max: usize,
    /// Idempotency keys that one block drops because their time is over.
    pub keys_expired_max: usize,
    /// Bytes of all tickets, counted as at [`limits::LEDGER_TICKETS_BYTES_MAX`].
    pub tickets_bytes_max: u64,
}

impl Default for Bounds {
    /// The limits of the product.
    fn default() -> Self {
        Self {
            keys_max: limits::LEDGER_KEYS_MAX,
            keys_expired_max: limits::LEDGER_KEYS_EXPIRED_MAX,
            tickets_bytes_max: limits::LEDGER_TICKETS_BYTES_MAX,
        }
    }
}

/// The chain up to and including a block.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) height: Height,
    pub(crate) timestamp: Timestamp,
    pub(crate) log: Frontier,
    /// How many outcomes of the log are accepted ones.
    pub(crate) accepted: u64,
    pub(crate) executed: Executed,
}

impl Point {
    /// The log comes with the count of accepted outcomes in it.
    pub(crate) fn new(
        height: Height,
        timestamp: Timestamp,
        (log, accepted): (Frontier, u64),
        membership: &Membership,
    ) -> Self {
        let succession = membership.succession(height);
        let executed = Executed { log_size: log.size(), log_root: log.root(), succession };
        Self { height, timestamp, log, accepted, executed }
    }
}

/// What a speculative block did, in both directions.
#[derive(Debug, Clone)]
pub(crate) struct Speculation {
    /// The chain after it.
    pub(crate) point: Point,
    pub(crate) results: Vec<OperationResult>,
    pub(crate) leaves: Vec<Digest>,
    pub(crate) tickets: Vec<TicketChange>,
    pub(crate) keys_added: Vec<KeyEntry>,
    pub(crate) keys_expired: Vec<KeyEntry>,
    pub(crate) bundles: Vec<BundleChange>,
    /// The membership before and after, if it changed.
    pub(crate) membership: Option<(Arc<Membership>, Arc<Membership>)>,
}

#[derive(Debug, Clone)]
pub(crate) struct BundleChange {
    pub(crate) origin: NodeName,
    pub(crate) before: Option<LastBundle>,
    pub(crate) after: LastBundle,
}

/// The replicated state: tickets, keys, the log's frontier, the last bundle of each validator, and who is one.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(crate) tickets: TicketTable,
    pub(crate) keys: KeyTable,
    pub(crate) last_bundles: BTreeMap<NodeName, LastBundle>,
    pub(crate) membership: Arc<Membership>,
    pub(crate) committed: Point,
    pub(crate) speculative: VecDeque<Speculation>,
    pub(crate) allow_seed: bool,
    pub(crate) chain: ChainId,
    pub(crate) parameters: ConsensusParameters,
}

impl Ledger {
    /// The state at height 0: no tickets, an empty log, the genesis's time.
    ///
    /// # Panics
    /// If the chain continues another one: its first state is loaded.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self::with_bounds(genesis, Bounds::default())
    }

    /// As [`Ledger::new`], with bounds other than the product's: for tests and simulations of a full ledger.
    ///
    /// # Panics
    /// As [`Ledger::new`].
    #[must_use]
    pub fn with_bounds(genesis: &Genesis, bounds: Bounds) -> Self {
        assert!(genesis.file().continues.is_none(), "a chain that continues another one does not begin with nothing");
        Self::empty(genesis, bounds)
    }

    pub(crate) fn empty(genesis: &Genesis, bounds: Bounds) -> Self {
        let membership = Arc::new(Membership::first(genesis));
        let retention_micros = genesis.parameters().key_retention_ms.saturating_mul(1_000);
        Self {
            tickets: TicketTable::new(&genesis.file().events, bounds.tickets_bytes_max),
            keys: KeyTable::new(retention_micros, bounds),
            last_bundles: BTreeMap::new(),
            committed: Point::new(genesis.base(), genesis.file().time, (Frontier::new(), 0), &membership),
            membership,
            speculative: VecDeque::new(),
            allow_seed: genesis.file().allow_seed,
            chain: genesis.chain_id().clone(),
            parameters: genesis.parameters().clone(),
        }
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
                if !planted(Canary::TicketsNotRolledBack) {
                    self.tickets.roll_back(change);
                }
            }
            if let Some((before, _)) = block.membership {
                self.membership = before;
            }
            self.keys.roll_back(block.keys_added.len(), &block.keys_expired);
            for BundleChange { origin, before, .. } in block.bundles.into_iter().rev() {
                if planted(Canary::PositionsNotRolledBack) {
                    continue;
                }
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

    /// The last bundle of a validator that was ordered, as at the tip.
    #[must_use]
    pub fn last_bundle(&self, origin: &NodeName) -> Option<LastBundle> {
        self.last_bundles.get(origin).copied()
    }

    pub(crate) fn tip_point(&self) -> &Point {
        self.speculative.back().map_or(&self.committed, |block| &block.point)
    }
}

impl Speculation {
    fn into_effects(self) -> BlockEffects {
        let Point { height, timestamp, log, accepted, executed } = self.point;
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
            log: LogGrowth { first_index, leaves: self.leaves, frontier: log, accepted },
            last_bundles: last_bundles.into_iter().collect(),
            membership: self.membership.map(|(_, after)| after),
            executed,
        }
    }
}
