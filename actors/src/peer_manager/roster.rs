//! Who is who: the validators of the epoch, bootstrap peers, and everybody else.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::PEERS;
use super::actor::{PeerHandle, PeerManager, PeerManagerMessage};
use super::member::PeerMessage;
use super::peer_actor::PeerActor;
use crate::directory::Role as ActorRole;
use crate::mailbox::Reply;
use crate::network::class::ClassSet;
use crate::network::config::{NetworkConfig, ValidatorEntry, Validators, ValidatorsError};
use crate::network::keys::{self, KeyError};
use crate::network::notices::SwarmCommand;
use crate::network::status::Role;
use crate::supervision::{ActorError, ChildSpec, CommandError, Context, Restart};

/// Who is who, by the validator set in force.
#[derive(Debug, Default)]
pub struct Roster {
    local: Option<PeerId>,
    validators: BTreeMap<PeerId, ValidatorEntry>,
    /// Peers at bootstrap addresses, by their identity.
    bootstraps: BTreeMap<PeerId, Vec<Multiaddr>>,
    /// Bootstrap addresses that name no peer.
    unknown: Vec<Multiaddr>,
}

impl Roster {
    /// Who is who at the start.
    ///
    /// # Errors
    /// If a validator's key is none.
    pub fn new(config: &NetworkConfig, local: PeerId, validators: &Validators) -> Result<Self, KeyError> {
        let mut roster = Self { local: Some(local), ..Self::default() };
        for address in &config.bootstrap {
            match address.iter().last() {
                Some(Protocol::P2p(peer)) if peer == local => {}
                Some(Protocol::P2p(peer)) => roster.add_bootstrap(peer, address.clone()),
                _ => roster.unknown.push(address.clone()),
            }
        }
        roster.set_validators(validators)?;
        Ok(roster)
    }

    /// Bootstrap addresses that name no peer.
    pub fn unknown_bootstraps(&self) -> impl Iterator<Item = Multiaddr> {
        self.unknown.iter().cloned()
    }

    /// Puts a validator set in force.
    ///
    /// # Errors
    /// If a key is none; then nothing changes.
    pub fn set_validators(&mut self, validators: &Validators) -> Result<(), KeyError> {
        let mut entries = BTreeMap::new();
        for entry in &validators.entries {
            entries.insert(keys::peer_id(&entry.public_key)?, entry.clone());
        }
        self.validators = entries;
        Ok(())
    }

    /// A peer was found at a bootstrap address.
    pub fn add_bootstrap(&mut self, peer: PeerId, address: Multiaddr) {
        let addresses = self.bootstraps.entry(peer).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// A bootstrap address is another peer's now.
    pub fn remove_bootstrap(&mut self, peer: PeerId, address: &Multiaddr) {
        if let Some(addresses) = self.bootstraps.get_mut(&peer) {
            addresses.retain(|other| other != address);
            if addresses.is_empty() {
                self.bootstraps.remove(&peer);
            }
        }
    }

    /// All validators.
    pub fn validators(&self) -> HashSet<PeerId> {
        self.validators.keys().copied().collect()
    }

    /// Those to whom everything is offered: the validators, if this node is one.
    pub fn offered_everything(&self) -> HashSet<PeerId> {
        if self.is_validator() { self.validators() } else { HashSet::new() }
    }

    /// Those who are dialed for ever, and have an actor.
    pub fn persistent(&self) -> HashSet<PeerId> {
        let all = self.validators.keys().chain(self.bootstraps.keys()).copied();
        all.filter(|peer| Some(*peer) != self.local).collect()
    }

    /// Whether somebody is dialed for ever.
    pub fn is_persistent(&self, peer: &PeerId) -> bool {
        Some(*peer) != self.local && (self.validators.contains_key(peer) || self.bootstraps.contains_key(peer))
    }

    fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let validator = self.validators.get(peer).map(|entry| entry.addresses.clone()).unwrap_or_default();
        validator.into_iter().chain(self.bootstraps.get(peer).cloned().unwrap_or_default()).collect()
    }

    /// What somebody is to this node.
    pub fn role_of(&self, peer: &PeerId) -> Role {
        let validator = self.validators.get(peer).map(|entry| (entry.index, entry.name.clone()));
        let both = validator.is_some() && self.is_validator();
        let willing = if both { ClassSet::VALIDATORS } else { ClassSet::OBSERVERS };
        Role { persistent: self.is_persistent(peer), addresses: self.addresses_of(peer), validator, willing }
    }

    /// The name that a peer's actor should have.
    pub fn actor_name(&self, peer: &PeerId) -> String {
        match self.validators.get(peer) {
            Some(entry) => format!("peer-{}", entry.name),
            None => format!("peer-{peer}"),
        }
    }

    fn is_validator(&self) -> bool {
        self.local.is_some_and(|local| self.validators.contains_key(&local))
    }
}

/// An actor that is being started.
type Starting = Pin<Box<dyn Future<Output = Result<(), ActorError>> + Send>>;

