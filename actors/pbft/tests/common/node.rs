//! A node around the replica: an outbox that keeps back what is not durable, a log that loses its unsynced tail in a
//! crash, a ledger whose log root is a hash chain, a bundle pool and sync. All of it in memory, and nothing trusted:
//! the node asserts what its replica owes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::bundle::BundlePosition;
use dtvn_messages::view_change::Sealed;
use dtvn_messages::{
    Block, CommittedProof, Digest, Epoch, Genesis, Height, Now, Succession, Timestamp, ValidatorIndex, sha256,
};
use dtvn_pbft::{
    Base, BundleMeta, CertifiedBlock, Config, Durable, Effect, Input, Message, Own, Record, Replica, Say, Ticket,
    Timer, Unsigned,
};

use super::random::Random;
use super::sign;

/// What travels between nodes.
#[derive(Debug, Clone)]
pub enum Wire {
    Core(Message),
    Bundle(BundleMeta),
    FetchBundles(Vec<Digest>),
    SyncRequest { from: Height, to: Height },
    SyncBlocks { blocks: Vec<CertifiedBlock>, bundles: Vec<BundleMeta> },
}

/// What comes back to the node that asked for it.
#[derive(Debug, Clone)]
pub enum Later {
    Executed { id: u64, log_size: u64, log_root: Digest },
    StateRoot { height: Height, root: Digest },
    Timer { timer: Timer, generation: u64 },
    Flushed { entries: usize },
    FetchAgain(Digest),
}

/// What a node wants done.
#[derive(Debug)]
pub enum Out {
    Broadcast(Wire),
    Send(ValidatorIndex, Wire),
    /// After this many microseconds; none is after the time that the disk or the processor takes.
    Later(Option<u64>, Later),
    Committed {
        block: Arc<Block>,
        digest: Digest,
    },
    Diverged,
}

/// An entry of the log.
#[derive(Debug, Clone)]
pub enum Entry {
    Bundle(BundleMeta),
    Replica(Record),
}

#[derive(Debug)]
enum Waiting {
    Broadcast(Box<Message>),
    Return(Box<Input>),
}

pub struct Node {
    pub index: ValidatorIndex,
    pub genesis: Arc<Genesis>,
    pub replica: Option<Replica>,
    pub incarnation: u64,
    pub log: Vec<Entry>,
    /// How many entries of the log are on the disk.
    pub durable: usize,
    /// How many entries were collected: positions count them.
    collected: usize,
    flushing: bool,
    issued: Vec<(Ticket, usize)>,
    waiting: BTreeMap<Ticket, Vec<Waiting>>,
    ledger: Vec<(Height, u64, Digest)>,
    pub held: BTreeMap<Digest, BundleMeta>,
    pub committed: BTreeMap<Height, CertifiedBlock>,
    pub states: BTreeMap<Height, Base>,
    /// Below this height the log may be collected, so a restart begins at or above it.
    pub applied: Height,
    pub start: u64,
    number: u64,
    wants: BTreeMap<Digest, (Vec<ValidatorIndex>, usize)>,
    turn: usize,
    pub trace: bool,
}

impl Node {
    pub fn new(genesis: &Arc<Genesis>, index: ValidatorIndex) -> Self {
        let base = Base::genesis(genesis);
        Self {
            index,
            genesis: Arc::clone(genesis),
            replica: None,
            incarnation: 0,
            log: Vec::new(),
            durable: 0,
            collected: 0,
            flushing: false,
            issued: Vec::new(),
            waiting: BTreeMap::new(),
            ledger: Vec::new(),
            held: BTreeMap::new(),
            committed: BTreeMap::new(),
            states: BTreeMap::from([(Height(0), base)]),
            applied: Height(0),
            start: 0,
            number: 0,
            wants: BTreeMap::new(),
            turn: 0,
            trace: false,
        }
    }

