//! The replica with its outbox: signs what the core says, keeps it back until it is durable, and gives the core its own
//! statements back (consensus.md sections 4 and 11).

#[cfg(test)]
mod liars;
mod messages;
mod outbox;
mod saying;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Block, Bundle, BundlePosition, Certificate, ChainId, Digest, Epoch, Evidence, Head, Height, Now, Signed, Signer,
    ValidatorIndex,
};
use dtvn_pbft::{
    Base, BundleMeta, Config, Effect as CoreEffect, Input as CoreInput, Message, Record, Replica, ReplicaView, Ticket,
};

use crate::receipts::{self, Receipts};
use crate::record::LogRecord;
use crate::verify::CheckedBlocks;
use crate::witness::{Docket, Witness};
use outbox::{Outbox, Waiting};
use saying::on_the_wire;

pub use messages::{Committed, Effect, Input, Timer};

/// The replica with its outbox.
pub struct Consensus {
    replica: Replica,
    epoch: Epoch,
    outbox: Outbox,
    chain: ChainId,
    me: Option<ValidatorIndex>,
    signer: Arc<dyn Signer>,
    /// Bundles that are available and not committed.
    bundles: BTreeMap<Digest, Arc<Bundle>>,
    /// What was asked of the pool since the last move, and is not committed: each once, however often it is asked for.
    wanted: BTreeSet<Digest>,
    receipts: Receipts,
    /// What the receipts are still to be told in this step.
    for_receipts: Vec<receipts::Input>,
    /// Records of committed blocks that are on their way to the disk.
    undurable: VecDeque<(Ticket, Height)>,
    /// Committed blocks of which the log holds the record, until the start.
    logged: BTreeSet<Digest>,
    witness: Witness,
    docket: Docket,
}

impl Consensus {
    /// A replica that stands at `base`, to be fed with the records of its log and then started.
    #[must_use]
    pub fn new(config: Config, base: Base, voting: bool, signer: Arc<dyn Signer>) -> Self {
        Self {
            chain: config.chain.clone(),
            me: config.me,
            epoch: config.epoch,
            receipts: Receipts::new(config.committee(), config.former.clone(), base.height),
            for_receipts: Vec::new(),
            undurable: VecDeque::new(),
            logged: BTreeSet::new(),
            witness: Witness::new(config.clone()),
            docket: Docket::default(),
            replica: Replica::new(config, base, voting),
            outbox: Outbox::default(),
            signer,
            bundles: BTreeMap::new(),
            wanted: BTreeSet::new(),
        }
    }

    /// Shares what evidence is known with who checks and stores it.
    #[must_use]
    pub fn with_docket(mut self, docket: Docket) -> Self {
        self.docket = docket;
        self
    }

    /// A record of the log, at start, in order.
    pub fn replay(&mut self, now: Now, record: LogRecord) {
        let input = match record {
            LogRecord::Start(_) | LogRecord::KeptFrom(_) => return,
            LogRecord::Bundle(bundle) if bundle.body.epoch != self.epoch => return,
            LogRecord::Bundle(bundle) => CoreInput::Bundle(self.take(bundle)),
            LogRecord::Replica(record) => {
                if let Record::Committed { block, .. } = &record {
                    self.logged.insert(block.header.digest(&self.chain));
                }
                CoreInput::Replay(record)
            }
        };
        let mut none = Vec::new();
        self.replica.step(now, input, &mut none);
        assert!(none.is_empty(), "a replay has no effects");
    }

    /// All records were replayed: begin. `uncertified` are heads of blocks in the derived state that have no receipt
    /// certificate; they are cosigned again, if the log holds them: the derived state may be ahead of its disk.
    pub fn start(&mut self, now: Now, uncertified: Vec<Head>, effects: &mut Vec<Effect>) {
        let logged = std::mem::take(&mut self.logged);
        let durable = uncertified.into_iter().filter(|head| logged.contains(&head.block));
        self.for_receipts.extend(durable.map(receipts::Input::Restored));
        self.run(now, CoreInput::Start, effects);
    }

