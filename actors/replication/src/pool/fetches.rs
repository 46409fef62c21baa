//! Bundles that are looked for: whom to ask next, and when.
//!
//! What the replica wants is asked for round and round, first of the holders that it named, then of everybody else,
//! until it is here or no longer wanted. What was only announced is asked for once of each that announced it.

use std::collections::{BTreeMap, BTreeSet};

use dtvn_messages::{Digest, ValidatorIndex};

use super::settings::PoolLimits;

#[derive(Debug)]
struct Search {
    kind: Kind,
    /// Whom to ask, in turn; those before `next` were asked in this round.
    holders: Vec<ValidatorIndex>,
    next: usize,
    asked: Option<ValidatorIndex>,
    wakes: Wake,
    /// Of what the replica needs: the leader whose proposal names it, none if a quorum voted for a block that does.
    proposer: Option<ValidatorIndex>,
}

/// When a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    At(u64),
    /// As soon as a holder may be asked: its place in the queue.
    Turn(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The replica needs it.
    Wanted,
    /// Announced; counts against the one that did so first.
    Announced { first: ValidatorIndex },
    /// Announced by one peer, and perhaps finished long ago: a second one must announce it too.
    Doubted { first: ValidatorIndex },
}

/// The bundles that are looked for.
#[derive(Debug)]
pub(super) struct Fetches {
    searches: BTreeMap<Digest, Search>,
    deadlines: BTreeSet<(u64, Digest)>,
    /// Wanted, but everybody was busy or away; first come, first served.
    waiting: BTreeMap<u64, Digest>,
    turns: u64,
    wanted: usize,
    outstanding: BTreeMap<ValidatorIndex, usize>,
    announced: BTreeMap<ValidatorIndex, usize>,
    peers: Vec<ValidatorIndex>,
    unreachable: BTreeSet<ValidatorIndex>,
    asks: BTreeMap<ValidatorIndex, Vec<Digest>>,
}

