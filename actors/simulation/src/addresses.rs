//! Who is who to whom: hosts know each other by their keys, and name each other by the indices of the epoch that each of
//! them is in, as the network of a real node does. Two that are both validators, in the epochs of both, share everything;
//! others share blocks and states only.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::wire::{self, Class};
use dtvn_messages::{Epoch, PublicKey, ValidatorIndex, ValidatorSet};
use dtvn_replication::node::Input;

use crate::lies::Payload;
use crate::oracle::Violation;
use crate::world::{Event, World};

/// The validators by which a host names its peers.
pub(crate) struct Addresses {
    pub(crate) epoch: Epoch,
    pub(crate) set: Arc<ValidatorSet>,
    /// Its own index, if it is one of them.
    pub(crate) me: Option<ValidatorIndex>,
    /// The index of each host, by the key that it has now.
    of: Vec<Option<ValidatorIndex>>,
}

impl Addresses {
    /// Those of an epoch. Nobody is found before [`World::find_all`].
    pub(crate) const fn new(epoch: Epoch, set: Arc<ValidatorSet>) -> Self {
        Self { epoch, set, me: None, of: Vec::new() }
    }

    /// The index of a host.
    pub(crate) fn of(&self, peer: usize) -> Option<ValidatorIndex> {
        self.of.get(peer).copied().flatten()
    }
}

impl World {
    /// A host has another key, or there are more hosts: all look each other up again.
    pub(crate) fn find_all(&mut self) {
        (0..self.hosts.len()).for_each(|host| self.find(host));
    }

    /// A host looks its peers up in the validator set of its epoch.
    fn find(&mut self, host: usize) {
        let set = Arc::clone(&self.hosts[host].addresses.set);
        let of: Vec<_> = self.hosts.iter().map(|peer| set.index_of_key(&peer.key())).collect();
        let addresses = &mut self.hosts[host].addresses;
        addresses.me = of[host];
        addresses.of = of;
    }

    /// A host is in an epoch: from now on it names its peers by its validators.
    pub(crate) fn enter(&mut self, host: usize, epoch: Epoch, set: Arc<ValidatorSet>) {
        let at = &mut self.hosts[host];
        at.addresses = Addresses::new(epoch, set);
        self.find(host);
        let at = &mut self.hosts[host];
        at.promises.entered(epoch, at.addresses.me);
        // The last blocks of the epoch before it may still cosign.
        if let Some(former) = self.chain.eras().of(epoch.previous()).filter(|_| epoch > Epoch(0)) {
            at.promises.entered(epoch.previous(), former.set.index_of_key(&at.key()));
        }
        if let Some(filter) = &mut at.filter {
            filter.enter(epoch, &at.addresses.set);
        }
    }

    /// The epoch in which the process of a host will find itself: as far as the ends lead that it has stored.
    pub(crate) fn epoch_of_media(&self, host: usize) -> (Epoch, Arc<ValidatorSet>) {
        let genesis = || (Epoch(0), Arc::new(self.genesis.validators().clone()));
        let Some(media) = &self.hosts[host].media else { return genesis() };
        let known = (0..=self.chain.eras().latest().0.0).rev();
        let end = known.map(Epoch).find_map(|epoch| media.store.epoch_end(epoch));
        end.map_or_else(genesis, |end| (end.epoch().next(), Arc::new(end.next.clone())))
    }

    /// Whether votes travel between two hosts: both are validators, in the epochs of both.
    pub(crate) fn share_votes(&self, left: usize, right: usize) -> bool {
        let knows = |host: usize, peer: usize| {
            let addresses = &self.hosts[host].addresses;
            addresses.me.is_some() && addresses.of(peer).is_some()
        };
        knows(left, right) && knows(right, left)
    }

    /// Whether something of this class travels between two hosts.
    pub(crate) fn share(&self, left: usize, right: usize, class: Class) -> bool {
        class == Class::Sync || self.share_votes(left, right)
    }

    /// The index under which a host knows the sender of a message that it signed its session with this key for.
    pub(crate) fn index_of(&self, host: usize, from: usize, key: &PublicKey) -> Option<ValidatorIndex> {
        let addresses = &self.hosts[host].addresses;
        match self.hosts[from].key() == *key {
            true => addresses.of(from),
            false => addresses.set.index_of_key(key),
        }
    }

