//! The board: what a node shows of itself, posted by its actors, read by anyone without asking them.
//!
//! Live pages, `/health`, `/stats` and readiness read here, so that looking at a node costs its actors nothing, and works
//! while they are busy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use dtvn_messages::{Genesis, Height, NodeName, PublicKey, Scheme, Timestamp, Validator, ValidatorIndex, View, limits};
use dtvn_pbft::{Cause, Config, ReplicaView};
use dtvn_replication::archive;
use dtvn_replication::verify::Verifier;
use libp2p::PeerId;
use tokio::sync::watch;

use crate::health::{HealthShown, Stall};
use crate::network::keys::peer_id;

/// Who this node is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: NodeName,
    /// Its public key.
    pub public_key: PublicKey,
    /// Whether it may vote where a validator set has its key.
    pub may_vote: bool,
    /// The genesis of its chain.
    pub genesis: Arc<Genesis>,
    /// When this process started, wall time.
    pub started_at: Timestamp,
}

impl Identity {
    /// The key that it votes with, if it may.
    #[must_use]
    pub fn voting_key(&self) -> Option<PublicKey> {
        self.may_vote.then_some(self.public_key)
    }
}

/// The epoch that a node is in.
#[derive(Clone)]
pub struct EpochShown {
    /// What consensus runs on in it: its validators, and which of them this node is.
    pub config: Config,
    /// How peers' messages are checked in it.
    pub verifier: Verifier,
    /// Its validators by their identity in the network.
    pub peers: BTreeMap<PeerId, ValidatorIndex>,
}

impl std::fmt::Debug for EpochShown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EpochShown").field("config", &self.config).finish_non_exhaustive()
    }
}

impl EpochShown {
    /// The epoch that consensus runs on `config` in.
    #[must_use]
    pub fn new(config: Config, scheme: Arc<dyn Scheme>) -> Self {
        let peer =
            |(index, validator): (ValidatorIndex, &Validator)| Some((peer_id(&validator.public_key).ok()?, index));
        let peers = config.set.iter().filter_map(peer).collect();
        Self { verifier: Verifier::of(&config, scheme), config, peers }
    }
}

/// Why a node that could vote does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotVoting {
    /// It is no validator.
    Observer,
    /// Its consensus log is missing or damaged: it may have signed what it does not remember.
    Amnesia(String),
    /// Its state differs from what a quorum certified.
    Diverged,
    /// Its disk is nearly full.
    DiskFull,
}

/// What the replica shows.
#[derive(Debug, Clone)]
pub struct ConsensusShown {
    /// The state of the core; none before it has started.
    pub replica: Option<ReplicaView>,
    /// When the last block was committed here, wall time.
    pub last_commit_at: Option<Timestamp>,
    /// Why it does not vote; none if it does.
    pub not_voting: Option<NotVoting>,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The view.
    pub view: View,
    /// Its leader.
    pub leader: ValidatorIndex,
}

/// What a node shows of itself.
#[derive(Debug)]
pub struct Board {
    /// Who it is.
    pub identity: Identity,
    epoch: watch::Sender<Arc<EpochShown>>,
    consensus: watch::Sender<ConsensusShown>,
    leadership: watch::Sender<Option<Leadership>>,
    quorum: watch::Sender<bool>,
    /// Whether a quorum was connected at some time since the node started.
    met_quorum: AtomicBool,
    stopping: watch::Sender<bool>,
    view_changes: [AtomicU64; Cause::ALL.len()],
    health: RwLock<HealthShown>,
    /// The highest height whose outcomes were given to those who wait for them.
    decided: AtomicU64,
    /// The lowest height from which on all blocks are in the store, once it is open; and that of the archived state.
    reach: RwLock<(Option<Height>, Option<Height>)>,
    /// Whether the store was begun anew although the node was used, and may lack what the node knew.
    rebuilding: AtomicBool,
}

