//! The replica: its state, and the one door in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::bundle::BundlePosition;
use dtvn_messages::view_change::{SealedNewView, SealedViewChange};
use dtvn_messages::{
    Block, Checkpoint, CommittedProof, Digest, Height, Now, Signed, StableCheckpoint, ValidatorIndex,
    View as ViewNumber,
};

use crate::bundles::{BundleMeta, Bundles};
use crate::chain::Chain;
use crate::config::Config;
use crate::early::{Early, Reached};
use crate::effect::{Effect, Ticket, Unsigned};
use crate::input::{CertifiedBlock, Durable, Input, Message, Own, Timer};
use crate::pace::Pace;
use crate::recover::{Base, Promised};
use crate::slot::{Ask, Kept, Recent, Slot};
use crate::timers::Timers;
use dtvn_messages::selection::Selection;

/// What a replica shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its view.
    pub view: ViewNumber,
    /// Whether the view is active.
    pub active: bool,
    /// The leader of the view.
    pub leader: ValidatorIndex,
    /// The highest committed height.
    pub committed: Height,
    /// The digest of the block there.
    pub committed_digest: Digest,
    /// The stable checkpoint.
    pub stable: Height,
    /// The highest height that others proved.
    pub proved: Height,
    /// The highest executed height.
    pub executed: Height,
    /// Whether it signs votes.
    pub voting: bool,
    /// Whether its state differs from what a quorum certified.
    pub diverged: bool,
    /// Whether the last height of the epoch is committed, and what proves its end is not here yet.
    pub at_epoch_end: bool,
}

/// A PBFT replica as a value.
#[derive(Debug)]
pub struct Replica {
    pub(crate) config: Config,
    /// The time of the current step.
    pub(crate) now: Now,
    pub(crate) chain: Chain,
    /// The commit certificate of the committed tip.
    pub(crate) tip_proof: Option<Arc<CommittedProof>>,
    pub(crate) recent: BTreeMap<Height, Recent>,
    pub(crate) stable: Option<Arc<StableCheckpoint>>,
    pub(crate) checkpoint_votes: BTreeMap<Height, BTreeMap<ValidatorIndex, Signed<Checkpoint>>>,
    /// Who voted for another checkpoint than the certified one, at the height of the latest.
    pub(crate) differing: BTreeSet<ValidatorIndex>,
    /// This replica's state root after each committed checkpoint height that no stable checkpoint covers.
    pub(crate) roots: BTreeMap<Height, Digest>,
    /// Checkpoint heights that are committed, and whose state root is on its way.
    pub(crate) rooting: BTreeSet<Height>,
    /// A stable checkpoint that waits for this replica's own root there.
    pub(crate) unjudged: Option<Arc<StableCheckpoint>>,

    pub(crate) view: ViewNumber,
    pub(crate) active: bool,
    pub(crate) selection: Selection,
    pub(crate) slots: BTreeMap<Height, Slot>,
    /// How many proposals were put into slots.
    pub(crate) accepted: u64,
    /// For each height above the stable checkpoint the prepared certificate of the highest view.
    pub(crate) prepared: BTreeMap<Height, Kept>,
    /// Bundle lists of blocks that were accepted in any view, until a stable checkpoint covers them.
    pub(crate) known: BTreeMap<(Height, Digest), Arc<Block>>,
    pub(crate) bundles: Bundles,
    /// Bundles of blocks that this replica said PREPARE for, and whose height is not committed: each with the highest
    /// such height. Others count on it that they are here.
    pub(crate) vouched: BTreeMap<Digest, Height>,

    pub(crate) view_changes: BTreeMap<ValidatorIndex, Vec<SealedViewChange>>,
    pub(crate) own_view_change: Option<SealedViewChange>,
    /// The NEW-VIEW of the current view, adopted, with its view changes.
    pub(crate) new_view: Option<(SealedNewView, Vec<SealedViewChange>)>,
    /// For each leader a NEW-VIEW that waits for its view or for view changes which it names, with who sent it.
    pub(crate) awaiting_new_views: BTreeMap<ValidatorIndex, (SealedNewView, ValidatorIndex)>,
    /// The adopted NEW-VIEW that is on its way to the disk.
    pub(crate) adopting: Option<ViewNumber>,
    /// What the NEW-VIEW names that this leader said.
    pub(crate) said_new_view: Option<Vec<SealedViewChange>>,
    /// A stable checkpoint came in this view, so what holds for it was written again.
    pub(crate) view_was_collected: bool,