    /// Starts from what is on the disk. The derived state lags behind the log by some blocks.
    pub fn start(&mut self, now: Now, random: &mut Random, outs: &mut Vec<Out>) {
        let durable = self.durable_committed();
        let heights: Vec<Height> = (self.states.range(self.applied..=durable))
            .filter(|(height, base)| base.proof.is_some() || height.0 == 0)
            .map(|(height, _)| *height)
            .collect();
        let height = random.pick(&heights);
        let base = self.states[&height].clone();
        self.ledger = vec![(height, base.log.0, base.log.1)];
        self.committed.retain(|height, _| *height <= durable);
        self.states.retain(|height, _| *height <= durable);
        let key = self.genesis.validators().key(self.index);
        let config = Config::from_genesis(&self.genesis, key.as_ref());
        let mut replica = Replica::new(config, base, true);
        let mut none = Vec::new();
        self.held.clear();
        for entry in &self.log {
            let input = match entry {
                Entry::Bundle(meta) => {
                    self.held.insert(meta.digest, *meta);
                    Input::Bundle(*meta)
                }
                Entry::Replica(record) => Input::Replay(record.clone()),
            };
            replica.step(now, input, &mut none);
        }
        assert!(none.is_empty(), "a replay has no effects: {none:?}");
        self.replica = Some(replica);
        self.incarnation += 1;
        self.start += 1;
        self.number = 0;
        self.run(now, Input::Start, outs);
    }

    /// Forgets everything that is not on the disk; of the unsynced tail some entries may have made it.
    pub fn crash(&mut self, random: &mut Random) {
        self.replica = None;
        self.incarnation += 1;
        let kept = random.between(self.durable as u64, self.log.len() as u64);
        self.log.truncate(usize::try_from(kept).unwrap());
        self.durable = self.log.len();
        self.collected = 0;
        self.flushing = false;
        self.issued.clear();
        self.waiting.clear();
        self.wants.clear();
    }

    fn durable_committed(&self) -> Height {
        let mut durable = self.applied;
        for entry in &self.log[..self.durable] {
            if let Entry::Replica(Record::Committed { block, certificate: Some(_) }) = entry {
                durable = durable.max(block.header.height);
            }
        }
        durable
    }

    /// The number of the next bundle of this start.
    pub fn next_number(&self) -> u64 {
        self.number
    }

    pub fn replica(&self) -> &Replica {
        self.replica.as_ref().unwrap()
    }

    /// Operations of clients: a bundle of this node.
    pub fn make_bundle(&mut self, now: Now, salt: u64, outs: &mut Vec<Out>) -> BundleMeta {
        let position = BundlePosition { start: self.start, number: self.number };
        self.number += 1;
        let meta = bundle(self.index, position, salt);
        self.take_bundle(now, meta, outs);
        outs.push(Out::Broadcast(Wire::Bundle(meta)));
        meta
    }

    fn take_bundle(&mut self, now: Now, meta: BundleMeta, outs: &mut Vec<Out>) {
        self.wants.remove(&meta.digest);
        if self.held.insert(meta.digest, meta).is_none() {
            self.log.push(Entry::Bundle(meta));
            self.run(now, Input::Bundle(meta), outs);
        }
    }

    pub fn receive(&mut self, now: Now, from: ValidatorIndex, wire: Wire, outs: &mut Vec<Out>) {
        match wire {
            Wire::Core(message) => self.run(now, Input::Message { from, message }, outs),
            Wire::Bundle(meta) => self.take_bundle(now, meta, outs),
            Wire::FetchBundles(digests) => {
                for meta in digests.iter().filter_map(|digest| self.held.get(digest)) {
                    outs.push(Out::Send(from, Wire::Bundle(*meta)));
                }
            }
            Wire::SyncRequest { from: first, to } => {
                let mut blocks: Vec<CertifiedBlock> =
                    self.committed.range(first..=to).map(|(_, block)| block.clone()).collect();
                while blocks.last().is_some_and(|last| last.certificate.is_none()) {
                    blocks.pop();
                }
                let digests = blocks.iter().flat_map(|block| &block.block.bundles);
                let bundles = digests.filter_map(|digest| self.held.get(digest).copied()).collect();
                if blocks.first().is_some_and(|block| block.block.header.height == first) {
                    outs.push(Out::Send(from, Wire::SyncBlocks { blocks, bundles }));
                }
            }
            Wire::SyncBlocks { blocks, bundles } => {
                for meta in bundles {
                    self.take_bundle(now, meta, outs);
                }
                self.run(now, Input::Certified(blocks), outs);
            }
        }
    }

