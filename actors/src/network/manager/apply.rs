//! Doing what a peer value wants done.

use libp2p::{PeerId, Stream};

use super::Manager;
use crate::network::class::{Class, ClassSet};
use crate::network::config::{ConnectedPeer, NetworkEvent};
use crate::network::driver::SwarmCommand;
use crate::network::handshake::{Hello, Refusal};
use crate::network::peer::{Effect, Effects, Established};
use crate::network::session::{self, SessionContext};

impl Manager {
    pub(super) fn apply(&mut self, peer: PeerId, effects: Effects<Stream>) {
        for effect in effects {
            match effect {
                Effect::Dial { addresses, discovered_too } => {
                    self.command(SwarmCommand::Dial { peer, addresses, discovered_too });
                }
                Effect::LookUp => self.command(SwarmCommand::LookUp(peer)),
                Effect::Open(connection, class) => self.command(SwarmCommand::Open { peer, connection, class }),
                Effect::Close(connection) => self.command(SwarmCommand::Close(connection)),
                Effect::Forget(address) => self.command(SwarmCommand::Forget(peer, address)),
                Effect::Ban(until) => {
                    self.metrics.bans.add(1);
                    tracing::warn!(%peer, "A peer misbehaved and is banned for a while");
                    self.command(SwarmCommand::Ban(peer, until));
                }
                Effect::Greet { connection, class, stream, opened_by_us } => {
                    let willing = self.members.get(&peer).map_or(ClassSet::NONE, |member| member.peer.role().willing);
                    let ours = self.hello(willing);
                    let notices = self.link_sender.clone();
                    session::spawn_greeting(peer, connection, class, stream, ours, opened_by_us, notices);
                }
                Effect::Start(established) => self.start(peer, *established),
                Effect::Stop { cause } => self.stop(peer, cause),
                Effect::Refused(refusal) => self.refused(peer, refusal),
                Effect::Suspect(suspect) => self.suspect(peer, suspect),
            }
        }
    }

    fn command(&mut self, command: SwarmCommand) {
        self.waiting_commands.push_back(command);
    }

    fn start(&mut self, peer: PeerId, established: Established<Stream>) {
        let Established { connection, streams, hello } = established;
        let Some(member) = self.members.get_mut(&peer) else { return };
        let validator = member.peer.role().validator.as_ref().map(|(index, _)| *index);
        let classes = streams.iter().fold(ClassSet::NONE, |all, (class, _)| all.with(*class));
        streams.iter().for_each(|(class, _)| member.outbox.open(*class));
        let context = SessionContext {
            connection,
            outbox: member.outbox.clone(),
            is_validator: validator.is_some(),
            sinks: self.sinks.clone(),
            metrics: self.metrics.clone(),
        };
        member.session = Some(session::spawn(context, streams, self.link_sender.clone()));
        self.metrics.sessions_started.add(1);
        tracing::info!(%peer, node = %hello.node_name, start = hello.start, "A peer is connected");
        if validator.is_none() {
            self.publish_directory();
        } else if !classes.contains(Class::Consensus) {
            tracing::warn!(%peer, "A validator is connected for sync only: one of us is in another epoch");
        }
        self.count_connected();
        self.look_for_the_missing();
        let Hello { node_name, start, summary, .. } = hello;
        self.tell(NetworkEvent::Connected(ConnectedPeer { peer, validator, node_name, start, summary, classes }));
    }

    fn stop(&mut self, peer: PeerId, cause: String) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        let validator = member.peer.role().validator.as_ref().map(|(index, _)| *index);
        member.session = None;
        member.outbox.close();
        self.metrics.sessions_ended.add(1);
        tracing::info!(%peer, %cause, "A peer is disconnected");
        if validator.is_none() {
            self.publish_directory();
        }
        self.count_connected();
        self.tell(NetworkEvent::Disconnected { peer, validator, cause });
    }

    fn refused(&mut self, peer: PeerId, refusal: Refusal) {
        self.metrics.refused.add(1);
        let Some(member) = self.members.get(&peer) else { return };
        let validator = member.peer.role().validator.as_ref().map(|(index, _)| *index);
        tracing::warn!(%peer, %refusal, "A peer belongs to another network and is refused");
        self.tell(NetworkEvent::Refused { peer, validator, refusal });
    }

    fn suspect(&mut self, peer: PeerId, suspect: bool) {
        let Some(member) = self.members.get(&peer) else { return };
        let validator = member.peer.role().validator.as_ref().map(|(index, _)| *index);
        self.count_connected();
        self.tell(NetworkEvent::Suspect { peer, validator, suspect });
    }

    fn count_connected(&self) {
        let up = self.members.values().filter(|member| member.peer.role().validator.is_some() && member.peer.is_up());
        let (mut connected, mut suspect) = (0, 0);
        for member in up {
            connected += 1;
            suspect += u64::from(member.peer.is_suspect());
        }
        self.metrics.peers_connected.set(connected);
        self.metrics.peers_suspect.set(suspect);
    }

    /// A new neighbour may know where those are whom we have no address of.
    fn look_for_the_missing(&mut self) {
        let missing = self.members.iter_mut().filter(|(_, member)| member.peer.is_missing());
        let lookups: Vec<SwarmCommand> = missing.map(|(id, _)| SwarmCommand::LookUp(*id)).collect();
        self.waiting_commands.extend(lookups);
    }
}
