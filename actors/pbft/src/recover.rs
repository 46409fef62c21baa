//! Start and restart (consensus.md sections 4 and 11): the derived state gives the base, then every record of the log goes
//! through [`Input::Replay`](crate::Input::Replay), in order, then [`Input::Start`](crate::Input::Start). What was promised
//! before the crash is known again: which block was accepted in which view, what is prepared, which view this replica
//! moved to, and whether that view is active.

use std::sync::Arc;

use dtvn_messages::{CommittedProof, Digest, Genesis, Height, Now, StableCheckpoint, Timestamp};

use crate::bundles::Positions;
use crate::chain::Tip;
use crate::effect::{CertifiedBlock, Effect, Record};
use crate::replica::{Proposal, Replica};

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
    /// How many empty blocks end there.
    pub empty_run: u64,
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
            height: Height(0),
            digest: genesis.hash(),
            timestamp: genesis.file().time,
            positions: Positions::new(),
            log: (0, dtvn_messages::merkle::empty_root()),
            empty_run: 0,
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
        }
    }
}

impl Replica {
    pub(crate) fn on_replay(&mut self, record: Record) {
        assert!(!self.started, "records are replayed before the start");
        match record {
            Record::Proposal { view, block } => {
                let digest = block.header.digest(&self.config.chain);
                let height = block.header.height;
                self.remember_block(&block, digest);
                if view == self.view && height > self.chain.committed() {
                    let slot = self.slots.entry(height).or_default();
                    slot.proposal = Some(Proposal { block, digest, logged: Some(0), refused: false, held: false });
                }
            }
            Record::Prepared(prepared) => {
                let kept = self.prepared.get(&prepared.height());
                if kept.is_none_or(|kept| kept.view() < prepared.view()) {
                    self.prepared.insert(prepared.height(), prepared);
                }
            }
            Record::ViewChange(view_change) => {
                let view = view_change.signed.body.view;
                if view > self.view || (view == self.view && !self.active) {
                    self.enter_view(view);
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
                    self.install_selection(&mut Vec::new());
                    self.active = true;
                }
            }
            Record::Checkpoint(vote) => self.count_checkpoint(vote, &mut Vec::new()),
            Record::Committed { block, certificate } => {
                let digest = block.header.digest(&self.config.chain);
                let height = block.header.height;
                if height > self.chain.committed() {
                    self.certified.insert(height, CertifiedBlock { block, digest, certificate });
                }
            }
            Record::Stable(stable) => {
                if stable.height() > self.stable_height() && stable.height() <= self.chain.committed() {
                    self.stable = Some(stable);
                }
            }
        }
    }

    /// All records are replayed: executes what the log holds, votes again as before, and tells everyone.
    pub(crate) fn on_start(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.started = true;
        // A committed block without a certificate at or above it in the log is not final for this replica: it asks.
        let last =
            self.certified.iter().rev().find(|(_, block)| block.certificate.is_some()).map(|(height, _)| *height);
        let floor = last.unwrap_or(self.chain.committed());
        self.certified = self.certified.range(..=floor).map(|(height, block)| (*height, block.clone())).collect();
        let stable = self.stable_height();
        self.prepared = self.prepared.split_off(&stable.next());
        self.resume_prepared();
        self.note_own_wish();
        self.say_status(now, effects);
    }

    /// What was prepared in the current view before the restart is prepared again, and COMMIT may be said again.
    fn resume_prepared(&mut self) {
        let view = self.view;
        for (height, prepared) in &self.prepared {
            if prepared.view() == view
                && let Some(slot) = self.slots.get_mut(height)
                && slot.proposal.as_ref().is_some_and(|proposal| proposal.digest == prepared.digest())
            {
                slot.prepared = Some(0);
            }
        }
    }
}
