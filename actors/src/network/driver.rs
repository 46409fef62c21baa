//! The task that owns the swarm: carries out commands, and tells what happened.
//!
//! It decides nothing. Everything that needs a decision goes to the peer manager as a [`SwarmNotice`], and comes back
//! as a [`SwarmCommand`]. Both queues are bounded: while notices wait to be taken, the swarm is not polled, which slows
//! the peers; commands are always taken, so that nobody who sends one waits for long. Without a peer manager, notices
//! are dropped: the next one begins with a clean slate.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtvn_messages::limits;
use futures::StreamExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, kad};
use tokio::sync::mpsc;

use super::gate::Denial;
use super::notices::{DialFailure, PeerNotice, SwarmCommand, SwarmNotice};
use super::shared::Shared;
use super::streams::StreamsNotice;
use super::swarm::{Behaviour, BehaviourEvent, innermost};

/// How often a peer may say anew where it listens.
const IDENTIFIED_AGAIN: Duration = Duration::from_secs(10);

impl Listener {
    /// The configured address with the real port in place of 0.
    fn with_port(&self) -> Multiaddr {
        let real = self.addresses.first().unwrap_or(&self.configured);
        let part = |(configured, real)| match (configured, real) {
            (Protocol::Tcp(0), real @ Protocol::Tcp(_)) | (Protocol::Udp(0), real @ Protocol::Udp(_)) => real,
            (configured, _) => configured,
        };
        self.configured.iter().zip(real.iter()).map(part).collect()
    }
}

/// The swarm, and what it takes to run it.
pub struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<SwarmCommand>,
    notices: Option<mpsc::Sender<SwarmNotice>>,
    waiting: VecDeque<SwarmNotice>,
    bootstraps: HashMap<ConnectionId, Multiaddr>,
    /// When each connected peer last said where it listens, and what.
    identified: HashMap<PeerId, (Instant, Vec<Multiaddr>)>,
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
}

/// A configured address, and the addresses that it turned out to be.
struct Listener {
    id: ListenerId,
    configured: Multiaddr,
    addresses: Vec<Multiaddr>,
}

impl Driver {
    /// Takes a swarm and the listeners it has.
    pub fn new(
        swarm: Swarm<Behaviour>,
        listeners: Vec<(ListenerId, Multiaddr)>,
        commands: mpsc::Receiver<SwarmCommand>,
        shared: Arc<Shared>,
    ) -> Self {
        let listeners = listeners.into_iter();
        let listeners = listeners.map(|(id, configured)| Listener { id, configured, addresses: Vec::new() }).collect();
        Self {
            swarm,
            commands,
            notices: None,
            waiting: VecDeque::new(),
            bootstraps: HashMap::new(),
            identified: HashMap::new(),
            listeners,
            shared,
        }
    }

