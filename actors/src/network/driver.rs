//! The task that owns the swarm: carries out commands, and tells what happened.
//!
//! It decides nothing. Everything that needs a decision goes to the peer manager as a [`SwarmNotice`], and comes back
//! as a [`SwarmCommand`]. Both queues are bounded: while notices wait to be taken, the swarm is not polled, which slows
//! the peers; commands are always taken, so the two tasks cannot wait for each other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtvn_messages::limits;
use futures::StreamExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, kad};
use tokio::sync::{mpsc, oneshot};

use super::class::Class;
use super::gate::Denial;
use super::metrics::NetworkMetrics;
use super::streams::StreamsNotice;
use super::swarm::{Behaviour, BehaviourEvent, innermost};

/// What the peer manager wants of the swarm.
#[derive(Debug)]
pub enum SwarmCommand {
    /// Connect to a peer, unless connected or connecting. Answered by `Connected` or `DialFailed`.
    Dial {
        /// The peer.
        peer: PeerId,
        /// Where.
        addresses: Vec<Multiaddr>,
        /// Whether to try addresses that discovery knows as well.
        discovered_too: bool,
    },
    /// Connect to whoever is there. Answered by `Connected` or `DialFailed` with that address.
    DialAddress(Multiaddr),
    /// Open a stream. Answered by a stream notice, unless the connection closes.
    Open {
        /// The peer.
        peer: PeerId,
        /// On this connection.
        connection: ConnectionId,
        /// Of this class.
        class: Class,
    },
    /// Close a connection.
    Close(ConnectionId),
    /// Ask discovery for a peer's addresses. May be answered by `Addresses`.
    LookUp(PeerId),
    /// Forget an address at which somebody else was found.
    Forget(PeerId, Multiaddr),
    /// Who is a validator from now on.
    SetValidators(HashSet<PeerId>),
    /// Refuse a peer's connections until then.
    Ban(PeerId, Instant),
    /// Close everything, and say when it is closed.
    Shutdown(oneshot::Sender<()>),
}

/// What happened in the swarm.
#[derive(Debug)]
pub enum SwarmNotice {
    /// All listeners have addresses; these.
    Listening(Vec<Multiaddr>),
    /// A connection stands.
    Connected {
        /// The peer.
        peer: PeerId,
        /// The connection.
        connection: ConnectionId,
        /// The other end.
        remote: Multiaddr,
        /// The address, if it was dialed by `DialAddress`.
        bootstrap: Option<Multiaddr>,
    },
    /// A connection is gone.
    Closed {
        /// The peer.
        peer: PeerId,
        /// The connection.
        connection: ConnectionId,
        /// Why, in words.
        cause: String,
    },
    /// A dial failed.
    DialFailed {
        /// The peer, if known.
        peer: Option<PeerId>,
        /// The address, if it was dialed by `DialAddress`.
        bootstrap: Option<Multiaddr>,
        /// How.
        failure: DialFailure,
    },
    /// Something about streams.
    Streams(StreamsNotice),
    /// A heartbeat was answered.
    Pong {
        /// The peer.
        peer: PeerId,
        /// The connection.
        connection: ConnectionId,
        /// The round trip.
        round_trip: Duration,
    },
    /// A peer, or somebody else, says where a peer can be found.
    Addresses {
        /// The peer.
        peer: PeerId,
        /// Its addresses.
        addresses: Vec<Multiaddr>,
    },
}

/// How a dial failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// There is a connection or another attempt already.
    Busy,
    /// No address is known.
    NoAddress,
    /// It was this node itself.
    Ourselves,
    /// Somebody else was found at the address.
    SomebodyElse {
        /// Who.
        found: PeerId,
        /// Where.
        address: Multiaddr,
    },
    /// It could not be reached.
    Unreachable(String),
}

/// The swarm, and what it takes to run it.
pub struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<SwarmCommand>,
    notices: mpsc::Sender<SwarmNotice>,
    waiting: VecDeque<SwarmNotice>,
    bootstraps: HashMap<ConnectionId, Multiaddr>,
    listeners: HashMap<ListenerId, Vec<Multiaddr>>,
    metrics: Arc<NetworkMetrics>,
}

