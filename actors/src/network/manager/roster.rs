//! Who is who: the validators of the epoch, bootstrap peers, and everybody else.

use std::collections::HashSet;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::{Manager, Member, moment};
use crate::network::bootstrap::Bootstrap;
use crate::network::class::ClassSet;
use crate::network::config::{ValidatorEntry, Validators};
use crate::network::dialing::AddressBook;
use crate::network::directory::Table;
use crate::network::driver::SwarmCommand;
use crate::network::keys::{self, KeyError};
use crate::network::outbox::Outbox;
use crate::network::peer::{Peer, Role};

impl Manager {
    /// Puts a validator set in force: new members are dialed, former ones become observers, and sessions end only with
    /// those whose role changed.
    pub(super) fn adopt(&mut self, validators: Validators) -> Result<(), KeyError> {
        let mut entries = Vec::with_capacity(validators.entries.len());
        for entry in &validators.entries {
            entries.push((keys::peer_id(&entry.public_key)?, entry.clone()));
        }
        self.config.validators = validators;
        let ids: HashSet<PeerId> = entries.iter().map(|(id, _)| *id).collect();
        let offered_to = if ids.contains(&self.local) { ids.clone() } else { HashSet::new() };
        self.access.set(offered_to);
        self.waiting_commands.push_back(SwarmCommand::SetValidators(ids));
        let local = self.local;
        for (id, entry) in entries.iter().filter(|(id, _)| *id != local) {
            self.adopt_validator(*id, entry);
        }
        let known: Vec<PeerId> = self.members.keys().copied().collect();
        for id in known {
            let role = self.role_of(&id);
            if let Some(member) = self.members.get(&id) {
                member.outbox.set_index(role.validator.as_ref().map(|(index, _)| *index));
            }
            self.with_member(id, |peer, at, effects| peer.on_role(role, at, effects));
        }
        self.publish_directory();
        Ok(())
    }

    fn adopt_validator(&mut self, id: PeerId, entry: &ValidatorEntry) {
        if let Some(member) = self.members.get_mut(&id) {
            for address in &entry.addresses {
                member.peer.addresses().configure(address.clone());
            }
        } else {
            self.admit(id, self.role_of(&id), entry.addresses.clone());
        }
    }

    /// Gets to know somebody.
    pub(super) fn admit(&mut self, id: PeerId, role: Role, addresses: Vec<Multiaddr>) {
        let index = role.validator.as_ref().map(|(index, _)| *index);
        let peer = Peer::new(self.local, id, role, AddressBook::new(addresses), moment());
        let member = Member { peer, outbox: Outbox::new(id, index).into(), session: None };
        self.members.insert(id, member);
    }

    /// What somebody is to this node, by the validator set in force.
    pub(super) fn role_of(&self, id: &PeerId) -> Role {
        let entries = &self.config.validators.entries;
        let entry_of =
            |id: &PeerId| entries.iter().find(|entry| keys::peer_id(&entry.public_key).is_ok_and(|other| other == *id));
        let validator = entry_of(id).map(|entry| (entry.index, entry.name.clone()));
        let willing = if validator.is_some() && entry_of(&self.local).is_some() {
            ClassSet::VALIDATORS
        } else {
            ClassSet::OBSERVERS
        };
        let is_bootstrap =
            self.bootstrap_peers.contains(id) || self.bootstraps.iter().any(|entry| entry.found() == Some(*id));
        Role { persistent: validator.is_some() || is_bootstrap, validator, willing }
    }

    /// Sorts the configured bootstrap addresses: those of known peers are just addresses of these.
    pub(super) fn adopt_bootstraps(&mut self) {
        for address in self.config.bootstrap.clone() {
            match address.iter().last() {
                Some(Protocol::P2p(id)) if id == self.local => {}
                Some(Protocol::P2p(id)) => {
                    self.bootstrap_peers.insert(id);
                    match self.members.get_mut(&id) {
                        Some(member) => member.peer.addresses().configure(address),
                        None => self.admit(id, self.role_of(&id), vec![address]),
                    }
                }
                _ => self.bootstraps.push(Bootstrap::new(address, moment())),
            }
        }
    }

    /// Somebody answered at a bootstrap address that named no peer: from now on it is an address of that peer.
    pub(super) fn on_bootstrap_found(&mut self, id: PeerId, address: &Multiaddr) {
        for entry in self.bootstraps.iter_mut().filter(|entry| entry.address() == address) {
            entry.on_found(id);
        }
        let role = self.role_of(&id);
        self.with_member(id, |peer, at, effects| {
            peer.addresses().configure(address.clone());
            peer.on_role(role, at, effects);
        });
    }

    /// Shows senders whom they can reach.
    pub(super) fn publish_directory(&self) {
        let mut table = Table::default();
        for member in self.members.values() {
            match &member.peer.role().validator {
                Some((index, _)) => {
                    let position = index.position();
                    if table.validators.len() <= position {
                        table.validators.resize(position + 1, None);
                    }
                    table.validators[position] = Some(member.outbox.clone());
                }
                None if member.peer.is_up() => {
                    table.observers.insert(member.peer.id(), member.outbox.clone());
                }
                None => {}
            }
        }
        self.directory.replace(table);
    }
}
