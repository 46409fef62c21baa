//! The bundle pool: what is known of bundles, and how they get to every validator before and independently of ordering.
//!
//! Consensus.md section 2: "Gossip disseminates bundles to all validators before and independently of ordering". "What
//! it lacks it fetches, from the proposer first, for a selected block from the signers of its certificate. [...]
//! Bundles are logged when they arrive." Section 9: "pending bundles above a limit make the node refuse operations,
//! never silently evict accepted ones; each origin has its own share of the pool". Architecture.md section 6: "to all
//! validators directly up to 16 of them; above that, to about sqrt(n) peers, plus lazy announce and fetch".
//!
//! A bundle is *available* once its signature was verified and it was handed to the log. From then on it is kept until
//! it is ordered (and then until the checkpoint above it is stable) or can never be ordered.

mod fetches;
mod inspection;
mod messages;
mod receive;
mod remembered;
mod serving;
mod settings;
mod shelf;
mod spread;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Bundle, BundlePosition, ChainId, Digest, Epoch, Height, Now, ValidatorIndex, ValidatorSet, limits,
};

pub use dtvn_pbft::BundleMeta;

pub use messages::{BlameReason, Effect, Input, PoolUsage};
pub use settings::{PoolLimits, PoolSettings};
pub use shelf::Refusal;

use fetches::Fetches;
use inspection::Inspection;
use remembered::{Memory, Remembered};
use serving::Serving;
use shelf::{Room, Shelf};

