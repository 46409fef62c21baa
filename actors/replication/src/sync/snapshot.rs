//! Fetching a snapshot (consensus.md section 7: "the state at a stable checkpoint in chunks, from several peers, each chunk
//! verified against the checkpoint's root, resumable; then log sync").
//!
//! First the manifest, from one peer after the other until one has it; it proves itself. If many epochs lie before it, how
//! they ended comes first, in several answers, each asked of the next peer. Then its parts, from several
//! peers at once. Each part is compared with its hash in the manifest before it is kept. Parts are kept by their hash,
//! outside of this value and beyond a restart: what a former attempt fetched, for whatever checkpoint, counts as far as it
//! is still the same. A peer that lies is blamed and not asked again; one that is slow or has no such snapshot is left
//! alone until there is no other. A manifest may be true and of no use: cut as no honest node serves it, or of a checkpoint
//! that is over. Who gave one that nobody else serves is asked for the next after all who did so less often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::snapshot::CheckedManifest;
use dtvn_messages::state::{NOTHING, Part};
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Digest, Epoch, Height, limits};

use super::{Effect, Peer};
use crate::verify::CheckedPart;

/// What a fetch has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Fetching,
    /// All parts are kept.
    Complete(Arc<CheckedManifest>),
    /// No peer has what is wanted now.
    NobodyHasIt,
}

/// What is known of a peer.
#[derive(Debug, Default)]
struct Standing {
    /// How many parts it was asked for.
    busy: usize,
    /// How often it did not answer in time.
    strikes: u32,
    /// It has no such snapshot, or is too slow.
    out: bool,
    /// It said that it has no such snapshot.
    refused: bool,
    /// How often it gave a manifest whose parts nobody else had.
    useless: u32,
    /// What it sent was false.
    lied: bool,
}

impl Standing {
    fn is_usable(&self) -> bool {
        !self.out && !self.lied
    }
}

#[derive(Debug)]
struct Asked {
    peer: Peer,
    hash: Digest,
    until_us: u64,
}

#[derive(Debug)]
struct Target {
    checked: Arc<CheckedManifest>,
    /// Who gave the manifest.
    giver: Peer,
    /// How long that peer has, since nobody else serves parts.
    alone_until_us: Option<u64>,
    missing: BTreeMap<Part, Digest>,
    asked: BTreeMap<Part, Asked>,
}

/// One snapshot being fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    /// The present epoch.
    epoch: Epoch,
    /// The latest epoch whose validators are known, by what peers showed.
    led_to: Epoch,
    /// A snapshot below this height is of no use.
    at_least: Height,
    /// The height that is asked for: a peer that does not have it gives its latest.
    wanted: Height,
    peers: BTreeMap<Peer, Standing>,
    /// Whose turn it is to be asked for the manifest, and for a part. One does not move the other: a peer that delays its
    /// parts does not choose who is asked for the manifest.
    turn: usize,
    parts_turn: usize,
    /// How many manifests were given up since the last time that nobody had it.
    given_up: usize,
    /// Who was asked for the manifest, and until when.
    asking: Option<(Peer, u64)>,
    target: Option<Target>,
}

impl Fetch {
    pub(super) fn new(epoch: Epoch, at_least: Height, wanted: Height, peers: impl IntoIterator<Item = Peer>) -> Self {
        let peers = peers.into_iter().map(|peer| (peer, Standing::default())).collect();
        Self {
            epoch,
            led_to: epoch,
            at_least,
            wanted: wanted.max(at_least),
            peers,
            turn: 0,
            parts_turn: 0,
            given_up: 0,
            asking: None,
            target: None,
        }
    }

    /// There are others who may be asked. A stranger who is gone is forgotten, unless an answer is awaited.
    pub(super) fn meet(&mut self, peers: &[Peer]) {
        let asked: BTreeSet<Peer> = self.asked().collect();
        self.peers.retain(|peer, _| !peer.is_stranger() || peers.contains(peer) || asked.contains(peer));
        for peer in peers {
            self.peers.entry(*peer).or_default();
        }
    }

