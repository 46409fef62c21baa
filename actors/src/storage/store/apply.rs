//! Committed blocks into one atomic batch (architecture.md section 5: "A block's effects with its height are one atomic
//! WriteBatch").
//!
//! Several blocks make one batch when they are at hand: a ticket that changed three times is written once, and so are
//! the height and the counts. What has a place of its own (outcomes, history, bodies, blocks) is written as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_ledger::{BlockEffects, KeyEntry, KeyScope, OperationResult};
use dtvn_messages::{
    Action, Block, Bundle, Certificate, Digest, EventId, LastBundle, Layout, Membership, NodeName, Outcome, Ticket,
    TicketId, TicketState, Verdict, Writer,
};
use rocksdb::{ColumnFamily, WriteBatch};

use super::error::StoreError;
use super::records::{Applied, LocalView, StoreIdentity, StoredBlock, encode};
use super::schema::{self, Column, meta};
use super::states::StateTable;
use super::tiles::{Tile, TileBuilder};

/// What one operation adds to a batch beside itself, about: room is made for it at once.
const OUTCOME_BYTES: usize = 1_024;

/// A committed block with what it changed.
#[derive(Debug, Clone)]
pub struct AppliedBlock {
    /// Header and bundle digests.
    pub block: Arc<Block>,
    /// Its COMMITs, if it has some of its own.
    pub certificate: Option<Certificate>,
    /// How this node saw it.
    pub local: LocalView,
    /// Its bundles, in their order.
    pub bundles: Vec<Arc<Bundle>>,
    /// What the ledger says that it changed.
    pub effects: Arc<BlockEffects>,
}

/// What a finished batch leads to, once it is written.
pub(super) struct Outcomes {
    pub(super) batch: WriteBatch,
    pub(super) applied: Applied,
    pub(super) tiles: TileBuilder,
    pub(super) moved: Vec<(Vec<u8>, TicketState)>,
}

/// A batch in the making.
pub(super) struct BatchBuilder<'a> {
    identity: &'a StoreIdentity,
    states: &'a StateTable,
    columns: [&'a ColumnFamily; Column::ALL.len()],
    batch: WriteBatch,
    applied: Applied,
    tiles: TileBuilder,
    /// By key in [`Column::Tickets`]; of several for one ticket, the last counts.
    tickets: Vec<(Vec<u8>, Arc<Ticket>)>,
    /// By digest of the key, its value, or none if it expired; of several for one key, the last counts.
    keys: Vec<(Digest, Option<Vec<u8>>)>,
    last_bundles: BTreeMap<NodeName, LastBundle>,
    membership: Option<Arc<Membership>>,
    scratch: Writer,
}

