//! The links to other nodes: the network actor, which owns the libp2p layer, and the peer manager, which knows who is
//! connected and tells those who care (architecture.md section 2).

mod network;
mod peer_manager;

pub use network::{NETWORK, NetworkActor, NetworkArguments, NetworkMessage};
pub use peer_manager::{PEER_MANAGER, PeerManager, PeerManagerArguments, PeerManagerMessage};
