//! The replica: its state, and the one door in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::bundle::BundlePosition;
use dtvn_messages::view_change::{SealedNewView, SealedViewChange};
use dtvn_messages::{
    Block, Certificate, Checkpoint, CommittedProof, Digest, Height, Now, PreparedCertificate, Signature, Signed,
    StableCheckpoint, ValidatorIndex, View as ViewNumber, ViewChange,
};

use crate::bundles::{BundleMeta, Bundles};
use crate::chain::Chain;
use crate::config::Config;
use crate::effect::{CertifiedBlock, Durable, Effect, Input, Message, Own, Ticket, Timer, Unsigned};
use crate::recover::Base;
use crate::selection::Selection;
use crate::timers::Timers;
use crate::wish::Pace;

/// A block that occupies its slot in the current view.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub block: Arc<Block>,
    pub digest: Digest,
    /// The ticket under which it was logged.
    pub logged: Option<Ticket>,
    /// It was found to be one that no honest leader makes; its slot stays taken.
    pub refused: bool,
    /// The wall time before which it is not looked at.
    pub held: bool,
}

/// One height in the current view.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub proposal: Option<Proposal>,
    pub prepares: BTreeMap<ValidatorIndex, (Digest, Signature)>,
    pub commits: BTreeMap<ValidatorIndex, (Digest, Signature)>,
    pub prepare_said: bool,
    /// The ticket of the prepared certificate.
    pub prepared: Option<Ticket>,
    pub commit_said: bool,
}

/// A recent committed block, kept until a stable checkpoint covers it.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    pub block: Arc<Block>,
    pub digest: Digest,
}

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
}

/// A PBFT replica as a value.
#[derive(Debug)]
pub struct Replica {
    pub(crate) config: Config,
    pub(crate) chain: Chain,
    /// The commit certificate of the committed tip, or of a block above the last tip that had none.
    pub(crate) tip_proof: Option<Arc<CommittedProof>>,
    pub(crate) recent: BTreeMap<Height, Recent>,
    pub(crate) stable: Option<Arc<StableCheckpoint>>,
    pub(crate) checkpoint_votes: BTreeMap<Height, BTreeMap<ValidatorIndex, Signed<Checkpoint>>>,

    pub(crate) view: ViewNumber,
    pub(crate) active: bool,
    pub(crate) selection: Selection,
    pub(crate) slots: BTreeMap<Height, Slot>,
    /// For each height above the stable checkpoint the prepared certificate of the highest view.
    pub(crate) prepared: BTreeMap<Height, Arc<PreparedCertificate>>,
    /// Bundle lists of blocks that were accepted in any view, until a stable checkpoint covers them.
    pub(crate) known: BTreeMap<(Height, Digest), Arc<Block>>,
    pub(crate) bundles: Bundles,

    pub(crate) view_changes: BTreeMap<ValidatorIndex, Vec<SealedViewChange>>,
    pub(crate) own_view_change: Option<SealedViewChange>,
    /// The NEW-VIEW of the current view, adopted, with its view changes.
    pub(crate) new_view: Option<(SealedNewView, Vec<SealedViewChange>)>,
    /// A NEW-VIEW that waits for view changes which it names, with who sent it.
    pub(crate) awaiting_new_view: Option<(SealedNewView, ValidatorIndex)>,
    /// The adopted NEW-VIEW that is on its way to the disk.
    pub(crate) adopting: Option<ViewNumber>,
    pub(crate) new_view_said: bool,
    /// The bundle list of a selected block has come in.
    pub(crate) selected_arrived: bool,

    pub(crate) certified: BTreeMap<Height, CertifiedBlock>,
    pub(crate) proved: Option<Arc<CommittedProof>>,
    pub(crate) proved_by: BTreeSet<ValidatorIndex>,
    /// Up to where and when sync was asked for.
    pub(crate) sync_asked: Option<(Height, u64)>,
    /// Since when others have proved more.
    pub(crate) behind_since_us: Option<u64>,

    /// Messages for a later view, or for this one while it is not active; and proposals above the next height.
    pub(crate) early: BTreeMap<ValidatorIndex, Vec<Message>>,