/// The bundle pool of one node.
#[derive(Debug)]
pub struct Pool {
    chain: ChainId,
    epoch: Epoch,
    validators: Arc<ValidatorSet>,
    own: Option<ValidatorIndex>,
    limits: PoolLimits,
    shelf: Shelf,
    inspection: Inspection,
    fetches: Fetches,
    remembered: Remembered,
    serving: Serving,
    /// Own bundles of an epoch of which intake heard before this pool.
    early: Vec<Arc<Bundle>>,
    full: bool,
    /// When the replica was last asked what it can do without.
    asked_for_room_us: Option<u64>,
    generation: u64,
    /// When the timer that is set will fire.
    armed_us: Option<u64>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        let limits = settings.limits;
        let remembered = Remembered::new(
            limits.remembered_max,
            limits.bloom_digests_max,
            limits.bloom_bits_per_digest,
            settings.seed,
        );
        Self {
            fetches: Fetches::new(peers(&settings.validators, settings.own)),
            chain: settings.chain,
            epoch: settings.epoch,
            validators: settings.validators,
            own: settings.own,
            limits,
            shelf: Shelf::default(),
            inspection: Inspection::default(),
            remembered,
            serving: Serving::default(),
            early: Vec::new(),
            full: false,
            asked_for_room_us: None,
            generation: 0,
            armed_us: None,
        }
    }

    /// A bundle that is held, pending or ordered.
    #[must_use]
    pub fn bundle(&self, digest: &Digest) -> Option<&Arc<Bundle>> {
        self.shelf.get(digest)
    }

    /// How much is held, for gauges.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        PoolUsage {
            pending_bundles: self.shelf.pending_count(),
            pending_bytes: self.shelf.pending_bytes(),
            reserve_bytes: self.shelf.reserve_bytes(),
            retained_bytes: self.shelf.retained_bytes(),
            unverified_bundles: self.inspection.len(),
            searches: self.fetches.len(),
        }
    }

    /// Takes one input and appends what follows from it. The order of effects matters: log before available.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let now_us = now.monotonic_us;
        match input {
            Input::Own(bundle) => self.on_own(bundle, effects),
            Input::Received { from, bytes } => self.on_received(now_us, from, &bytes, effects),
            Input::Verified { from, bundle, ok } => self.on_verified(now_us, from, bundle, ok, effects),
            Input::Fetch { from, digests } => self.on_fetch(now_us, from, &digests, effects),
            Input::Announce { from, digests } => self.on_announce(now_us, from, digests),
            Input::Want { digests, holders, proposer } => self.on_want(now_us, (digests, proposer), &holders, effects),
            Input::Unwant { digests } => digests.iter().for_each(|digest| self.fetches.unwant(digest)),
            Input::Release { digests } => self.shelf.release(&digests),
            Input::WantNothing => self.fetches.want_nothing(),
            Input::Relay { digests, leader } => self.on_relay(now_us, &digests, leader, effects),
            Input::Ordered { height, digests } => self.on_ordered(height, &digests, effects),
            // Numbers count anew in each epoch: those of another one say nothing here.
            Input::Positions { epoch, .. } if epoch != self.epoch => {}
            Input::Positions { positions, .. } => {
                positions.into_iter().for_each(|(origin, last)| self.advance(origin, last, effects));
            }
            Input::Stable { height } => self.shelf.collect(height),
            Input::Restored(bundle) => self.on_restored(bundle, effects),
            Input::VerifierRestarted => {
                for digest in self.inspection.forget_all() {
                    self.fetches.wake(now_us, digest);
                }
            }
            Input::ReplicaRestarted => {
                effects.extend(self.shelf.pending().map(|bundle| Effect::available(bundle)));
            }
            Input::PeerUp(peer) => self.on_peer_up(now_us, peer, effects),
            Input::PeerDown(peer) => self.fetches.peer_down(now_us, peer, &self.limits),
            Input::Epoch { epoch, validators, own } => self.on_epoch(epoch, validators, own, effects),
            Input::Timer { generation } => self.on_timer(now_us, generation),
        }
        self.send_asks(now_us, effects);
        self.tell_if_full(effects);
        self.set_timer(now_us, effects);
    }

    /// The validators of the epoch that it is in.
    #[must_use]
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// An own bundle is always taken: a number that is refused would leave a gap which nothing of this start can follow.
    /// Its bound is the intake's, which hears with [`Effect::Full`] when to stop.
    fn on_own(&mut self, bundle: Arc<Bundle>, effects: &mut Vec<Effect>) {
        if bundle.body.epoch > self.epoch {
            return self.early.push(bundle);
        }
        let Some(own) = self.own.filter(|own| *own == bundle.body.origin && bundle.body.epoch == self.epoch) else {
            return effects.push(Effect::Superseded { bundle, last: None });
        };
        if self.shelf.contains(&bundle.digest) {
            return;
        }
        let last = self.shelf.last(own);
        if last.is_some_and(|last| bundle.position() <= last) {
            return effects.push(Effect::Superseded { bundle, last });
        }
        self.take(&bundle, Room::Share, true, effects);
        let whole = wire_form(&bundle);
        if self.validators.len() <= self.limits.direct_validators_max {
            effects.push(Effect::Broadcast(whole));
        } else {
            let duty = spread::origin_duty(&bundle.digest, own, self.validators.len());
            send_to_all(&duty.direct, &whole, effects);
            send_to_all(&duty.announced, &PeerMessage::AnnounceBundles(vec![bundle.digest]), effects);
        }
    }

    fn on_restored(&mut self, bundle: Arc<Bundle>, effects: &mut Vec<Effect>) {
        let last = self.shelf.last(bundle.body.origin);
        let over = bundle.body.epoch != self.epoch || last.is_some_and(|last| bundle.position() <= last);
        if !over && !self.shelf.contains(&bundle.digest) && self.validators.contains(bundle.body.origin) {
            // What was in the reserve may be given up again.
            let bytes = bundle.bytes.len();
            let fits = self.shelf.fits_share(bundle.body.origin, bytes, self.share_bytes(), &self.limits);
            let charged = bytes.max(self.limits.reserved_bytes_min);
            let room = if fits { Room::Share } else { Room::Reserve { proposer: None, charged } };
            self.take(&bundle, room, false, effects);
        }
    }

    /// Holds a bundle, logs it unless it comes from there, and only then makes it available.
    fn take(&mut self, bundle: &Arc<Bundle>, room: Room, log: bool, effects: &mut Vec<Effect>) {
        if let Some(other) = self.shelf.variants(bundle.body.origin, bundle.position()).next() {
            effects.push(Effect::Conflict { first: Arc::clone(other), second: Arc::clone(bundle) });
        }
        self.shelf.insert(Arc::clone(bundle), room);
        self.fetches.forget(&bundle.digest);
        if log {
            effects.push(Effect::Log(Arc::clone(bundle)));
        }
        effects.push(Effect::available(bundle));
    }

    /// Serves what is held: so much in one answer, so much in each interval.
    fn on_fetch(&mut self, now_us: u64, from: ValidatorIndex, digests: &[Digest], effects: &mut Vec<Effect>) {
        let mut left = self.limits.serve_answer_bytes_max;
        for digest in digests.iter().take(limits::FETCH_DIGESTS_MAX) {
            let Some(bundle) = self.shelf.get(digest) else { continue };
            let bytes = bundle.bytes.len();
            if bytes > left || !self.serve(now_us, from, bytes) {
                return;
            }
            left -= bytes;
            if let Some(bundle) = self.shelf.get(digest) {
                effects.push(Effect::Send { to: from, message: wire_form(bundle) });
            }
        }
    }

    fn serve(&mut self, now_us: u64, to: ValidatorIndex, bytes: usize) -> bool {
        let (interval_ms, bytes_max) = (self.limits.serve_interval_ms, self.limits.serve_interval_bytes_max);
        self.serving.take(now_us, to, bytes, interval_ms, bytes_max)
    }

    fn on_announce(&mut self, now_us: u64, from: ValidatorIndex, digests: Vec<Digest>) {
        for digest in digests.into_iter().take(limits::FETCH_DIGESTS_MAX) {
            if self.shelf.note_holder(&digest, from) {
                continue;
            }
            match self.remembered.look(&digest) {
                Memory::Yes if !self.fetches.contains(&digest) => {}
                memory => self.fetches.announced(now_us, digest, from, memory == Memory::Perhaps, &self.limits),
            }
        }
    }

    fn on_want(
        &mut self,
        now_us: u64,
        (digests, proposer): (Vec<Digest>, Option<ValidatorIndex>),
        holders: &[ValidatorIndex],
        effects: &mut Vec<Effect>,
    ) {
        let mut refused = Vec::new();
        for digest in digests {
            if let Some(held) = self.shelf.get_pending(&digest) {
                // Told before: but a replica that was restarted, or gave it up, may not hold it.
                effects.push(Effect::available(held));
                continue;
            }
            if self.shelf.contains(&digest) {
                continue;
            }
            let verifying = self.inspection.contains(&digest);
            let grace_ms = if verifying { self.limits.fetch_timeout_ms } else { self.limits.want_grace_ms };
            if !self.fetches.want(now_us, (digest, proposer), holders, grace_ms, &self.limits) {
                refused.push(digest);
            }
        }
        if !refused.is_empty() {
            effects.push(Effect::WantRefused { digests: refused });
        }
    }

    /// The leader is sent what it did not show to hold, as far as its share of this node's sending goes.
    fn on_relay(&mut self, now_us: u64, digests: &[Digest], leader: ValidatorIndex, effects: &mut Vec<Effect>) {
        let mut shown = Vec::new();
        for digest in digests {
            let Some(bundle) = self.shelf.get_pending(digest).cloned() else { continue };
            shown.push(*digest);
            let needed = Some(leader) != self.own && !self.shelf.is_holder(digest, leader);
            if needed && self.serve(now_us, leader, bundle.bytes.len()) {
                effects.push(Effect::Send { to: leader, message: wire_form(&bundle) });
            }
        }
        for part in shown.chunks(limits::FETCH_DIGESTS_MAX) {
            effects.push(Effect::Broadcast(PeerMessage::AnnounceBundles(part.to_vec())));
        }
    }

    fn on_ordered(&mut self, height: Height, digests: &[Digest], effects: &mut Vec<Effect>) {
        let ordered: Vec<_> = digests.iter().filter_map(|digest| self.shelf.order(digest, height)).collect();
        for digest in digests {
            self.remembered.remember(*digest);
            self.fetches.forget(digest);
        }
        for (origin, position) in ordered {
            self.advance(origin, position, effects);
        }
        self.shelf.trim_retained(self.limits.retained_bytes_max);
    }

    fn advance(&mut self, origin: ValidatorIndex, last: BundlePosition, effects: &mut Vec<Effect>) {
        for bundle in self.shelf.advance(origin, last) {
            self.remembered.remember(bundle.digest);
            effects.push(Effect::Superseded { bundle, last: self.shelf.last(origin) });
        }
    }

    /// The peer may have missed, or lost, anything: it gets the own pending bundles, and hears of the others.
    fn on_peer_up(&mut self, now_us: u64, peer: ValidatorIndex, effects: &mut Vec<Effect>) {
        if Some(peer) == self.own || !self.validators.contains(peer) {
            return;
        }
        self.fetches.peer_up(peer);
        self.shelf.forget_holder(peer);
        let pending: Vec<Arc<Bundle>> = self.shelf.pending().cloned().collect();
        let mut announced = Vec::new();
        for bundle in pending {
            if Some(bundle.body.origin) == self.own && self.serve(now_us, peer, bundle.bytes.len()) {
                effects.push(Effect::Send { to: peer, message: wire_form(&bundle) });
            } else if bundle.body.origin != peer {
                announced.push(bundle.digest);
            }
        }
        for part in announced.chunks(limits::FETCH_DIGESTS_MAX) {
            effects.push(Effect::Send { to: peer, message: PeerMessage::AnnounceBundles(part.to_vec()) });
        }
    }

    fn on_epoch(
        &mut self,
        epoch: Epoch,
        validators: Arc<ValidatorSet>,
        own: Option<ValidatorIndex>,
        effects: &mut Vec<Effect>,
    ) {
        // Whoever started in it may be told of it once more.
        if epoch == self.epoch {
            return;
        }
        for bundle in self.shelf.clear_pending() {
            self.remembered.remember(bundle.digest);
            effects.push(Effect::Superseded { bundle, last: None });
        }
        self.shelf.forget_holders();
        self.epoch = epoch;
        self.own = own;
        self.fetches = Fetches::new(peers(&validators, own));
        self.validators = validators;
        self.inspection = Inspection::default();
        self.serving = Serving::default();
        for bundle in std::mem::take(&mut self.early) {
            self.on_own(bundle, effects);
        }
    }

    fn on_timer(&mut self, now_us: u64, generation: u64) {
        if generation == self.generation {
            self.armed_us = None;
            self.inspection.expire(now_us);
            self.fetches.expire(now_us, &self.limits);
        }
    }

    /// What lying leaders had fetched for blocks that nobody voted for would stay in the reserve until the epoch ends: the
    /// replica knows what it needs. Not asked again at once: it takes a look at all that is held.
    fn ask_for_room(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        let due_us = self.asked_for_room_us.map_or(0, |asked_us| asked_us + self.limits.room_asked_ms * 1_000);
        if now_us >= due_us {
            self.asked_for_room_us = Some(now_us);
            effects.push(Effect::ReserveFull { held: self.shelf.reserved() });
        }
    }

    fn share_bytes(&self) -> usize {
        self.limits.share_bytes(self.validators.len())
    }

    fn reserve_part_bytes(&self) -> usize {
        self.limits.reserve_part_bytes(self.validators.len())
    }

    fn send_asks(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        self.fetches.serve_waiting(now_us, &self.limits);
        for (to, digests) in self.fetches.take_asks() {
            for part in digests.chunks(limits::FETCH_DIGESTS_MAX) {
                effects.push(Effect::Send { to, message: PeerMessage::FetchBundles(part.to_vec()) });
            }
        }
    }

    /// Full is when there is no room for another full bundle of this node.
    fn tell_if_full(&mut self, effects: &mut Vec<Effect>) {
        let Some(own) = self.own else { return };
        let full = !self.shelf.fits_share(own, self.limits.bundle_bytes_max, self.share_bytes(), &self.limits);
        if full != self.full {
            self.full = full;
            effects.push(Effect::Full(full));
        }
    }

    /// Sets the timer for the earliest deadline, unless one is set that fires by then.
    fn set_timer(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        let earliest = [self.fetches.deadline_us(), self.inspection.deadline_us()].into_iter().flatten().min();
        let Some(deadline_us) = earliest else { return };
        if self.armed_us.is_none_or(|armed_us| armed_us > deadline_us) {
            let after_ms = deadline_us.saturating_sub(now_us).div_ceil(1_000);
            self.armed_us = Some(deadline_us);
            self.generation += 1;
            effects.push(Effect::SetTimer { generation: self.generation, after_ms });
        }
    }
}

/// All validators but this node.
fn peers(validators: &ValidatorSet, own: Option<ValidatorIndex>) -> Vec<ValidatorIndex> {
    validators.iter().map(|(index, _)| index).filter(|index| Some(*index) != own).collect()
}

fn wire_form(bundle: &Bundle) -> PeerMessage {
    PeerMessage::Bundle(Arc::new(bundle.bytes.clone()))
}

fn send_to_all(peers: &[ValidatorIndex], message: &PeerMessage, effects: &mut Vec<Effect>) {
    effects.extend(peers.iter().map(|to| Effect::Send { to: *to, message: message.clone() }));
}