    /// Runs until `Shutdown`, or until nobody commands any more.
    pub async fn run(mut self) {
        loop {
            let may_poll = self.waiting.len() < limits::NETWORK_QUEUE_MAX;
            let notices = self.notices.clone();
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
                permit = reserve(notices.as_ref()), if !self.waiting.is_empty() => match permit {
                    Some(permit) => {
                        if let Some(notice) = self.waiting.pop_front() {
                            permit.send(notice);
                        }
                    }
                    None => self.detach(),
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
            SwarmCommand::Disconnect(peer) => {
                // Fails only if it is not connected.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            SwarmCommand::Attach(notices) => self.attach(notices),
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

    fn attach(&mut self, notices: mpsc::Sender<SwarmNotice>) {
        self.detach();
        self.notices = Some(notices);
        self.disconnect_all();
        self.tell_listening();
    }

    fn detach(&mut self) {
        self.notices = None;
        self.waiting.clear();
    }

    fn disconnect_all(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // As above.
            let _ = self.swarm.disconnect_peer_id(peer);
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
            self.on_dial_failed(Some(peer), None, &error);
        }
    }

    fn dial_address(&mut self, address: Multiaddr) {
        let options = DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.bootstraps.insert(connection, address);
            }
            Err(error) => self.on_dial_failed(None, Some(address), &error),
        }
    }

    fn tell(&mut self, notice: SwarmNotice) {
        if self.notices.is_some() {
            self.waiting.push_back(notice);
        }
    }

    fn tell_of(&mut self, peer: PeerId, notice: PeerNotice) {
        self.tell(SwarmNotice::Peer(peer, notice));
    }

    fn on_dial_failed(&mut self, peer: Option<PeerId>, bootstrap: Option<Multiaddr>, error: &DialError) {
        let failure = dial_failure(error);
        if !matches!(failure, DialFailure::Busy) {
            self.shared.metrics.dial_failures.add(1);
        }
        match (bootstrap, peer) {
            (Some(address), _) => self.tell(SwarmNotice::NotFound(address, failure)),
            (None, Some(peer)) => self.tell_of(peer, PeerNotice::DialFailed(failure)),
            (None, None) => {}
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, num_established, .. } => {
                if num_established == 0 {
                    self.identified.remove(&peer_id);
                }
                let cause = describe_close(cause.as_ref());
                self.tell_of(peer_id, PeerNotice::Closed { connection: connection_id, cause });
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                let bootstrap = self.bootstraps.remove(&connection_id);
                self.on_dial_failed(peer_id, bootstrap, &error);
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                self.on_incoming_failure(&error, &send_back_addr);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listener(listener_id).for_each(|listener| listener.addresses.push(address.clone()));
                self.tell_listening();
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                self.listener(listener_id).for_each(|listener| listener.addresses.retain(|other| *other != address));
                self.tell_listening();
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                self.listeners.retain(|listener| listener.id != listener_id);
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
        self.shared.metrics.connections.add(1);
        if let Some(address) = self.bootstraps.remove(&connection) {
            self.tell(SwarmNotice::Found(address, peer));
        }
        self.tell_of(peer, PeerNotice::Connected { connection, remote: endpoint.get_remote_address().clone() });
    }

    fn on_incoming_failure(&self, error: &ListenError, from: &Multiaddr) {
        if let ListenError::Denied { cause } = error
            && let Some(denial) = cause.downcast_ref::<Denial>()
        {
            self.shared.metrics.connections_denied.add(1);
            tracing::debug!(%from, %denial, "An inbound connection was refused");
        } else {
            self.shared.metrics.connections_failed.add(1);
            tracing::debug!(%from, %error, "An inbound connection came to nothing");
        }
    }

    fn tell_listening(&mut self) {
        if self.listeners.iter().all(|listener| !listener.addresses.is_empty()) {
            let addresses = self.listeners.iter().flat_map(|listener| listener.addresses.iter().cloned()).collect();
            self.shared.remember_listening(self.listeners.iter().map(Listener::with_port).collect());
            self.tell(SwarmNotice::Listening(addresses));
        }
    }

    fn listener(&mut self, id: ListenerId) -> impl Iterator<Item = &mut Listener> {
        self.listeners.iter_mut().filter(move |listener| listener.id == id)
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gate(never) => match never {},
            BehaviourEvent::Streams(StreamsNotice { peer, connection, class, event }) => {
                self.tell_of(peer, PeerNotice::Stream { connection, class, event });
            }
            BehaviourEvent::Ping(event) => {
                // A failed ping needs no notice: the silence is what counts.
                if let Ok(round_trip) = event.result {
                    self.tell_of(event.peer, PeerNotice::Pong { connection: event.connection, round_trip });
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
                    self.tell_of(found.peer_id, PeerNotice::Addresses(found.addrs));
                }
            }
            BehaviourEvent::Identify(_) | BehaviourEvent::Kademlia(_) => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let kademlia = &mut self.swarm.behaviour_mut().kademlia;
        let addresses: Vec<Multiaddr> =
            info.listen_addrs.into_iter().take(limits::PEER_LEARNED_ADDRESSES_MAX).collect();
        if self.identified.get(&peer).is_some_and(|(at, known)| *known == addresses || at.elapsed() < IDENTIFIED_AGAIN)
        {
            return;
        }
        self.identified.insert(peer, (Instant::now(), addresses.clone()));
        if kademlia.protocol_names().iter().any(|name| info.protocols.contains(name)) {
            // What it said before is over: the table keeps for ever what is only added.
            kademlia.remove_peer(&peer);
            for address in told_of(&addresses) {
                kademlia.add_address(&peer, address.clone());
            }
        }
        self.tell_of(peer, PeerNotice::Addresses(addresses));
    }

    /// Closes all connections in an orderly way, so that what was written is sent.
    async fn shut_down(&mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener.id);
        }
        self.disconnect_all();
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

/// Those of a peer's addresses that others are told when they look for peers: the first ones, as far as they fit.
fn told_of(addresses: &[Multiaddr]) -> impl Iterator<Item = &Multiaddr> {
    let mut left = limits::KADEMLIA_ADDRESS_BYTES_MAX;
    addresses.iter().filter(move |address| {
        let fits = address.len() <= limits::PEER_ADDRESS_BYTES_MAX.min(left);
        left -= if fits { address.len() } else { 0 };
        fits
    })
}

/// A place in the queue of notices; none if nobody takes them any more.
async fn reserve(notices: Option<&mpsc::Sender<SwarmNotice>>) -> Option<mpsc::Permit<'_, SwarmNotice>> {
    notices?.reserve().await.ok()
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

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;
    use crate::network::keys;
    use crate::network::notices::queue;
    use crate::network::shared::tests::shared_of_two;
    use crate::network::swarm::{build, kademlia_protocol};

    fn driver() -> Driver {
        let shared = shared_of_two("/ip4/10.0.0.1/tcp/1".parse().unwrap());
        let (identity, chain_id) = (keys::identity(&shared.config.key), &shared.config.chain_id);
        let swarm = build(identity, chain_id, false, Arc::clone(&shared.access)).unwrap();
        Driver::new(swarm, Vec::new(), queue().1, shared)
    }

    /// A peer says that it is in this place.
    fn identify_at(driver: &mut Driver, key: &Keypair, place: u8) {
        let info = identify::Info {
            public_key: key.public(),
            protocol_version: "/dtvn/1".to_owned(),
            agent_version: String::new(),
            listen_addrs: vec![format!("/ip4/10.0.0.{place}/tcp/1").parse().unwrap()],
            protocols: vec![kademlia_protocol(&driver.shared.config.chain_id)],
            observed_addr: Multiaddr::empty(),
            signed_peer_record: None,
        };
        driver.on_identified(key.public().to_peer_id(), info);
    }

    /// All that the routing table holds.
    fn routes(driver: &mut Driver) -> Vec<Multiaddr> {
        let mut routes = Vec::new();
        for bucket in driver.swarm.behaviour_mut().kademlia.kbuckets() {
            for entry in bucket.iter() {
                routes.extend(entry.node.value.iter().cloned());
            }
        }
        routes
    }

    #[tokio::test]
    async fn what_a_peer_says_of_its_addresses_replaces_what_it_said_before_and_is_not_heard_all_the_time() {
        let (mut driver, key) = (driver(), Keypair::generate_ed25519());
        let peer = key.public().to_peer_id();
        let route = |place: u8| -> Multiaddr { format!("/ip4/10.0.0.{place}/tcp/1/p2p/{peer}").parse().unwrap() };
        identify_at(&mut driver, &key, 1);
        for place in 2..100 {
            identify_at(&mut driver, &key, place);
            assert_eq!(routes(&mut driver), [route(place - 1)], "so soon it is not heard");
            driver.identified.get_mut(&peer).unwrap().0 -= IDENTIFIED_AGAIN;
            identify_at(&mut driver, &key, place);
            assert_eq!(routes(&mut driver), [route(place)]);
        }
        assert_eq!(driver.identified.len(), 1);
    }

    fn address(bytes: usize) -> Multiaddr {
        // The name's length takes a byte below 128, and two from there on.
        let around = if bytes < 128 + 5 { 5 } else { 6 };
        let address: Multiaddr = format!("/dns/{}/tcp/1", "a".repeat(bytes - around)).parse().unwrap();
        assert_eq!(address.len(), bytes);
        address
    }

    #[test]
    fn an_answer_with_all_the_addresses_that_others_are_told_can_be_read() {
        // Kademlia names 20 peers. Each address gets the peer's name behind it, 41 bytes, and 4 around both; around a peer
        // with its identity are less than 64.
        const AROUND: usize = 64 + (41 + 4) * limits::PEER_LEARNED_ADDRESSES_MAX;
        const { assert!(20 * (limits::KADEMLIA_ADDRESS_BYTES_MAX + AROUND) <= 16 << 10) }
        let addresses = [200, 300, 100, 200, 60, 30].map(address);
        let told: Vec<&Multiaddr> = told_of(&addresses).collect();
        assert_eq!(told, [&addresses[0], &addresses[2], &addresses[4]], "what is too long leaves room for others");
    }
}
