//! Nodes for tests: each with its own network layer, port 0, and fair inboxes.

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use dtvn_actors::directory::Directory;
use dtvn_actors::network::{
    Class, ClassSet, ConnectedPeer, FairReceiver, FrameSinks, InboundFrame, Network, NetworkConfig, NetworkEvent,
    NetworkHandle, PeerInfo, PerClass, ValidatorEntry, Validators, fair_inbox, identity, network,
};
use dtvn_actors::supervision::{ChildSpec, NodeTree, StartError, Strategy, SupervisorSpec, TreeOptions};
use dtvn_messages::crypto::{Digest, KeyPair};
use dtvn_messages::ids::{ChainId, NodeName, ValidatorIndex};
use libp2p::{Multiaddr, PeerId};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Waits for what must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
}

pub fn key(number: u16) -> KeyPair {
    KeyPair::development("network-test", &format!("node{number}"))
}

pub fn peer_of(number: u16) -> PeerId {
    identity(&key(number)).public().to_peer_id()
}

/// Of two nodes the one that opens the streams, then the other one.
pub fn opener_and_follower(one: u16, other: u16) -> (u16, u16) {
    if peer_of(one) < peer_of(other) { (one, other) } else { (other, one) }
}

/// The validators with these numbers, in this order, without addresses.
pub fn validators(numbers: &[u16]) -> Validators {
    let entries = numbers.iter().enumerate().map(|(position, number)| ValidatorEntry {
        index: ValidatorIndex(u16::try_from(position).unwrap()),
        name: name(*number),
        public_key: key(*number).public(),
        addresses: Vec::new(),
    });
    Validators { entries: entries.collect(), summary: Bytes::from_static(b"epoch 0") }
}

pub fn name(number: u16) -> NodeName {
    NodeName::new(&format!("node{number}")).unwrap()
}

pub fn config(number: u16, validators: Validators) -> NetworkConfig {
    NetworkConfig {
        key: key(number),
        chain_id: ChainId::new("network-test").unwrap(),
        genesis: Digest([1; 32]),
        node_name: name(number),
        start: 1,
        listen: vec![TCP.parse().unwrap()],
        announce: Vec::new(),
        bootstrap: Vec::new(),
        // As fast as it goes.
        frames_per_second: PerClass::build(|_| NonZeroU32::MAX),
        validators,
    }
}

pub struct Node {
    pub handle: NetworkHandle,
    pub events: mpsc::Receiver<NetworkEvent>,
    pub consensus: FairReceiver,
    pub bundles: FairReceiver,
    pub sync: FairReceiver,
    pub addresses: Vec<Multiaddr>,
    pub tree: NodeTree,
    /// Its own, if it is to crash.
    runtime: Option<Runtime>,
}

impl Node {
    /// Starts a node and waits until it listens.
    pub async fn start(config: NetworkConfig) -> Self {
        Self::try_start(config).await.unwrap()
    }

    /// Starts a node in a runtime of its own, so that it can end without a word.
    pub async fn start_mortal(config: NetworkConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut node = runtime.spawn(Self::start(config)).await.unwrap();
        node.runtime = Some(runtime);
        node
    }

