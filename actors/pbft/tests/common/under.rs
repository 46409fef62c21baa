//! One replica under test: inputs go in one by one, and the effects that come out are compared as they are.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::view_change::{Sealed, SealedViewChange};
use dtvn_messages::{
    Block, Digest, Genesis, Height, Now, Succession, ValidatorIndex, View, ViewChange, Vote, VoteKind,
};
use dtvn_pbft::{
    Base, BundleMeta, Config, Durable, Effect, Input, Message, Own, Record, Replica, Say, Ticket, Timer, Unsigned,
};

use super::build::{Story, numbered, validator};
use super::fake::execute;
use super::{genesis, sign};

/// The replica, the clock, and a ledger that executes at once.
pub struct Under {
    pub story: Story,
    pub me: ValidatorIndex,
    pub replica: Replica,
    pub now: Now,
    ledger: BTreeMap<Height, (u64, Digest)>,
    /// At which heights it tells the state root.
    pub interval: u64,
    /// The generation of each timer that was set last, and when it is due.
    timers: BTreeMap<Timer, (u64, u64)>,
    /// All that was written to the log.
    pub log: Vec<Record>,
    /// The bundle that changes the validators, and the hash of the set that it leads to.
    pub change: Option<(Digest, Digest)>,
    ends: BTreeMap<Height, Height>,
}

impl Deref for Under {
    type Target = Story;
    fn deref(&self) -> &Story {
        &self.story
    }
}

/// Parameters that make small stories: checkpoints at 4, 8 and so on, a window of 12.
pub fn small(parameters: &mut ConsensusParameters) {
    parameters.checkpoint_interval = 4;
    parameters.log_window = 12;
    parameters.rotation_interval = 0;
}

/// Validator `me` of four, started.
pub fn under(me: u16) -> Under {
    Under::new(&Arc::new(genesis(4, small)), Some(me))
}

/// Validator 3 of four that has accepted the leader's first blocks, its own PREPAREs durable.
pub fn voted(count: u64) -> (Under, Vec<Block>) {
    let mut under = under(3);
    under.hold(&(0..count).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, count, 1);
    for block in &blocks {
        let effects = under.propose(0, block);
        under.own(&effects);
    }
    (under, blocks)
}

impl Under {
    /// A fresh replica of a network, started; none is an observer.
    pub fn new(genesis: &Arc<Genesis>, me: Option<u16>) -> Self {
        let mut under = Self::stopped(genesis, me, Base::genesis(genesis), me.is_some());
        under.step(Input::Start);
        under
    }

    /// A replica at a base that was not started.
    pub fn stopped(genesis: &Arc<Genesis>, me: Option<u16>, base: Base, voting: bool) -> Self {
        let key = me.and_then(|me| genesis.validators().key(validator(me)));
        Self::configured(genesis, Config::from_genesis(genesis, key.as_ref()), base, voting)
    }

    /// A replica of any configuration that was not started.
    pub fn configured(genesis: &Arc<Genesis>, config: Config, base: Base, voting: bool) -> Self {
        let story = Story::new(genesis);
        Self {
            me: config.me.unwrap_or(ValidatorIndex(u16::MAX)),
            now: Now { monotonic_us: 5_000_000, wall: story.time_at(1) },
            ledger: BTreeMap::from([(base.height, base.log)]),
            interval: config.parameters.checkpoint_interval,
            replica: Replica::new(config, base, voting),
            timers: BTreeMap::new(),
            log: Vec::new(),
            change: None,
            ends: BTreeMap::new(),
            story,
        }
    }

    /// The same validator after a crash: what is in `log` was durable, and the derived state stands at the genesis.
    pub fn restarted(&self, log: &[Record], bundles: &[BundleMeta]) -> Self {
        let genesis = &self.story.genesis;
        let mut under = Self::stopped(genesis, Some(self.me.0), Base::genesis(genesis), true);
        under.now = self.now;
        for meta in bundles {
            under.step(Input::Bundle(*meta));
        }
        for record in log {
            under.step(Input::Replay(record.clone()));
        }
        under.log = log.to_vec();
        under
    }

