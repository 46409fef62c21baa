//! Catching up: whom to ask for committed blocks, and what to do with answers (consensus.md section 7).
//!
//! Sync fetches what exists and is proven; it signs nothing and orders nothing. It fetches blocks while somebody has them
//! and they are not too many, else a snapshot (`snapshot`), and then blocks again. A node whose state is not the certified
//! one fetches a snapshot in any case.

mod answer;
mod assemble;
mod peer;
mod serve;
mod snapshot;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use dtvn_messages::snapshot::CheckedManifest;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Digest, Epoch, Height, Now, PublicKey, ValidatorIndex, limits};

use crate::verify::{CheckedBlocks, CheckedPart};
use snapshot::{Fetch, Progress};

pub use answer::Answer;
pub use assemble::{AssembleError, Assembled, assemble};
pub use peer::Peer;
pub(crate) use serve::manifest as manifest_of;
pub use serve::{serve, serve_manifest, serve_part};

/// What goes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// The replica lacks committed blocks.
    Ask {
        /// The first height.
        from: Height,
        /// The last height that is proved.
        to: Height,
        /// Who has shown to have it.
        holders: Vec<ValidatorIndex>,
    },
    /// Nobody says what is committed: one of those who may know is asked, once.
    Follow {
        /// The first height that is not here.
        from: Height,
        /// As far as one answer goes.
        to: Height,
    },
    /// These are connected and no validators of the epoch: they may be those of a later one, so they are asked as well,
    /// for all that is fetched. None while a quorum of the epoch is connected, which has whatever there is.
    Strangers(Vec<PublicKey>),
    /// A peer's blocks, checked.
    Blocks {
        /// Who sent them.
        from: Peer,
        /// The blocks.
        checked: CheckedBlocks,
    },
    /// A peer's answer was faulty.
    Faulty(Peer),
    /// This node's state is not what a quorum certified: it is to be replaced.
    Heal {
        /// The height of the node's own stable checkpoint: an older state is of no use.
        at_least: Height,
        /// The height at which the state was found to differ: the best one to compare with.
        differs_at: Height,
    },
    /// A snapshot's manifest, checked.
    Manifest {
        /// Who sent it.
        from: Peer,
        /// The manifest.
        checked: Arc<CheckedManifest>,
    },
    /// How epochs ended that lie before a snapshot, checked.
    EpochEnds {
        /// Who sent it.
        from: Peer,
        /// The epoch whose validators are known by now.
        leads_to: Epoch,
    },
    /// A part of a snapshot, well formed.
    Part {
        /// Who sent it.
        from: Peer,
        /// The part.
        part: CheckedPart,
    },
    /// A peer has no snapshot at this height.
    Refused {
        /// Who says so.
        from: Peer,
        /// The height.
        height: Height,
    },
    /// Parts that were kept are gone or damaged.
    Lost(BTreeSet<Digest>),
    /// The snapshot that was to be installed is not: this node went on beyond it ([`Sync::is_outrun`]). Its parts are not
    /// kept any longer.
    Outrun,
    /// The timer fired.
    Timer {
        /// Its generation.
        generation: u64,
    },
}

/// What comes out.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send to one peer.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        message: PeerMessage,
    },
    /// Blocks for the replica.
    Deliver(CheckedBlocks),
    /// Keep a part of a snapshot under its hash, beyond a restart.
    Keep(CheckedPart),
    /// All parts of a snapshot are kept: put its state in the place of this node's, and start again from it. If parts turn
    /// out to be gone, come back with [`Input::Lost`]; if it [is outrun](Sync::is_outrun), with [`Input::Outrun`].
    Install(Arc<CheckedManifest>),
    /// This node's state is wrong and there was no checkpoint yet: start again from the genesis. The consensus log holds
    /// every block.
    InstallGenesis,
    /// A peer broke the protocol.
    Blame {
        /// The peer.
        peer: Peer,
        /// How.
        why: &'static str,
    },
    /// Come back with [`Input::Timer`].
    SetTimer {
        /// Its generation.
        generation: u64,
        /// After how long.
        after_us: u64,
    },
}

#[derive(Debug)]
struct Asked {
    from: Height,
    to: Height,
    peer: Peer,
    holders: Vec<Peer>,
    why: Why,
    /// What the replica asked for since: the next try is for that.
    newer: Option<(Height, Height, Vec<Peer>)>,
}

