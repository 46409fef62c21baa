//! The actor `peer_manager`: passes on what the swarm tells, keeps the strangers, and puts validator sets in force.
//!
//! It is on no frame's way: senders push into links, and the tasks of a session do the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use dtvn_messages::limits;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use super::bootstrap::Bootstrap;
use super::member::{Member, PeerMessage, moment, until};
use super::roster::Roster;
use crate::mailbox::{Address, FullPolicy, Mail, Reply};
use crate::network::config::{NetworkEvent, Validators, ValidatorsError};
use crate::network::link::Link;
use crate::network::notices::{self, DialFailure, PeerNotice, SwarmCommand, SwarmNotice};
use crate::network::session::LinkNotice;
use crate::network::shared::Shared;
use crate::supervision::{ActorError, Behaviour, Context, TaskHandle};

/// What can be said to the peer manager.
#[derive(Debug)]
pub enum PeerManagerMessage {
    /// The swarm tells.
    Swarm(SwarmNotice),
    /// A task of a stranger's streams tells.
    Link(LinkNotice),
    /// For a peer, whoever owns it.
    Forward(PeerId, PeerMessage),
    /// One heartbeat interval has passed.
    Heartbeat,
    /// It may be time to dial a bootstrap address.
    DialTime,
    /// A former peer's actor is gone.
    Dismissed(PeerId),
    /// A new epoch: put this in force.
    SetValidators(Validators, Reply<Result<(), ValidatorsError>>),
}

impl Mail for PeerManagerMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Swarm(_) => "swarm",
            Self::Link(_) => "link",
            Self::Forward(..) => "forward",
            Self::Heartbeat => "heartbeat",
            Self::DialTime => "dial_time",
            Self::Dismissed(_) => "dismissed",
            Self::SetValidators(..) => "set_validators",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Heartbeat => FullPolicy::DropNewest,
            _ => FullPolicy::Wait,
        }
    }
}

/// The actor.
pub struct PeerManager {
    pub(super) shared: Arc<Shared>,
    pub(super) swarm: mpsc::Sender<SwarmCommand>,
    pub(super) roster: Roster,
    /// Peers with an actor of their own.
    pub(super) actors: BTreeMap<PeerId, PeerHandle>,
    /// Peers whose actor is on its way out.
    pub(super) leaving: BTreeSet<PeerId>,
    strangers: BTreeMap<PeerId, Member>,
    bootstraps: Vec<Bootstrap>,
    notices: mpsc::Sender<LinkNotice>,
    dial_timer: Option<TaskHandle>,
}

/// Where a peer's actor is.
pub(super) struct PeerHandle {
    pub(super) address: Address<PeerMessage>,
    pub(super) path: String,
}

impl PeerManager {
    /// Takes over the swarm, which begins with a clean slate, and puts the validators in force.
    ///
    /// # Errors
    /// If there is no swarm, or a peer's actor cannot be started.
    pub async fn start(context: Context<PeerManagerMessage>, shared: Arc<Shared>) -> Result<Self, ActorError> {
        let swarm = shared.swarm()?;
        let (sender, notices) = notices::queue();
        let (link_sender, links) = notices::queue();
        pump(&context, notices, PeerManagerMessage::Swarm);
        pump(&context, links, PeerManagerMessage::Link);
        context.send_every(limits::HEARTBEAT_INTERVAL, || PeerManagerMessage::Heartbeat);
        let roster = Roster::new(&shared.config, shared.local, &shared.validators())?;
        let bootstraps = roster.unknown_bootstraps().map(|address| Bootstrap::new(address, moment())).collect();
        let mut manager = Self {
            shared,
            swarm,
            roster,
            actors: BTreeMap::new(),
            leaving: BTreeSet::new(),
            strangers: BTreeMap::new(),
            bootstraps,
            notices: link_sender,
            dial_timer: None,
        };
        manager.command(SwarmCommand::Attach(sender)).await?;
        for started in manager.put_in_force(&context).await? {
            started.await?;
        }
        manager.on_dial_time(&context).await?;
        Ok(manager)
    }

    async fn on_swarm_notice(
        &mut self,
        context: &Context<PeerManagerMessage>,
        notice: SwarmNotice,
    ) -> Result<(), ActorError> {
        match notice {
            SwarmNotice::Listening(addresses) => self.shared.tell(NetworkEvent::Listening(addresses)),
            SwarmNotice::Found(address, peer) => self.on_found(context, address, peer).await?,
            SwarmNotice::NotFound(address, failure) => {
                let entries = self.bootstraps.iter_mut().filter(|entry| *entry.address() == address);
                match failure {
                    DialFailure::Ourselves => entries.for_each(Bootstrap::on_ourselves),
                    _ => entries.for_each(|entry| entry.on_failed(moment())),
                }
                self.arm(context);
            }
            SwarmNotice::Peer(peer, notice) => self.on_peer_notice(context, peer, notice).await?,
        }
        Ok(())
    }

    async fn on_peer_notice(
        &mut self,
        context: &Context<PeerManagerMessage>,
        peer: PeerId,
        notice: PeerNotice,
    ) -> Result<(), ActorError> {
        let is_new = !self.actors.contains_key(&peer) && !self.strangers.contains_key(&peer);
        if is_new && matches!(notice, PeerNotice::Connected { .. }) {
            self.admit_stranger(peer)?;
        }
        if matches!(notice, PeerNotice::DialFailed(DialFailure::SomebodyElse { .. })) {
            self.on_replaced(context, peer);
        }
        self.forward(peer, PeerMessage::Swarm(notice)).await
    }