    /// Proved blocks above the committed height: without holes, each built on the one before.
    pub(crate) certified: BTreeMap<Height, CertifiedBlock>,
    /// The highest commit certificate above the committed height.
    pub(crate) proved: Option<Arc<CommittedProof>>,
    /// The highest stable checkpoint above the committed height.
    pub(crate) stable_ahead: Option<Arc<StableCheckpoint>>,
    /// Who showed one of them.
    pub(crate) proved_by: BTreeSet<ValidatorIndex>,
    /// When sync was asked for.
    pub(crate) sync_asked_us: Option<u64>,
    /// Since when others have proved more.
    pub(crate) behind_since_us: Option<u64>,

    pub(crate) early: BTreeMap<ValidatorIndex, Vec<Early>>,
    pub(crate) early_seen: Option<Reached>,

    pub(crate) pace: Pace,
    pub(crate) timers: Timers,
    pub(crate) tickets: Ticket,
    pub(crate) answered_us: BTreeMap<(ValidatorIndex, Ask), u64>,
    /// Proposals of the log, until the start.
    pub(crate) promised: BTreeMap<Height, Promised>,
    pub(crate) started: bool,
    /// The stable checkpoint of the own log: below it this replica has voted, and forgotten for what.
    pub(crate) regain: Height,
    pub(crate) voting: bool,
    pub(crate) diverged: bool,
    /// The epoch is over: there is nothing more to do.
    pub(crate) over: bool,
}

impl Replica {
    /// A replica that stands at `base`; it does nothing before [`Input::Start`]. With `voting` false it follows and
    /// signs nothing (an observer, or a validator that lost its log: consensus.md section 4).
    #[must_use]
    pub fn new(config: Config, base: Base, voting: bool) -> Self {
        Self {
            now: Now::default(),
            chain: Chain::new(base.tip()),
            tip_proof: base.proof,
            recent: BTreeMap::new(),
            stable: base.stable,
            checkpoint_votes: BTreeMap::new(),
            differing: BTreeSet::new(),
            roots: base.state_root.map(|root| (base.height, root)).into_iter().collect(),
            rooting: BTreeSet::new(),
            unjudged: None,
            view: ViewNumber(0),
            active: true,
            selection: Selection::start(config.epoch_base),
            slots: BTreeMap::new(),
            accepted: 0,
            prepared: BTreeMap::new(),
            known: BTreeMap::new(),
            bundles: Bundles::default(),
            vouched: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            own_view_change: None,
            new_view: None,
            awaiting_new_views: BTreeMap::new(),
            adopting: None,
            said_new_view: None,
            view_was_collected: false,
            certified: BTreeMap::new(),
            proved: None,
            stable_ahead: None,
            proved_by: BTreeSet::new(),
            sync_asked_us: None,
            behind_since_us: None,
            early: BTreeMap::new(),
            early_seen: None,
            pace: Pace::new(&config),
            timers: Timers::default(),
            tickets: 0,
            answered_us: BTreeMap::new(),
            promised: BTreeMap::new(),
            started: false,
            regain: Height(0),
            voting: voting && config.me.is_some(),
            diverged: false,
            over: false,
            config,
        }
    }