    pub(crate) pace: Pace,
    pub(crate) timers: Timers,
    pub(crate) tickets: Ticket,
    pub(crate) status_replies: BTreeMap<ValidatorIndex, u64>,
    pub(crate) peer_committed: BTreeMap<ValidatorIndex, Height>,
    pub(crate) bundle_tries: BTreeMap<Digest, u32>,
    pub(crate) started: bool,
    pub(crate) voting: bool,
    pub(crate) diverged: bool,
}

impl Replica {
    /// A replica that stands at `base`; it does nothing before [`Input::Start`]. With `voting` false it follows and
    /// signs nothing (an observer, or a validator that lost its log: consensus.md section 4).
    #[must_use]
    pub fn new(config: Config, base: Base, voting: bool) -> Self {
        let voting = voting && config.me.is_some();
        let selection = Selection::start(config.epoch_base);
        let pace = Pace::new(&config);
        Self {
            chain: Chain::new(base.tip()),
            tip_proof: base.proof,
            recent: BTreeMap::new(),
            stable: base.stable,
            checkpoint_votes: BTreeMap::new(),
            view: ViewNumber(0),
            active: true,
            selection,
            slots: BTreeMap::new(),
            prepared: BTreeMap::new(),
            known: BTreeMap::new(),
            bundles: Bundles::default(),
            view_changes: BTreeMap::new(),
            own_view_change: None,
            new_view: None,
            awaiting_new_view: None,
            adopting: None,
            new_view_said: false,
            selected_arrived: false,
            certified: BTreeMap::new(),
            proved: None,
            proved_by: BTreeSet::new(),
            sync_asked: None,
            behind_since_us: None,
            early: BTreeMap::new(),
            pace,
            timers: Timers::default(),
            tickets: 0,
            status_replies: BTreeMap::new(),
            peer_committed: BTreeMap::new(),
            bundle_tries: BTreeMap::new(),
            started: false,
            voting,
            diverged: false,
            config,
        }
    }

