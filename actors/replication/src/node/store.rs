//! The derived state in memory, in the place of RocksDB: what blocks changed, added up block by block, of which a loss of
//! power may take the last blocks (architecture.md section 5: "recovery replays the log after that height").

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dtvn_ledger::{BlockEffects, KeyEntry, LedgerImage};
use dtvn_messages::limits::RECEIPTS_KEPT_HEIGHTS;
use dtvn_messages::merkle::{Frontier, LogEdge};
use dtvn_messages::wire::CommittedBlock;
use dtvn_messages::{
    Digest, Epoch, EpochEnd, EventId, Evidence, Genesis, Head, Height, LastBundle, Membership, NodeName,
    ReceiptCertificate, StableCheckpoint, Ticket, TicketId, Timestamp,
};

use crate::archive::{self, Archived};
use crate::consensus::Committed;
use crate::execution::{LastBlock, Snapshot, Stored};

/// A store in memory. It outlives the node's process; [`MemoryStore::crash`] is the loss of power.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    /// The state after the last durable block.
    durable: State,
    /// Blocks that were applied since, with what they changed.
    unsynced: VecDeque<(Height, Arc<BlockEffects>)>,
    blocks: BTreeMap<Height, Kept>,
    /// Receipt certificates, and how many of them are durable: with the blocks, or the next sync after.
    receipts: BTreeMap<Height, Arc<ReceiptCertificate>>,
    unsynced_receipts: BTreeSet<Height>,
    /// Evidence, by its name.
    evidence: BTreeMap<Digest, Arc<Evidence>>,
    /// The latest stable checkpoint, and whether it is durable.
    stable: Option<Arc<StableCheckpoint>>,
    durable_stable: Option<Arc<StableCheckpoint>>,
    /// How each epoch ended.
    ends: BTreeMap<Epoch, Arc<EpochEnd>>,
    /// The archived state. It is durable at once.
    archived: Option<Archived>,
    /// There is no space for anything more.
    is_full: bool,
    /// How often there was none for what came.
    refused: u64,
}

/// A store has no space for what was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot write to the store: no space left on the disk")]
pub struct StoreFull;

#[derive(Debug, Clone)]
struct Kept {
    block: CommittedBlock,
    digest: Digest,
}

#[derive(Debug, Clone)]
struct State {
    height: Height,
    timestamp: Timestamp,
    tickets: BTreeMap<(EventId, TicketId), Arc<Ticket>>,
    keys: BTreeMap<Digest, KeyEntry>,
    log: Frontier,
    accepted: u64,
    edge: LogEdge,
    last_bundles: BTreeMap<NodeName, LastBundle>,
    membership: Option<Arc<Membership>>,
}

impl State {
    fn of(image: LedgerImage, edge: LogEdge) -> Self {
        let LedgerImage { height, timestamp, tickets, keys, log, accepted, last_bundles, membership } = image;
        Self {
            height,
            timestamp,
            tickets: tickets.into_iter().map(|it| ((it.event.clone(), it.id.clone()), it)).collect(),
            keys: keys.into_iter().map(|key| (key.digest(), key)).collect(),
            log,
            accepted,
            edge,
            last_bundles: last_bundles.into_iter().collect(),
            membership,
        }
    }

    fn apply(&mut self, effects: &BlockEffects) {
        self.height = effects.height;
        self.timestamp = effects.timestamp;
        for ticket in &effects.tickets {
            self.tickets.insert((ticket.event.clone(), ticket.id.clone()), Arc::clone(ticket));
        }
        // Expired ones first: a key may be used anew in the very block in which it expires.
        for expired in &effects.keys_expired {
            self.keys.remove(&expired.digest());
        }
        for added in &effects.keys_added {
            self.keys.insert(added.digest(), added.clone());
        }
        self.log = effects.log.frontier.clone();
        self.accepted = effects.log.accepted;
        effects.log.leaves.iter().for_each(|leaf| self.edge.append(*leaf));
        for (origin, last) in &effects.last_bundles {
            self.last_bundles.insert(origin.clone(), *last);
        }
        if let Some(membership) = &effects.membership {
            self.membership = Some(Arc::clone(membership));
        }
    }