    /// How many peers it knows.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.peers.len()
    }

    /// Of whom answers are awaited.
    pub(super) fn asked(&self) -> impl Iterator<Item = Peer> {
        let of_manifest = self.asking.iter().map(|(peer, _)| *peer);
        let of_parts = self.target.iter().flat_map(|target| target.asked.values().map(|asked| asked.peer));
        of_manifest.chain(of_parts)
    }

    /// Does what can be done now. `kept` are the hashes of the parts that are kept.
    pub(super) fn advance(&mut self, now_us: u64, kept: &BTreeSet<Digest>, effects: &mut Vec<Effect>) -> Progress {
        self.drop_late(now_us);
        if let Some(giver) = self.useless(now_us) {
            // What is kept of it counts for the next.
            self.target = None;
            self.forgive();
            if let Some(giver) = self.peers.get_mut(&giver) {
                giver.useless = giver.useless.saturating_add(1);
            }
            self.given_up += 1;
            if self.given_up >= self.peers.len() {
                self.given_up = 0;
                return Progress::NobodyHasIt;
            }
        }
        let Some(target) = &mut self.target else { return self.ask_manifest(now_us, effects) };
        target.missing.retain(|_, hash| !kept.contains(hash));
        self.ask_parts(now_us, effects);
        match &self.target {
            Some(target) if target.is_complete() => Progress::Complete(Arc::clone(&target.checked)),
            _ => Progress::Fetching,
        }
    }

    /// Who gave the manifest, if nobody is left that serves its parts; or nobody but that peer, and another one said that it
    /// has no such snapshot: then it has time for them, and no more, because as the only one it could make it last as long
    /// as it likes.
    fn useless(&mut self, now_us: u64) -> Option<Peer> {
        let target = self.target.as_mut().filter(|target| !target.is_complete())?;
        let mut others = self.peers.iter().filter(|(index, _)| **index != target.giver).map(|(_, peer)| peer);
        let is_alone = !others.clone().any(Standing::is_usable) && others.any(|peer| peer.refused);
        if !self.peers.values().any(Standing::is_usable) {
            return Some(target.giver);
        }
        if !is_alone {
            return None;
        }
        let open = (target.missing.len() + target.asked.len()) as u64;
        let time_us = (limits::SNAPSHOT_ANSWER_TIMEOUT_MS + open * limits::SNAPSHOT_ALONE_PART_MS) * 1_000;
        let until_us = *target.alone_until_us.get_or_insert(now_us.saturating_add(time_us));
        (until_us <= now_us).then_some(target.giver)
    }

    /// Whether strangers are asked, of whom there may be many: when no validator is usable.
    fn asks_strangers(&self) -> bool {
        !self.peers.iter().any(|(index, peer)| !index.is_stranger() && peer.is_usable())
    }

    /// Slow and empty-handed peers get another chance, liars do not.
    fn forgive(&mut self) {
        for peer in self.peers.values_mut() {
            (peer.busy, peer.strikes, peer.out, peer.refused) = (0, 0, false, false);
        }
    }

    fn ask_manifest(&mut self, now_us: u64, effects: &mut Vec<Effect>) -> Progress {
        if self.asking.is_some() {
            return Progress::Fetching;
        }
        let asks_strangers = self.asks_strangers();
        let usable =
            self.peers.iter().filter(|(index, peer)| peer.is_usable() && asks_strangers == index.is_stranger());
        let fewest = usable.clone().map(|(_, peer)| peer.useless).min().unwrap_or(0);
        let usable: Vec<Peer> = usable.filter(|(_, peer)| peer.useless == fewest).map(|(index, _)| *index).collect();
        let Some(to) = usable.get(self.turn % usable.len().max(1)).copied() else {
            self.forgive();
            self.led_to = self.epoch;
            return Progress::NobodyHasIt;
        };
        self.turn += 1;
        self.asking = Some((to, now_us.saturating_add(limits::SNAPSHOT_ANSWER_TIMEOUT_MS * 1_000)));
        let (height, at_least, epoch) = (self.wanted, self.at_least, self.led_to);
        let message = PeerMessage::SnapshotRequest { height, at_least, epoch };
        effects.push(Effect::Send { to, message });
        Progress::Fetching
    }

    fn ask_parts(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        let asks_strangers = self.asks_strangers();
        let Some(target) = &mut self.target else { return };
        let height = target.checked.height();
        let count = self.peers.len().max(1);
        loop {
            let turn = self.parts_turn;
            let free = |(_, (index, peer)): &(usize, (&Peer, &mut Standing))| {
                let is_asked = peer.is_usable() && asks_strangers == index.is_stranger();
                is_asked && peer.busy < limits::SNAPSHOT_PARTS_PER_PEER
            };
            // The least busy one; among those the next in turn.
            let best = self.peers.iter_mut().enumerate().filter(free);
            let best = best.min_by_key(|(place, (_, peer))| (peer.busy, (place + count - turn % count) % count));
            let Some((_, (index, peer))) = best else { return };
            if target.asked.len() >= limits::SNAPSHOT_PARTS_ASKED_MAX {
                return;
            }
            let Some((part, hash)) = target.missing.pop_first() else { return };
            peer.busy += 1;
            self.parts_turn += 1;
            let until_us = now_us.saturating_add(limits::SNAPSHOT_ANSWER_TIMEOUT_MS * 1_000);
            target.asked.insert(part, Asked { peer: *index, hash, until_us });
            effects.push(Effect::Send { to: *index, message: PeerMessage::PartRequest { height, part } });
        }
    }

    /// What was not answered in time is asked of others.
    fn drop_late(&mut self, now_us: u64) {
        if let Some((peer, _)) = self.asking.take_if(|(_, until_us)| *until_us <= now_us) {
            self.strike(peer, limits::SNAPSHOT_STRIKES_MAX);
        }
        let Some(target) = &mut self.target else { return };
        let late: Vec<Part> =
            target.asked.iter().filter(|(_, asked)| asked.until_us <= now_us).map(|(part, _)| *part).collect();
        for part in late {
            if let Some(peer) = self.take_back(&part) {
                self.strike(peer, 1);
            }
        }
    }

    /// A part that was asked for is missing again; who was asked.
    fn take_back(&mut self, part: &Part) -> Option<Peer> {
        let target = self.target.as_mut()?;
        let asked = target.asked.remove(part)?;
        target.missing.insert(*part, asked.hash);
        if let Some(peer) = self.peers.get_mut(&asked.peer) {
            peer.busy = peer.busy.saturating_sub(1);
        }
        Some(asked.peer)
    }

    fn take_all_back(&mut self, peer: Peer) {
        let Some(target) = &self.target else { return };
        let of_peer = target.asked.iter().filter(|(_, asked)| asked.peer == peer).map(|(part, _)| *part);
        for part in of_peer.collect::<Vec<_>>() {
            self.take_back(&part);
        }
    }

    fn strike(&mut self, peer: Peer, strikes: u32) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.strikes += strikes;
        if state.strikes >= limits::SNAPSHOT_STRIKES_MAX {
            state.out = true;
            self.take_all_back(peer);
        }
    }

    /// What a peer sent was false.
    pub(super) fn on_lie(&mut self, peer: Peer) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.lied = true;
            self.asking.take_if(|(asked, _)| *asked == peer);
            self.take_all_back(peer);
        }
    }

    /// Ends of epochs, checked: the next peer is asked from where they lead. One that shows nothing new has had its turn.
    pub(super) fn on_epoch_ends(&mut self, from: Peer, leads_to: Epoch) {
        if self.asking.take_if(|(asked, _)| *asked == from).is_none() {
            return;
        }
        if leads_to == self.led_to {
            self.strike(from, limits::SNAPSHOT_STRIKES_MAX);
        }
        self.led_to = leads_to;
    }

    /// A manifest, checked. One that nobody asked this peer for is dropped.
    pub(super) fn on_manifest(&mut self, from: Peer, checked: Arc<CheckedManifest>) {
        if self.target.is_some() || self.asking.take_if(|(asked, _)| *asked == from).is_none() {
            return;
        }
        if checked.height() < self.at_least {
            self.strike(from, limits::SNAPSHOT_STRIKES_MAX);
            return;
        }
        // Others may hold it too, who had none a moment ago.
        self.forgive();
        let missing = checked.parts.iter().filter(|(_, hash)| *hash != NOTHING).copied().collect();
        self.target = Some(Target { checked, giver: from, alone_until_us: None, missing, asked: BTreeMap::new() });
    }

    /// A part, with the hash that it really has; true if it is to be kept. One that nobody asked this peer for is dropped.
    pub(super) fn on_part(&mut self, from: Peer, sent: &CheckedPart, effects: &mut Vec<Effect>) -> bool {
        let Some(target) = &mut self.target else { return false };
        let asked = target.asked.get(&sent.part).filter(|asked| asked.peer == from);
        let Some(asked) = asked.filter(|_| sent.height == target.checked.height()) else { return false };
        if asked.hash != sent.hash {
            effects.push(Effect::Blame { peer: from, why: "its part of a snapshot is not the one that was signed" });
            self.on_lie(from);
            return false;
        }
        target.asked.remove(&sent.part);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.busy = peer.busy.saturating_sub(1);
            peer.strikes = 0;
        }
        true
    }

    /// A peer has no such snapshot, or not any more.
    pub(super) fn on_refused(&mut self, from: Peer, height: Height) {
        let of_manifest = self.asking.take_if(|(asked, _)| *asked == from).is_some();
        let of_target = self.target.as_ref().is_some_and(|target| target.checked.height() == height);
        if let Some(peer) = self.peers.get_mut(&from).filter(|_| of_target) {
            peer.refused = true;
        }
        if of_manifest || of_target {
            self.strike(from, limits::SNAPSHOT_STRIKES_MAX);
        }
    }

    /// Parts that were kept are gone: they are fetched again.
    pub(super) fn on_lost(&mut self, lost: &BTreeSet<Digest>) {
        if let Some(target) = &mut self.target {
            let gone = target.checked.parts.iter().filter(|(_, hash)| lost.contains(hash));
            target.missing.extend(gone.copied());
        }
    }

    /// How many parts are still to come, of how many.
    pub(super) fn progress(&self) -> Option<(Height, usize, usize)> {
        let target = self.target.as_ref()?;
        Some((target.checked.height(), target.missing.len() + target.asked.len(), target.checked.parts.len()))
    }
}

impl Target {
    fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.asked.is_empty()
    }
}