    /// To a host whose epoch ended its links are new; and its peers look again at what they share with it.
    pub(crate) fn greet_again(&mut self, host: usize) {
        self.hosts[host].announced.clear();
        for peer in 0..self.hosts.len() {
            if peer == host || !self.hosts[peer].is_up() {
                continue;
            }
            if self.hosts[host].linked.contains(&peer) {
                let incarnation = self.hosts[host].incarnation;
                self.schedule(1, Event::Link { host, incarnation, peer, up: true });
            }
            let shared_votes = self.hosts[peer].announced.get(&host).is_some_and(|known| known.shares_votes);
            if self.hosts[peer].linked.contains(&host) && shared_votes != self.share_votes(peer, host) {
                self.look(peer, host, true);
            }
        }
    }

    /// Links of a host that came back are found soon.
    pub(crate) fn greet(&mut self, host: usize) {
        for peer in 0..self.hosts.len() {
            if peer != host && self.hosts[peer].is_up() {
                self.look(host, peer, true);
                self.look(peer, host, true);
            }
        }
    }

    /// A host is about to notice something about a link.
    pub(crate) fn look(&mut self, host: usize, peer: usize, up: bool) {
        let incarnation = self.hosts[host].incarnation;
        let after_us = self.randoms.network.between(1_000, 50_000);
        self.schedule(after_us, Event::Link { host, incarnation, peer, up });
    }

    /// What a host makes of what comes from another: from a validator of its epoch anything, else what can be read.
    pub(crate) fn received(&self, (from, key): (usize, PublicKey), to: usize, payload: Payload) -> Option<Input> {
        let class = payload.class();
        let Some(from) = self.index_of(to, from, &key) else {
            let message = match payload {
                Payload::Bytes(class, bytes) => wire::decode(&bytes, class).ok()?,
                Payload::Message(message) => message,
            };
            return Some(Input::Stranger { peer: key, message });
        };
        Some(match payload {
            Payload::Bytes(_, bytes) => Input::Frame { from, class, bytes: bytes.to_vec() },
            Payload::Message(message) if !self.scenario.real => Input::Message { from, message },
            Payload::Message(message) => {
                Input::Frame { from, class, bytes: wire::encode(&message).unwrap_or_default() }
            }
        })
    }

    pub(crate) fn on_link(&mut self, host: usize, incarnation: u64, peer: usize, up: bool) -> Result<(), Violation> {
        if self.hosts[host].incarnation != incarnation || !self.hosts[host].is_up() {
            return Ok(());
        }
        let is_joined = self.hosts[peer].is_up() && self.links.joins(host, peer);
        self.note(4, host as u64, (peer as u64) << 1 | u64::from(up));
        if up && is_joined {
            // A link that came up again without being missed was a new one all the same.
            self.hosts[host].linked.insert(peer);
            self.announce_gone(host, peer)?;
            let (key, shares_votes) = (self.hosts[peer].key(), self.share_votes(host, peer));
            let input = match self.hosts[host].addresses.of(peer) {
                Some(index) => shares_votes.then_some(Input::PeerUp(index)),
                None => Some(Input::StrangerUp(key)),
            };
            if let Some(input) = input {
                self.hosts[host].announced.insert(peer, Known { key, shares_votes });
                self.input(host, input)?;
            }
        } else if !up && self.hosts[host].linked.remove(&peer) {
            self.announce_gone(host, peer)?;
            // It broke, and holds again by now: it is dialed again.
            if is_joined {
                self.look(host, peer, true);
            }
        }
        Ok(())
    }

    /// A node that knew of a link hears that it is gone.
    fn announce_gone(&mut self, host: usize, peer: usize) -> Result<(), Violation> {
        let Some(Known { key, shares_votes }) = self.hosts[host].announced.remove(&peer) else { return Ok(()) };
        match self.index_of(host, peer, &key).filter(|_| shares_votes) {
            Some(index) => self.input(host, Input::PeerDown(index)),
            None => self.input(host, Input::StrangerDown(key)),
        }
    }
}

/// How a node was told that a peer is connected.
pub(crate) struct Known {
    key: PublicKey,
    /// As a validator, else as a stranger.
    shares_votes: bool,
}

/// The peers that a node believes connected.
pub(crate) type Announced = BTreeMap<usize, Known>;
