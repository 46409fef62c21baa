//! The peer manager: holds a [`Peer`] value for everybody it knows, feeds it what happens, and does what it wants done.
//!
//! architecture.md section 2: "`peer_manager` with one `peer` each (connections, liveness, scores, outbound queues by
//! priority)". It is on no frame's way: senders push into outboxes, and the tasks of a session do the rest.

mod apply;
mod roster;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use dtvn_messages::limits;
use dtvn_messages::wire::WIRE_VERSION;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, Stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::bootstrap::Bootstrap;
use super::class::{Class, ClassSet, PerClass};
use super::config::{NetworkConfig, NetworkEvent, PeerInfo, TrafficTotals, Validators};
use super::directory::Directory;
use super::driver::{DialFailure, SwarmCommand, SwarmNotice};
use super::events::WaitingEvents;
use super::handshake::Hello;
use super::inbox::FrameSinks;
use super::keys::KeyError;
use super::metrics::NetworkMetrics;
use super::outbox::Outbox;
use super::peer::{Effects, Moment, Peer};
use super::score::Offence;
use super::session::LinkNotice;
use super::streams::{Access, StreamsEvent, StreamsNotice};

/// What others ask of the peer manager.
#[derive(Debug)]
pub enum ManagerCommand {
    /// How are the peers?
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    /// The receiver of its frames says that a peer misbehaved.
    Report(PeerId, Offence),
    /// Close a peer's connections; a validator is dialed again.
    Disconnect(PeerId),
    /// Refuse a peer for a while.
    Ban(PeerId),
    /// A new epoch. Answered when it is in force, or with the key that is none.
    SetValidators(Validators, oneshot::Sender<Result<(), KeyError>>),
    /// Flush, close, end.
    Shutdown(oneshot::Sender<()>),
}

/// The queues between the peer manager and its surroundings.
pub struct ManagerChannels {
    /// From whoever has a handle.
    pub commands: mpsc::Receiver<ManagerCommand>,
    /// To the swarm.
    pub swarm: mpsc::Sender<SwarmCommand>,
    /// From the swarm.
    pub notices: mpsc::Receiver<SwarmNotice>,
    /// To the node.
    pub events: mpsc::Sender<NetworkEvent>,
}

/// Somebody the manager knows.
struct Member {
    peer: Peer<Stream>,
    outbox: Arc<Outbox>,
    session: Option<AbortOnDropHandle<()>>,
}

/// The peer manager.
pub struct Manager {
    local: PeerId,
    config: NetworkConfig,
    members: BTreeMap<PeerId, Member>,
    bootstraps: Vec<Bootstrap>,
    /// Peers whose identity the bootstrap addresses name.
    bootstrap_peers: BTreeSet<PeerId>,
    directory: Arc<Directory>,
    access: Arc<Access>,
    sinks: FrameSinks,
    metrics: Arc<NetworkMetrics>,
    channels: ManagerChannels,
    links: mpsc::Receiver<LinkNotice>,
    link_sender: mpsc::Sender<LinkNotice>,
    waiting_commands: VecDeque<SwarmCommand>,
    waiting_events: WaitingEvents,
}

impl Manager {
    /// A manager that has not begun.
    ///
    /// # Errors
    /// If a validator's key is none.
    pub fn new(
        config: NetworkConfig,
        sinks: FrameSinks,
        directory: Arc<Directory>,
        access: Arc<Access>,
        metrics: Arc<NetworkMetrics>,
        channels: ManagerChannels,
    ) -> Result<Self, KeyError> {
        let (link_sender, links) = mpsc::channel(limits::NETWORK_QUEUE_MAX);
        let mut manager = Self {
            local: config.keypair.public().to_peer_id(),
            config,
            members: BTreeMap::new(),
            bootstraps: Vec::new(),
            bootstrap_peers: BTreeSet::new(),
            directory,
            access,
            sinks,
            metrics,
            channels,
            links,
            link_sender,
            waiting_commands: VecDeque::new(),
            waiting_events: WaitingEvents::default(),
        };
        let validators = manager.config.validators.clone();
        manager.adopt(validators)?;
        manager.adopt_bootstraps();
        Ok(manager)
    }

