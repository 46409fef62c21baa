//! Stories about who is a validator.

use dtvn_messages::{Epoch, Validator};
use dtvn_replication::intake::Answer;

use super::{Stage, must};

/// A place in a validator set that a story wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The host.
    pub host: usize,
    /// Its power.
    pub power: u32,
    /// Whether it is to have another key: its process is started again with it when the change has taken effect.
    pub new_key: bool,
}

impl Member {
    /// A host with its key and a power of 1.
    #[must_use]
    pub const fn of(host: usize) -> Self {
        Self { host, power: 1, new_key: false }
    }
}

impl Stage {
    /// Operators want these validators, signed by a quorum of the present ones, and hand that in first at a host. The
    /// number of the change.
    ///
    /// # Panics
    /// If they do not make a set.
    pub fn change(&mut self, first: usize, members: &[Member]) -> usize {
        self.propose(first, members, true)
    }

    /// As [`Self::change`], with one signature less than a quorum.
    pub fn change_without_quorum(&mut self, first: usize, members: &[Member]) -> usize {
        self.propose(first, members, false)
    }

    fn propose(&mut self, first: usize, members: &[Member], is_signed: bool) -> usize {
        let validator = |member: &Member| {
            let host = &self.world.hosts[member.host];
            let public_key = if member.new_key { self.world.next_key(member.host) } else { host.key() };
            Validator { name: host.name.clone(), public_key, power: member.power }
        };
        let validators = members.iter().map(validator).collect();
        let proposed = self.world.propose_set(self.epoch(), validators, first, is_signed);
        proposed.unwrap_or_else(|| panic!("{members:?} do not make a set"))
    }

    /// What became of a change, if that is decided: whether it took effect.
    #[must_use]
    pub fn is_changed(&self, change: usize) -> Option<bool> {
        match self.world.operators.answer(change)? {
            Answer::Decided(result) => Some(result.outcome().verdict.is_accepted()),
            _ => None,
        }
    }

    /// How many changes of the validators took effect.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.world.chain.eras().changes()
    }

    /// The epoch of the next height.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.world.chain.eras().latest().0
    }

    /// The epoch that a host is in.
    #[must_use]
    pub fn epoch_of(&self, host: usize) -> Epoch {
        self.world.hosts[host].addresses.epoch
    }

    /// The hosts that are validators of the next height, in the order of the set, by their names.
    #[must_use]
    pub fn validators(&self) -> Vec<usize> {
        let set = &self.world.chain.eras().latest().1.set;
        let host = |name: &str| self.world.hosts.iter().position(|host| host.name.as_str() == name);
        set.iter().filter_map(|(_, validator)| host(validator.name.as_str())).collect()
    }

    /// Whether a host is a validator of the next height, in that epoch, and may vote.
    #[must_use]
    pub fn votes(&self, host: usize) -> bool {
        let Some(node) = &self.world.hosts[host].node else { return false };
        node.config().epoch == self.epoch() && node.config().me.is_some() && node.show().voting
    }

    /// Time passes until an epoch has begun at these hosts, all of them. Says how many milliseconds that took.
    pub fn until_epoch(&mut self, epoch: u64, hosts: &[usize], within_ms: u64) -> u64 {
        let all = |stage: &Self| hosts.iter().all(|host| stage.epoch_of(*host) >= Epoch(epoch));
        self.until("the epoch at those hosts", within_ms, all)
    }

    /// What hosts said of late is said again to all, by themselves, however old it is. Says how many messages those are.
    pub fn repeat_old(&mut self) -> u64 {
        let before = self.world.coverage.old_messages;
        self.world.repeat_archive();
        self.world.coverage.old_messages - before
    }

    /// Everything that the nodes say is remembered from now on, to be said again.
    pub fn remember_all(&mut self) {
        self.world.archived_of = 1;
    }

    /// The disk and the state of a host that is down are replaced by empty ones, as on a new machine.
    pub fn replace(&mut self, host: usize) {
        self.world.replace(host);
    }

    /// What a host has fetched of a snapshot: how many parts are missing, and how many there are.
    #[must_use]
    pub fn fetching(&self, host: usize) -> Option<(usize, usize)> {
        let node = self.world.hosts[host].node.as_ref()?;
        node.fetching().map(|(_, missing, all)| (missing, all))
    }

    /// How many parts of a snapshot a host keeps.
    #[must_use]
    pub fn parts(&self, host: usize) -> usize {
        let at = &self.world.hosts[host];
        let up = at.node.as_ref().map(|node| node.parts().len());
        up.or(at.media.as_ref().map(|media| media.parts.len())).unwrap_or(0)
    }

    /// A host is asked for a ticket whose data has so many bytes: state that takes room.
    pub fn ask_much(&mut self, host: usize, number: u64, bytes: usize) -> u64 {
        let operation = super::issue(&format!("a key with number {number:>6}"), &format!("heavy-{number}"), bytes);
        self.submit(host, operation)
    }

    /// The process of a host ends, and starts again with a new key, whoever needs the former one.
    pub fn rekey(&mut self, host: usize) {
        must(self.world.rekey_now(host));
    }
}