    /// Hands a message to whoever owns the peer. Unknown peers are nobody's business.
    async fn forward(&mut self, peer: PeerId, message: PeerMessage) -> Result<(), ActorError> {
        if let Some(handle) = self.actors.get(&peer) {
            // While it restarts it is told nothing: it begins with a clean slate.
            let _ = handle.address.send(message).await;
        } else if let Some(member) = self.strangers.get_mut(&peer) {
            member.handle(message).await?;
        }
        Ok(())
    }

    fn admit_stranger(&mut self, peer: PeerId) -> Result<(), ActorError> {
        if self.strangers.len() >= limits::STRANGERS_REMEMBERED_MAX {
            let idle = self.strangers.iter().find(|(_, member)| !member.is_connected()).map(|(peer, _)| *peer);
            if let Some(idle) = idle {
                self.strangers.remove(&idle);
                self.shared.contacts.forget(&idle);
            }
        }
        let link = self.assign(peer);
        let member = Member::new(link, Arc::clone(&self.shared), self.notices.clone())?;
        self.strangers.insert(peer, member);
        Ok(())
    }

    /// The peer's link, a new one only if it had none, with what the peer is now.
    pub(super) fn assign(&self, peer: PeerId) -> Arc<Link> {
        let link = self.shared.contacts.admit(Link::new(peer, Arc::clone(&self.shared.metrics)).into());
        link.set_role(self.roster.role_of(&peer));
        link
    }

    /// From now on the peer has an actor, or is gone: what was known of it as a stranger ends.
    pub(super) fn drop_stranger(&mut self, peer: &PeerId) {
        self.strangers.remove(peer);
    }

    /// Somebody answered at a bootstrap address that named no peer: from now on it is an address of that peer.
    async fn on_found(
        &mut self,
        context: &Context<PeerManagerMessage>,
        address: Multiaddr,
        peer: PeerId,
    ) -> Result<(), ActorError> {
        for entry in self.bootstraps.iter_mut().filter(|entry| *entry.address() == address) {
            entry.on_found(peer);
        }
        self.roster.add_bootstrap(peer, address);
        if self.actors.contains_key(&peer) {
            self.assign(peer);
            return self.forward(peer, PeerMessage::NewRole).await;
        }
        self.engage_beside(context, peer);
        Ok(())
    }

    /// Somebody else was found in the place of this peer. If it was known only from there, it is a stranger again.
    fn on_replaced(&mut self, context: &Context<PeerManagerMessage>, peer: PeerId) {
        for entry in &mut self.bootstraps {
            if entry.on_replaced(peer, moment()) {
                self.roster.remove_bootstrap(peer, entry.address());
            }
        }
        self.arm(context);
        if !self.roster.is_persistent(&peer) {
            self.dismiss(context, peer);
        }
    }

    async fn on_heartbeat(&mut self) -> Result<(), ActorError> {
        for member in self.strangers.values_mut() {
            member.handle(PeerMessage::Heartbeat).await?;
        }
        let contacts = &self.shared.contacts;
        self.strangers.retain(|peer, member| {
            let stays = !member.is_forgettable();
            if !stays {
                contacts.forget(peer);
            }
            stays
        });
        Ok(())
    }

    async fn on_dial_time(&mut self, context: &Context<PeerManagerMessage>) -> Result<(), ActorError> {
        let due: Vec<Multiaddr> = self
            .bootstraps
            .iter_mut()
            .filter_map(|entry| entry.on_dial_time(moment()).then(|| entry.address().clone()))
            .collect();
        for address in due {
            self.command(SwarmCommand::DialAddress(address)).await?;
        }
        self.arm(context);
        Ok(())
    }

    /// Sets the timer for the bootstrap address that is to be dialed first.
    fn arm(&mut self, context: &Context<PeerManagerMessage>) {
        if let Some(timer) = self.dial_timer.take() {
            timer.cancel();
        }
        let next: Option<Instant> = self.bootstraps.iter().filter_map(Bootstrap::next_dial).min();
        self.dial_timer = next.map(|time| context.send_after(until(time), PeerManagerMessage::DialTime));
    }

    /// The swarm's task takes commands whatever else it does, so this wait is short. (`&mut`, for streams are not `Sync`.)
    pub(super) async fn command(&mut self, command: SwarmCommand) -> Result<(), ActorError> {
        self.swarm.send(command).await.map_err(|_| ActorError::new("the swarm is gone"))
    }
}

impl Behaviour for PeerManager {
    type Message = PeerManagerMessage;

    async fn handle(
        &mut self,
        context: &Context<PeerManagerMessage>,
        message: PeerManagerMessage,
    ) -> Result<(), ActorError> {
        match message {
            PeerManagerMessage::Swarm(notice) => self.on_swarm_notice(context, notice).await,
            PeerManagerMessage::Link(notice) => self.forward(notice.peer(), PeerMessage::Link(notice)).await,
            PeerManagerMessage::Forward(peer, message) => self.forward(peer, message).await,
            PeerManagerMessage::Heartbeat => self.on_heartbeat().await,
            PeerManagerMessage::DialTime => self.on_dial_time(context).await,
            PeerManagerMessage::Dismissed(peer) => self.on_dismissed(context, peer).await,
            PeerManagerMessage::SetValidators(validators, reply) => {
                self.on_set_validators(context, validators, reply).await
            }
        }
    }
}

/// Hands what arrives in a queue to the actor, waiting for a place in its mailbox.
fn pump<T: Send + 'static>(
    context: &Context<PeerManagerMessage>,
    mut queue: mpsc::Receiver<T>,
    message: impl Fn(T) -> PeerManagerMessage + Send + 'static,
) {
    let myself = context.myself();
    context.spawn(async move {
        while let Some(item) = queue.recv().await {
            // An error means that this incarnation has ended.
            if myself.send(message(item)).await.is_err() {
                return;
            }
        }
    });
}