    /// Takes one input and appends what follows from it.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Message { from, message } => self.on_message(now, from, message, effects),
            Input::Own(own) => self.on_own(own, effects),
            Input::Bundle(meta) => self.on_bundle(now, meta),
            Input::Executed { id, log_size, log_root } => self.on_executed(id, log_size, log_root, effects),
            Input::Durable(Durable::NewView(view)) => self.on_new_view_durable(view, effects),
            Input::Timer { timer, generation } => self.on_timer(now, timer, generation, effects),
            Input::Certified(blocks) => self.on_certified(blocks, effects),
            Input::PeerUp(peer) => self.tell(peer, Unsigned::Status(self.status()), effects),
            Input::QuorumConnected(connected) => self.on_quorum_connected(connected),
            Input::Replay(record) => return self.on_replay(record),
            Input::Start => self.on_start(now, effects),
        }
        if self.started {
            self.advance(now, effects);
        }
    }

    fn on_message(&mut self, now: Now, from: ValidatorIndex, message: Message, effects: &mut Vec<Effect>) {
        if !self.config.set.contains(from) || Some(from) == self.config.me {
            return;
        }
        if self.buffer_early(from, &message) {
            return;
        }
        match message {
            Message::PrePrepare { view, block, digest, signature } => {
                self.on_pre_prepare(now, from, view, block, digest, signature, effects);
            }
            Message::Vote(vote) => self.on_vote(from, &vote, effects),
            Message::Wish { epoch, view } => self.on_wish(from, epoch, view),
            Message::ViewChange(view_change) => self.on_view_change(view_change),
            Message::NewView(new_view) => self.on_new_view(from, new_view, effects),
            Message::FetchViewChanges { view, digests } => self.on_fetch_view_changes(from, view, &digests, effects),
            Message::Checkpoint(vote) => self.on_checkpoint(from, vote, effects),
            Message::Stable(stable) => self.on_stable(from, stable, effects),
            Message::Prepared(prepared) => self.on_prepared(prepared, effects),
            Message::Committed(proof) => self.on_proof(from, proof),
            Message::FetchBlocks(digests) => self.on_fetch_blocks(from, &digests, effects),
            Message::Block { block, digest } => self.on_block(block, digest),
            Message::Status(status) => self.on_status(now, from, status, effects),
        }
    }

    fn on_own(&mut self, own: Own, effects: &mut Vec<Effect>) {
        match own {
            Own::Vote(vote) => self.count_vote(&vote),
            Own::ViewChange(view_change) => {
                self.own_view_change = Some(Arc::clone(&view_change));
                self.on_view_change(view_change);
            }
            Own::NewView(new_view) => self.on_own_new_view(new_view, effects),
            Own::Checkpoint(vote) => self.count_checkpoint(vote, effects),
        }
    }

    /// A bundle that was ordered, or can never be ordered any more, is of no interest.
    fn on_bundle(&mut self, now: Now, meta: BundleMeta) {
        let last = self.chain.tip().positions.get(&meta.origin);
        if last.is_none_or(|last| meta.position > *last) {
            self.bundles.insert(meta, now.monotonic_us);
        }
    }

    /// Does everything that has become possible, until nothing more has.
    fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        loop {
            let mut progress = self.execute_next(effects);
            progress |= self.vote_on_executed(effects);
            progress |= self.commit_ready(effects);
            progress |= self.replay_early(now, effects);
            progress |= self.propose(now, effects);
            progress |= self.move_on(now, effects);
            progress |= self.start_view(effects);
            progress |= self.fill_all_selected(false, effects);
            if !progress {
                break;
            }
        }
        self.ask_for_sync(now, effects);
        self.update_timers(now, effects);
    }

    /// The leader of the current view.
    #[must_use]
    pub fn leader(&self) -> ValidatorIndex {
        self.config.set.leader(self.config.epoch, self.view)
    }

    pub(crate) fn is_leader(&self) -> bool {
        Some(self.leader()) == self.config.me
    }

    /// Whether this replica may sign a vote now.
    pub(crate) fn may_vote(&self) -> bool {
        self.voting && !self.diverged
    }

    pub(crate) fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// The height of the stable checkpoint, or the start of the epoch.
    #[must_use]
    pub fn stable_height(&self) -> Height {
        self.stable.as_ref().map_or(self.config.epoch_base, |stable| stable.height())
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
        }
    }

    /// The last height of the current view: planned rotation (D).
    pub(crate) fn last_height_of_view(&self) -> Height {
        match self.config.parameters.rotation_interval {
            0 => Height(u64::MAX),
            interval => self.selection.end.plus(interval),
        }
    }

    pub(crate) fn set_timer(&mut self, timer: Timer, now: Now, after_us: u64, effects: &mut Vec<Effect>) {
        let generation = self.timers.set(timer, now.monotonic_us, after_us);
        effects.push(Effect::SetTimer { timer, generation, after_us });
    }

    pub(crate) fn tell(&self, to: ValidatorIndex, what: Unsigned, effects: &mut Vec<Effect>) {
        if Some(to) != self.config.me {
            effects.push(Effect::Tell { to, what });
        }
    }

    pub(crate) fn remember_block(&mut self, block: &Arc<Block>, digest: Digest) {
        self.known.insert((block.header.height, digest), Arc::clone(block));
        // Above the bound, what no slot of the current view holds goes first, lowest height first.
        let bound = 2 * usize::try_from(self.config.parameters.log_window).unwrap_or(usize::MAX);
        if self.known.len() > bound {
            let unused = self.known.keys().find(|(height, digest)| {
                let slot = self.slots.get(height).and_then(|slot| slot.proposal.as_ref());
                slot.is_none_or(|proposal| proposal.digest != *digest) && !self.prepared.contains_key(height)
            });
            if let Some(key) = unused.copied() {
                self.known.remove(&key);
            }
        }
    }

    /// The view change that this replica would send for its current view.
    pub(crate) fn view_change(&self) -> ViewChange {
        let committed = self.tip_proof.as_ref().filter(|proof| proof.header.epoch == self.config.epoch);
        let floor = committed.map_or(self.config.epoch_base, |proof| proof.height());
        let above = self.prepared.range(floor.next()..).filter(|(_, prepared)| prepared.view() < self.view);
        ViewChange {
            epoch: self.config.epoch,
            view: self.view,
            stable: self.stable.as_deref().filter(|stable| stable.epoch() == self.config.epoch).cloned(),
            committed: committed.map(|proof| CommittedProof::clone(proof)),
            prepared: above.map(|(_, prepared)| PreparedCertificate::clone(prepared)).collect(),
        }
    }

    pub(crate) fn set_tip_proof(&mut self, block: &Block, certificate: Option<&Certificate>) {
        if let Some(certificate) = certificate {
            let proof = CommittedProof { header: block.header.clone(), certificate: certificate.clone() };
            self.tip_proof = Some(Arc::new(proof));
        }
    }
}