impl Fetches {
    /// Nothing is looked for; `peers` are all validators but this node.
    pub(super) fn new(peers: Vec<ValidatorIndex>) -> Self {
        Self {
            searches: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting: BTreeMap::new(),
            turns: 0,
            wanted: 0,
            outstanding: BTreeMap::new(),
            announced: BTreeMap::new(),
            peers,
            unreachable: BTreeSet::new(),
            asks: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.searches.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.searches.is_empty()
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.searches.contains_key(digest)
    }

    pub(super) fn is_wanted(&self, digest: &Digest) -> bool {
        self.wanted_for(digest).is_some()
    }

    /// If the replica needs a bundle, the leader whose proposal names it: none if a quorum voted for a block that does.
    pub(super) fn wanted_for(&self, digest: &Digest) -> Option<Option<ValidatorIndex>> {
        self.searches.get(digest).filter(|search| search.kind == Kind::Wanted).map(|search| search.proposer)
    }

    /// The replica needs a bundle, which is asked for after `grace_ms`. False if it wants too many.
    pub(super) fn want(
        &mut self,
        now_us: u64,
        (digest, proposer): (Digest, Option<ValidatorIndex>),
        holders: &[ValidatorIndex],
        grace_ms: u64,
        limits: &PoolLimits,
    ) -> bool {
        if let Some(search) = self.searches.get_mut(&digest)
            && search.kind == Kind::Wanted
        {
            holders.iter().rev().for_each(|holder| add_holder(search, *holder));
            // What a quorum voted for stays so; of leaders it is the last that says so.
            search.proposer = search.proposer.and(proposer);
            return true;
        }
        if self.wanted >= limits.wants_max {
            return false;
        }
        let before = self.searches.get(&digest);
        let asked = before.and_then(|search| search.asked);
        let wakes = match before {
            Some(search) if asked.is_some() => search.wakes,
            _ => Wake::At(now_us + grace_ms * 1_000),
        };
        let holders = self.ring(holders, before.map_or(&[], |search| &search.holders));
        if let Some(search) = self.searches.remove(&digest) {
            self.unschedule(digest, search.wakes);
            self.discount(search.kind);
        }
        self.wanted += 1;
        self.searches.insert(digest, Search { kind: Kind::Wanted, holders, next: 0, asked, wakes, proposer });
        self.schedule(digest, wakes);
        true
    }

    /// All peers: first those named, then those who announced it, then the others.
    fn ring(&self, named: &[ValidatorIndex], known: &[ValidatorIndex]) -> Vec<ValidatorIndex> {
        let mut ring: Vec<ValidatorIndex> = Vec::with_capacity(self.peers.len());
        for peer in named.iter().chain(known).chain(&self.peers) {
            if self.peers.contains(peer) && !ring.contains(peer) {
                ring.push(*peer);
            }
        }
        ring
    }

    /// The replica no longer needs a bundle.
    pub(super) fn unwant(&mut self, digest: &Digest) {
        if self.is_wanted(digest) {
            self.forget(digest);
        }
    }

    /// The replica needs none of what it wanted.
    pub(super) fn want_nothing(&mut self) {
        let wanted = self.searches.iter().filter(|(_, search)| search.kind == Kind::Wanted);
        let wanted: Vec<Digest> = wanted.map(|(digest, _)| *digest).collect();
        wanted.iter().for_each(|digest| self.forget(digest));
    }

    /// A peer announced a bundle that is not here.
    pub(super) fn announced(
        &mut self,
        now_us: u64,
        digest: Digest,
        from: ValidatorIndex,
        doubted: bool,
        limits: &PoolLimits,
    ) {
        if let Some(search) = self.searches.get_mut(&digest) {
            add_holder(search, from);
            if let Kind::Doubted { first } = search.kind
                && first != from
            {
                search.kind = Kind::Announced { first };
                self.schedule(digest, Wake::At(now_us + limits.announce_grace_ms * 1_000));
            }
            return;
        }
        let count = self.announced.entry(from).or_default();
        if *count >= limits.announced_per_peer_max || !self.peers.contains(&from) {
            return;
        }
        *count += 1;
        let (kind, after_ms) = if doubted {
            (Kind::Doubted { first: from }, limits.announce_doubt_ms)
        } else {
            (Kind::Announced { first: from }, limits.announce_grace_ms)
        };
        let wakes = Wake::At(now_us + after_ms * 1_000);
        self.searches.insert(digest, Search { kind, holders: vec![from], next: 0, asked: None, wakes, proposer: None });
        self.schedule(digest, wakes);
    }

    /// A bundle that is looked for arrived and is being verified until `deadline_us`.
    pub(super) fn arrived(&mut self, digest: &Digest, deadline_us: u64) {
        self.release(digest);
        self.schedule(*digest, Wake::At(deadline_us));
    }

    /// What arrived was forged: its sender is not asked for it again, and the next holder is asked at once.
    pub(super) fn forged(&mut self, now_us: u64, digest: Digest, from: ValidatorIndex, limits: &PoolLimits) {
        self.release(&digest);
        let Some(search) = self.searches.get_mut(&digest) else { return };
        if let Some(place) = search.holders.iter().position(|holder| *holder == from) {
            search.holders.remove(place);
            search.next -= usize::from(place < search.next);
        }
        if search.holders.is_empty() && search.kind == Kind::Wanted {
            search.holders.clone_from(&self.peers);
            return self.later(now_us, digest, limits);
        }
        self.ask(now_us, digest, limits);
    }

    /// There was no room for what arrived: asks again after a while.
    pub(super) fn later(&mut self, now_us: u64, digest: Digest, limits: &PoolLimits) {
        self.release(&digest);
        self.schedule(digest, Wake::At(now_us + limits.fetch_timeout_ms * 1_000));
    }

    /// What arrived of a search is lost: the next holder is asked now.
    pub(super) fn wake(&mut self, now_us: u64, digest: Digest) {
        if self.searches.contains_key(&digest) {
            self.release(&digest);
            self.schedule(digest, Wake::At(now_us));
        }
    }

    /// A bundle is here, or needs no search any more.
    pub(super) fn forget(&mut self, digest: &Digest) {
        self.release(digest);
        if let Some(search) = self.searches.remove(digest) {
            self.unschedule(*digest, search.wakes);
            self.discount(search.kind);
        }
    }

    /// Asks the next holder of everything whose time is over, after those who wait for their turn.
    pub(super) fn expire(&mut self, now_us: u64, limits: &PoolLimits) {
        let due: Vec<Digest> =
            self.deadlines.iter().take_while(|(at_us, _)| *at_us <= now_us).map(|(_, digest)| *digest).collect();
        due.iter().for_each(|digest| self.release(digest));
        self.serve_waiting(now_us, limits);
        for digest in due {
            self.ask(now_us, digest, limits);
        }
    }

    /// Asks for what is wanted and had to wait, as far as somebody may be asked. Only looks at those at the head of the
    /// queue: whoever they wait for answers, or is given up within the timeout.
    pub(super) fn serve_waiting(&mut self, now_us: u64, limits: &PoolLimits) {
        if self.waiting.is_empty() {
            return;
        }
        let head: Vec<Digest> = self.waiting.values().take(limits.waiting_served_max).copied().collect();
        for digest in head {
            if !self.peers.iter().any(|peer| self.is_free(*peer, limits)) {
                return;
            }
            self.ask(now_us, digest, limits);
        }
    }

    fn is_free(&self, peer: ValidatorIndex, limits: &PoolLimits) -> bool {
        let outstanding = self.outstanding.get(&peer).copied().unwrap_or(0);
        outstanding < limits.fetches_per_peer_max && !self.unreachable.contains(&peer)
    }

    /// A peer is gone: what it was asked for is asked of others at once.
    pub(super) fn peer_down(&mut self, now_us: u64, peer: ValidatorIndex, limits: &PoolLimits) {
        self.unreachable.insert(peer);
        let asked = self.searches.iter().filter(|(_, search)| search.asked == Some(peer));
        let asked: Vec<Digest> = asked.map(|(digest, _)| *digest).collect();
        for digest in asked {
            self.release(&digest);
            self.ask(now_us, digest, limits);
        }
    }

    pub(super) fn peer_up(&mut self, peer: ValidatorIndex) {
        self.unreachable.remove(&peer);
    }

    /// When the next search has to go on.
    pub(super) fn deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_us, _)| *deadline_us)
    }

    /// What is to be asked now, of whom.
    pub(super) fn take_asks(&mut self) -> BTreeMap<ValidatorIndex, Vec<Digest>> {
        std::mem::take(&mut self.asks)
    }

    /// Asks the next holder of this round that may be asked. If they are all busy, waits for one of them: whoever was
    /// asked in this round is not asked again before the others were, or searches could block each other for ever. What
    /// was only announced has one round.
    fn ask(&mut self, now_us: u64, digest: Digest, limits: &PoolLimits) {
        let Some(search) = self.searches.get(&digest) else { return };
        let (kind, asked) = (search.kind, search.next);
        let reachable = |peer: &ValidatorIndex| !self.unreachable.contains(peer);
        let is_round_over = !search.holders[asked..].iter().any(reachable);
        let begin = match kind {
            Kind::Wanted if is_round_over => 0,
            Kind::Announced { .. } if is_round_over => return self.forget(&digest),
            Kind::Doubted { .. } => return self.forget(&digest),
            _ => asked,
        };
        let free = (begin..search.holders.len()).find(|place| self.is_free(search.holders[*place], limits));
        let timeout = Wake::At(now_us + limits.fetch_timeout_ms * 1_000);
        match (free, kind) {
            (Some(place), _) => self.ask_holder(digest, begin, place, timeout),
            (None, Kind::Wanted) => self.wait_for_turn(digest),
            (None, _) => self.schedule(digest, timeout),
        }
    }

    /// Asks the holder at `place`, which moves to the end of those asked in this round.
    fn ask_holder(&mut self, digest: Digest, begin: usize, place: usize, timeout: Wake) {
        let Some(search) = self.searches.get_mut(&digest) else { return };
        search.holders[begin..=place].rotate_right(1);
        let peer = search.holders[begin];
        search.next = begin + 1;
        search.asked = Some(peer);
        *self.outstanding.entry(peer).or_default() += 1;
        self.asks.entry(peer).or_default().push(digest);
        self.schedule(digest, timeout);
    }

    fn wait_for_turn(&mut self, digest: Digest) {
        let has_turn = self.searches.get(&digest).is_some_and(|search| matches!(search.wakes, Wake::Turn(_)));
        if !has_turn {
            self.turns += 1;
            self.schedule(digest, Wake::Turn(self.turns));
        }
    }

    fn schedule(&mut self, digest: Digest, wakes: Wake) {
        let Some(search) = self.searches.get_mut(&digest) else { return };
        let before = std::mem::replace(&mut search.wakes, wakes);
        self.unschedule(digest, before);
        match wakes {
            Wake::At(deadline_us) => {
                self.deadlines.insert((deadline_us, digest));
            }
            Wake::Turn(turn) => {
                self.waiting.insert(turn, digest);
            }
        }
    }

    fn unschedule(&mut self, digest: Digest, wakes: Wake) {
        match wakes {
            Wake::At(deadline_us) => {
                self.deadlines.remove(&(deadline_us, digest));
            }
            Wake::Turn(turn) => {
                self.waiting.remove(&turn);
            }
        }
    }

    /// Nobody is being asked for this bundle any more.
    fn release(&mut self, digest: &Digest) {
        if let Some(peer) = self.searches.get_mut(digest).and_then(|search| search.asked.take())
            && let Some(count) = self.outstanding.get_mut(&peer)
        {
            *count -= 1;
        }
    }

    fn discount(&mut self, kind: Kind) {
        match kind {
            Kind::Wanted => self.wanted -= 1,
            Kind::Announced { first } | Kind::Doubted { first } => {
                if let Some(count) = self.announced.get_mut(&first) {
                    *count -= 1;
                }
            }
        }
    }
}

/// Another holder is known: it is asked next.
fn add_holder(search: &mut Search, peer: ValidatorIndex) {
    match search.holders.iter().position(|holder| *holder == peer) {
        None if search.kind != Kind::Wanted => search.holders.push(peer),
        Some(place) if search.kind == Kind::Wanted && place > search.next => {
            search.holders[search.next..=place].rotate_right(1);
        }
        _ => {}
    }
}