impl Driver {
    /// Takes a swarm and the listeners it has.
    pub fn new(
        swarm: Swarm<Behaviour>,
        listeners: impl IntoIterator<Item = ListenerId>,
        commands: mpsc::Receiver<SwarmCommand>,
        notices: mpsc::Sender<SwarmNotice>,
        metrics: Arc<NetworkMetrics>,
    ) -> Self {
        let listeners = listeners.into_iter().map(|listener| (listener, Vec::new())).collect();
        Self { swarm, commands, notices, waiting: VecDeque::new(), bootstraps: HashMap::new(), listeners, metrics }
    }

    /// Runs until `Shutdown`, or until nobody commands or listens any more.
    pub async fn run(mut self) {
        let notices = self.notices.clone();
        loop {
            let may_poll = self.waiting.len() < limits::NETWORK_QUEUE_MAX;
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(SwarmCommand::Shutdown(done)) => {
                        self.shut_down().await;
                        // Who asked may have stopped waiting; it is shut down either way.
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.execute(command),
                    None => return self.shut_down().await,
                },
                permit = notices.reserve(), if !self.waiting.is_empty() => match (permit, self.waiting.pop_front()) {
                    (Ok(permit), Some(notice)) => permit.send(notice),
                    _ => return self.shut_down().await,
                },
                event = self.swarm.select_next_some(), if may_poll => self.on_event(event),
            }
        }
    }

    fn execute(&mut self, command: SwarmCommand) {
        match command {
            SwarmCommand::Dial { peer, addresses, discovered_too } => self.dial(peer, addresses, discovered_too),
            SwarmCommand::DialAddress(address) => self.dial_address(address),
            SwarmCommand::Open { peer, connection, class } => {
                self.swarm.behaviour_mut().streams.open(peer, connection, class);
            }
            SwarmCommand::Close(connection) => {
                self.swarm.close_connection(connection);
            }
            SwarmCommand::LookUp(peer) => {
                self.swarm.behaviour_mut().kademlia.get_closest_peers(peer);
            }
            SwarmCommand::Forget(peer, address) => {
                self.swarm.behaviour_mut().kademlia.remove_address(&peer, &address);
            }
            SwarmCommand::SetValidators(validators) => {
                self.swarm.behaviour_mut().gate.gate().set_validators(validators);
            }
            SwarmCommand::Ban(peer, until) => self.swarm.behaviour_mut().gate.gate().ban(peer, until),
            // Taken by `run`.
            SwarmCommand::Shutdown(_) => {}
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, discovered_too: bool) {
        // From a port of its own: two nodes that dial each other from their listening ports would meet half-way, in a
        // TCP connection in which both are clients.
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .allocate_new_port();
        let options = if discovered_too { options.extend_addresses_through_behaviour() } else { options };
        if let Err(error) = self.swarm.dial(options.build()) {
            self.tell_dial_failed(Some(peer), None, &error);
        }
    }

    fn dial_address(&mut self, address: Multiaddr) {
        let options = DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.bootstraps.insert(connection, address);
            }
            Err(error) => self.tell_dial_failed(None, Some(address), &error),
        }
    }

    fn tell(&mut self, notice: SwarmNotice) {
        self.waiting.push_back(notice);
    }

    fn tell_dial_failed(&mut self, peer: Option<PeerId>, bootstrap: Option<Multiaddr>, error: &DialError) {
        let failure = dial_failure(error);
        if !matches!(failure, DialFailure::Busy) {
            self.metrics.dial_failures.add(1);
        }
        self.tell(SwarmNotice::DialFailed { peer, bootstrap, failure });
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let cause = describe_close(cause.as_ref());
                self.tell(SwarmNotice::Closed { peer: peer_id, connection: connection_id, cause });
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                let bootstrap = self.bootstraps.remove(&connection_id);
                self.tell_dial_failed(peer_id, bootstrap, &error);
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                self.on_incoming_failure(&error, &send_back_addr);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listeners.entry(listener_id).or_default().push(address);
                self.tell_listening();
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                self.listeners.entry(listener_id).or_default().retain(|other| *other != address);
                self.tell_listening();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                self.listeners.remove(&listener_id);
                if let Err(error) = reason {
                    tracing::error!(%error, "A listener of the network layer failed");
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "A listener of the network layer reports an error");
            }
            _ => {}
        }
    }

    fn on_established(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        self.metrics.connections.add(1);
        let bootstrap = self.bootstraps.remove(&connection);
        let remote = endpoint.get_remote_address().clone();
        self.tell(SwarmNotice::Connected { peer, connection, remote, bootstrap });
    }

    fn on_incoming_failure(&self, error: &ListenError, from: &Multiaddr) {
        if let ListenError::Denied { cause } = error
            && let Some(denial) = cause.downcast_ref::<Denial>()
        {
            self.metrics.connections_denied.add(1);
            tracing::debug!(%from, %denial, "An inbound connection was refused");
        } else {
            self.metrics.connections_failed.add(1);
            tracing::debug!(%from, %error, "An inbound connection came to nothing");
        }
    }

    fn tell_listening(&mut self) {
        if self.listeners.values().all(|addresses| !addresses.is_empty()) {
            let addresses = self.listeners.values().flatten().cloned().collect();
            self.tell(SwarmNotice::Listening(addresses));
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gate(never) => match never {},
            BehaviourEvent::Streams(notice) => self.tell(SwarmNotice::Streams(notice)),
            BehaviourEvent::Ping(event) => {
                // A failed ping needs no notice: the silence is what counts.
                if let Ok(round_trip) = event.result {
                    self.tell(SwarmNotice::Pong { peer: event.peer, connection: event.connection, round_trip });
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::Kademlia(kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(Ok(found)),
                ..
            }) => {
                for found in found.peers.into_iter().filter(|found| !found.addrs.is_empty()) {
                    self.tell(SwarmNotice::Addresses { peer: found.peer_id, addresses: found.addrs });
                }
            }
            BehaviourEvent::Identify(_) | BehaviourEvent::Kademlia(_) => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let kademlia = &mut self.swarm.behaviour_mut().kademlia;
        let addresses: Vec<Multiaddr> =
            info.listen_addrs.into_iter().take(limits::PEER_LEARNED_ADDRESSES_MAX).collect();
        if kademlia.protocol_names().iter().any(|name| info.protocols.contains(name)) {
            for address in addresses.iter().filter(|address| address.len() <= limits::PEER_ADDRESS_BYTES_MAX) {
                kademlia.add_address(&peer, address.clone());
            }
        }
        self.tell(SwarmNotice::Addresses { peer, addresses });
    }

    /// Closes all connections in an orderly way, so that what was written is sent.
    async fn shut_down(&mut self) {
        let listeners: Vec<ListenerId> = self.listeners.drain().map(|(listener, _)| listener).collect();
        for listener in listeners {
            self.swarm.remove_listener(listener);
        }
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // Fails only if it is not connected any more.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.network_info().connection_counters().num_established() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(limits::NETWORK_FLUSH_TIMEOUT, closed).await.is_err() {
            tracing::warn!("Some connections did not close in time and are dropped");
        }
    }
}

fn dial_failure(error: &DialError) -> DialFailure {
    match error {
        DialError::DialPeerConditionFalse(_) => DialFailure::Busy,
        DialError::NoAddresses => DialFailure::NoAddress,
        DialError::LocalPeerId { .. } => DialFailure::Ourselves,
        DialError::WrongPeerId { obtained, address } => {
            DialFailure::SomebodyElse { found: *obtained, address: address.clone() }
        }
        DialError::Transport(errors) => {
            let causes = errors.iter().map(|(address, error)| format!("{address}: {}", innermost(error)));
            DialFailure::Unreachable(causes.collect::<Vec<_>>().join("; "))
        }
        DialError::Denied { cause } => DialFailure::Unreachable(innermost(cause)),
        DialError::Aborted => DialFailure::Unreachable("the attempt was given up".to_owned()),
    }
}

fn describe_close(cause: Option<&ConnectionError>) -> String {
    match cause {
        None => "closed by this node".to_owned(),
        Some(ConnectionError::KeepAliveTimeout) => "nothing used the connection".to_owned(),
        Some(ConnectionError::IO(error)) => innermost(error),
    }
}