/// Why blocks are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// They are proved committed; so many requests for them have had no answer in time.
    Proved { unanswered: usize },
    /// Nobody has shown to have them: a guess gives way to what is proved, and is not asked again.
    Guess,
}

/// A snapshot that is being fetched, and why.
#[derive(Debug)]
struct Fetching {
    fetch: Fetch,
    /// To replace a state that is wrong.
    heals: bool,
    /// There was no checkpoint yet: the genesis is a state to start from.
    from_genesis: bool,
    /// It is complete, and being put in place.
    installing: bool,
}

fn validators(indices: Vec<ValidatorIndex>) -> Vec<Peer> {
    indices.into_iter().map(Peer::Validator).collect()
}

/// The catch-up planner: one request for blocks at a time, or one snapshot.
#[derive(Debug, Default)]
pub struct Sync {
    /// The present epoch.
    epoch: Epoch,
    /// The other validators of the epoch, then the strangers who are asked too.
    peers: Vec<Peer>,
    /// The height that the chain begins on.
    base: Height,
    /// So many blocks each node keeps.
    retained: u64,
    asked: Option<Asked>,
    fetching: Option<Fetching>,
    /// The hashes of the parts that are kept.
    kept: BTreeSet<Digest>,
    /// Nobody had a snapshot: so many times blocks are asked for, however many.
    blocks_only: u32,
    generation: u64,
    turn: usize,
}