    /// One input, and exactly what comes out.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.replica.step(self.now, input, &mut effects);
        for effect in &effects {
            match effect {
                Effect::SetTimer { timer, generation, after_us } => {
                    self.timers.insert(*timer, (*generation, self.now.monotonic_us + after_us));
                }
                Effect::Persist { record, .. } => self.log.push(record.clone()),
                Effect::Say { say, .. } => self.log.extend(self.record_of(say)),
                _ => {}
            }
        }
        effects
    }

    /// One input and what comes out, without timers and status.
    pub fn quiet(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.step(input);
        effects.retain(|effect| !matches!(effect, Effect::SetTimer { .. } | Effect::Broadcast(Unsigned::Status(_))));
        effects
    }

    /// One input and what comes out, without timers and status; what is executed is executed at once.
    pub fn run(&mut self, input: Input) -> Vec<Effect> {
        let mut all = Vec::new();
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let effects = self.quiet(inputs.remove(0));
            for effect in &effects {
                match effect {
                    Effect::Execute { id, height, timestamp, bundles } => {
                        let below = self.ledger[&height.previous()];
                        let (log_size, log_root) = execute(below, *timestamp, bundles);
                        self.ledger.insert(*height, (log_size, log_root));
                        let succession = self.succeed(*height, bundles);
                        inputs.push(Input::Executed { id: *id, log_size, log_root, succession });
                    }
                    Effect::RollBack { to } => {
                        self.ledger.retain(|height, _| height <= to);
                        self.ends.retain(|height, _| height <= to);
                    }
                    Effect::Commit { block, .. } if block.header.height.0.is_multiple_of(self.interval) => {
                        let (height, root) = (block.header.height, self.story.state_root(block));
                        inputs.push(Input::StateRoot { height, root });
                    }
                    _ => {}
                }
            }
            all.extend(effects);
        }
        all
    }

    /// What follows a block, where the bundle that [`Self::change`] names changes the validators.
    fn succeed(&mut self, height: Height, bundles: &[Digest]) -> Succession {
        let steady = self.story.steady();
        let Some((change, next_set)) = self.change else { return steady };
        let below = self.ends.get(&height.previous()).copied();
        let interval = self.story.genesis.parameters().checkpoint_interval;
        let end = below.or_else(|| bundles.contains(&change).then(|| Height(height.0.div_ceil(interval) * interval)));
        let Some(end) = end else { return steady };
        let ends = Some(end);
        self.ends.insert(height, end);
        match height < end {
            true => Succession { ends, ..steady },
            false => Succession { ends, next_epoch: dtvn_messages::Epoch(1), next_set },
        }
    }

    /// A message of a peer, run.
    pub fn hear(&mut self, from: u16, message: Message) -> Vec<Effect> {
        self.run(Input::Message { from: validator(from), message })
    }

    /// A bundle is here.
    pub fn bundle(&mut self, meta: BundleMeta) -> Vec<Effect> {
        self.run(Input::Bundle(meta))
    }

    /// The proposal of the leader of a view.
    pub fn propose(&mut self, view: u64, block: &Block) -> Vec<Effect> {
        let leader = self.story.genesis.validators().leader(block.header.epoch, View(view));
        let message = self.story.pre_prepare(view, block);
        self.hear(leader.0, message)
    }

    /// Votes of peers, run; all effects together.
    pub fn votes(&mut self, kind: VoteKind, view: u64, block: &Block, signers: &[u16]) -> Vec<Effect> {
        let mut all = Vec::new();
        for signer in signers {
            let vote = self.story.signed(*signer, self.story.vote(kind, view, block));
            all.extend(self.hear(*signer, Message::Vote(vote)));
        }
        all
    }

    /// This replica's own vote comes back from the outbox.
    pub fn own_vote(&mut self, vote: Vote) -> Vec<Effect> {
        let vote = sign(&self.story.genesis, self.me, vote);
        self.run(Input::Own(Own::Vote(vote)))
    }

    /// Everything that was said in `effects` is durable and comes back, as the outbox does it.
    pub fn own(&mut self, effects: &[Effect]) -> Vec<Effect> {
        let mut all = Vec::new();
        for effect in effects {
            match effect {
                Effect::Say { say, .. } => {
                    let own = self.own_of(say);
                    all.extend(self.run(Input::Own(own)));
                }
                Effect::Propose { view, block, .. } => {
                    let vote = self.story.prepare(view.0, block);
                    all.extend(self.own_vote(vote));
                }
                Effect::Notify { what: Durable::NewView(view), .. } => {
                    all.extend(self.run(Input::Durable(Durable::NewView(*view))));
                }
                _ => {}
            }
        }
        all
    }

    /// As [`Self::own`], and again for all that follows from it.
    pub fn settle(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut all = effects.clone();
        let mut next = self.own(&effects);
        while !next.is_empty() {
            all.extend(next.iter().cloned());
            next = self.own(&next);
        }
        all
    }

    pub fn own_of(&self, say: &Say) -> Own {
        let (genesis, chain) = (&self.story.genesis, self.story.genesis.chain_id());
        match say {
            Say::Vote(vote) => Own::Vote(sign(genesis, self.me, *vote)),
            Say::ViewChange(body) => Own::ViewChange(Sealed::new(sign(genesis, self.me, body.clone()), chain)),
            Say::NewView { new_view, .. } => Own::NewView(Sealed::new(sign(genesis, self.me, new_view.clone()), chain)),
            Say::Checkpoint(checkpoint) => Own::Checkpoint(sign(genesis, self.me, *checkpoint)),
        }
    }

    /// What the outbox writes to the log for what is said.
    fn record_of(&self, say: &Say) -> Option<Record> {
        match (self.own_of(say), say) {
            (Own::Vote(_), _) => None,
            (Own::ViewChange(sealed), _) => Some(Record::ViewChange(sealed)),
            (Own::NewView(new_view), Say::NewView { view_changes, .. }) => {
                Some(Record::NewView { new_view, view_changes: view_changes.clone() })
            }
            (Own::NewView(_), _) => None,
            (Own::Checkpoint(vote), _) => Some(Record::Checkpoint(vote)),
        }
    }

    /// Time passes; no timer fires by itself.
    pub fn wait_us(&mut self, us: u64) {
        self.now.monotonic_us += us;
        self.now.wall = self.now.wall.plus_micros(us);
    }

    /// How long until a timer is due, as it was set last.
    pub fn due_in_us(&self, timer: Timer) -> Option<u64> {
        self.timers.get(&timer).map(|(_, due_us)| due_us.saturating_sub(self.now.monotonic_us))
    }

    /// Waits until a timer is due, and fires it.
    pub fn fire(&mut self, timer: Timer) -> Vec<Effect> {
        let wait_us = self.due_in_us(timer).unwrap();
        self.wait_us(wait_us);
        self.fire_now(timer)
    }

    /// Fires a timer as it was set last, whatever the time.
    pub fn fire_now(&mut self, timer: Timer) -> Vec<Effect> {
        let (generation, _) = self.timers[&timer];
        self.run(Input::Timer { timer, generation })
    }

    /// All validators but this one.
    pub fn peers(&self) -> Vec<u16> {
        let all = self.story.genesis.validators().iter().map(|(index, _)| index);
        all.filter(|index| *index != self.me).map(|index| index.0).collect()
    }

    /// The bundles that a chain of [`Story::chain`] names are here.
    pub fn hold(&mut self, bundles: &[BundleMeta]) {
        for meta in bundles {
            self.step(Input::Bundle(*meta));
        }
    }

    /// Accepts, prepares and commits a block with the votes of all peers.
    pub fn commit_block(&mut self, view: u64, block: &Block) -> Vec<Effect> {
        let mut all = Vec::new();
        if self.replica.leader() != self.me {
            let effects = self.propose(view, block);
            all.extend(self.settle(effects));
        }
        for kind in [VoteKind::Prepare, VoteKind::Commit] {
            for peer in self.peers() {
                let effects = self.votes(kind, view, block, &[peer]);
                all.extend(self.settle(effects));
            }
        }
        assert_eq!(self.replica.committed(), block.header.height, "the block is committed");
        all
    }

    /// Moves to a view and adopts its NEW-VIEW, in which all peers show the same. Returns what follows from it.
    pub fn start_view(&mut self, shown: &ViewChange) -> Vec<Effect> {
        let view = shown.view.0;
        if self.replica.show().view < shown.view {
            self.move_to(view);
        }
        let view_changes = self.peers().into_iter().map(|peer| self.story.view_change(peer, shown.clone()));
        let view_changes: Vec<SealedViewChange> = view_changes.collect();
        for view_change in &view_changes {
            self.hear(self.peers()[0], Message::ViewChange(Arc::clone(view_change)));
        }
        let leader = self.story.genesis.validators().leader(dtvn_messages::Epoch(0), shown.view);
        let mut effects = self.hear(leader.0, Message::NewView(self.story.new_view(view, &view_changes)));
        let active = self.own(&effects);
        effects.extend(active);
        assert!(self.replica.show().active, "the view has started");
        effects
    }

    /// Moves to a view by the wishes of all peers, and starts it by what they prove. Returns what the replica says of
    /// itself, and all effects.
    pub fn move_to(&mut self, view: u64) -> Vec<Effect> {
        let mut all = Vec::new();
        for peer in self.peers() {
            let wish = Message::Wish { epoch: dtvn_messages::Epoch(0), view: View(view) };
            all.extend(self.hear(peer, wish));
        }
        assert_eq!(self.replica.show().view, View(view), "wishes of a quorum move");
        let back = self.own(&all);
        all.extend(back);
        all
    }
}

/// The effect of a record that goes to the log.
pub fn persist(ticket: Ticket, record: Record) -> Effect {
    Effect::Persist { ticket, record }
}

/// The effect of a vote.
pub fn say(after: Ticket, vote: Vote) -> Effect {
    Effect::Say { after, say: Say::Vote(vote) }
}

/// The effect of blame.
pub fn blame(peer: u16, why: &'static str) -> Effect {
    Effect::Blame { peer: validator(peer), why }
}

/// The effect of a wish.
pub fn wish(view: u64) -> Effect {
    Effect::Broadcast(Unsigned::Wish { epoch: dtvn_messages::Epoch(0), view: View(view) })
}

/// The effect of telling one peer something.
pub fn tell(to: u16, what: Unsigned) -> Effect {
    Effect::Tell { to: validator(to), what }
}

/// The votes in effects, with what they wait for.
pub fn votes_said(effects: &[Effect]) -> Vec<(Ticket, Vote)> {
    let vote = |effect: &Effect| match effect {
        Effect::Say { after, say: Say::Vote(vote) } => Some((*after, *vote)),
        _ => None,
    };
    effects.iter().filter_map(vote).collect()
}