impl PeerManager {
    pub(super) async fn on_set_validators(
        &mut self,
        context: &Context<PeerManagerMessage>,
        validators: Validators,
        reply: Reply<Result<(), ValidatorsError>>,
    ) -> Result<(), ActorError> {
        if let Err(error) = validators.check() {
            reply.send(Err(error));
            return Ok(());
        }
        self.roster.set_validators(&validators)?;
        self.shared.set_validators(validators);
        let starting = self.put_in_force(context).await?;
        // Whoever asked waits until the new peers can be reached; this actor does not.
        context.spawn(async move {
            for started in starting {
                complain(started.await);
            }
            reply.send(Ok(()));
        });
        Ok(())
    }

    /// Makes the roster true: new peers get an actor, former ones lose theirs, the others learn what they are now.
    pub(super) async fn put_in_force(
        &mut self,
        context: &Context<PeerManagerMessage>,
    ) -> Result<Vec<Starting>, ActorError> {
        self.shared.access.set(self.roster.offered_everything());
        self.command(SwarmCommand::SetValidators(self.roster.validators())).await?;
        let former: Vec<PeerId> = self.actors.keys().filter(|peer| !self.roster.is_persistent(peer)).copied().collect();
        former.into_iter().for_each(|peer| self.dismiss(context, peer));
        let mut starting = Vec::new();
        for peer in self.roster.persistent() {
            self.assign(peer);
            match self.actors.get(&peer) {
                // A peer that is down just now begins again with what its link says.
                Some(handle) => drop(handle.address.send(PeerMessage::NewRole).await),
                None => starting.extend(self.engage(context, peer)),
            }
        }
        self.shared.contacts.order();
        Ok(starting)
    }

    /// Gives a peer an actor, unless its former one is still on its way out. One that survived a restart of this
    /// manager learns what it is now.
    fn engage(&mut self, context: &Context<PeerManagerMessage>, peer: PeerId) -> Option<Starting> {
        if self.leaving.contains(&peer) {
            return None;
        }
        self.drop_stranger(&peer);
        let link = self.assign(peer);
        let name = self.shared.actor_name(peer, self.roster.actor_name(&peer));
        let supervisor = peers_path(context);
        let actor_role = ActorRole::named(name.clone());
        let address = context.address_of(&actor_role);
        self.actors.insert(peer, PeerHandle { address: address.clone(), path: format!("{supervisor}/{name}") });
        let shared = Arc::clone(&self.shared);
        let factory = move |context| PeerActor::start(context, Arc::clone(&link), Arc::clone(&shared));
        let child = ChildSpec::worker(actor_role, factory).restart(Restart::Transient);
        let tree = context.tree().clone();
        Some(Box::pin(async move {
            match tree.add(&supervisor, child).await {
                Err(CommandError::AlreadyThere(_)) => {
                    // As above.
                    drop(address.send(PeerMessage::NewManager).await);
                    Ok(())
                }
                other => other.map_err(|error| ActorError::from(error).context(name)),
            }
        }))
    }

    /// As [`Self::engage`], without waiting.
    pub(super) fn engage_beside(&mut self, context: &Context<PeerManagerMessage>, peer: PeerId) {
        if let Some(started) = self.engage(context, peer) {
            context.spawn(async move { complain(started.await) });
        }
    }

    /// Lets a peer's actor go. If the peer comes back, it is a stranger.
    pub(super) fn dismiss(&mut self, context: &Context<PeerManagerMessage>, peer: PeerId) {
        let Some(handle) = self.actors.remove(&peer) else { return };
        self.leaving.insert(peer);
        self.shared.contacts.forget(&peer);
        let tree = context.tree().clone();
        let removed = async move { tree.remove(&handle.path).await };
        context.spawn_then(removed, move |removed| {
            complain(removed.map_err(ActorError::from));
            PeerManagerMessage::Dismissed(peer)
        });
    }

    pub(super) async fn on_dismissed(
        &mut self,
        context: &Context<PeerManagerMessage>,
        peer: PeerId,
    ) -> Result<(), ActorError> {
        self.leaving.remove(&peer);
        // Its connections belong to nobody.
        self.command(SwarmCommand::Disconnect(peer)).await?;
        if self.roster.is_persistent(&peer) {
            self.engage_beside(context, peer);
            self.shared.contacts.order();
        }
        Ok(())
    }
}

/// The tree refuses only what is a mistake of this module or the end of the subtree; either shows in the log.
fn complain(result: Result<(), ActorError>) {
    if let Err(error) = result {
        tracing::error!(%error, "A peer's actor could not be started or removed");
    }
}

/// The peers' supervisor stands beside this actor.
fn peers_path(context: &Context<PeerManagerMessage>) -> String {
    match context.path().rsplit_once('/') {
        Some((parent, _)) => format!("{parent}/{PEERS}"),
        None => PEERS.to_owned(),
    }
}