    fn image(&self) -> LedgerImage {
        LedgerImage {
            height: self.height,
            timestamp: self.timestamp,
            tickets: self.tickets.values().cloned().collect(),
            keys: self.keys.values().cloned().collect(),
            log: self.log.clone(),
            accepted: self.accepted,
            last_bundles: self.last_bundles.iter().map(|(origin, last)| (origin.clone(), *last)).collect(),
            membership: self.membership.clone(),
        }
    }
}

impl MemoryStore {
    /// The store of a new node of a new chain.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self::of(Stored::genesis(genesis))
    }

    /// A store that holds a state.
    #[must_use]
    pub fn of(stored: Stored) -> Self {
        let Stored { image, block, stable, ends, edge } = stored;
        let height = image.height;
        // Its bundles are not part of a snapshot: this block is not served.
        let kept = block.map(|LastBlock { block, digest, certificate }| {
            let block = CommittedBlock { block: Arc::new(block), certificate, bundles: Vec::new() };
            (height, Kept { block, digest })
        });
        let stable = stable.map(Arc::new);
        Self {
            durable: State::of(image, edge),
            unsynced: VecDeque::new(),
            blocks: kept.into_iter().collect(),
            receipts: BTreeMap::new(),
            unsynced_receipts: BTreeSet::new(),
            evidence: BTreeMap::new(),
            durable_stable: stable.clone(),
            stable,
            ends: ends.into_iter().map(|end| (end.epoch(), end)).collect(),
            archived: None,
            is_full: false,
            refused: 0,
        }
    }

    /// The height of the last applied block.
    #[must_use]
    pub fn applied(&self) -> Height {
        self.unsynced.back().map_or(self.durable.height, |(height, _)| *height)
    }

    /// The height up to which no loss of power takes anything.
    #[must_use]
    pub const fn durable(&self) -> Height {
        self.durable.height
    }

    /// From now on there is no space for another block or state, or there is again.
    pub const fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// For how much there was no space since this was last asked.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Whether there is space: a node asks before it applies a block, or puts another state in the place of this one.
    ///
    /// # Errors
    /// If there is none.
    pub fn check_space(&mut self) -> Result<(), StoreFull> {
        self.refused += u64::from(self.is_full);
        if self.is_full { Err(StoreFull) } else { Ok(()) }
    }

    /// Applies the next block.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn apply(&mut self, committed: &Committed, effects: &Arc<BlockEffects>) {
        let height = committed.block.header.height;
        assert_eq!(height, self.applied().next(), "blocks are applied one after the other");
        let bundles = committed.bundles.iter().map(|bundle| Arc::new(bundle.bytes.clone())).collect();
        let (block, certificate) = (Arc::clone(&committed.block), committed.certificate.clone());
        let block = CommittedBlock { block, certificate, bundles };
        self.blocks.insert(height, Kept { block, digest: committed.digest });
        self.unsynced.push_back((height, Arc::clone(effects)));
    }

    /// Keeps a stable checkpoint.
    pub fn put_stable(&mut self, stable: Arc<StableCheckpoint>) {
        self.stable = Some(stable);
    }

    /// Keeps how an epoch ended: before any block of the next one.
    pub fn put_epoch_end(&mut self, end: Arc<EpochEnd>) {
        self.ends.insert(end.epoch(), end);
    }

    /// How an epoch ended, if it did.
    #[must_use]
    pub fn epoch_end(&self, epoch: Epoch) -> Option<&Arc<EpochEnd>> {
        self.ends.get(&epoch)
    }

    /// Keeps the receipt certificate of a block.
    pub fn put_receipt(&mut self, certificate: Arc<ReceiptCertificate>) {
        self.unsynced_receipts.insert(certificate.head.height);
        self.receipts.insert(certificate.head.height, certificate);
    }

    /// Keeps evidence. It is durable at once.
    pub fn put_evidence(&mut self, evidence: Arc<Evidence>) {
        self.evidence.insert(evidence.name(), evidence);
    }

    /// The evidence.
    pub fn evidence(&self) -> impl Iterator<Item = &Arc<Evidence>> {
        self.evidence.values()
    }

    /// The receipt certificate of a block, if it is here.
    #[must_use]
    pub fn receipt(&self, height: Height) -> Option<&Arc<ReceiptCertificate>> {
        self.receipts.get(&height)
    }

    /// The heads of recent blocks without a receipt certificate, ascending.
    #[must_use]
    pub fn uncertified(&self) -> Vec<Head> {
        let lowest = Height(self.applied().0.saturating_sub(RECEIPTS_KEPT_HEIGHTS)).next();
        let missing = self.blocks.range(lowest..).filter(|(height, _)| !self.receipts.contains_key(height));
        missing.map(|(_, kept)| Head::of(&kept.block.block.header, kept.digest)).collect()
    }

    /// Puts another state in the place of what is stored, for good.
    pub fn install(&mut self, stored: Stored) {
        let (evidence, mut ends) = (std::mem::take(&mut self.evidence), std::mem::take(&mut self.ends));
        let archived = self.archived.take();
        let installed = Self::of(stored);
        ends.extend(installed.ends.clone());
        *self = Self { evidence, ends, archived, is_full: self.is_full, refused: self.refused, ..installed };
    }

    /// A value on the disk is another than the one that was written, and no checksum tells: a fault that a simulator
    /// plants.
    pub fn alter(&mut self, ticket: Ticket) {
        self.durable.tickets.insert((ticket.event.clone(), ticket.id.clone()), Arc::new(ticket));
    }

    /// Makes all that was applied durable.
    pub fn sync(&mut self) {
        self.crash(usize::MAX);
    }

    /// The power fails: of what was not synced, the first `keep` blocks are kept. A stable checkpoint that was put since
    /// is kept with the last of them.
    pub fn crash(&mut self, keep: usize) {
        let kept_all = keep >= self.unsynced.len();
        self.unsynced.truncate(keep);
        for (_, effects) in self.unsynced.drain(..) {
            self.durable.apply(&effects);
        }
        let above = self.durable.height.next();
        self.blocks.split_off(&above);
        if kept_all {
            self.unsynced_receipts.clear();
            self.durable_stable.clone_from(&self.stable);
        }
        for lost in std::mem::take(&mut self.unsynced_receipts) {
            self.receipts.remove(&lost);
        }
        self.stable.clone_from(&self.durable_stable);
        // What was written after the last block that is kept is lost with those above it.
        let height = self.durable.height;
        self.ends.retain(|_, end| end.height() < height || (kept_all && end.height() == height));
    }

    /// Forgets the blocks below a height, never the last applied one.
    pub fn collect(&mut self, below: Height) {
        self.blocks = self.blocks.split_off(&below.min(self.applied()));
        self.receipts = self.receipts.split_off(&below.min(self.applied()));
    }

    /// A committed block as peers are sent it, if it is here.
    #[must_use]
    pub fn block(&self, height: Height) -> Option<CommittedBlock> {
        let block = &self.blocks.get(&height)?.block;
        (block.bundles.len() == block.block.bundles.len()).then(|| block.clone())
    }

    /// The lowest height from which on all blocks are here.
    #[must_use]
    pub fn first_block(&self) -> Height {
        let first = self.blocks.keys().copied().find(|height| self.block(*height).is_some());
        first.unwrap_or_else(|| self.applied().next())
    }

    /// Archives a state, in the place of the last one. If there is no space, none is written.
    ///
    /// # Panics
    /// If the state is not the one that its checkpoint certifies.
    #[expect(clippy::expect_used, reason = "a snapshot has the state that was certified")]
    pub fn archive(&mut self, snapshot: &Snapshot) {
        if self.is_full {
            return;
        }
        let (manifest, parts) = archive::contents(snapshot);
        let parts = parts.filter_map(|(part, hash)| Some((hash, archive::bytes_of(snapshot, &part)?)));
        let parts: BTreeMap<Digest, Vec<u8>> = parts.collect();
        let archived = Archived::new(manifest, Arc::new(parts));
        self.archived = Some(archived.expect("a stable state has the root that was certified"));
    }

    /// The archived state.
    #[must_use]
    pub const fn archived(&self) -> Option<&Archived> {
        self.archived.as_ref()
    }

    /// What a node that starts loads.
    #[must_use]
    pub fn load(&self) -> Stored {
        let mut state = self.durable.clone();
        self.unsynced.iter().for_each(|(_, effects)| state.apply(effects));
        let last = self.blocks.get(&state.height).map(|kept| LastBlock {
            block: dtvn_messages::Block::clone(&kept.block.block),
            digest: kept.digest,
            certificate: kept.block.certificate.clone(),
        });
        let ends = self.ends.values().cloned().collect();
        let stable = self.stable.as_deref().cloned();
        Stored { image: state.image(), block: last, stable, ends, edge: state.edge }
    }
}
