//! Where figures come from: what the node's actors show without being asked. And what follows from it: whether the node
//! is ready and live (api.md section 8: "`/health` means ready (quorum reachable, at the tip, may vote) and says why not;
//! `/health/live` means that mailboxes move").

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dtvn_actors::board::{Board, ConsensusShown, NotVoting};
use dtvn_actors::health::HealthShown;
use dtvn_actors::network::{Class, NetworkMetrics, PeerInfo, PeerState};
use dtvn_actors::shared::NetworkSlot;
use dtvn_actors::storage::StoreSlot;
use dtvn_actors::storage::store::{Counts, StoreStats};
use dtvn_actors::supervision::{NodeTree, TreeNode};
use dtvn_messages::{Height, limits};

use super::actors::Figures;
use super::process::Process;

/// Where figures come from.
#[derive(Clone)]
pub struct Sources {
    /// What the node shows of itself.
    pub board: Arc<Board>,
    /// The actor tree, once it stands.
    pub tree: Arc<OnceLock<NodeTree>>,
    /// The network, while it is up.
    pub network: NetworkSlot,
    /// The store, while it is open.
    pub store: StoreSlot,
    /// How many clients listen for events.
    pub listeners: Arc<AtomicU64>,
}

/// All figures that are observed, as of one moment.
#[derive(Default)]
pub struct Reading {
    pub(super) identity: Option<IdentityRead>,
    pub(super) uptime: Duration,
    pub(super) consensus: Option<ConsensusShown>,
    pub(super) leads: bool,
    pub(super) quorum: bool,
    pub(super) ready: bool,
    pub(super) live: bool,
    pub(super) health: HealthShown,
    pub(super) tree: Option<TreeNode>,
    pub(super) actors: BTreeMap<String, Figures>,
    pub(super) network: Option<Arc<NetworkMetrics>>,
    pub(super) store: Option<StoreRead>,
    pub(super) archived: Option<Height>,
    pub(super) listeners: u64,
    pub(super) process: Process,
}

/// Who the node is.
pub(super) struct IdentityRead {
    pub(super) node: String,
    pub(super) chain: String,
    pub(super) rules_version: i64,
    pub(super) started_at_us: u64,
}

/// How the store is.
pub(super) struct StoreRead {
    pub(super) applied: Height,
    pub(super) counts: Counts,
    pub(super) stats: Option<StoreStats>,
}

impl Sources {
    /// Reads everything.
    pub(super) fn read(&self) -> Reading {
        let identity = &self.board.identity;
        let consensus = self.board.consensus().borrow().clone();
        Reading {
            uptime: Duration::ZERO,
            identity: Some(IdentityRead {
                node: identity.name.to_string(),
                chain: identity.genesis.chain_id().to_string(),
                rules_version: i64::from(identity.genesis.file().rules_version.0),
                started_at_us: identity.started_at.0,
            }),
            leads: consensus.replica.is_some_and(|replica| Some(replica.leader) == self.board.epoch().config.me),
            consensus: Some(consensus),
            quorum: *self.board.quorum().borrow(),
            ready: self.not_ready().is_empty(),
            live: self.not_live().is_empty(),
            health: self.board.health(),
            tree: self.tree.get().map(NodeTree::snapshot),
            actors: BTreeMap::new(),
            network: self.network.get().map(|handle| Arc::clone(handle.metrics())),
            store: self.read_store(),
            archived: self.board.archived(),
            listeners: self.listeners.load(Ordering::Relaxed),
            process: Process::read(),
        }
    }

    fn read_store(&self) -> Option<StoreRead> {
        let reader = self.store.get()?;
        let (applied, counts) = {
            let watch = reader.applied_watch();
            let applied = watch.borrow();
            (applied.height, applied.counts)
        };
        Some(StoreRead { applied, counts, stats: reader.stats().ok() })
    }

    /// Why the node is not ready, in words; nothing if it is.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let shown = self.board.consensus().borrow().clone();
        match shown.replica {
            None => reasons.push("the replica has not started".to_owned()),
            Some(replica) => {
                let behind = replica.proved.above(replica.committed);
                if behind > limits::READY_BEHIND_BLOCKS_MAX {
                    reasons.push(format!("catching up: {behind} blocks behind"));
                }
                if !replica.voting {
                    reasons.push(why_not_voting(shown.not_voting.as_ref()));
                }
                reasons.extend(self.store_behind(replica.committed));
            }
        }
        reasons.extend(self.disk_full());
        reasons.extend(self.no_quorum());
        if *self.board.stopping().borrow() {
            reasons.push("the node is shutting down".to_owned());
        }
        reasons
    }

    /// Too few validators are connected. Which of them vote at present nobody but they themselves can say: a status tells
    /// where a validator stands, and votes are seen only while there is something to decide.
    fn no_quorum(&self) -> Option<String> {
        if *self.board.quorum().borrow() {
            return None;
        }
        let unknown = || Some("fewer validators than a quorum are connected".to_owned());
        let Some(handle) = self.network.get() else { return unknown() };
        let epoch = self.board.epoch();
        let (set, me) = (&epoch.config.set, epoch.config.me);
        let is_up = |state: PeerState| matches!(state, PeerState::Connected | PeerState::Suspect);
        // As presence counts them: who shares no votes with a validator is in another epoch.
        let counts = |peer: &PeerInfo| is_up(peer.state) && (me.is_none() || peer.classes.contains(Class::Consensus));
        let others = handle.peers().into_iter().filter(counts).filter_map(|peer| peer.validator);
        let (power, needed, all) = (set.power_of(others.chain(me)), set.quorum(), set.total_power());
        // The news that there is a quorum may be on its way.
        if power >= needed {
            return unknown();
        }
        let are_equal = all == set.len() as u64;
        Some(if are_equal {
            format!("{power} of {all} validators are connected, {needed} are needed")
        } else {
            format!("validators with {power} of {all} votes are connected, {needed} are needed")
        })
    }

    fn store_behind(&self, committed: Height) -> Option<String> {
        let Some(store) = self.store.get() else { return Some("the store is not open".to_owned()) };
        let behind = committed.above(store.applied_watch().borrow().height);
        (behind > limits::STORE_BEHIND_BLOCKS_MAX).then(|| format!("the store is {behind} blocks behind"))
    }

    fn disk_full(&self) -> Option<String> {
        let health = self.board.health();
        let mebibytes = |bytes: u64| bytes / (1024 * 1024);
        let free = mebibytes(health.disk_free_bytes.unwrap_or_default());
        let least = mebibytes(health.disk_free_bytes_min);
        health.disk_full.then(|| format!("its disk has {free} MiB free, and {least} must be"))
    }

    /// Why the node is not live, in words; nothing if it is.
    #[must_use]
    pub fn not_live(&self) -> Vec<String> {
        self.board.health().not_live(Instant::now())
    }
}

/// Why a node does not vote, in words.
#[must_use]
pub fn why_not_voting(why: Option<&NotVoting>) -> String {
    match why {
        None => "it signs no votes".to_owned(),
        Some(NotVoting::Observer) => "it is no validator of this chain".to_owned(),
        Some(NotVoting::Amnesia(why)) => format!("its consensus log was lost, so it may not vote: {why}"),
        Some(NotVoting::Diverged) => "its state differs from what a quorum certified".to_owned(),
        Some(NotVoting::DiskFull) => "its disk is nearly full".to_owned(),
    }
}
