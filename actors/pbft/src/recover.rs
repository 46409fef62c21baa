//! Start and restart (consensus.md sections 4 and 11): the derived state gives the base, then every record of the log
//! goes through [`Input::Replay`](crate::Input::Replay), in order, then [`Input::Start`](crate::Input::Start). What was
//! promised before the crash is known again: which block was accepted in which view, what is prepared, which view this
//! replica moved to, and whether that view is active. A replay has no effects.

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{
    Block, CommittedProof, Digest, Epoch, Genesis, Height, StableCheckpoint, Succession, Timestamp, View,
};

use crate::bundles::Positions;
use crate::chain::Tip;
use crate::effect::{Effect, Record};
use crate::input::CertifiedBlock;
use crate::replica::Replica;
use crate::slot::{Kept, Proposal};

/// Where the derived state stands at start.
#[derive(Debug, Clone)]
pub struct Base {
    /// The last height whose effects are in the derived state.
    pub height: Height,
    /// The digest of its block.
    pub digest: Digest,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// The last ordered bundle of each origin, after it.
    pub positions: Positions,
    /// The size and root of the transparency log after it.
    pub log: (u64, Digest),
    /// The root of the state after it, if it is a checkpoint height and the root is known.
    pub state_root: Option<Digest>,
    /// How many empty blocks end there.
    pub empty_run: u64,
    /// Whether the epoch is about to end, and what holds above.
    pub succession: Succession,
    /// Its commit certificate; none for the genesis.
    pub proof: Option<Arc<CommittedProof>>,
    /// The stable checkpoint.
    pub stable: Option<Arc<StableCheckpoint>>,
}

impl Base {
    /// The start of a chain.
    #[must_use]
    pub fn genesis(genesis: &Genesis) -> Self {
        Self {
            height: genesis.base(),
            digest: genesis.hash(),
            timestamp: genesis.file().time,
            positions: Positions::new(),
            log: genesis.base_log(),
            state_root: None,
            empty_run: 0,
            succession: Succession::steady(Epoch(0), genesis.validators().hash()),
            proof: None,
            stable: None,
        }
    }

    pub(crate) fn tip(&self) -> Tip {
        Tip {
            height: self.height,
            digest: self.digest,
            timestamp: self.timestamp,
            positions: self.positions.clone(),
            log: self.log,
            empty_run: self.empty_run,
            succession: self.succession,
        }
    }
}

/// A proposal of the log: accepted in this view, so nothing else may be voted for there.
#[derive(Debug)]
pub(crate) struct Promised {
    view: View,
    block: Arc<Block>,
    pub digest: Digest,
}

impl Replica {
    pub(crate) fn on_replay(&mut self, record: Record) {
        assert!(!self.started, "records are replayed before the start");
        // The derived state was lost, or its end, and stands in an epoch that this log has left behind: a quorum ended it,
        // and what was signed in it may have been collected. Nothing is signed there any more.
        if record.epoch() > self.config.epoch {
            self.voting = false;
        }
        // What was signed in another epoch means nothing in this one.
        if record.epoch() != self.config.epoch {
            return;
        }
        match record {
            Record::Proposal { .. } if planted(Canary::ProposalForgotten) => {}
            Record::Proposal { view, block } => {
                let digest = block.header.digest(&self.config.chain);
                let height = block.header.height;
                self.remember_block(&block, digest);
                self.vouch_for(&block);
                // The records of its view may have been written again behind it: which view is current shows at the
                // end.
                if self.promised.get(&height).is_none_or(|promised| promised.view <= view) {
                    self.promised.insert(height, Promised { view, block, digest });
                }
            }
            Record::Prepared(certificate) => {
                let kept = self.prepared.get(&certificate.height()).map(|kept| kept.certificate.view());
                if kept.is_none_or(|kept| kept < certificate.view()) {
                    self.prepared.insert(certificate.height(), Kept { certificate, ticket: 0 });
                }
            }
            Record::ViewChange(view_change) => {
                let view = view_change.signed.body.view;
                if view > self.view {
                    self.enter_view(view);
                }
                if view == self.view {
                    self.own_view_change = Some(Arc::clone(&view_change));
                    self.on_view_change(view_change);
                }
            }
            Record::NewView { new_view, view_changes } => {
                let view = new_view.signed.body.view;
                if view > self.view {
                    self.enter_view(view);
                }
                if view == self.view && !self.active {
                    for view_change in &view_changes {
                        self.on_view_change(Arc::clone(view_change));
                    }
                    self.new_view = Some((new_view, view_changes));
                    self.active = true;
                }
            }
            Record::Checkpoint(vote) => self.keep_checkpoint(vote),
            Record::Committed { block, certificate } => {
                let digest = block.header.digest(&self.config.chain);
                self.take_certified(CertifiedBlock { block, digest, certificate });
            }
            Record::Stable(stable) => self.replay_stable(stable),
        }
    }

    /// One above the derived state is reached again when its blocks are.
    fn replay_stable(&mut self, stable: Arc<StableCheckpoint>) {
        if stable.height() <= self.stable_height() {
            return;
        }
        if stable.height() <= self.chain.committed() {
            self.stable = Some(stable);
        } else if self.stable_ahead.as_ref().is_none_or(|ahead| ahead.height() < stable.height()) {
            self.stable_ahead = Some(stable);
        }
    }

    /// All records are replayed: takes up what was promised, executes what the log holds, votes again as before, and
    /// tells everyone.
    pub(crate) fn on_start(&mut self, effects: &mut Vec<Effect>) {
        self.started = true;
        self.regain = self.stable_ahead.as_ref().map_or(Height(0), |stable| stable.height());
        // A committed block without a certificate at or above it in the log is not final for this replica: it asks.
        self.trim_certified();
        let above = self.stable_height().next();
        self.prepared = self.prepared.split_off(&above);
        self.leave_views_of_prepared();
        self.checkpoint_votes = self.checkpoint_votes.split_off(&above);
        if self.active {
            self.install_selection(effects);
        }
        self.resume_promises();
        self.note_own_wish();
        let tip = self.chain.tip();
        let height = tip.height;
        self.checkpoint_if_due(height, effects);
        self.try_stable(height, effects);
        self.want_again(effects);
        self.say_status(effects);
    }

    /// A certificate of a later view than the log's was kept while this replica might not vote: then it moves without a
    /// record. A VIEW-CHANGE for that view or one below would hide the certificate, and with it perhaps one of a lower view in
    /// whose place it is, and for which this replica sent COMMIT: so it takes part above that view only.
    fn leave_views_of_prepared(&mut self) {
        let highest = self.prepared.values().map(|kept| kept.certificate.view()).max();
        if let Some(view) = highest.filter(|view| *view > self.view) {
            self.enter_view(view.next());
        }
    }

    /// What was accepted in the current view before the restart is accepted, and what was prepared is prepared: PREPARE
    /// and COMMIT are said again, and nothing else can be.
    fn resume_promises(&mut self) {
        let (view, committed) = (self.view, self.chain.committed());
        for (height, promised) in std::mem::take(&mut self.promised) {
            if promised.view != view || height <= committed || !self.active {
                continue;
            }
            let Promised { block, digest, .. } = promised;
            let is_prepared = self
                .prepared
                .get(&height)
                .is_some_and(|kept| kept.certificate.view() == view && kept.certificate.digest() == digest);
            let slot = self.slots.entry(height).or_default();
            slot.proposal = Some(Proposal { block, digest, logged: Some(0), refused: None, is_held: false });
            slot.prepared = is_prepared.then_some(0);
            self.accepted += 1;
        }
    }
}