    pub async fn try_start(config: NetworkConfig) -> Result<Self, StartError> {
        let (consensus_sink, consensus) = fair_inbox(Class::Consensus.inbound_bounds());
        let (bundle_sink, bundles) = fair_inbox(Class::Bundles.inbound_bounds());
        let (sync_sink, sync) = fair_inbox(Class::Sync.inbound_bounds());
        let sinks = FrameSinks { consensus: consensus_sink, bundles: bundle_sink, sync: sync_sink };
        let (event_sender, events) = mpsc::channel(64);
        let directory = Directory::new();
        let Network { handle, children } = network(config, sinks, event_sender, &directory).unwrap();
        let links =
            children.into_iter().fold(SupervisorSpec::new("links", Strategy::RestForOne), SupervisorSpec::child);
        let root = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(links));
        let options = TreeOptions { directory, fault_injection: true, ..TreeOptions::default() };
        let tree = NodeTree::start_with(root, options).await?;
        let addresses = Vec::new();
        let mut node = Self { handle, events, consensus, bundles, sync, addresses, tree, runtime: None };
        node.listening().await;
        Ok(node)
    }

    /// Waits until it listens, again perhaps.
    pub async fn listening(&mut self) {
        let event = self.event_that("listening", |event| matches!(event, NetworkEvent::Listening(_))).await;
        if let NetworkEvent::Listening(addresses) = event {
            self.addresses = addresses;
        }
    }

    /// The next event of a kind; others before it are passed over.
    pub async fn event_that(&mut self, what: &str, wanted: impl Fn(&NetworkEvent) -> bool) -> NetworkEvent {
        soon(what, async {
            loop {
                let event = self.events.recv().await.expect("the network layer ended");
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    pub async fn connected_to(&mut self, number: u16) -> ConnectedPeer {
        let peer = peer_of(number);
        let is_it = |event: &NetworkEvent| matches!(event, NetworkEvent::Connected(_)) && event.peer() == Some(peer);
        match self.event_that(&format!("a session with node{number}"), is_it).await {
            NetworkEvent::Connected(connected) => connected,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until sessions with all of these have begun.
    pub async fn connected_to_all(&mut self, numbers: impl IntoIterator<Item = u16>) {
        self.begun_with_all(numbers, ClassSet::NONE).await;
    }

    /// Waits until sessions of all classes with all of these have begun.
    pub async fn fully_connected_to_all(&mut self, numbers: impl IntoIterator<Item = u16>) {
        self.begun_with_all(numbers, ClassSet::VALIDATORS).await;
    }

    async fn begun_with_all(&mut self, numbers: impl IntoIterator<Item = u16>, classes: ClassSet) {
        let mut missing: Vec<PeerId> = numbers.into_iter().map(peer_of).collect();
        while !missing.is_empty() {
            let begun = |event: &NetworkEvent| matches!(event, NetworkEvent::Connected(_));
            if let NetworkEvent::Connected(connected) = self.event_that("a session", begun).await
                && connected.classes.and(classes) == classes
            {
                missing.retain(|peer| *peer != connected.peer);
            }
        }
    }

    pub async fn disconnected_from(&mut self, number: u16) -> String {
        let peer = peer_of(number);
        let is_it =
            |event: &NetworkEvent| matches!(event, NetworkEvent::Disconnected { .. }) && event.peer() == Some(peer);
        match self.event_that(&format!("the end of the session with node{number}"), is_it).await {
            NetworkEvent::Disconnected { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    }

    pub fn inbox(&mut self, class: Class) -> &mut FairReceiver {
        match class {
            Class::Consensus => &mut self.consensus,
            Class::Bundles => &mut self.bundles,
            Class::Sync => &mut self.sync,
        }
    }

    pub async fn receive(&mut self, class: Class) -> InboundFrame {
        soon("a frame", self.inbox(class).receive()).await
    }

    pub fn info(&self, number: u16) -> PeerInfo {
        let peers = self.handle.peers();
        peers.into_iter().find(|info| info.peer == peer_of(number)).expect("the peer is known")
    }

    /// Looks until the peer is as wanted.
    pub async fn info_that(&self, number: u16, what: &str, wanted: impl Fn(&PeerInfo) -> bool) -> PeerInfo {
        soon(what, async {
            loop {
                let info = self.info(number);
                if wanted(&info) {
                    return info;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Stops the node in good order.
    pub async fn stop(&self) {
        self.tree.shutdown(PATIENCE).await.unwrap();
    }

    /// Stops a mortal node's only thread, until what is given back is dropped.
    pub fn freeze(&self) -> std::sync::mpsc::Sender<()> {
        let (thaw, frozen) = std::sync::mpsc::channel::<()>();
        self.runtime.as_ref().expect("a mortal node").spawn(async move {
            // An error means that it is to go on.
            let _ = frozen.recv();
        });
        thaw
    }

    /// Ends a mortal node without a word, as a crash would.
    pub fn crash(self) {
        self.runtime.expect("a mortal node").shutdown_background();
    }
}

/// Two connected validators with these numbers, of a set of just these two; the first has index 0.
pub async fn pair_listening(one: u16, other: u16, listen: &str) -> (Node, Node) {
    let listen: Vec<Multiaddr> = vec![listen.parse().unwrap()];
    let mut first =
        Node::start(NetworkConfig { listen: listen.clone(), ..config(one, validators(&[one, other])) }).await;
    let bootstrap = first.addresses.clone();
    let mut second = Node::start(NetworkConfig { listen, bootstrap, ..config(other, validators(&[one, other])) }).await;
    first.connected_to(other).await;
    second.connected_to(one).await;
    (first, second)
}

pub async fn pair(one: u16, other: u16) -> (Node, Node) {
    pair_listening(one, other, TCP).await
}

/// Votes pass between two validators, each with its index, in both directions.
pub async fn votes_pass((one, first): (&mut Node, u16), (other, second): (&mut Node, u16)) {
    for round in 0..50_u8 {
        one.handle.send(ValidatorIndex(second), Class::Consensus, &vec![round; 50].into(), None).unwrap();
        assert_eq!(other.receive(Class::Consensus).await.bytes[0], round);
        other.handle.send(ValidatorIndex(first), Class::Consensus, &vec![round; 50].into(), None).unwrap();
        assert_eq!(one.receive(Class::Consensus).await.bytes[0], round);
    }
}

pub const ZERO: ValidatorIndex = ValidatorIndex(0);
pub const ONE: ValidatorIndex = ValidatorIndex(1);
pub const TWO: ValidatorIndex = ValidatorIndex(2);