impl<'a> BatchBuilder<'a> {
    pub(super) fn new(
        identity: &'a StoreIdentity,
        states: &'a StateTable,
        columns: [&'a ColumnFamily; Column::ALL.len()],
        applied: &Applied,
        tiles: &TileBuilder,
        blocks: &[AppliedBlock],
    ) -> Self {
        let bundles = blocks.iter().flat_map(|block| &block.bundles);
        let batch_bytes = bundles.map(|bundle| bundle.bytes.len() + bundle.body.operations.len() * OUTCOME_BYTES).sum();
        Self {
            identity,
            states,
            columns,
            batch: WriteBatch::with_capacity_bytes(batch_bytes),
            applied: applied.clone(),
            tiles: tiles.clone(),
            tickets: Vec::new(),
            keys: Vec::new(),
            last_bundles: BTreeMap::new(),
            membership: None,
            scratch: Writer::with_capacity(1_024),
        }
    }

    /// Adds the next block.
    pub(super) fn add(&mut self, block: &AppliedBlock) -> Result<(), StoreError> {
        let digest = block.block.header.digest(&self.identity.chain);
        self.check(block)?;
        let mut stored = StoredBlock {
            block: Block::clone(&block.block),
            digest,
            certificate: block.certificate.clone(),
            local: block.local.clone(),
            first_index: block.effects.log.first_index,
            accepted: 0,
            refused: 0,
            repeated: 0,
            bundle_bytes: block.bundles.iter().map(|bundle| bundle.bytes.len() as u64).sum(),
        };
        self.add_outcomes(&block.effects, &mut stored);
        self.add_tickets(&block.effects);
        self.add_keys(&block.effects)?;
        self.add_tiles(&block.effects.log.leaves);
        self.add_block(block, &stored);
        for (origin, last) in &block.effects.last_bundles {
            self.last_bundles.insert(origin.clone(), *last);
        }
        if let Some(membership) = &block.effects.membership {
            self.membership = Some(Arc::clone(membership));
        }
        self.applied.height = block.block.header.height;
        self.applied.block = digest;
        self.applied.timestamp = block.effects.timestamp;
        self.applied.log = block.effects.log.frontier.clone();
        Ok(())
    }

    /// Whether a block is the next one, and its effects are its own.
    fn check(&self, block: &AppliedBlock) -> Result<(), StoreError> {
        let (header, effects) = (&block.block.header, &block.effects);
        let expected = self.applied.height.next();
        if header.height != expected {
            return Err(StoreError::OutOfOrder { expected, found: header.height });
        }
        let recorded = effects.results.iter().filter_map(recorded);
        let first = self.applied.log.size();
        let fault = if header.parent != self.applied.block {
            "its parent is not the block that was applied last"
        } else if effects.height != header.height || effects.timestamp != header.timestamp {
            "they are of another block"
        } else if !block.bundles.iter().map(|bundle| bundle.digest).eq(block.block.bundles.iter().copied()) {
            "its bundles are not those that it names"
        } else if effects.log.first_index != first
            || !recorded.map(|outcome| outcome.index).eq(first..first + effects.log.leaves.len() as u64)
            || effects.log.frontier.size() != first + effects.log.leaves.len() as u64
        {
            "the outcomes do not continue the log"
        } else if header.log_size != effects.log.frontier.size() || header.log_root != effects.log.frontier.root() {
            "the log after it is not that of its header"
        } else {
            return Ok(());
        };
        Err(StoreError::Inconsistent { height: header.height, what: fault.to_owned() })
    }

    fn put(&mut self, column: Column, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.batch.put_cf(&self.columns[column.position()], key, value);
    }

    fn add_outcomes(&mut self, effects: &BlockEffects, stored: &mut StoredBlock) {
        for result in &effects.results {
            let Some(outcome) = recorded(result) else {
                stored.repeated += 1;
                continue;
            };
            match outcome.verdict.is_accepted() {
                true => stored.accepted += 1,
                false => stored.refused += 1,
            }
            self.scratch.clear();
            outcome.write(&mut self.scratch);
            let column = self.columns[Column::Outcomes.position()];
            self.batch.put_cf(&column, schema::number(outcome.index), self.scratch.as_bytes());
            if let Some(ticket) = &outcome.ticket {
                let ticket = schema::ticket(&outcome.event, ticket);
                self.put(Column::History, schema::history(&ticket, outcome.index), []);
            }
        }
        self.applied.counts.accepted += u64::from(stored.accepted);
        self.applied.counts.refused += u64::from(stored.refused);
        self.add_seeded(effects);
    }

    /// The history of seeded tickets: one outcome made them all, and names none of them. They are those that are new
    /// and that no operation of the block made by itself.
    fn add_seeded(&mut self, effects: &BlockEffects) {
        let outcomes = || effects.results.iter().filter_map(recorded).filter(|outcome| outcome.verdict.is_accepted());
        let Some(seeding) = outcomes().find(|outcome| tickets_seeded(outcome) > 0) else {
            return;
        };
        let is_new = |outcome: &&Arc<Outcome>| matches!(outcome.verdict, Verdict::Accepted { version_before: 0, .. });
        let made: BTreeSet<(&EventId, &TicketId)> =
            outcomes().filter(is_new).filter_map(|outcome| Some((&outcome.event, outcome.ticket.as_ref()?))).collect();
        let mut seeded = Vec::new();
        let before: BTreeSet<&[u8]> = self.tickets.iter().map(|(key, _)| key.as_slice()).collect();
        for ticket in &effects.tickets {
            let key = schema::ticket(&ticket.event, &ticket.id);
            let is_new = !before.contains(key.as_slice()) && self.states.get(&key).is_none();
            if is_new && !made.contains(&(&ticket.event, &ticket.id)) {
                seeded.push(schema::history(&key, seeding.index));
            }
        }
        for key in seeded {
            self.put(Column::History, key, []);
        }
    }

    fn add_tickets(&mut self, effects: &BlockEffects) {
        let tickets = effects.tickets.iter();
        self.tickets.extend(tickets.map(|ticket| (schema::ticket(&ticket.event, &ticket.id), Arc::clone(ticket))));
    }

    fn add_keys(&mut self, effects: &BlockEffects) -> Result<(), StoreError> {
        // Expired ones first: a key may be used anew in the very block in which it expires.
        self.keys.extend(effects.keys_expired.iter().map(|entry| (entry.digest(), None)));
        self.keys.extend(effects.keys_added.iter().map(|entry| (entry.digest(), Some(key_value(entry)))));
        let keys = &mut self.applied.counts.keys;
        let held = (*keys + effects.keys_added.len() as u64).checked_sub(effects.keys_expired.len() as u64);
        *keys = held.ok_or_else(|| StoreError::Inconsistent {
            height: effects.height,
            what: "more keys expire than are held".to_owned(),
        })?;
        Ok(())
    }

    fn add_tiles(&mut self, leaves: &[Digest]) {
        let mut completed = Vec::new();
        for leaf in leaves {
            self.tiles.append(*leaf, &mut completed);
        }
        let growing: Vec<Tile> = match completed.is_empty() {
            true => Vec::new(),
            false => self.tiles.growing_tiles().collect(),
        };
        for tile in completed.iter().chain(&growing) {
            self.put(Column::Tiles, tile.key(), tile.value());
        }
    }

    fn add_block(&mut self, block: &AppliedBlock, stored: &StoredBlock) {
        let height = stored.height();
        self.put(Column::Blocks, schema::number(height.0), stored.to_value());
        self.put(Column::Digests, schema::digest(&stored.digest), schema::number(height.0));
        for (ordinal, bundle) in (0u32..).zip(&block.bundles) {
            self.put(Column::Bodies, schema::body(height, ordinal), &bundle.bytes);
        }
    }

    /// Writes what was gathered over all blocks, in the order of the keys.
    pub(super) fn finish(mut self) -> Outcomes {
        let moved = self.finish_tickets();
        for (digest, value) in last_of_each(std::mem::take(&mut self.keys)) {
            match value {
                Some(value) => self.put(Column::Keys, schema::digest(&digest), value),
                None => self.batch.delete_cf(&self.columns[Column::Keys.position()], schema::digest(&digest)),
            }
        }
        for (origin, last) in std::mem::take(&mut self.last_bundles) {
            self.put(Column::Meta, meta::last_bundle(&origin), encode(&last));
        }
        if let Some(membership) = self.membership.take() {
            self.put(Column::Meta, meta::MEMBERSHIP, membership.to_bytes());
        }
        let applied = self.applied.to_value();
        self.put(Column::Meta, meta::APPLIED, applied);
        Outcomes { batch: self.batch, applied: self.applied, tiles: self.tiles, moved }
    }

    /// Writes the tickets, and the index of flagged ones; gives those that are in another state than before.
    fn finish_tickets(&mut self) -> Vec<(Vec<u8>, TicketState)> {
        let mut moved = Vec::with_capacity(self.tickets.len());
        let flagged = self.columns[Column::Flagged.position()];
        for (key, ticket) in last_of_each(std::mem::take(&mut self.tickets)) {
            self.scratch.clear();
            ticket.write(&mut self.scratch);
            self.batch.put_cf(&self.columns[Column::Tickets.position()], &key, self.scratch.as_bytes());
            let before = self.states.get(&key);
            if before != Some(ticket.state) {
                if let Some(before) = before.filter(|before| schema::is_flagged(*before)) {
                    self.batch.delete_cf(&flagged, schema::flagged(before, &key));
                }
                if schema::is_flagged(ticket.state) {
                    self.put(Column::Flagged, schema::flagged(ticket.state, &key), []);
                }
                self.applied.counts.move_ticket(before, ticket.state);
                moved.push((key, ticket.state));
            }
        }
        moved
    }
}

/// The last value of each key, in the order of the keys.
fn last_of_each<K: Ord, V>(mut list: Vec<(K, V)>) -> impl Iterator<Item = (K, V)> {
    list.sort_by(|left, right| left.0.cmp(&right.0));
    let mut list = list.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut last = list.next()?;
        while let Some(later) = list.next_if(|later| later.0 == last.0) {
            last = later;
        }
        Some(last)
    })
}

/// The outcome that an operation added to the log, if it did.
fn recorded(result: &OperationResult) -> Option<&Arc<Outcome>> {
    match result {
        OperationResult::Recorded(outcome) => Some(outcome),
        OperationResult::Repeated(_) | OperationResult::KeyReused { .. } => None,
    }
}

/// How many tickets an outcome made at once.
fn tickets_seeded(outcome: &Outcome) -> u64 {
    match outcome.verdict {
        Verdict::Accepted { tickets, .. } if outcome.action == Action::Seed.code() => tickets,
        _ => 0,
    }
}

/// The value of a held key: the index of its outcome, which knows the key, the payload's digest and the time from which
/// the key is held; and the scope, if it is not the event of that outcome.
pub(super) fn key_value(entry: &KeyEntry) -> Vec<u8> {
    let mut writer = Writer::with_capacity(8);
    writer.u64(entry.outcome.index);
    if entry.scope != KeyScope::Event(entry.outcome.event.clone()) {
        entry.scope.write(&mut writer);
    }
    writer.into_bytes()
}
