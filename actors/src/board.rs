//! The board: what a node shows of itself, posted by its actors, read by anyone without asking them.
//!
//! Live pages, `/health`, `/stats` and readiness read here, so that looking at a node costs its actors nothing, and works
//! while they are busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dtvn_messages::{Genesis, Height, NodeName, PublicKey, Timestamp, ValidatorIndex, View};
use dtvn_pbft::{Cause, ReplicaView};
use tokio::sync::watch;

/// Who this node is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub name: NodeName,
    /// Its public key.
    pub public_key: PublicKey,
    /// Its place among the validators; none for an observer.
    pub index: Option<ValidatorIndex>,
    /// The genesis of its chain.
    pub genesis: Arc<Genesis>,
    /// When this process started, wall time.
    pub started_at: Timestamp,
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
    consensus: watch::Sender<ConsensusShown>,
    leadership: watch::Sender<Option<Leadership>>,
    quorum: watch::Sender<bool>,
    stopping: watch::Sender<bool>,
    view_changes: [AtomicU64; Cause::ALL.len()],
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self {
            identity,
            consensus: watch::Sender::new(ConsensusShown { replica: None, last_commit_at: None, not_voting: None }),
            leadership: watch::Sender::new(None),
            quorum: watch::Sender::new(false),
            stopping: watch::Sender::new(false),
            view_changes: Default::default(),
        })
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
            if view.diverged {
                shown.not_voting = Some(NotVoting::Diverged);
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

    /// Whether validators of power `Q`, this one included, are connected.
    #[must_use]
    pub fn quorum(&self) -> watch::Receiver<bool> {
        self.quorum.subscribe()
    }

    /// Posts whether a quorum is connected.
    pub fn post_quorum(&self, connected: bool) {
        self.quorum.send_if_modified(|quorum| std::mem::replace(quorum, connected) != connected);
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

    /// The highest committed height.
    #[must_use]
    pub fn committed(&self) -> Height {
        self.consensus.borrow().replica.map_or(Height(0), |replica| replica.committed)
    }
}