    pub fn later(&mut self, now: Now, later: Later, outs: &mut Vec<Out>) {
        match later {
            Later::Executed { id, log_size, log_root } => {
                let succession = Succession::steady(Epoch(0), self.genesis.validators().hash());
                self.run(now, Input::Executed { id, log_size, log_root, succession }, outs);
            }
            Later::StateRoot { height, root } => self.run(now, Input::StateRoot { height, root }, outs),
            Later::Timer { timer, generation } => self.run(now, Input::Timer { timer, generation }, outs),
            Later::Flushed { entries } => self.on_flushed(now, entries, outs),
            Later::FetchAgain(digest) => self.fetch(digest, outs),
        }
    }

    fn on_flushed(&mut self, now: Now, entries: usize, outs: &mut Vec<Out>) {
        self.flushing = false;
        self.durable = self.durable.max(entries - self.collected);
        let durable = self.durable + self.collected;
        let ticket = self.issued.iter().filter(|(_, position)| *position < durable).map(|(ticket, _)| *ticket).max();
        let mut returned = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if Some(*entry.key()) > ticket {
                break;
            }
            for waiting in entry.remove() {
                match waiting {
                    Waiting::Broadcast(message) => outs.push(Out::Broadcast(Wire::Core(*message))),
                    Waiting::Return(input) => returned.push(*input),
                }
            }
        }
        for input in returned {
            self.run(now, input, outs);
        }
        self.flush(outs);
    }

    fn flush(&mut self, outs: &mut Vec<Out>) {
        if !self.flushing && !self.waiting.is_empty() {
            self.flushing = true;
            outs.push(Out::Later(None, Later::Flushed { entries: self.collected + self.log.len() }));
        }
    }

    pub fn run(&mut self, now: Now, input: Input, outs: &mut Vec<Out>) {
        let Some(mut replica) = self.replica.take() else { return };
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let input = inputs.remove(0);
            let mut effects = Vec::new();
            if self.trace {
                println!("{} {:>9} <- {input:?}", self.index, now.monotonic_us);
            }
            replica.step(now, input, &mut effects);
            for effect in effects {
                if self.trace {
                    println!("{} {:>9}    -> {effect:?}", self.index, now.monotonic_us);
                }
                self.carry_out(effect, &mut inputs, outs);
            }
        }
        self.replica = Some(replica);
        self.flush(outs);
    }

    fn hold(&mut self, after: Ticket, waiting: Waiting, inputs: &mut Vec<Input>, outs: &mut Vec<Out>) {
        let position = self.issued.iter().find(|(ticket, _)| *ticket == after).map(|(_, position)| *position);
        assert!(after == 0 || position.is_some(), "nothing waits for a record that was never handed to the disk");
        match waiting {
            waiting if position.is_some_and(|position| position >= self.collected + self.durable) => {
                self.waiting.entry(after).or_default().push(waiting);
            }
            Waiting::Broadcast(message) => outs.push(Out::Broadcast(Wire::Core(*message))),
            Waiting::Return(input) => inputs.push(*input),
        }
    }

    fn persist(&mut self, ticket: Ticket, record: Record) {
        assert_eq!(ticket, self.issued.last().map_or(0, |(last, _)| *last) + 1, "tickets ascend by one");
        self.issued.push((ticket, self.collected + self.log.len()));
        self.log.push(Entry::Replica(record));
    }

    fn carry_out(&mut self, effect: Effect, inputs: &mut Vec<Input>, outs: &mut Vec<Out>) {
        match effect {
            Effect::Persist { ticket, record } => self.persist(ticket, record),
            Effect::Say { after, say } => self.say(after, say, inputs, outs),
            Effect::Propose { after, view, block, digest } => {
                let vote = dtvn_messages::Vote {
                    kind: dtvn_messages::VoteKind::Prepare,
                    epoch: block.header.epoch,
                    view,
                    height: block.header.height,
                    digest,
                };
                let vote = sign(&self.genesis, self.index, vote);
                let message = Message::PrePrepare { view, block, digest, signature: vote.signature };
                self.hold(after, Waiting::Broadcast(Box::new(message)), inputs, outs);
                self.hold(after, Waiting::Return(Box::new(Input::Own(Own::Vote(vote)))), inputs, outs);
            }
            Effect::Broadcast(what) => outs.push(Out::Broadcast(Wire::Core(self.as_message(what)))),
            Effect::Tell { to, what } => outs.push(Out::Send(to, Wire::Core(self.as_message(what)))),
            Effect::Notify { after, what: Durable::NewView(view) } => {
                let input = Input::Durable(Durable::NewView(view));
                self.hold(after, Waiting::Return(Box::new(input)), inputs, outs);
            }
            Effect::Execute { id, height, timestamp, bundles } => self.execute(id, height, timestamp, &bundles, outs),
            Effect::EpochOver { .. } => panic!("no validators change here"),
            Effect::ShowEpochEnd { .. } => {}
            Effect::RollBack { to } => {
                assert!(to >= self.committed_height(), "what is committed is never rolled back");
                self.ledger.retain(|(height, ..)| *height <= to);
            }
            Effect::Commit { block, digest, certificate } => self.commit(block, digest, certificate, outs),
            Effect::Want { digests, holders } => {
                for digest in digests {
                    if !self.held.contains_key(&digest) {
                        let is_new = self.wants.insert(digest, (holders.clone(), 0)).is_none();
                        if is_new {
                            self.fetch(digest, outs);
                        }
                    }
                }
            }
            Effect::WantNothing => self.wants.clear(),
            Effect::Relay { digests, leader } => {
                for meta in digests.iter().filter_map(|digest| self.held.get(digest)) {
                    outs.push(Out::Send(leader, Wire::Bundle(*meta)));
                    outs.push(Out::Broadcast(Wire::Bundle(*meta)));
                }
            }
            Effect::Sync { from, to, holders } => {
                assert!(!holders.is_empty(), "somebody has shown what is to be fetched");
                self.turn += 1;
                let to = to.min(from.plus(7));
                outs.push(Out::Send(holders[self.turn % holders.len()], Wire::SyncRequest { from, to }));
            }
            Effect::SetTimer { timer, generation, after_us } => {
                outs.push(Out::Later(Some(after_us), Later::Timer { timer, generation }));
            }
            Effect::Diverged { .. } => outs.push(Out::Diverged),
            Effect::Stable(_)
            | Effect::WrongResult { .. }
            | Effect::Moved { .. }
            | Effect::Active { .. }
            | Effect::Superseded { .. }
            | Effect::Blame { .. } => {}
        }
    }

    fn say(&mut self, after: Ticket, say: Say, inputs: &mut Vec<Input>, outs: &mut Vec<Out>) {
        let chain = self.genesis.chain_id().clone();
        let (message, own) = match say {
            Say::Vote(vote) => {
                let vote = sign(&self.genesis, self.index, vote);
                (Message::Vote(vote.clone()), Own::Vote(vote))
            }
            Say::ViewChange(view_change) => {
                let sealed = Sealed::new(sign(&self.genesis, self.index, view_change), &chain);
                self.persist(after, Record::ViewChange(Arc::clone(&sealed)));
                (Message::ViewChange(Arc::clone(&sealed)), Own::ViewChange(sealed))
            }
            Say::NewView { new_view, view_changes } => {
                let sealed = Sealed::new(sign(&self.genesis, self.index, new_view), &chain);
                self.persist(after, Record::NewView { new_view: Arc::clone(&sealed), view_changes });
                (Message::NewView(Arc::clone(&sealed)), Own::NewView(sealed))
            }
            Say::Checkpoint(checkpoint) => {
                let vote = sign(&self.genesis, self.index, checkpoint);
                self.persist(after, Record::Checkpoint(vote.clone()));
                (Message::Checkpoint(vote.clone()), Own::Checkpoint(vote))
            }
        };
        self.hold(after, Waiting::Broadcast(Box::new(message)), inputs, outs);
        self.hold(after, Waiting::Return(Box::new(Input::Own(own))), inputs, outs);
    }

    fn execute(&mut self, id: u64, height: Height, timestamp: Timestamp, bundles: &[Digest], outs: &mut Vec<Out>) {
        let (top, size, root) = *self.ledger.last().unwrap();
        assert_eq!(height, top.next(), "a block is executed directly above what was executed last");
        assert!(bundles.iter().all(|digest| self.held.contains_key(digest)), "only bundles that are here are executed");
        let (log_size, log_root) = execute((size, root), timestamp, bundles);
        self.ledger.push((height, log_size, log_root));
        outs.push(Out::Later(None, Later::Executed { id, log_size, log_root }));
    }

    fn committed_height(&self) -> Height {
        self.committed.last_key_value().map_or(Height(0), |(height, _)| *height).max(self.ledger[0].0)
    }

    fn commit(
        &mut self,
        block: Arc<Block>,
        digest: Digest,
        certificate: Option<dtvn_messages::Certificate>,
        outs: &mut Vec<Out>,
    ) {
        let header = &block.header;
        let result = self.ledger.iter().find(|(height, ..)| *height == header.height);
        assert_eq!(result, Some(&(header.height, header.log_size, header.log_root)), "what is committed is executed");
        let below = &self.states[&header.height.previous()];
        assert_eq!(header.parent, below.digest, "a block builds on the one below");
        let mut positions = below.positions.clone();
        for meta in block.bundles.iter().map(|digest| self.held[digest]) {
            let last = positions.insert(meta.origin, meta.position);
            assert!(meta.position.follows(last), "the bundles of an origin are ordered by their numbers");
        }
        let proof =
            certificate.clone().map(|certificate| Arc::new(CommittedProof { header: header.clone(), certificate }));
        let state = Base {
            height: header.height,
            digest,
            timestamp: header.timestamp,
            positions,
            log: (header.log_size, header.log_root),
            state_root: Some(super::build::state_root(&block)),
            empty_run: if block.bundles.is_empty() { below.empty_run + 1 } else { 0 },
            succession: below.succession,
            proof,
            stable: None,
        };
        self.states.insert(header.height, state);
        let certified = CertifiedBlock { block: Arc::clone(&block), digest, certificate };
        self.committed.insert(header.height, certified);
        if header.height.0.is_multiple_of(self.genesis.parameters().checkpoint_interval) {
            let (height, root) = (header.height, super::build::state_root(&block));
            outs.push(Out::Later(None, Later::StateRoot { height, root }));
        }
        outs.push(Out::Committed { block, digest });
    }

    fn fetch(&mut self, digest: Digest, outs: &mut Vec<Out>) {
        if let Some((holders, turn)) = self.wants.get_mut(&digest) {
            let holder = holders[*turn % holders.len()];
            *turn += 1;
            outs.push(Out::Send(holder, Wire::FetchBundles(vec![digest])));
            outs.push(Out::Later(Some(30_000), Later::FetchAgain(digest)));
        }
    }

    pub fn as_message(&self, what: Unsigned) -> Message {
        match what {
            Unsigned::Wish { epoch, view } => Message::Wish { epoch, view },
            Unsigned::Status(status) => Message::Status(status),
            Unsigned::PrePrepare { view, block, signature } => {
                let digest = block.header.digest(self.genesis.chain_id());
                Message::PrePrepare { view, block, digest, signature }
            }
            Unsigned::Vote(vote) => Message::Vote(vote),
            Unsigned::ViewChange(view_change) => Message::ViewChange(view_change),
            Unsigned::NewView(new_view) => Message::NewView(new_view),
            Unsigned::FetchViewChanges { view, digests } => Message::FetchViewChanges { view, digests },
            Unsigned::Checkpoint(vote) => Message::Checkpoint(vote),
            Unsigned::Stable(stable) => Message::Stable(stable),
            Unsigned::Prepared(prepared) => Message::Prepared(prepared),
            Unsigned::Committed(proof) => Message::Committed(proof),
            Unsigned::FetchBlocks(digests) => Message::FetchBlocks(digests),
            Unsigned::Block(block) => {
                let digest = block.header.digest(self.genesis.chain_id());
                Message::Block { block, digest }
            }
        }
    }

    /// Drops entries of the log that nothing needs any more, from the front, as the log's segments go.
    pub fn collect(&mut self, stable: Height) {
        let low = stable.min(self.durable_committed());
        let Some((low, _)) = self.states.range(self.applied..=low).rev().find(|(_, base)| base.proof.is_some()) else {
            return;
        };
        let low = *low;
        let is_latest = |position: usize, same: fn(&Record) -> bool| {
            let after = &self.log[position + 1..self.durable];
            !after.iter().any(|entry| matches!(entry, Entry::Replica(record) if same(record)))
        };
        let is_needed = |position: usize, record: &Record| match record {
            Record::Proposal { block, .. } | Record::Committed { block, .. } => block.header.height > low,
            Record::Prepared(prepared) => prepared.height() > low,
            Record::Checkpoint(vote) => vote.body.height > low,
            Record::ViewChange(_) => is_latest(position, |record| matches!(record, Record::ViewChange(_))),
            Record::NewView { .. } => is_latest(position, |record| matches!(record, Record::NewView { .. })),
            Record::Stable(_) => is_latest(position, |record| matches!(record, Record::Stable(_))),
        };
        let needed = self.log[..self.durable].iter().enumerate().position(|(position, entry)| match entry {
            Entry::Bundle(_) => false,
            Entry::Replica(record) => is_needed(position, record),
        });
        let cut = needed.unwrap_or(self.durable);
        let bundles: Vec<Entry> =
            self.log[..cut].iter().filter(|entry| matches!(entry, Entry::Bundle(_))).cloned().collect();
        let gone = cut - bundles.len();
        self.log.splice(..cut, bundles);
        self.durable -= gone;
        self.collected += gone;
        self.applied = low;
    }
}

/// The fake ledger: the log grows by one for each bundle, its root is a hash chain.
pub fn execute(before: (u64, Digest), timestamp: Timestamp, bundles: &[Digest]) -> (u64, Digest) {
    let mut root = sha256(&[&before.1.0, &timestamp.0.to_be_bytes()]);
    for bundle in bundles {
        root = sha256(&[&root.0, &bundle.0]);
    }
    (before.0 + bundles.len() as u64, root)
}

/// A bundle at a place; `salt` makes another one there.
pub fn bundle(origin: ValidatorIndex, position: BundlePosition, salt: u64) -> BundleMeta {
    let digest = sha256(&[
        b"bundle",
        &origin.0.to_be_bytes(),
        &position.start.to_be_bytes(),
        &position.number.to_be_bytes(),
        &salt.to_be_bytes(),
    ]);
    BundleMeta { digest, origin, position, operations: 1, bytes: 100 }
}
