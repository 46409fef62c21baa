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
    /// Whom to ask, in turn.
    holders: Vec<ValidatorIndex>,
    next: usize,
    asked: Option<ValidatorIndex>,
    deadline_us: u64,
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
        self.searches.get(digest).is_some_and(|search| search.kind == Kind::Wanted)
    }

    /// The replica needs a bundle, which is asked for after `grace_ms`. False if it wants too many.
    pub(super) fn want(
        &mut self,
        now_us: u64,
        digest: Digest,
        holders: &[ValidatorIndex],
        grace_ms: u64,
        limits: &PoolLimits,
    ) -> bool {
        if let Some(search) = self.searches.get_mut(&digest)
            && search.kind == Kind::Wanted
        {
            holders.iter().rev().for_each(|holder| add_holder(search, *holder));
            return true;
        }
        if self.wanted >= limits.wants_max {
            return false;
        }
        let before = self.searches.get(&digest);
        let asked = before.and_then(|search| search.asked);
        let deadline_us = match before {
            Some(search) if asked.is_some() => search.deadline_us,
            _ => now_us + grace_ms * 1_000,
        };
        let known = before.map_or(&[][..], |search| &search.holders);
        let holders = self.ring(holders, known);
        if let Some(search) = self.searches.remove(&digest) {
            self.deadlines.remove(&(search.deadline_us, digest));
            self.discount(search.kind);
        }
        self.wanted += 1;
        self.deadlines.insert((deadline_us, digest));
        self.searches.insert(digest, Search { kind: Kind::Wanted, holders, next: 0, asked, deadline_us });
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
                self.set_deadline(digest, now_us + limits.announce_grace_ms * 1_000);
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
        let deadline_us = now_us + after_ms * 1_000;
        self.deadlines.insert((deadline_us, digest));
        self.searches.insert(digest, Search { kind, holders: vec![from], next: 0, asked: None, deadline_us });
    }

    /// A bundle that is looked for arrived and is being verified until `deadline_us`.
    pub(super) fn arrived(&mut self, digest: &Digest, deadline_us: u64) {
        self.release(digest);
        if self.searches.contains_key(digest) {
            self.set_deadline(*digest, deadline_us);
        }
    }

    /// What arrived was no good, or there was no room for it: asks elsewhere, at once or after a while.
    pub(super) fn again(&mut self, now_us: u64, digest: Digest, at_once: bool, limits: &PoolLimits) {
        self.release(&digest);
        if at_once {
            self.ask(now_us, digest, limits);
        } else if self.searches.contains_key(&digest) {
            self.set_deadline(digest, now_us + limits.fetch_timeout_ms * 1_000);
        }
    }

    /// A bundle is here, or needs no search any more.
    pub(super) fn forget(&mut self, digest: &Digest) {
        self.release(digest);
        if let Some(search) = self.searches.remove(digest) {
            self.deadlines.remove(&(search.deadline_us, *digest));
            self.discount(search.kind);
        }
    }

    /// Asks the next holder of everything whose time is over.
    pub(super) fn expire(&mut self, now_us: u64, limits: &PoolLimits) {
        let due: Vec<Digest> =
            self.deadlines.iter().take_while(|(at_us, _)| *at_us <= now_us).map(|(_, digest)| *digest).collect();
        for digest in due {
            self.release(&digest);
            self.ask(now_us, digest, limits);
        }
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

    /// Asks the next holder, or sets a time to try again, or gives up.
    fn ask(&mut self, now_us: u64, digest: Digest, limits: &PoolLimits) {
        let Some(search) = self.searches.get_mut(&digest) else { return };
        let (outstanding, unreachable) = (&self.outstanding, &self.unreachable);
        let reachable = |peer: &ValidatorIndex| !unreachable.contains(peer);
        let free = |peer: &ValidatorIndex| {
            outstanding.get(peer).copied().unwrap_or(0) < limits.fetches_per_peer_max && reachable(peer)
        };
        let chosen = match search.kind {
            Kind::Doubted { .. } => None,
            Kind::Wanted => {
                let ring = search.holders.len();
                let turn =
                    (0..ring).map(|step| (search.next + step) % ring).find(|place| free(&search.holders[*place]));
                turn.inspect(|place| search.next = (place + 1) % ring)
            }
            Kind::Announced { .. } => {
                let turn = (search.next..search.holders.len()).find(|place| free(&search.holders[*place]));
                turn.inspect(|place| search.next = place + 1)
            }
        };
        match chosen.map(|place| search.holders[place]) {
            Some(peer) => {
                search.asked = Some(peer);
                *self.outstanding.entry(peer).or_default() += 1;
                self.asks.entry(peer).or_default().push(digest);
            }
            None => {
                let later = match search.kind {
                    Kind::Wanted => true,
                    Kind::Announced { .. } => search.holders[search.next..].iter().any(reachable),
                    Kind::Doubted { .. } => false,
                };
                if !later {
                    return self.forget(&digest);
                }
            }
        }
        self.set_deadline(digest, now_us + limits.fetch_timeout_ms * 1_000);
    }

    fn set_deadline(&mut self, digest: Digest, deadline_us: u64) {
        if let Some(search) = self.searches.get_mut(&digest) {
            self.deadlines.remove(&(search.deadline_us, digest));
            search.deadline_us = deadline_us;
            self.deadlines.insert((deadline_us, digest));
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