    /// Runs until asked to shut down, or until its surroundings are gone.
    pub async fn run(mut self) {
        let mut heartbeat = interval(limits::HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let swarm = self.channels.swarm.clone();
        let events = self.channels.events.clone();
        self.on_dial_time();
        loop {
            let may_take = self.waiting_commands.len() < limits::NETWORK_QUEUE_MAX;
            let dial_time = tokio::time::Instant::from_std(self.next_dial());
            tokio::select! {
                command = self.channels.commands.recv() => match command {
                    Some(ManagerCommand::Shutdown(done)) => {
                        self.shut_down().await;
                        // Who asked may have stopped waiting; it is shut down either way.
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return self.shut_down().await,
                },
                permit = swarm.reserve(), if !self.waiting_commands.is_empty() => {
                    match (permit, self.waiting_commands.pop_front()) {
                        (Ok(permit), Some(command)) => permit.send(command),
                        _ => return,
                    }
                }
                permit = events.reserve(), if !self.waiting_events.is_empty() => {
                    match (permit, self.waiting_events.pop()) {
                        (Ok(permit), Some(event)) => permit.send(event),
                        _ => return self.shut_down().await,
                    }
                }
                notice = self.channels.notices.recv(), if may_take => match notice {
                    Some(notice) => self.on_swarm_notice(notice),
                    None => return,
                },
                Some(notice) = self.links.recv(), if may_take => self.on_link_notice(notice),
                _ = heartbeat.tick() => self.on_heartbeat(),
                () = tokio::time::sleep_until(dial_time) => self.on_dial_time(),
            }
        }
    }

    fn on_command(&mut self, command: ManagerCommand) {
        match command {
            ManagerCommand::Peers(reply) => {
                // Who asked may have stopped waiting.
                let _ = reply.send(self.peers());
            }
            ManagerCommand::Report(peer, offence) => {
                self.metrics.offences.add(1);
                self.with_member(peer, |member, at, effects| member.on_offence(offence, at, effects));
            }
            ManagerCommand::Disconnect(peer) => {
                self.with_member(peer, |member, _, effects| member.disconnect("an operator closed it", effects));
            }
            ManagerCommand::Ban(peer) => self.with_member(peer, Peer::ban),
            ManagerCommand::SetValidators(validators, reply) => {
                let _ = reply.send(self.adopt(validators));
            }
            // Taken by `run`.
            ManagerCommand::Shutdown(_) => {}
        }
    }

    fn on_swarm_notice(&mut self, notice: SwarmNotice) {
        match notice {
            SwarmNotice::Listening(addresses) => self.tell(NetworkEvent::Listening(addresses)),
            SwarmNotice::Connected { peer, connection, remote, bootstrap } => {
                self.on_connected(peer, connection, remote, bootstrap.as_ref());
            }
            SwarmNotice::Closed { peer, connection, cause } => {
                self.with_member(peer, |member, at, effects| member.on_closed(connection, &cause, at, effects));
            }
            SwarmNotice::DialFailed { peer, bootstrap, failure } => {
                self.on_dial_failed(peer, bootstrap.as_ref(), failure);
            }
            SwarmNotice::Streams(notice) => self.on_streams(notice),
            SwarmNotice::Pong { peer, connection, round_trip } => {
                self.with_member(peer, |member, at, effects| member.on_pong(connection, round_trip, at, effects));
            }
            SwarmNotice::Addresses { peer, addresses } => {
                self.with_member(peer, |member, at, _| member.on_addresses(addresses, at));
            }
        }
    }

    fn on_connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        remote: Multiaddr,
        bootstrap: Option<&Multiaddr>,
    ) {
        if !self.members.contains_key(&peer) {
            self.admit(peer, self.role_of(&peer), Vec::new());
        }
        if let Some(address) = bootstrap {
            self.on_bootstrap_found(peer, address);
        }
        self.with_member(peer, |member, at, effects| member.on_connected(connection, remote, at, effects));
    }

    fn on_dial_failed(&mut self, peer: Option<PeerId>, bootstrap: Option<&Multiaddr>, failure: DialFailure) {
        let at = moment();
        if let Some(address) = bootstrap {
            let entries = self.bootstraps.iter_mut().filter(|entry| entry.address() == address);
            match failure {
                DialFailure::Ourselves => entries.for_each(Bootstrap::on_ourselves),
                _ => entries.for_each(|entry| entry.on_failed(at)),
            }
            return;
        }
        let Some(peer) = peer else { return };
        if matches!(failure, DialFailure::SomebodyElse { .. }) {
            self.bootstraps.iter_mut().for_each(|entry| entry.on_replaced(peer, at));
        }
        self.with_member(peer, |member, at, effects| member.on_dial_failed(failure, at, effects));
    }

    fn on_streams(&mut self, StreamsNotice { peer, connection, class, event }: StreamsNotice) {
        self.with_member(peer, |member, at, effects| match event {
            StreamsEvent::Opened(stream) => member.on_opened(connection, class, stream, effects),
            StreamsEvent::OpenFailed(error) => member.on_open_failed(connection, class, &error, at, effects),
            StreamsEvent::Accepted(stream) => member.on_accepted(connection, class, stream, at, effects),
        });
    }

    fn on_link_notice(&mut self, notice: LinkNotice) {
        match notice {
            LinkNotice::Greeted { peer, connection, class, stream, hello } => {
                self.with_member(peer, |member, at, effects| {
                    member.on_greeted(connection, class, stream, hello, at, effects);
                });
            }
            LinkNotice::GreetingFailed { peer, connection, error } => {
                self.with_member(peer, |member, at, effects| {
                    member.on_greeting_failed(connection, error, at, effects);
                });
            }
            LinkNotice::Ended { peer, connection, cause, offence } => {
                self.with_member(peer, |member, at, effects| {
                    member.on_session_ended(connection, &cause, offence, at, effects);
                });
            }
        }
    }

    /// The earliest time at which somebody is to be dialed; far away if nobody.
    fn next_dial(&self) -> Instant {
        let members = self.members.values().filter_map(|member| member.peer.next_dial());
        let bootstraps = self.bootstraps.iter().filter_map(Bootstrap::next_dial);
        members.chain(bootstraps).min().unwrap_or_else(|| Instant::now() + limits::DIAL_BACKOFF_CAP)
    }

    fn on_dial_time(&mut self) {
        let at = moment();
        for bootstrap in &mut self.bootstraps {
            if bootstrap.on_dial_time(at) {
                self.waiting_commands.push_back(SwarmCommand::DialAddress(bootstrap.address().clone()));
            }
        }
        self.with_all(|peer, _, at, effects| peer.on_dial_time(at, effects));
    }

    fn on_heartbeat(&mut self) {
        self.with_all(|peer, outbox, at, effects| {
            peer.on_heartbeat(outbox.traffic.bytes_in_total(), at, effects);
        });
        let now = Instant::now();
        self.members.retain(|_, member| !member.peer.is_forgettable(now));
    }

    /// Feeds one peer and does what it wants. Unknown peers are nobody's business.
    fn with_member(&mut self, peer: PeerId, feed: impl FnOnce(&mut Peer<Stream>, Moment, &mut Effects<Stream>)) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        let mut effects = Vec::new();
        feed(&mut member.peer, moment(), &mut effects);
        self.apply(peer, effects);
    }

