//! A validator that lies: the real network layer with the key of a node that has ended, and in the place of the node
//! whoever decides what it says.

use dtvn::cluster::development_key;
use dtvn_actors::directory::Directory;
use dtvn_actors::links::validators_of;
use dtvn_actors::network::{Class, FrameSinks, NetworkConfig, NetworkHandle, fair_inbox};
use dtvn_actors::shared::{frame, wall};
use dtvn_actors::supervision::{ChildSpec, NodeTree, Strategy, SupervisorSpec, TreeOptions};
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Genesis, KeyPair, Signed, Statement, ValidatorIndex, limits};
use tokio::task::JoinSet;

use crate::kit::Network;

/// A liar that is connected. It hears, and does not listen.
pub(crate) struct Liar {
    genesis: Genesis,
    me: ValidatorIndex,
    key: KeyPair,
    handle: NetworkHandle,
    tree: NodeTree,
    _deaf: JoinSet<()>,
}

impl Liar {
    /// Takes the place of a node that has ended, with its key.
    pub(crate) async fn in_place_of(network: &Network, node: usize) -> Self {
        let genesis = Genesis::new(network.client.genesis().await.unwrap()).unwrap();
        let nodes = network.cluster.nodes();
        let name = nodes[node].ready().node.clone();
        let me = genesis.validators().index_of_name(name.as_str()).unwrap();
        let key = development_key(name.as_str());
        let others = nodes.iter().enumerate().filter(|(other, _)| *other != node);
        let bootstrap = others.flat_map(|(_, node)| &node.ready().p2p).map(|address| address.parse().unwrap());
        let config = NetworkConfig {
            key: key.clone(),
            chain_id: genesis.chain_id().clone(),
            genesis: genesis.hash(),
            node_name: name,
            start: wall().0,
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            announce: Vec::new(),
            bootstrap: bootstrap.collect(),
            frames_per_second: NetworkConfig::FRAMES_PER_SECOND,
            validators: validators_of(&genesis, genesis.validators()),
        };
        let mut deaf = JoinSet::new();
        let mut ear = |class: Class| {
            let (ear, mut inbox) = fair_inbox(class.inbound_bounds());
            deaf.spawn(async move {
                loop {
                    inbox.receive().await;
                }
            });
            ear
        };
        let sinks =
            FrameSinks { consensus: ear(Class::Consensus), bundles: ear(Class::Bundles), sync: ear(Class::Sync) };
        let (events, mut told) = tokio::sync::mpsc::channel(64);
        deaf.spawn(async move { while told.recv().await.is_some() {} });
        let directory = Directory::new();
        let layer = dtvn_actors::network::network(config, sinks, events, &directory).unwrap();
        let links = SupervisorSpec::new("links", Strategy::RestForOne);
        let links = layer.children.into_iter().fold(links, SupervisorSpec::child);
        let root = SupervisorSpec::new("liar", Strategy::OneForOne).child(ChildSpec::supervisor(links));
        let options = TreeOptions { directory, ..TreeOptions::default() };
        let tree = NodeTree::start_with(root, options).await.unwrap();
        Self { genesis, me, key, handle: layer.handle, tree, _deaf: deaf }
    }

    /// What it signs, whatever it signed before.
    pub(crate) fn sign<T: Statement>(&self, body: T) -> Signed<T> {
        Signed::new(body, self.genesis.chain_id(), self.me, &self.key)
    }

    /// Says something to one validator, if they are connected.
    pub(crate) async fn say(&self, to: u16, message: &PeerMessage) {
        let (class, frame) = frame(message).unwrap();
        // Who is not connected yet, or was hung up on, says it again.
        let _unheard = self.handle.send_when_room(ValidatorIndex(to), class, &frame).await;
    }

    /// Goes away in good order.
    pub(crate) async fn leave(self) {
        self.tree.shutdown(limits::NODE_STOP_TIMEOUT).await.unwrap();
    }
}