impl Board {
    /// A board of a node that begins in the first epoch.
    #[must_use]
    pub fn new(identity: Identity, scheme: Arc<dyn Scheme>) -> Arc<Self> {
        let config = Config::from_genesis(&identity.genesis, identity.voting_key().as_ref());
        let board = Self {
            identity,
            epoch: watch::Sender::new(Arc::new(EpochShown::new(config, scheme))),
            consensus: watch::Sender::new(ConsensusShown { replica: None, last_commit_at: None, not_voting: None }),
            leadership: watch::Sender::new(None),
            quorum: watch::Sender::new(false),
            met_quorum: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
            view_changes: Default::default(),
            health: RwLock::default(),
            decided: AtomicU64::new(0),
            reach: RwLock::default(),
            rebuilding: AtomicBool::new(false),
        };
        board.post_whether_validator();
        Arc::new(board)
    }

    /// The epoch that the node is in.
    #[must_use]
    pub fn epoch(&self) -> Arc<EpochShown> {
        Arc::clone(&self.epoch.borrow())
    }

    /// The epoch that the node is in, and news of it.
    #[must_use]
    pub fn epochs(&self) -> watch::Receiver<Arc<EpochShown>> {
        self.epoch.subscribe()
    }

    /// Posts the epoch that the node is in; watchers are woken only if it is another one.
    pub fn post_epoch(&self, config: Config) {
        self.epoch.send_if_modified(|shown| {
            let is_other = shown.config.epoch != config.epoch;
            let scheme = Arc::clone(&shown.verifier.scheme);
            *shown = Arc::new(EpochShown::new(config, scheme));
            is_other
        });
        self.post_whether_validator();
    }

    /// An observer does not vote; who is a validator may have another reason.
    fn post_whether_validator(&self) {
        let is_observer = self.epoch().config.me.is_none();
        self.consensus.send_if_modified(|shown| match (is_observer, &shown.not_voting) {
            (true, None) => {
                shown.not_voting = Some(NotVoting::Observer);
                true
            }
            (false, Some(NotVoting::Observer)) => {
                shown.not_voting = None;
                true
            }
            _ => false,
        });
    }

    /// What the replica shows, and news of it.
    #[must_use]
    pub fn consensus(&self) -> watch::Receiver<ConsensusShown> {
        self.consensus.subscribe()
    }

    /// Posts what the replica shows; watchers are woken only if it changed.
    pub fn post_replica(&self, view: ReplicaView, now: Timestamp) {
        self.consensus.send_if_modified(|shown| {
            if shown.replica == Some(view) {
                return false;
            }
            if shown.replica.is_none_or(|before| before.committed < view.committed) {
                shown.last_commit_at = Some(now);
            }
            shown.replica = Some(view);
            match (view.diverged, &shown.not_voting) {
                (true, _) => shown.not_voting = Some(NotVoting::Diverged),
                (false, Some(NotVoting::Diverged)) => shown.not_voting = None,
                (false, _) => {}
            }
            true
        });
        let now = Some(Leadership { view: view.view, leader: view.leader });
        self.leadership.send_if_modified(|before| std::mem::replace(before, now) != now);
    }