impl Sync {
    /// A planner with nothing to do. `peers` are all other validators of the epoch, `base` is the height that the chain
    /// begins on, `retained` how many blocks each node keeps, `kept` the hashes of the parts of snapshots that former
    /// attempts left.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        peers: Vec<ValidatorIndex>,
        (base, retained): (Height, u64),
        kept: BTreeSet<Digest>,
    ) -> Self {
        Self { epoch, peers: validators(peers), base, retained, kept, ..Self::default() }
    }

    /// Another epoch began: these are the other validators now. Who was asked before has another index; what was kept
    /// stays.
    pub fn begin_epoch(&mut self, epoch: Epoch, peers: Vec<ValidatorIndex>) {
        (self.asked, self.fetching) = (None, None);
        (self.epoch, self.peers) = (epoch, validators(peers));
        self.generation += 1;
    }

    /// The strangers of whom an answer is awaited. What others send unasked is not worth checking.
    #[must_use]
    pub fn awaited_strangers(&self) -> BTreeSet<PublicKey> {
        let asked = self.asked.iter().map(|asked| asked.peer);
        let fetched = self.fetching.iter().flat_map(|fetching| fetching.fetch.asked());
        asked.chain(fetched).filter_map(|peer| peer.stranger()).collect()
    }

    /// Whether an answer is awaited.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        self.asked.is_some() || self.fetching.is_some()
    }

    /// Whether a state is being fetched because the node's own is wrong.
    #[must_use]
    pub fn heals(&self) -> bool {
        self.fetching.as_ref().is_some_and(|fetching| fetching.heals)
    }

    /// The height of the snapshot that is being fetched, how many of its parts are missing, and how many it has.
    #[must_use]
    pub fn snapshot(&self) -> Option<(Height, usize, usize)> {
        self.fetching.as_ref()?.fetch.progress()
    }

    /// Takes one input and appends what follows from it.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            // Blocks are asked for again when the snapshot is in place.
            Input::Ask { .. } if self.fetching.is_some() => {}
            Input::Ask { from, to, holders } => {
                let holders = holders.into_iter().map(Peer::Validator).collect();
                self.on_ask(from, to, holders, effects);
            }
            Input::Follow { .. } if self.is_fetching() => {}
            Input::Follow { from, to } => {
                let asked = self.next_to_follow().into_iter().collect();
                self.ask((from, to), asked, Why::Guess, effects);
            }
            Input::Strangers(strangers) => self.on_strangers(strangers),
            Input::Blocks { from, checked } => self.on_blocks(from, checked, effects),
            Input::Faulty(peer) => {
                if self.asked.as_ref().is_some_and(|asked| asked.peer == peer) {
                    self.pass_over(peer);
                    self.ask_another(effects);
                }
                self.in_fetch(|fetch| fetch.on_lie(peer));
            }
            Input::Heal { at_least, differs_at } => {
                self.asked = None;
                let fetch = Fetch::new(self.epoch, at_least, differs_at, self.peers.iter().copied());
                self.fetch(
                    Fetching { fetch, heals: true, from_genesis: at_least == self.base, installing: false },
                    effects,
                );
            }
            Input::Manifest { from, checked } => self.in_fetch(|fetch| fetch.on_manifest(from, checked)),
            Input::EpochEnds { from, leads_to } => self.in_fetch(|fetch| fetch.on_epoch_ends(from, leads_to)),
            Input::Part { from, part } => self.on_part(from, part, effects),
            Input::Refused { from, height } => self.in_fetch(|fetch| fetch.on_refused(from, height)),
            Input::Lost(lost) => self.on_lost(&lost),
            Input::Outrun => {
                self.fetching = None;
                self.kept.clear();
            }
            Input::Timer { generation } if generation == self.generation && self.fetching.is_none() => {
                if let Some(Asked { why: Why::Proved { unanswered }, .. }) = &mut self.asked {
                    *unanswered += 1;
                }
                self.ask_another(effects);
            }
            Input::Timer { generation } if generation == self.generation => self.tick(effects),
            Input::Timer { .. } => return,
        }
        self.advance_fetch(now, effects);
    }

    /// Whether to install a state of this height would take this node back, which has committed up to `committed` and whose
    /// own state is not wrong: what is fetched takes time, and meanwhile it may have heard the rest from others.
    #[must_use]
    pub fn is_outrun(&self, height: Height, committed: Height) -> bool {
        self.fetching.as_ref().is_some_and(|fetching| !fetching.heals) && height <= committed
    }

    fn on_strangers(&mut self, strangers: Vec<PublicKey>) {
        self.peers.retain(|peer| !peer.is_stranger());
        self.peers.extend(strangers.into_iter().map(Peer::Stranger));
        if let Some(fetching) = &mut self.fetching {
            fetching.fetch.meet(&self.peers);
        }
    }

    /// Validators and strangers take turns: however many strangers there are, no validator's turn comes later for more than
    /// as many as there are validators.
    fn next_to_follow(&self) -> Option<Peer> {
        let (strangers, validators): (Vec<Peer>, Vec<Peer>) = self.peers.iter().partition(|peer| peer.is_stranger());
        let kinds: Vec<&Vec<Peer>> = [&validators, &strangers].into_iter().filter(|peers| !peers.is_empty()).collect();
        let peers = kinds.get(self.turn % kinds.len().max(1))?;
        peers.get(self.turn / kinds.len() % peers.len()).copied()
    }

    fn on_ask(&mut self, from: Height, to: Height, holders: Vec<Peer>, effects: &mut Vec<Effect>) {
        if to.above(from) >= self.too_many(from, to) && self.blocks_only == 0 {
            return self.fetch_above(from, effects);
        }
        self.blocks_only = self.blocks_only.saturating_sub(1);
        match &mut self.asked {
            None => self.ask((from, to), holders, Why::Proved { unanswered: 0 }, effects),
            Some(asked) if asked.why == Why::Guess => {
                self.ask((from, to), holders, Why::Proved { unanswered: 0 }, effects)
            }
            Some(asked) => asked.newer = Some((from, to, holders)),
        }
    }

    /// How many blocks are too many to be executed. With a state a node loses its own history: one that has more of it than
    /// it lacks executes all that its peers still have. Any other is at the tip sooner with a state.
    fn too_many(&self, from: Height, to: Height) -> u64 {
        let (own, lacking) = (from.above(self.base), to.above(from));
        if own > lacking { self.retained } else { limits::SNAPSHOT_BEHIND_BLOCKS }
    }

    /// Fetches a state that is later than the blocks which this node lacks.
    fn fetch_above(&mut self, from: Height, effects: &mut Vec<Effect>) {
        self.asked = None;
        let fetch = Fetch::new(self.epoch, from, from, self.peers.iter().copied());
        self.fetch(Fetching { fetch, heals: false, from_genesis: false, installing: false }, effects);
    }

    fn fetch(&mut self, next: Fetching, effects: &mut Vec<Effect>) {
        let gives_way = |former: &Fetching| next.heals && !former.heals && !former.installing;
        if self.fetching.as_ref().is_none_or(gives_way) {
            self.fetching = Some(next);
            self.tick(effects);
        }
    }

    fn in_fetch(&mut self, change: impl FnOnce(&mut Fetch)) {
        if let Some(fetching) = self.fetching.as_mut().filter(|fetching| !fetching.installing) {
            change(&mut fetching.fetch);
        }
    }

    fn on_part(&mut self, from: Peer, part: CheckedPart, effects: &mut Vec<Effect>) {
        let fetching = self.fetching.as_mut().filter(|fetching| !fetching.installing);
        if fetching.is_some_and(|fetching| fetching.fetch.on_part(from, &part, effects)) {
            self.kept.insert(part.hash);
            effects.push(Effect::Keep(part));
        }
    }

    fn on_lost(&mut self, lost: &BTreeSet<Digest>) {
        self.kept.retain(|hash| !lost.contains(hash));
        if let Some(fetching) = &mut self.fetching {
            fetching.installing = false;
            fetching.fetch.on_lost(lost);
        }
    }

    fn tick(&mut self, effects: &mut Vec<Effect>) {
        self.generation += 1;
        let after_us = limits::SNAPSHOT_TICK_MS * 1_000;
        effects.push(Effect::SetTimer { generation: self.generation, after_us });
    }

    /// Goes on with the snapshot, if one is being fetched.
    fn advance_fetch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(fetching) = self.fetching.as_mut().filter(|fetching| !fetching.installing) else { return };
        match fetching.fetch.advance(now.monotonic_us, &self.kept, effects) {
            Progress::Fetching => {}
            Progress::Complete(checked) => {
                fetching.installing = true;
                effects.push(Effect::Install(checked));
            }
            Progress::NobodyHasIt if fetching.from_genesis => {
                fetching.installing = true;
                effects.push(Effect::InstallGenesis);
            }
            // The timer tries again.
            Progress::NobodyHasIt if fetching.heals => {}
            // The replica asks for blocks again: perhaps somebody has them now.
            Progress::NobodyHasIt => {
                self.fetching = None;
                self.blocks_only = limits::SNAPSHOT_REFUSED_ASKS;
            }
        }
    }

    fn ask(&mut self, (from, to): (Height, Height), holders: Vec<Peer>, why: Why, effects: &mut Vec<Effect>) {
        // Those who are known to hold it may all be gone, and others have it by now.
        let are_gone = matches!(why, Why::Proved { unanswered } if unanswered >= holders.len());
        let of_all = are_gone.then(|| self.next_to_follow()).flatten();
        let of_holders = holders.get(self.turn % holders.len().max(1)).copied();
        let Some(peer) = of_all.or(of_holders) else { return };
        let to = to.min(from.plus(limits::SYNC_BLOCKS_MAX as u64 - 1));
        effects.push(Effect::Send { to: peer, message: PeerMessage::SyncRequest { from, to } });
        self.generation += 1;
        effects
            .push(Effect::SetTimer { generation: self.generation, after_us: limits::SYNC_ANSWER_TIMEOUT_MS * 1_000 });
        self.asked = Some(Asked { from, to, peer, holders, why, newer: None });
    }

    /// Whoever answered falsely is not asked again for this: if it alone said that it has it, all others are asked. Else
    /// two would send each other requests and lies as fast as the network carries them.
    fn pass_over(&mut self, liar: Peer) {
        let Some(asked) = &mut self.asked else { return };
        let newer = asked.newer.as_mut().map(|(.., holders)| holders);
        for holders in [Some(&mut asked.holders), newer].into_iter().flatten() {
            holders.retain(|holder| *holder != liar);
            if holders.is_empty() {
                holders.extend(self.peers.iter().copied().filter(|peer| *peer != liar));
            }
        }
    }

    fn ask_another(&mut self, effects: &mut Vec<Effect>) {
        self.turn += 1;
        if let Some(asked) = self.asked.take().filter(|asked| asked.why != Why::Guess) {
            let (from, to, holders) = asked.newer.unwrap_or((asked.from, asked.to, asked.holders));
            self.ask((from, to), holders, asked.why, effects);
        }
    }

    fn on_blocks(&mut self, from: Peer, checked: CheckedBlocks, effects: &mut Vec<Effect>) {
        let Some(asked) = self.asked.as_ref().filter(|asked| asked.peer == from) else { return };
        if checked.blocks.is_empty() {
            // It has collected them, or never had them: what it has is a later state.
            let from = asked.from;
            self.turn += 1;
            return self.fetch_above(from, effects);
        }
        let starts_right = checked.blocks.first().is_some_and(|first| first.block.header.height == asked.from);
        if !starts_right {
            // If it alone is known to hold them, it would be asked for the same as fast as it answers.
            self.pass_over(from);
            return self.ask_another(effects);
        }
        // The replica asks again if it lacks more: it knows what it holds by then.
        self.asked = None;
        self.generation += 1;
        effects.push(Effect::Deliver(checked));
    }
}