    fn with_all(&mut self, mut feed: impl FnMut(&mut Peer<Stream>, &Outbox, Moment, &mut Effects<Stream>)) {
        let mut wanted = Vec::new();
        for (id, member) in &mut self.members {
            let mut effects = Vec::new();
            feed(&mut member.peer, &member.outbox, moment(), &mut effects);
            if !effects.is_empty() {
                wanted.push((*id, effects));
            }
        }
        for (id, effects) in wanted {
            self.apply(id, effects);
        }
    }

    fn tell(&mut self, event: NetworkEvent) {
        self.metrics.events_dropped.add(self.waiting_events.push(event));
    }

    fn hello(&self, classes: ClassSet) -> Hello {
        Hello {
            wire_version: WIRE_VERSION,
            chain_id: self.config.chain_id.clone(),
            genesis: self.config.genesis,
            start: self.config.start,
            classes,
            summary: self.config.validators.summary.clone(),
            node_name: self.config.node_name.clone(),
        }
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let now = Instant::now();
        let mut peers: Vec<PeerInfo> = self.members.values().map(|member| info(member, now)).collect();
        peers.sort_by_key(|peer| (peer.validator.is_none(), peer.validator, peer.peer));
        peers
    }

    /// Writes what is queued, says goodbye to everybody, and closes.
    async fn shut_down(&mut self) {
        let deadline = tokio::time::Instant::now() + limits::NETWORK_FLUSH_TIMEOUT;
        for member in self.members.values() {
            Class::ALL.iter().for_each(|class| member.outbox.drain(*class));
        }
        while self.members.values().any(|member| member.session.is_some()) {
            match timeout_at(deadline, self.links.recv()).await {
                Ok(Some(LinkNotice::Ended { peer, .. })) => {
                    self.members.get_mut(&peer).map(|member| member.session.take());
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        for member in self.members.values_mut() {
            member.session = None;
            member.outbox.close();
        }
        let (done, closed) = oneshot::channel();
        let ends = async {
            if self.channels.swarm.send(SwarmCommand::Shutdown(done)).await.is_ok() {
                // An error means that the swarm is gone, which is as good.
                let _ = closed.await;
            }
        };
        if tokio::time::timeout(2 * limits::NETWORK_FLUSH_TIMEOUT, ends).await.is_err() {
            tracing::warn!("The swarm did not close in time and is dropped");
        }
    }
}

fn moment() -> Moment {
    Moment { now: Instant::now(), jitter: rand::random() }
}

fn info(member: &Member, now: Instant) -> PeerInfo {
    let status = member.peer.status(now);
    let traffic = &member.outbox.traffic;
    let validator = member.peer.role().validator.as_ref();
    PeerInfo {
        peer: member.peer.id(),
        validator: validator.map(|(index, _)| *index),
        name: validator.map(|(_, name)| name.clone()),
        state: status.state,
        addresses: status.addresses,
        connected_for: status.connected_for,
        round_trip: status.round_trip,
        points: status.points,
        queue_depths: PerClass::build(|class| member.outbox.depth(class)),
        traffic: TrafficTotals {
            frames_in: PerClass::build(|class| traffic.frames_in.get(class).get()),
            bytes_in: PerClass::build(|class| traffic.bytes_in.get(class).get()),
            frames_out: PerClass::build(|class| traffic.frames_out.get(class).get()),
            bytes_out: PerClass::build(|class| traffic.bytes_out.get(class).get()),
        },
        bytes_in_last_heartbeat: status.bytes_in_last_heartbeat,
        last_error: status.last_error,
    }
}