    /// Who leads, and news of it, so that who wants to know is not woken by every block; none before the replica has
    /// started.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Option<Leadership>> {
        self.leadership.subscribe()
    }

    /// Posts why this node does not vote.
    pub fn post_not_voting(&self, why: Option<NotVoting>) {
        self.consensus.send_modify(|shown| shown.not_voting = why);
    }

    /// Posts that this node must not vote for what it has forgotten, and why; or that it remembers all that it signed.
    pub fn post_forgotten(&self, why: Option<String>) {
        self.consensus.send_if_modified(|shown| match (why, &shown.not_voting) {
            (None, Some(NotVoting::Amnesia(_))) => {
                shown.not_voting = None;
                true
            }
            (None, _) => false,
            (Some(why), _) => {
                shown.not_voting = Some(NotVoting::Amnesia(why));
                true
            }
        });
    }

    /// Whether validators of power `Q`, this one included, are connected.
    #[must_use]
    pub fn quorum(&self) -> watch::Receiver<bool> {
        self.quorum.subscribe()
    }

    /// Posts whether a quorum is connected.
    pub fn post_quorum(&self, connected: bool) {
        self.met_quorum.fetch_or(connected, Ordering::Relaxed);
        self.quorum.send_if_modified(|quorum| std::mem::replace(quorum, connected) != connected);
    }

    /// The height of a state that this node can give to one that has nothing, and from which its blocks lead on
    /// ([`dtvn_replication::archive::reach`]); none if there is none, or it is not known yet.
    #[must_use]
    pub fn reach(&self) -> Option<Height> {
        let (first_block, archived) = *self.reach.read().unwrap_or_else(PoisonError::into_inner);
        archive::reach(archived, self.identity.genesis.base(), first_block?)
    }

    /// The lowest height from which on all blocks are in the store; none before it was open.
    #[must_use]
    pub fn first_block(&self) -> Option<Height> {
        self.reach.read().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The height of the archived state; none if there is none.
    #[must_use]
    pub fn archived(&self) -> Option<Height> {
        self.reach.read().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Posts the height of the archived state.
    pub fn post_archived(&self, height: Option<Height>) {
        self.reach.write().unwrap_or_else(PoisonError::into_inner).1 = height;
    }

    /// Posts the lowest height from which on all blocks are in the store.
    pub fn post_first_block(&self, height: Height) {
        self.reach.write().unwrap_or_else(PoisonError::into_inner).0 = Some(height);
    }

    /// Posts whether the store was begun anew although the node was used before.
    pub fn post_rebuilding(&self, rebuilding: bool) {
        self.rebuilding.store(rebuilding, Ordering::Relaxed);
    }

    /// Why this node's state is not what a client may be told, if it is not: it was found to be wrong; or it is a follower's
    /// that nobody has told anything since it started; or the database was lost, and what this node or others know to be
    /// decided is not in it again.
    #[must_use]
    pub fn is_unsound(&self) -> Option<&'static str> {
        let consensus = self.consensus.borrow();
        if consensus.not_voting == Some(NotVoting::Diverged) {
            return Some("its state differs from the certified one, which it fetches");
        }
        if self.epoch.borrow().config.me.is_none() && !self.met_quorum.load(Ordering::Relaxed) {
            return Some("it has no vote, and has not met a quorum of the validators since it started");
        }
        if !self.rebuilding.load(Ordering::Relaxed) {
            return None;
        }
        let base = self.identity.genesis.base();
        let here = self.committed().max(base);
        let forgot = matches!(consensus.not_voting, Some(NotVoting::Amnesia(_)));
        let is_back = consensus.replica.is_some_and(|shown| {
            let known = shown.committed.max(shown.proved);
            // A node without its log does not know of anything that it has lost.
            let has_some = here > base || !forgot;
            has_some && here >= shown.stable && known.above(here) <= limits::INTAKE_SYNCING_BLOCKS
        });
        if is_back {
            self.rebuilding.store(false, Ordering::Relaxed);
            return None;
        }
        Some("its database was lost, and is made anew")
    }

    /// Whether the node is shutting down.
    #[must_use]
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// The node is shutting down: new work is refused from now on.
    pub fn post_stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Counts a view change.
    pub fn count_view_change(&self, cause: Cause) {
        if let Some(counter) = Cause::ALL.iter().position(|known| *known == cause) {
            self.view_changes[counter].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many view changes there were, by cause.
    pub fn view_changes(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        Cause::ALL.into_iter().zip(self.view_changes.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }

    /// What the watchdog shows.
    #[must_use]
    pub fn health(&self) -> HealthShown {
        self.health.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_health<T>(&self, change: impl FnOnce(&mut HealthShown) -> T) -> T {
        change(&mut self.health.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Posts what the watchdog saw of the mailboxes.
    pub fn post_looked(&self, at: Instant, stuck: Vec<Stall>) {
        self.change_health(|health| (health.looked_at, health.stuck) = (Some(at), stuck));
    }

    /// Posts how many bytes must be free on the disk for this node to vote; 0 for none.
    pub fn post_disk_free_min(&self, bytes: u64) {
        self.change_health(|health| health.disk_free_bytes_min = bytes);
    }

    /// Posts how many bytes are free on the disk, and says whether that is too little to vote. Once it was, an eighth more
    /// than the least is needed, so that a node does not waver.
    pub fn post_disk_free(&self, bytes: u64) -> bool {
        let is_full = self.change_health(|health| {
            let least = health.disk_free_bytes_min;
            let wanted = if health.disk_full { least.saturating_add(least / 8) } else { least };
            (health.disk_free_bytes, health.disk_full) = (Some(bytes), bytes < wanted);
            health.disk_full
        });
        self.consensus.send_if_modified(|shown| match (is_full, &shown.not_voting) {
            (true, None) => {
                shown.not_voting = Some(NotVoting::DiskFull);
                true
            }
            (false, Some(NotVoting::DiskFull)) => {
                shown.not_voting = None;
                true
            }
            _ => false,
        });
        is_full
    }

    /// Whether the disk is too full to vote.
    #[must_use]
    pub fn disk_is_full(&self) -> bool {
        self.health.read().unwrap_or_else(PoisonError::into_inner).disk_full
    }

    /// Posts that a block's outcomes are about to be given to those who wait for them: who has heard of one finds it in
    /// whatever he reads next, also while the replica has not shown the block yet.
    pub fn post_decided(&self, height: Height) {
        self.decided.fetch_max(height.0, Ordering::AcqRel);
    }

    /// The highest committed height, as far as anybody outside may know of it.
    #[must_use]
    pub fn committed(&self) -> Height {
        let shown = self.consensus.borrow().replica.map_or(Height(0), |replica| replica.committed);
        shown.max(Height(self.decided.load(Ordering::Acquire)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtvn_messages::KeyPair;
    use dtvn_messages::crypto::DEVELOPMENT_SEED;

    /// The board of the only validator, or of a follower with its key.
    fn board(may_vote: bool) -> Arc<Board> {
        let identity = Identity {
            name: NodeName::new("node0").unwrap(),
            public_key: KeyPair::development(DEVELOPMENT_SEED, "node0").public(),
            may_vote,
            genesis: Arc::new(Genesis::development(1, DEVELOPMENT_SEED, false).unwrap()),
            started_at: Timestamp(0),
        };
        Board::new(identity, Arc::new(dtvn_messages::Ed25519))
    }

    #[test]
    fn a_node_that_may_not_vote_is_no_validator_even_with_the_key_of_one() {
        let me = |may_vote| board(may_vote).epoch().config.me;
        assert_eq!((me(true), me(false)), (Some(ValidatorIndex(0)), None));
    }

    #[test]
    fn a_follower_that_has_met_no_quorum_yet_does_not_know_what_was_decided() {
        let follower = board(false);
        follower.post_quorum(false);
        let why = follower.is_unsound().expect("nobody has told it anything");
        assert!(why.contains("has not met a quorum"), "{why}");
        follower.post_quorum(true);
        assert_eq!(follower.is_unsound(), None);
        // What it was told once is a state that was true: it goes on serving that.
        follower.post_quorum(false);
        assert_eq!(follower.is_unsound(), None);
        assert_eq!(board(true).is_unsound(), None, "a validator serves what it has voted for");
    }

    #[test]
    fn what_somebody_was_told_is_committed_before_the_replica_shows_it() {
        let board = board(true);
        assert_eq!(board.committed(), Height(0));
        board.post_decided(Height(7));
        board.post_decided(Height(5));
        assert_eq!(board.committed(), Height(7));
    }
}