    /// Takes one input and appends what follows from it.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let input = match input {
            Input::Message { from, message } => {
                self.see(&message, effects);
                CoreInput::Message { from, message }
            }
            Input::EpochEnd(end) => {
                let (committed, stable) = (Arc::new(end.committed.clone()), Arc::new(end.stable.clone()));
                self.see(&Message::Committed(Arc::clone(&committed)), effects);
                self.see(&Message::Stable(Arc::clone(&stable)), effects);
                CoreInput::EpochEnd { committed, stable }
            }
            Input::Evidence(evidence) => return self.tell(evidence, effects),
            // The pool may be an epoch ahead, or behind.
            Input::Bundle(bundle) if bundle.body.epoch != self.epoch => return,
            Input::Bundle(bundle) => CoreInput::Bundle(self.take(bundle)),
            Input::PoolFull(digests) => CoreInput::Release(digests),
            Input::Executed { id, log_size, log_root, succession } => {
                CoreInput::Executed { id, log_size, log_root, succession }
            }
            Input::StateRoot { height, root } => CoreInput::StateRoot { height, root },
            Input::Durable(ticket) => return self.on_durable(now, ticket, effects),
            Input::Timer { timer: Timer::Core(timer), generation } => CoreInput::Timer { timer, generation },
            Input::Timer { timer: Timer::Receipts, generation } => {
                self.for_receipts.push(receipts::Input::Timer { generation });
                return self.settle(now, effects);
            }
            Input::Receipts { from, said } => {
                self.for_receipts.push(receipts::Input::Said { from, said });
                return self.settle(now, effects);
            }
            Input::Synced(checked) => return self.on_synced(now, checked, effects),
            Input::PeerUp(peer) => {
                // It may not have been there when they were told.
                let proofs = self.docket.proofs(self.epoch).into_iter().map(PeerMessage::Evidence);
                effects.extend(proofs.map(|message| Effect::Send { to: peer, message }));
                CoreInput::PeerUp(peer)
            }
            Input::QuorumConnected(connected) => CoreInput::QuorumConnected(connected),
        };
        self.run(now, input, effects);
    }

    /// What the replica shows of itself.
    #[must_use]
    pub fn show(&self) -> ReplicaView {
        self.replica.show()
    }

    /// The epoch that it is the consensus of.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Bundles that are available and not committed: what a pool that was restarted asks for.
    pub fn pending_bundles(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.bundles.values()
    }

    /// The last ordered bundle of each origin, after the committed tip.
    #[must_use]
    pub fn positions(&self) -> Vec<(ValidatorIndex, BundlePosition)> {
        self.replica.positions()
    }

    /// Holds a bundle, unless it was ordered or can never be ordered any more: the core takes no interest in it either,
    /// and nobody would ever say that it is done with.
    fn take(&mut self, bundle: Arc<Bundle>) -> BundleMeta {
        let meta = BundleMeta {
            digest: bundle.digest,
            origin: bundle.body.origin,
            position: bundle.position(),
            operations: bundle.body.operations.len(),
            bytes: bundle.bytes.len(),
        };
        if !self.is_over(&bundle) {
            self.bundles.insert(bundle.digest, bundle);
        }
        meta
    }

    fn is_over(&self, bundle: &Bundle) -> bool {
        let last = self.replica.last_ordered(bundle.body.origin);
        last.is_some_and(|last| bundle.position() <= last)
    }

    fn on_durable(&mut self, now: Now, ticket: Ticket, effects: &mut Vec<Effect>) {
        let released = self.outbox.release(ticket);
        while let Some((_, height)) = self.undurable.pop_front_if(|(record, _)| *record <= ticket) {
            self.for_receipts.push(receipts::Input::Durable(height));
        }
        let mut returned = VecDeque::new();
        for waiting in released {
            match waiting {
                Waiting::Broadcast(message) => effects.push(Effect::Broadcast(message)),
                Waiting::Return(input) => returned.push_back(*input),
            }
        }
        for input in returned {
            self.run(now, input, effects);
        }
        self.settle(now, effects);
    }

    fn see(&mut self, message: &Message, effects: &mut Vec<Effect>) {
        let mut found = Vec::new();
        self.witness.see(message, &mut found);
        found.into_iter().for_each(|evidence| self.tell(Arc::new(evidence), effects));
    }

    /// Evidence that is new is kept, and told to all: what proves nothing to others stays here.
    fn tell(&self, evidence: Arc<Evidence>, effects: &mut Vec<Effect>) {
        if !self.docket.admit(&evidence) {
            return;
        }
        effects.push(Effect::Evidence(Arc::clone(&evidence)));
        if evidence.kind().is_proof() {
            effects.push(Effect::Broadcast(PeerMessage::Evidence(evidence)));
        }
    }

    /// Bundles of committed blocks are logged like any that arrive, before the blocks are looked at.
    fn on_synced(&mut self, now: Now, checked: CheckedBlocks, effects: &mut Vec<Effect>) {
        // They may have been asked for in the epoch before.
        for bundle in checked.bundles {
            let is_of_now = bundle.body.epoch == self.epoch;
            if is_of_now && !self.bundles.contains_key(&bundle.digest) && !self.is_over(&bundle) {
                let record = LogRecord::Bundle(Arc::clone(&bundle)).encode();
                effects.push(Effect::Append { ticket: None, record });
                let meta = self.take(bundle);
                self.run(now, CoreInput::Bundle(meta), effects);
            }
        }
        let mut found = Vec::new();
        for certificate in checked.blocks.iter().filter_map(|block| block.certificate.as_ref()) {
            self.witness.see_certificate(certificate, &mut found);
        }
        found.into_iter().for_each(|evidence| self.tell(Arc::new(evidence), effects));
        self.run(now, CoreInput::Certified(checked.blocks), effects);
    }

    fn run(&mut self, now: Now, input: CoreInput, effects: &mut Vec<Effect>) {
        let mut inputs = VecDeque::from([input]);
        let mut core = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.replica.step(now, input, &mut core);
            for effect in core.drain(..) {
                self.carry_out(effect, &mut inputs, effects);
            }
        }
        self.settle(now, effects);
    }

    /// The receipts hear what concerns them, after the votes of the same step; and what waits for the disk is flushed.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut inputs = VecDeque::from(std::mem::take(&mut self.for_receipts));
        let mut said = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.receipts.step(now, input, &mut said);
            for effect in said.drain(..) {
                match effect {
                    receipts::Effect::Sign { head, signer } if self.replica.show().voting => {
                        let signed = Signed { signer, ..self.sign(head) };
                        inputs.push_back(receipts::Input::Signed(signed));
                    }
                    receipts::Effect::Sign { .. } => {}
                    receipts::Effect::Broadcast(message) => effects.push(Effect::Broadcast(message)),
                    receipts::Effect::Send { to, message } => effects.push(Effect::Send { to, message }),
                    receipts::Effect::Flush => self.outbox.want_flush(),
                    receipts::Effect::Certified(certificate) => effects.push(Effect::Certified(certificate)),
                    receipts::Effect::Contradiction { first, second } => {
                        let why = "it cosigned two heads that contradict each other";
                        // In the epoch before its index was perhaps another's.
                        if first.body.epoch == self.epoch {
                            effects.push(Effect::Blame { peer: first.signer, why });
                        }
                        if let Some(evidence) = self.witness.contradiction(first, second) {
                            self.tell(Arc::new(evidence), effects);
                        }
                    }
                    receipts::Effect::SetTimer { generation, after_us } => {
                        effects.push(Effect::SetTimer { timer: Timer::Receipts, generation, after_us });
                    }
                }
            }
        }
        if let Some(ticket) = self.outbox.take_flush() {
            effects.push(Effect::Flush { ticket });
        }
    }

    fn carry_out(&mut self, effect: CoreEffect, inputs: &mut VecDeque<CoreInput>, effects: &mut Vec<Effect>) {
        match effect {
            CoreEffect::Persist { ticket, record } => self.persist(ticket, record, effects),
            CoreEffect::Say { after, say } => self.say(after, say, inputs, effects),
            CoreEffect::Propose { after, view, block, digest } => {
                self.propose(after, view, block, digest, inputs, effects);
            }
            CoreEffect::Broadcast(what) => effects.push(Effect::Broadcast(on_the_wire(what))),
            CoreEffect::Tell { to, what } => effects.push(Effect::Send { to, message: on_the_wire(what) }),
            CoreEffect::Notify { after, what } => {
                self.hold(after, Waiting::Return(Box::new(CoreInput::Durable(what))), inputs, effects);
            }
            CoreEffect::Execute { id, height, timestamp, bundles } => {
                let bundles = self.bodies(&bundles);
                effects.push(Effect::Execute { id, height, timestamp, bundles });
            }
            CoreEffect::RollBack { to } => effects.push(Effect::RollBack { to }),
            CoreEffect::Commit { block, digest, certificate } => self.commit(block, digest, certificate, effects),
            CoreEffect::Want { digests, holders, proposer } => {
                self.wanted.extend(digests.iter().copied());
                effects.push(Effect::Want { digests, holders, proposer });
            }
            CoreEffect::WantNothing if self.wanted.is_empty() => {}
            CoreEffect::WantNothing => {
                let digests = std::mem::take(&mut self.wanted).into_iter().collect();
                effects.push(Effect::Unwant { digests });
            }
            CoreEffect::Superseded { digests, .. } => {
                digests.iter().for_each(|digest| drop(self.bundles.remove(digest)));
            }
            CoreEffect::Released { digests } => {
                digests.iter().for_each(|digest| drop(self.bundles.remove(digest)));
                effects.push(Effect::Release { digests });
            }
            CoreEffect::Relay { digests, leader } => effects.push(Effect::Relay { digests, leader }),
            CoreEffect::Sync { from, to, holders } => effects.push(Effect::Sync { from, to, holders }),
            CoreEffect::Stable(stable) => effects.push(Effect::Stable(stable)),
            CoreEffect::EpochOver { committed, stable } => effects.push(Effect::EpochOver { committed, stable }),
            CoreEffect::ShowEpochEnd { to, epoch } => effects.push(Effect::ShowEpochEnd { to, epoch }),
            CoreEffect::SetTimer { timer, generation, after_us } => {
                effects.push(Effect::SetTimer { timer: Timer::Core(timer), generation, after_us });
            }
            CoreEffect::Moved { view, cause } => effects.push(Effect::Moved { view, cause }),
            CoreEffect::Active { view } => effects.push(Effect::Active { view }),
            CoreEffect::Blame { peer, why } => effects.push(Effect::Blame { peer, why }),
            CoreEffect::CheckpointDiffers { peer, height } => {
                effects.push(Effect::CheckpointDiffers { peer, height });
            }
            CoreEffect::WrongResult { view, height, digest, own } => {
                if let Some(accusation) = self.witness.accuse(view, height, digest, own) {
                    self.tell(Arc::new(accusation), effects);
                }
            }
            CoreEffect::Diverged { height, certified, own } => {
                effects.push(Effect::Diverged { height, certified, own });
            }
        }
    }

    fn bodies(&self, digests: &[Digest]) -> Vec<Arc<Bundle>> {
        let bodies: Vec<Arc<Bundle>> =
            digests.iter().filter_map(|digest| self.bundles.get(digest).map(Arc::clone)).collect();
        assert_eq!(bodies.len(), digests.len(), "only bundles that are here are executed");
        bodies
    }

    fn commit(
        &mut self,
        block: Arc<Block>,
        digest: Digest,
        certificate: Option<Certificate>,
        effects: &mut Vec<Effect>,
    ) {
        let bundles = self.bodies(&block.bundles);
        for bundle in &bundles {
            self.bundles.remove(&bundle.digest);
        }
        for digest in &block.bundles {
            self.wanted.remove(digest);
        }
        self.for_receipts.push(receipts::Input::Committed(Head::of(&block.header, digest)));
        self.witness.committed(&block.header, digest);
        effects.push(Effect::Commit(Box::new(Committed { block, digest, certificate, bundles })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtvn_messages::{BundleBody, Genesis, Header, KeyPair, RulesVersion, Signature, Timestamp, View};

    fn consensus() -> Consensus {
        let genesis = Genesis::development(4, "consensus-tests", false).unwrap();
        let key = KeyPair::development("consensus-tests", "node0");
        let config = Config::from_genesis(&genesis, Some(&key.public()));
        Consensus::new(config, Base::genesis(&genesis), true, Arc::new(key))
    }

    #[test]
    fn what_is_logged_about_a_block_comes_with_its_bundles() {
        let mut consensus = consensus();
        let (epoch, origin, operations) = (Epoch(0), ValidatorIndex(1), Vec::new());
        let body = BundleBody { epoch, origin, start: 1, number: 0, operations };
        let bundle = Bundle::assemble(body, Signature([0; 64]), &consensus.chain);
        consensus.take(Arc::clone(&bundle));
        let header = Header {
            epoch,
            height: Height(1),
            parent: Digest::ZERO,
            bundles_root: Digest::ZERO,
            timestamp: Timestamp(1),
            log_size: 0,
            log_root: Digest::ZERO,
            proposed_in_view: View(0),
            proposer: ValidatorIndex(0),
            rules_version: RulesVersion(1),
        };
        let block = Arc::new(Block { header, bundles: vec![bundle.digest] });
        let records = [
            (1, Record::Proposal { view: View(0), block: Arc::clone(&block) }),
            (2, Record::Committed { block, certificate: None }),
        ];
        for (ticket, record) in records {
            let (mut inputs, mut effects) = (VecDeque::new(), Vec::new());
            consensus.carry_out(CoreEffect::Persist { ticket, record }, &mut inputs, &mut effects);
            let [Effect::Append { record, .. }] = effects.as_slice() else { panic!("{effects:?}") };
            assert_eq!(record.bundles, [Arc::clone(&bundle)]);
        }
    }

    #[test]
    fn what_the_pool_has_no_room_for_is_given_up_unless_a_block_names_it() {
        let mut consensus = consensus();
        let mut effects = Vec::new();
        let bundles = [0, 1].map(|number| {
            let body =
                BundleBody { epoch: Epoch(0), origin: ValidatorIndex(1), start: 1, number, operations: Vec::new() };
            Bundle::assemble(body, Signature([0; 64]), &consensus.chain)
        });
        consensus.start(Now::default(), Vec::new(), &mut effects);
        for bundle in &bundles {
            consensus.step(Now::default(), Input::Bundle(Arc::clone(bundle)), &mut effects);
        }
        // This node leads view 0: its block names the first, and with that the pipeline is busy.
        let named: Vec<Digest> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Execute { bundles, .. } => Some(bundles.iter().map(|bundle| bundle.digest)),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(named, [bundles[0].digest]);
        effects.clear();
        let held: Vec<Digest> = bundles.iter().map(|bundle| bundle.digest).collect();
        consensus.step(Now::default(), Input::PoolFull(Vec::clone(&held)), &mut effects);
        assert_eq!(effects, [Effect::Release { digests: vec![bundles[1].digest] }]);
        consensus.step(Now::default(), Input::PoolFull(held), &mut effects);
        assert_eq!(effects.len(), 1, "it is given up once: it may be on its way again");
        assert_eq!(consensus.pending_bundles().collect::<Vec<_>>(), [&bundles[0]]);
    }

    #[test]
    fn what_is_wanted_again_and_again_takes_one_place() {
        let mut consensus = consensus();
        let (mut inputs, mut effects) = (VecDeque::new(), Vec::new());
        let digests = vec![Digest([1; 32]), Digest([2; 32])];
        // With each status, as long as a bundle that a proposal names does not come.
        for _ in 0..1_000 {
            let want = CoreEffect::Want { digests: digests.clone(), holders: Vec::new(), proposer: None };
            consensus.carry_out(want, &mut inputs, &mut effects);
        }
        assert_eq!(consensus.wanted.len(), 2);
        effects.clear();
        consensus.carry_out(CoreEffect::WantNothing, &mut inputs, &mut effects);
        assert_eq!(effects, [Effect::Unwant { digests }]);
        assert!(consensus.wanted.is_empty());
    }
}