    /// Takes one input and appends what follows from it. After [`Effect::EpochOver`] nothing does.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.now = now;
        if self.over {
            return;
        }
        match input {
            Input::Message { from, message } => self.on_message(from, message, effects),
            Input::Own(own) => self.on_own(own, effects),
            Input::Bundle(meta) => self.on_bundle(meta),
            Input::Release(digests) => self.release_bundles(digests, effects),
            Input::Executed { id, log_size, log_root, succession } => {
                self.on_executed(id, (log_size, log_root), succession, effects);
            }
            Input::StateRoot { height, root } => self.on_state_root(height, root, effects),
            Input::Durable(Durable::NewView(view)) => self.on_new_view_durable(view, effects),
            Input::Timer { timer, generation } => self.on_timer(timer, generation, effects),
            Input::Certified(blocks) => self.on_certified(blocks, effects),
            Input::EpochEnd { committed, stable } => self.on_epoch_end(committed, stable, effects),
            Input::PeerUp(peer) => self.tell(peer, Unsigned::Status(self.status()), effects),
            Input::QuorumConnected(connected) => self.pace.quorum_connected(connected, &mut self.timers),
            Input::Replay(record) => self.on_replay(record),
            Input::Start => self.on_start(effects),
        }
        if self.started {
            self.advance(effects);
        }
    }

    fn on_message(&mut self, from: ValidatorIndex, message: Message, effects: &mut Vec<Effect>) {
        if !self.config.set.contains(from) || Some(from) == self.config.me || self.buffer_early(from, &message) {
            return;
        }
        match message {
            Message::PrePrepare { view, block, digest, signature } => {
                let arrived = self.now.wall;
                self.on_pre_prepare(from, view, block, digest, signature, arrived, effects);
            }
            Message::Vote(vote) => self.on_vote(from, &vote, effects),
            Message::Wish { epoch, view } => self.on_wish(from, epoch, view),
            Message::ViewChange(view_change) => self.on_view_change(view_change),
            Message::NewView(new_view) => self.on_new_view(from, new_view, effects),
            Message::FetchViewChanges { view, digests } => self.on_fetch_view_changes(from, view, &digests, effects),
            Message::Checkpoint(vote) => self.on_checkpoint(from, vote, effects),
            Message::Stable(stable) => self.on_stable(from, stable, effects),
            Message::Prepared(certificate) => self.on_prepared(&certificate, effects),
            Message::Committed(proof) => self.on_proof(from, proof),
            Message::FetchBlocks(digests) => self.on_fetch_blocks(from, &digests, effects),
            Message::Block { block, digest } => self.on_block(&block, digest, effects),
            Message::Status(status) => self.on_status(from, status, effects),
        }
    }

    fn on_own(&mut self, own: Own, effects: &mut Vec<Effect>) {
        match own {
            Own::Vote(vote) => self.count_own_vote(&vote),
            Own::ViewChange(view_change) => self.on_own_view_change(view_change, effects),
            Own::NewView(new_view) => self.on_own_new_view(new_view, effects),
            Own::Checkpoint(vote) => self.count_checkpoint(vote, effects),
        }
    }

    /// A bundle that was ordered, or can never be ordered any more, is of no interest.
    fn on_bundle(&mut self, meta: BundleMeta) {
        let last = self.chain.tip().positions.get(&meta.origin).copied();
        if last.is_none_or(|last| meta.position > last) {
            self.bundles.insert(meta, last, self.now.monotonic_us);
        }
    }

    /// Gives up those of these bundles that nothing needs: no block that is accepted, executed or proved, and none that
    /// this replica vouched for. A PREPARE says that the data is here, in whatever view a certificate brings its block
    /// back; when another block is committed at that height, none can any more.
    fn release_bundles(&mut self, digests: Vec<Digest>, effects: &mut Vec<Effect>) {
        let accepted = self.slots.values().filter_map(|slot| slot.proposal.as_ref()).map(|proposal| &proposal.block);
        let proved = self.certified.values().map(|certified| &certified.block);
        let named = accepted.chain(proved).flat_map(|block| &block.bundles);
        let needed: BTreeSet<&Digest> =
            named.chain(self.chain.links().flat_map(|link| &link.bundles)).chain(self.vouched.keys()).collect();
        // What is not here was released before, and may be on its way again.
        let is_idle = |digest: &Digest| self.bundles.get(digest).is_some() && !needed.contains(digest);
        let digests: Vec<Digest> = digests.into_iter().filter(is_idle).collect();
        if digests.is_empty() {
            return;
        }
        let positions = &self.chain.tip().positions;
        self.bundles.release(&digests, positions, self.now.monotonic_us);
        effects.push(Effect::Released { digests });
    }

    /// This replica says PREPARE for a block, once that is on the disk. What it refuses after execution it gives up.
    pub(crate) fn vouch_for(&mut self, block: &Block) {
        for digest in &block.bundles {
            let height = self.vouched.entry(*digest).or_insert(block.header.height);
            *height = block.header.height.max(*height);
        }
    }

    /// Does everything that has become possible, until nothing more has.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        loop {
            let mut progress = self.certify_known();
            progress |= self.execute_next(effects);
            progress |= self.vote_on_executed(effects);
            progress |= self.commit_ready(effects);
            progress |= self.replay_early(effects);
            progress |= self.propose(effects);
            progress |= self.move_on(effects);
            progress |= self.start_view(effects);
            if !progress {
                break;
            }
        }
        self.end_epoch(effects);
        self.ask_for_sync(effects);
        self.update_timers(effects);
    }

    /// The leader of the current view.
    #[must_use]
    pub fn leader(&self) -> ValidatorIndex {
        self.config.set.leader(self.config.epoch, self.view)
    }

    pub(crate) fn is_leader(&self) -> bool {
        Some(self.leader()) == self.config.me
    }

    /// Whether this replica may sign a vote now. One whose derived state was lost, and stands below the stable checkpoint
    /// of its own log, must be there again first: what it signed below was collected.
    pub(crate) fn may_vote(&self) -> bool {
        self.voting && !self.diverged && self.chain.committed() >= self.regain
    }

    pub(crate) fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// The height of the stable checkpoint, or the start of the epoch.
    #[must_use]
    pub fn stable_height(&self) -> Height {
        self.stable.as_ref().map_or(self.config.epoch_base, |stable| stable.height().max(self.config.epoch_base))
    }

    /// The highest committed height.
    #[must_use]
    pub fn committed(&self) -> Height {
        self.chain.committed()
    }

    /// The digest of the committed block at a height that no stable checkpoint covers yet, or at the tip.
    #[must_use]
    pub fn committed_digest(&self, height: Height) -> Option<Digest> {
        if height == self.chain.committed() {
            return Some(self.chain.tip().digest);
        }
        self.recent.get(&height).map(|recent| recent.digest)
    }

    /// The last ordered bundle of each origin, after the committed tip.
    #[must_use]
    pub fn positions(&self) -> Vec<(ValidatorIndex, BundlePosition)> {
        self.chain.tip().positions.iter().map(|(origin, position)| (*origin, *position)).collect()
    }

    /// The last ordered bundle of an origin, after the committed tip.
    #[must_use]
    pub fn last_ordered(&self, origin: ValidatorIndex) -> Option<BundlePosition> {
        self.chain.tip().positions.get(&origin).copied()
    }

    /// What this replica shows of itself.
    #[must_use]
    pub fn show(&self) -> View {
        View {
            view: self.view,
            active: self.active,
            leader: self.leader(),
            committed: self.chain.committed(),
            committed_digest: self.chain.tip().digest,
            stable: self.stable_height(),
            proved: self.proved_height(),
            executed: self.chain.top(),
            voting: self.may_vote(),
            diverged: self.diverged,
            at_epoch_end: self.is_at_epoch_end(),
        }
    }

    /// The last height of the current view: planned rotation (D).
    pub(crate) fn last_height_of_view(&self) -> Height {
        match self.config.parameters.rotation_interval {
            0 => Height(u64::MAX),
            interval => self.selection.end.plus(interval),
        }
    }

    /// The last height that may be accepted: the log window above the stable checkpoint.
    pub(crate) fn window_end(&self) -> Height {
        self.stable_height().plus(self.config.parameters.log_window)
    }

    pub(crate) fn set_timer(&mut self, timer: Timer, after_us: u64, effects: &mut Vec<Effect>) {
        let generation = self.timers.set(timer, self.now.monotonic_us, after_us);
        effects.push(Effect::SetTimer { timer, generation, after_us });
    }

    pub(crate) fn tell(&self, to: ValidatorIndex, what: Unsigned, effects: &mut Vec<Effect>) {
        if Some(to) != self.config.me {
            effects.push(Effect::Tell { to, what });
        }
    }
}
